//! Parquet files as a table of DataFusion's.
//!
//! # Why not DataFusion's own listing table
//! It lists a directory by itself, in an order of its own, may answer from a cache, and reads a path with a `*` in it as
//! a pattern. Here the files and their order are given.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::files::SourceFiles;

/// The rows of some files, one file after the other.
#[derive(Debug)]
pub(super) struct ParquetTable {
    files: SourceFiles,
}

impl ParquetTable {
    pub(super) fn new(files: SourceFiles) -> Self {
        Self { files }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.files.iter().map(|file| file.path.clone()).collect()
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.files.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// `filters` stay with the plan above, which offers them to the Parquet reader so that it skips row groups.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        let source = ParquetSource::new(self.schema()).with_table_parquet_options(options);
        let files = self.files.files.iter().map(|file| PartitionedFile::new_from_meta(file.meta.clone()));
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_group(FileGroup::new(files.collect()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_preserve_order(true)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
