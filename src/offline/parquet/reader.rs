//! How DataFusion reads the bytes of our files: with the footers that are known already, with errors that name the file,
//! and counted.
//!
//! A file that is written anew while it is read is an error: pages of the one read by the footer of the other are rows
//! that nobody wrote, if they can be read at all.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricValue, MetricsSet};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use object_store::{
    GetOptions, GetRange, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, coalesce_ranges,
};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::footers::Footers;
use super::place::Place;
use crate::offline::object_stores::RequestFailed;
use crate::offline::{Read, Reads};

/// Opens the files of one scan. What the scan did is counted when it is dropped, with the plan that holds it.
#[derive(Debug)]
pub(super) struct Readers {
    place: Place,
    footers: Arc<Footers>,
    reads: Arc<Reads>,
    files_pruned: u64,
    seen: Arc<Seen>,
    /// Where the plan counts what it pruned.
    metrics: Mutex<Option<ExecutionPlanMetricsSet>>,
}

/// What was opened so far.
#[derive(Debug, Default)]
struct Seen {
    files: AtomicU64,
    row_groups: AtomicU64,
    bytes: AtomicU64,
}

impl Readers {
    pub(super) fn new(place: Place, footers: Arc<Footers>, reads: Arc<Reads>, files_pruned: u64) -> Self {
        Self { place, footers, reads, files_pruned, seen: Arc::default(), metrics: Mutex::default() }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _footer_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| metrics.clone());
        Ok(Box::new(Reader {
            source_name: self.place.source_name.clone(),
            file: format!("file {}", self.place.shown_location(&file.object_meta.location)),
            store: Arc::clone(self.place.store()),
            is_local: self.place.is_local(),
            meta: file.object_meta,
            footers: Arc::clone(&self.footers),
            seen: Arc::clone(&self.seen),
        }))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let metrics = self.metrics.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let metrics = metrics.map(|metrics| metrics.clone_inner()).unwrap_or_default();
        let row_groups = self.seen.row_groups.load(Ordering::Relaxed);
        let row_groups_pruned = pruned(&metrics, "row_groups_pruned_statistics")
            + pruned(&metrics, "row_groups_pruned_bloom_filter")
            + pruned(&metrics, "limit_pruned_row_groups");
        self.reads.add(
            &self.place.source_name,
            Read {
                files_read: self.seen.files.load(Ordering::Relaxed),
                files_pruned: self.files_pruned,
                row_groups_read: row_groups.saturating_sub(row_groups_pruned),
                row_groups_pruned,
                pages_pruned: pruned(&metrics, "page_index_pages_pruned"),
                bytes_read: self.seen.bytes.load(Ordering::Relaxed),
            },
        );
    }
}

/// What the readers of all files pruned under one name.
fn pruned(metrics: &MetricsSet, wanted: &str) -> u64 {
    let of = |value: &MetricValue| match value {
        MetricValue::PruningMetrics { name, pruning_metrics } if name == wanted => pruning_metrics.pruned() as u64,
        _ => 0,
    };
    metrics.iter().map(|metric| of(metric.value())).sum()
}

struct Reader {
    source_name: String,
    /// In the user's words.
    file: String,
    store: Arc<dyn ObjectStore>,
    is_local: bool,
    meta: ObjectMeta,
    footers: Arc<Footers>,
    seen: Arc<Seen>,
}

impl Reader {
    async fn read_local(&self, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let bytes = self.store.get_ranges(&self.meta.location, ranges).await;
        self.check(&self.store.head(&self.meta.location).await?)?;
        bytes
    }

    /// Every answer says of which object it is.
    async fn read_remote(&self, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let fetch = |range: Range<u64>| async move {
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            let answer = self.store.get_opts(&self.meta.location, options).await?;
            self.check(&answer.meta)?;
            answer.bytes().await
        };
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn check(&self, now: &ObjectMeta) -> object_store::Result<()> {
        if is_same(&self.meta, now) {
            return Ok(());
        }
        let path = self.meta.location.to_string();
        Err(object_store::Error::Precondition { path, source: "another file is there now".into() })
    }

    fn failed(&self, source: object_store::Error) -> ParquetError {
        let (file, source_name) = (self.file.clone(), self.source_name.clone());
        ParquetError::External(Box::new(RequestFailed { file, source_name, source }))
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.get_byte_ranges(vec![range]).map_ok(|mut bytes| bytes.swap_remove(0)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.seen.bytes.fetch_add(bytes, Ordering::Relaxed);
        async move {
            let read = if self.is_local { self.read_local(&ranges).await } else { self.read_remote(&ranges).await };
            read.map_err(|error| self.failed(error))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let footer = self.footers.read(&self.store, &self.meta).await;
            let footer = footer.map_err(|error| ParquetError::External(Box::new(error)))?;
            // A file may have several readers; one of them asks for the footer.
            self.seen.files.fetch_add(1, Ordering::Relaxed);
            self.seen.row_groups.fetch_add(footer.metadata.num_row_groups() as u64, Ordering::Relaxed);
            Ok(footer.metadata)
        }
        .boxed()
    }
}

/// Whether two looks at a file saw the same one. Where one of them does not know the ETag, as some listings do not, by
/// size and time; HTTP has times in whole seconds.
fn is_same(before: &ObjectMeta, now: &ObjectMeta) -> bool {
    if let (Some(before), Some(now)) = (&before.e_tag, &now.e_tag) {
        return before == now;
    }
    let is_rounded = now.last_modified.timestamp_subsec_nanos() == 0;
    before.size == now.size
        && match is_rounded {
            true => before.last_modified.timestamp() == now.last_modified.timestamp(),
            false => before.last_modified == now.last_modified,
        }
}
