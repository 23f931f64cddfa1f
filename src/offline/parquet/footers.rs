//! The footers of Parquet files: read once, kept while there is room, known by path, size, time and ETag.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::DataFusionError;
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::cache::{Cache, CacheValue};
use futures::FutureExt;
use object_store::path::Path as Location;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use crate::limits;
use crate::offline::panics::{message, without_panic};

/// What stands at the end of one file: its columns and where its row groups are. Without page indexes, which a scan
/// that wants them reads by itself.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    pub metadata: Arc<ParquetMetaData>,
    pub schema: SchemaRef,
}

/// Footers of all tables of a gateway.
pub(super) struct Footers {
    kept: DefaultCache<Location, Footer>,
}

impl CacheValue for Footer {
    fn size(&self) -> usize {
        // The schema says again what the metadata says; it is about as large as a row group's part of that.
        self.metadata.memory_size() * 2
    }
}

impl Default for Footers {
    fn default() -> Self {
        Self { kept: DefaultCache::new(limits::PARQUET_FOOTERS_BYTES_MAX) }
    }
}

impl std::fmt::Debug for Footers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Footers").field("kept", &self.kept.len()).finish()
    }
}

impl Footers {
    /// The footer of a file.
    pub(super) async fn read(
        &self,
        store: &Arc<dyn ObjectStore>,
        meta: &ObjectMeta,
    ) -> Result<Footer, DataFusionError> {
        let key = key(store, meta);
        if let Some(known) = self.kept.get(&key) {
            return Ok(known);
        }
        let reading = DFParquetMetadata::new(store.as_ref(), meta)
            .with_metadata_size_hint(Some(limits::PARQUET_FOOTER_BYTES_READ))
            .with_page_index_policy(Some(PageIndexPolicy::Skip));
        // Damaged bytes can make the reader panic.
        let metadata = AssertUnwindSafe(reading.fetch_metadata()).catch_unwind().await;
        let metadata = metadata.unwrap_or_else(|panic| Err(DataFusionError::Execution(message(panic.as_ref()))))?;
        let of = Arc::clone(&metadata);
        let schema = without_panic(move || {
            let metadata = ArrowReaderMetadata::try_new(of, ArrowReaderOptions::new());
            Ok(Arc::clone(metadata.map_err(|error| error.to_string())?.schema()))
        });
        let footer = Footer { metadata, schema: schema.map_err(DataFusionError::Execution)? };
        self.kept.put(&key, footer.clone());
        Ok(footer)
    }
}

/// What a file is known by: another one in its place differs in size, time or ETag.
fn key(store: &Arc<dyn ObjectStore>, meta: &ObjectMeta) -> Location {
    let ObjectMeta { location, last_modified, size, e_tag, .. } = meta;
    let e_tag = e_tag.as_deref().unwrap_or_default();
    let modified = last_modified.timestamp_nanos_opt().unwrap_or_default();
    Location::from(format!("{store}/{location}/{size}/{modified}/{e_tag}"))
}
