//! A Delta table that is made whole: rows of any number, one commit.
//!
//! It is written in a hidden folder beside its place, which takes the table's name when the commit is in its log. So
//! nobody sees files without a log, or a table without its rows, however the writer ends.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::schema::StructType;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::SaveMode;
use deltalake::writer::{DeltaWriter as _, RecordBatchWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::super::{Error, ObjectStores};
use super::columns::{conform, kept_as};
use super::failure::words;
use super::files::make_durable;
use super::place::{LOG_FOLDER, Place};
use crate::cast::type_name;
use crate::limits::{DELTA_FILE_BYTES, ROW_GROUP_ROWS};

/// A table that is being written, a batch at a time. Dropped before it is shown, it leaves nothing behind.
pub struct DeltaWriter {
    path: PathBuf,
    hidden: TempDir,
    place: Place,
    /// The columns, in the types that a Delta table has for them.
    schema: SchemaRef,
    writer: RecordBatchWriter,
}

/// A table that is whole and durable, and not at its place yet.
#[derive(Debug)]
pub struct WholeTable {
    /// Its one version.
    pub version: u64,
    path: PathBuf,
    hidden: TempDir,
}

impl DeltaWriter {
    /// Begins a table on this machine, with columns like those of `schema`, at a path where there is nothing yet.
    pub fn create(path: &Path, schema: &Schema) -> Result<Self, Error> {
        check_free(path)?;
        check_types(path, schema)?;
        let failed = |error: &dyn fmt::Display| write_failed(path, error);
        // The dot keeps a scan of the folder from reading what is in there.
        let mut temporary = tempfile::Builder::new();
        temporary.prefix(".lockstep-").suffix(".writing");
        #[cfg(unix)]
        temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        let folder = fs::canonicalize(folder_of(path)).map_err(|error| failed(&error))?;
        let hidden = temporary.tempdir_in(&folder).map_err(|error| failed(&error))?;
        let not_utf8 = || not_made(path, "its path is not UTF-8, which the log of a table is");
        let text = hidden.path().to_str().ok_or_else(not_utf8)?;
        let place = Place::of("the table", &folder, text, &ObjectStores::none())
            .map_err(|_| not_made(path, "the folder of a Delta table cannot have % in its path; use another one"))?;
        let empty = RecordBatch::new_empty(Arc::new(schema.clone()));
        let (empty, _) = conform(&place, &Schema::empty(), &empty).map_err(|error| refused(path, error))?;
        let schema = empty.schema();
        let url = deltalake::ensure_table_uri(text).map_err(|error| failed(&words(&error)))?;
        let writer = RecordBatchWriter::try_new(url, schema.clone(), None, None);
        let writer = writer.map_err(|error| failed(&words(&error)))?;
        let writer = writer.with_writer_properties(file_properties()).with_target_file_size(DELTA_FILE_BYTES);
        Ok(Self { path: path.to_owned(), hidden, place, schema, writer })
    }

    /// The next rows. Encodes them before it returns, so it does not belong on an async thread.
    pub async fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let (rows, _) = conform(&self.place, &self.schema, rows).map_err(|error| refused(&self.path, error))?;
        self.writer.write(rows).await.map_err(|error| write_failed(&self.path, &words(&error)))
    }

    /// Commits what was written as version 0. `properties` are kept as the table's.
    pub async fn commit(mut self, properties: &[(String, String)]) -> Result<WholeTable, Error> {
        let failed = |error: DeltaTableError| write_failed(&self.path, &words(&error));
        let files = self.writer.flush().await.map_err(failed)?;
        for Add { path, .. } in &files {
            make_durable(self.hidden.path().join(path)).await.map_err(|error| write_failed(&self.path, &error))?;
        }
        let columns: StructType =
            self.schema.as_ref().try_into_kernel().map_err(|error| failed(DeltaTableError::Arrow { source: error }))?;
        let table = self.place.unloaded().map_err(failed)?.table;
        let created = table
            .create()
            .with_columns(columns.fields().cloned())
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_raise_if_key_not_exists(false)
            .with_configuration(properties.iter().map(|(name, value)| (name.clone(), Some(value.clone()))))
            .with_actions(files.into_iter().map(Action::Add))
            .with_commit_properties(CommitProperties::default().with_max_retries(0));
        let version = created.await.map_err(failed)?.version().unwrap_or_default();
        Ok(WholeTable { version, path: self.path, hidden: self.hidden })
    }
}

impl WholeTable {
    /// From now on the table is at its path. Blocks.
    pub fn show(self) -> Result<(), Error> {
        check_free(&self.path)?;
        let show = || -> io::Result<()> {
            fs::rename(self.hidden.path(), &self.path)?;
            File::open(folder_of(&self.path))?.sync_all()
        };
        show().map_err(|error| write_failed(&self.path, &error))
    }
}

impl fmt::Debug for DeltaWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Refuses a place where there is something. An empty folder is nothing.
fn check_free(path: &Path) -> Result<(), Error> {
    if path.file_name().is_none() {
        return Err(not_made(path, "name the folder that it is to have, as in delta:training"));
    }
    let is_empty = match fs::read_dir(path) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(mut entries) => entries.next().is_none(),
    };
    match is_empty {
        true => Ok(()),
        false if path.join(LOG_FOLDER).is_dir() => {
            Err(not_made(path, "there is a Delta table already; name another folder, or remove this one first"))
        }
        false => Err(not_made(path, "there is something already; name a folder that is not there yet")),
    }
}

fn check_types(path: &Path, schema: &Schema) -> Result<(), Error> {
    for field in schema.fields() {
        if kept_as(field.data_type()).is_none() {
            let (name, is) = (field.name(), type_name(field.data_type()));
            return Err(not_made(path, &format!("column {name} is {is}, which a Delta table has no type for")));
        }
    }
    Ok(())
}

/// Why rows are not as the table takes them.
fn refused(path: &Path, error: Error) -> Error {
    match error {
        Error::WrongType { column, is, wanted, detail, .. } => {
            not_made(path, &format!("column {column} is {is}, which a Delta table keeps as {wanted}: {detail}"))
        }
        Error::NotWritable { detail, .. } => not_made(path, &detail),
        other => other,
    }
}

/// A name without a folder is in the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// One row group is encoded in memory before it goes to the disk.
fn file_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build()
}

fn write_failed(path: &Path, error: &dyn fmt::Display) -> Error {
    Error::WriteFile { path: path.display().to_string(), detail: error.to_string() }
}

fn not_made(path: &Path, detail: &str) -> Error {
    Error::NotMade { path: path.display().to_string(), detail: detail.to_owned() }
}
