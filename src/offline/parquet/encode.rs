//! Rows become the bytes of one Parquet file: zstd, row groups that are worth skipping, statistics for rows and pages.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::limits;
use crate::offline::panics::without_panic;

/// Who wrote the rows of a file.
pub(super) const BATCH_ID: &str = "lockstep.batch_id";

/// Encodes `batches`, all of `schema`. Blocks; the caller is not on an async thread.
pub(super) fn encode(
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, String>>,
    batch_id: Option<&str>,
) -> Result<Bytes, String> {
    let batch_id = batch_id.map(|id| vec![KeyValue::new(BATCH_ID.to_owned(), id.to_owned())]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(limits::PARQUET_ROW_GROUP_ROWS))
        .set_key_value_metadata(batch_id)
        .build();
    // Column types that Parquet does not have make its writer panic.
    without_panic(|| {
        let text = |error: parquet::errors::ParquetError| error.to_string();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(text)?;
        for batch in batches {
            writer.write(&batch?).map_err(text)?;
        }
        Ok(writer.into_inner().map_err(text)?.into())
    })
}
