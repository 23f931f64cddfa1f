//! Training sets on this machine's disk: labels come from a Parquet file, the set goes to one or to a Delta table, its
//! manifest beside it.
//!
//! Nothing is written half: the manifest is shown first and the set last, both under their names only when they are whole,
//! so a set that is there has its manifest.

mod target;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use futures::{StreamExt, TryStreamExt, stream};

use crate::catalog::Selection;
use crate::error::ErrorKind;
use crate::flow::train::{Batches, Labels, Options, Sources, TrainingSet, train};
use crate::flow::verify::{Verified, verify};
use crate::flow::{self};
use crate::gateway::Gateway;
use crate::limits::{MANIFEST_BYTES_MAX, ROW_GROUP_ROWS};
use crate::manifest::{self, Manifest, OptionsUsed, watched};
use crate::offline::{self, ParquetRows};

pub use target::Target;
use target::Writer;

/// What is to be made of which labels.
#[derive(Clone, Debug)]
pub struct Order {
    pub service: String,
    /// A Parquet file.
    pub labels: PathBuf,
    pub time_column: Option<String>,
    pub options: OptionsUsed,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub rows: u64,
    pub columns: usize,
    /// Bytes that the join put aside on disk.
    pub spilled_bytes: u64,
    pub manifest: Option<PathBuf>,
}

/// Why a training set could not be read, written or checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Flow(#[from] flow::Error),
    #[error(transparent)]
    Offline(#[from] offline::Error),
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} cannot be written: {source}")]
    Write { path: String, source: std::io::Error },
    #[error("{path} is larger than any manifest")]
    TooLarge { path: PathBuf },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Flow(source) => source.kind(),
            Self::Offline(source) => source.kind(),
            Self::Manifest(source) => source.kind(),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Read { .. } | Self::Write { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}

/// Makes a training set as a file or a table, with its manifest beside it.
pub async fn make(gateway: &Gateway, order: &Order, to: &Target) -> Result<Made, Error> {
    let labels = read_labels(&order.labels, order.time_column.clone())?;
    let (rows, label_watch) = watched(&labels.schema, labels.rows, ROW_GROUP_ROWS);
    let set = begin(gateway, order, Labels { rows, ..labels }, Sources::Recorded).await?;
    let (schema, made_of, spilled_bytes) = (Arc::clone(&set.schema), set.made_of.clone(), set.spilled_bytes);
    let (batches, watch) = watched(&set.schema, set.batches, ROW_GROUP_ROWS);
    let (writer, rows) = write_rows(to, &schema, batches).await?;
    let unknown = || flow::Error::Stopped("the content of the set is not known".to_owned());
    let labels = label_watch.content().ok_or_else(unknown)?;
    let content = watch.content().ok_or_else(unknown)?;
    let columns: Vec<(String, String)> =
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect();
    let file = seen_from(to.path(), &order.labels).display().to_string();
    let options = order.options.clone();
    let manifest = Manifest::new(&order.service, &made_of, &file, labels, options, columns, content);
    let whole = writer.end().await?;
    let manifest = Manifest { table: whole.part(), ..manifest };
    let path = manifest_path(to.path());
    write_whole(&path, manifest.text().as_bytes())?;
    whole.show().await?;
    Ok(Made { rows, columns: schema.fields().len(), spilled_bytes: spilled_bytes(), manifest: Some(path) })
}

/// Makes a training set as an Arrow stream, without a manifest.
pub async fn stream(gateway: &Gateway, order: &Order, to: impl Write + Send + 'static) -> Result<Made, Error> {
    let labels = read_labels(&order.labels, order.time_column.clone())?;
    let set = begin(gateway, order, labels, Sources::Now).await?;
    let failed = |error: arrow::error::ArrowError| Error::Write {
        path: "the Arrow stream".to_owned(),
        source: std::io::Error::other(error),
    };
    let mut writer = StreamWriter::try_new(to, &set.schema).map_err(failed)?;
    let (mut batches, mut rows) = (set.batches, 0);
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
        writer = beside(move || writer.write(&batch).map(|()| writer)).await?.map_err(failed)?;
    }
    beside(move || writer.finish()).await?.map_err(failed)?;
    Ok(Made { rows, columns: set.schema.fields().len(), spilled_bytes: (set.spilled_bytes)(), manifest: None })
}

