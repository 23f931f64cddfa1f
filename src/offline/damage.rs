//! Which of many Parquet files is damaged. DataFusion does not say which one it stumbled over, so on this path, and on
//! this path only, the files are decoded once more, one after the other.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::ObjectStoreExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::panics::message;
use super::tables::TableFile;
use super::{Error, object_stores};

/// Of files, each with the name of its source, the first that cannot be decoded from end to end, or cannot be had.
pub(super) async fn first_damaged(files: &[(String, TableFile)]) -> Option<Error> {
    for (source_name, file) in files {
        let shown = format!("file {}", file.shown);
        let detail = match AssertUnwindSafe(decode(file.clone())).catch_unwind().await {
            Ok(Ok(())) => continue,
            // What is in a bucket may be whole and out of reach.
            Ok(Err(error)) if file.shown.contains("://") => {
                match object_stores::failed_request(source_name, &shown, &error) {
                    Some(failed) => return Some(failed),
                    None => error.to_string(),
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => message(panic.as_ref()),
        };
        return Some(Error::Unreadable { source_name: source_name.clone(), detail: format!("{shown}: {detail}") });
    }
    None
}

async fn decode(file: TableFile) -> Result<(), ParquetError> {
    let mut batches = ParquetRecordBatchStreamBuilder::new(Reader(file)).await?.build()?;
    while batches.try_next().await?.is_some() {}
    Ok(())
}

struct Reader(TableFile);

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let read = self.0.store.get_range(&self.0.meta.location, range);
        read.map(|read| read.map_err(|error| ParquetError::External(Box::new(error)))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let bytes = self.0.meta.size;
        async move { Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, bytes).await?)) }.boxed()
    }
}
