//! One Parquet file, written whole or not at all: a pushed batch, a training set; and read back whole, as labels are.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use super::Error;
use super::panics::without_panic;
use crate::limits::{ROW_GROUP_ROWS, SCAN_BATCH_ROWS};

/// The key under which the Parquet format itself keeps the Arrow schema.
const ARROW_SCHEMA_KEY: &str = "ARROW:schema";

/// A Parquet file in memory.
#[derive(Clone, Debug)]
pub struct ParquetFile {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// The file's key-value metadata, as it was given to [`write_parquet`].
    pub metadata: BTreeMap<String, String>,
}

/// Writes `batches`, all of `schema`, to `path`. When this returns the file is there and durable; when it fails, what
/// was there before is untouched. Blocks.
pub fn write_parquet(
    path: &Path,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    metadata: &[(String, String)],
) -> Result<(), Error> {
    let mut writer = ParquetWriter::create(path, schema, metadata)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

/// Reads all of the file at `path`. Text and bytes come in Arrow's plain layouts, never as views. Blocks.
pub fn read_parquet(path: &Path) -> Result<ParquetFile, Error> {
    let rows = ParquetRows::open(path)?;
    let (schema, metadata) = (Arc::clone(&rows.schema), rows.metadata.clone());
    Ok(ParquetFile { schema, batches: rows.collect::<Result<_, _>>()?, metadata })
}

/// A Parquet file that is being written, a batch at a time. Until [`ParquetWriter::finish`] there is nothing at its path
/// but what was there before; dropped before that, it leaves nothing behind.
pub struct ParquetWriter {
    path: PathBuf,
    folder: PathBuf,
    writer: ArrowWriter<NamedTempFile>,
}

impl ParquetWriter {
    /// Begins a file of `schema`. Blocks, as all of this does.
    pub fn create(path: &Path, schema: &SchemaRef, metadata: &[(String, String)]) -> Result<Self, Error> {
        // A name without a folder is in the current one.
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let create = || Ok(ArrowWriter::try_new(temporary(&folder)?, schema.clone(), Some(properties(metadata)))?);
        let writer = at(path, create)?;
        Ok(Self { path: path.to_owned(), folder, writer })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        at(&self.path, || Ok(self.writer.write(batch)?))
    }

    /// When this returns the file is there and durable.
    pub fn finish(self) -> Result<(), Error> {
        let Self { path, folder, writer } = self;
        at(&path, || {
            let temporary = writer.into_inner()?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path)?;
            File::open(&folder)?.sync_all()?;
            Ok(())
        })
    }
}

impl fmt::Debug for ParquetWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The rows of a Parquet file, a batch at a time, as [`read_parquet`] reads them. Each step blocks.
pub struct ParquetRows {
    pub schema: SchemaRef,
    /// The file's key-value metadata.
    pub metadata: BTreeMap<String, String>,
    path: String,
    reader: ParquetRecordBatchReader,
}

impl ParquetRows {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NoSuchFile { path: name.clone() },
            _ => Error::UnreadableFile { path: name.clone(), detail: error.to_string() },
        })?;
        without_panic(|| open(name.clone(), file).map_err(|error| error.to_string()))
            .map_err(|detail| Error::UnreadableFile { path: name, detail })
    }
}

impl Iterator for ParquetRows {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (schema, reader) = (&self.schema, &mut self.reader);
        let next = without_panic(|| match reader.next() {
            None => Ok(None),
            Some(batch) => {
                // The reader puts the file's metadata on every batch, from where it would get into what is made of them.
                let (_, columns, rows) = batch.map_err(|error| error.to_string())?.into_parts();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options);
                Ok(Some(batch.map_err(|error| error.to_string())?))
            }
        });
        next.map_err(|detail| Error::UnreadableFile { path: self.path.clone(), detail }).transpose()
    }
}

impl fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetRows").field("path", &self.path).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Column types that Parquet does not have make its writer panic.
fn at<T>(path: &Path, work: impl FnOnce() -> Result<T, Box<dyn std::error::Error>>) -> Result<T, Error> {
    without_panic(|| work().map_err(|error| error.to_string()))
        .map_err(|detail| Error::WriteFile { path: path.display().to_string(), detail })
}

fn properties(metadata: &[(String, String)]) -> WriterProperties {
    let key_values = metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(key_values))
        .build()
}

fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    // The dot keeps a scan from reading the file before it is whole.
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".lockstep-").suffix(".writing");
    readable_by_others(&mut temporary);
    temporary.tempfile_in(folder)
}

/// Temporary files are private to their user; this one becomes an ordinary file.
pub(super) fn readable_by_others(temporary: &mut tempfile::Builder<'_, '_>) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        temporary.permissions(std::fs::Permissions::from_mode(0o644));
    }
}

fn open(path: String, file: File) -> Result<ParquetRows, Box<dyn std::error::Error>> {
    let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let schema = without_views(footer.schema());
    let key_values = footer.metadata().file_metadata().key_value_metadata();
    let metadata = key_values
        .into_iter()
        .flatten()
        .filter(|pair| pair.key != ARROW_SCHEMA_KEY)
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(&schema));
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?;
    let reader = reader.with_batch_size(SCAN_BATCH_ROWS).build()?;
    Ok(ParquetRows { schema, metadata, path, reader })
}

fn without_views(schema: &Schema) -> SchemaRef {
    let plain = |field: &Field| {
        let data_type = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            other => other.clone(),
        };
        field.clone().with_data_type(data_type)
    };
    let fields: Vec<Field> = schema.fields().iter().map(|field| plain(field)).collect();
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests;