async fn begin(gateway: &Gateway, order: &Order, labels: Labels, sources: Sources) -> Result<TrainingSet, Error> {
    let selection = Selection::Service { name: order.service.clone(), full_feature_names: None };
    let OptionsUsed { digest_column, known_at, known_at_column } = order.options.clone();
    Ok(train(gateway, &selection, labels, Options { digest_column, known_at, known_at_column, sources }).await?)
}

/// Makes the set of a manifest again, of the labels in `labels` or of those that the manifest names, and compares.
/// `gateway` has the definitions of the manifest's version.
pub async fn check(gateway: &Gateway, manifest: &Manifest, labels: Option<&Path>) -> Result<Verified, Error> {
    let file = labels.map_or_else(|| PathBuf::from(&manifest.labels.file), Path::to_owned);
    let labels = read_labels(&file, Some(manifest.labels.time_column.clone()))?;
    Ok(verify(gateway, manifest, labels).await?)
}

/// The manifest in a file. The labels that it names are looked for from its folder.
pub fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    match text.len() as u64 > MANIFEST_BYTES_MAX {
        true => Err(Error::TooLarge { path: path.to_owned() }),
        false => {
            let mut manifest = Manifest::parse(&text)?;
            manifest.labels.file = path.with_file_name(&manifest.labels.file).display().to_string();
            Ok(manifest)
        }
    }
}

/// The labels as the manifest of `set` names them: from its own folder where they lie in it, so that they can be moved
/// together and verified from anywhere.
fn seen_from(set: &Path, labels: &Path) -> PathBuf {
    let (Ok(set), Ok(labels)) = (std::path::absolute(set), std::path::absolute(labels)) else {
        return labels.to_owned();
    };
    let in_its_folder = set.parent().and_then(|folder| labels.strip_prefix(folder).ok());
    in_its_folder.map(Path::to_owned).unwrap_or(labels)
}

/// The rows of a Parquet file as labels, read a batch at a time.
pub fn read_labels(path: &Path, time_column: Option<String>) -> Result<Labels, offline::Error> {
    let rows = ParquetRows::open(path)?;
    let schema = Arc::clone(&rows.schema);
    let batches = stream::try_unfold(rows, |mut rows| async move {
        let (batch, rows) = beside(move || (rows.next(), rows)).await?;
        Ok(batch.transpose()?.map(|batch| (batch, rows)))
    });
    Ok(Labels { schema, rows: batches.boxed(), time_column })
}

/// Writes a training set as Parquet, whole or not at all, with its provenance as file metadata. Answers its rows.
pub async fn write_training_set(path: &Path, set: TrainingSet) -> Result<u64, flow::Error> {
    let (writer, rows) = write_rows(&Target::Parquet(path.to_owned()), &set.schema, set.batches).await?;
    writer.end().await?.show().await?;
    Ok(rows)
}

/// A set with all rows, which has yet to be ended.
async fn write_rows(to: &Target, schema: &SchemaRef, mut batches: Batches) -> Result<(Writer, u64), flow::Error> {
    let mut writer = Writer::create(to, schema).await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
        writer = writer.write(batch).await?;
    }
    Ok((writer, rows))
}

/// `training.parquet` has its manifest in `training.parquet.manifest.json`.
fn manifest_path(set: &Path) -> PathBuf {
    let mut name = set.file_name().unwrap_or_default().to_owned();
    name.push(".manifest.json");
    set.with_file_name(name)
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".lockstep-").suffix(".writing").tempfile_in(folder)?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::Write { path: path.display().to_string(), source })
}

/// Work that blocks, where it holds up nobody.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, flow::Error> {
    tokio::task::spawn_blocking(work).await.map_err(|stopped| flow::Error::Stopped(stopped.to_string()))
}
