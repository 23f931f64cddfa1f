//! One Parquet file, written whole or not at all: a pushed batch, a training set; and read back whole, as labels are.

use std::collections::BTreeMap;
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
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::Error;
use super::panics::without_panic;
use crate::limits::SCAN_BATCH_ROWS;

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
    let failed = |detail: String| Error::WriteFile { path: path.display().to_string(), detail };
    // A name without a folder is in the current one.
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // Column types that Parquet does not have make its writer panic.
    without_panic(|| write_and_rename(path, &folder, schema, batches, metadata).map_err(|error| error.to_string()))
        .map_err(failed)
}

/// Reads all of the file at `path`. Text and bytes come in Arrow's plain layouts, never as views. Blocks.
pub fn read_parquet(path: &Path) -> Result<ParquetFile, Error> {
    let name = path.display().to_string();
    let file = open(path)?;
    without_panic(|| read(file).map_err(|error| error.to_string()))
        .map_err(|detail| Error::UnreadableFile { path: name, detail })
}

fn write_and_rename(
    path: &Path,
    folder: &Path,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    metadata: &[(String, String)],
) -> Result<(), Box<dyn std::error::Error>> {
    let key_values = metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(key_values))
        .build();
    // The dot keeps a scan from reading the file before it is whole.
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".lockstep-").suffix(".writing");
    readable_by_others(&mut temporary);
    let mut temporary = temporary.tempfile_in(folder)?;
    let mut writer = ArrowWriter::try_new(temporary.as_file_mut(), schema.clone(), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Temporary files are private to their user; this one becomes an ordinary file.
pub(super) fn readable_by_others(temporary: &mut tempfile::Builder<'_, '_>) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        temporary.permissions(std::fs::Permissions::from_mode(0o644));
    }
}

/// The batches of a Parquet file, one after the other. Text and bytes come in Arrow's plain layouts, never as views.
#[derive(Debug)]
pub struct ParquetBatches {
    name: String,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
}

impl ParquetBatches {
    /// Blocks, as the iteration does.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = open(path)?;
        let opened = without_panic(|| {
            let opened = || -> Result<_, ParquetError> {
                let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
                let schema = without_views(footer.schema());
                let options = ArrowReaderOptions::new().with_schema(Arc::clone(&schema));
                let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?;
                Ok((schema, reader.with_batch_size(SCAN_BATCH_ROWS).build()?))
            };
            opened().map_err(|error| error.to_string())
        });
        match opened {
            Ok((schema, reader)) => Ok(Self { name, schema, reader }),
            Err(detail) => Err(Error::UnreadableFile { path: name, detail }),
        }
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Iterator for ParquetBatches {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = &mut self.reader;
        let next = without_panic(|| reader.next().transpose().map_err(|error| error.to_string()));
        next.map_err(|detail| Error::UnreadableFile { path: self.name.clone(), detail }).transpose()
    }
}

fn open(path: &Path) -> Result<File, Error> {
    let name = path.display().to_string();
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoSuchFile { path: name },
        _ => Error::UnreadableFile { path: name, detail: error.to_string() },
    })
}

fn read(file: File) -> Result<ParquetFile, Box<dyn std::error::Error>> {
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
    let mut batches = Vec::new();
    for batch in reader.with_batch_size(SCAN_BATCH_ROWS).build()? {
        // The reader puts the file's metadata on every batch, from where it would get into whatever is made of them.
        let (_, columns, rows) = batch?.into_parts();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        batches.push(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?);
    }
    Ok(ParquetFile { schema, batches, metadata })
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
