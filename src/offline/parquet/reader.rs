//! How DataFusion reads the bytes of our files: with the footers that are known already, with errors that name the file,
//! and counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricValue, MetricsSet};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
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
    meta: ObjectMeta,
    footers: Arc<Footers>,
    seen: Arc<Seen>,
}

impl Reader {
    fn failed(&self, source: object_store::Error) -> ParquetError {
        let (file, source_name) = (self.file.clone(), self.source_name.clone());
        ParquetError::External(Box::new(RequestFailed { file, source_name, source }))
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.seen.bytes.fetch_add(range.end.saturating_sub(range.start), Ordering::Relaxed);
        async move {
            let read = self.store.get_range(&self.meta.location, range).await;
            read.map_err(|error| self.failed(error))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.seen.bytes.fetch_add(bytes, Ordering::Relaxed);
        async move {
            let read = self.store.get_ranges(&self.meta.location, &ranges).await;
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
