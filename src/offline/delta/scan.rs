//! The rows of one version as a table of DataFusion's. The crate's own provider skips files by the statistics in the log
//! and row groups by those in the files; this one adds the order in which files are read.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use deltalake::{DeltaTable, DeltaTableError};

/// One version of a table.
#[derive(Debug)]
pub(super) struct VersionScan {
    /// Knows the store, which the session of each scan is told.
    table: DeltaTable,
    scan: DeltaScanNext,
    /// When each file was written, in milliseconds, by the last part of its path.
    written: HashMap<String, i64>,
}

impl VersionScan {
    /// Of a table whose log was read.
    pub(super) fn new(table: &DeltaTable) -> Result<Self, DeltaTableError> {
        let state = table.snapshot()?;
        let files = state.log_data();
        let written = files.iter().map(|file| (last_part(&file.path()).to_owned(), file.modification_time()));
        let config = DeltaScanConfig { schema_force_view_types: false, ..DeltaScanConfig::new() };
        let scan = DeltaScanNext::new(state.snapshot().clone(), config.with_wrap_partition_values(false))?;
        Ok(Self { table: table.clone(), scan, written: written.collect() })
    }

    /// The plan, with each group of files in the order of [`super`].
    fn in_order(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let ordered = plan.transform_up(|node| {
            let source = node.downcast_ref::<DataSourceExec>();
            let Some(files) = source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>()) else {
                return Ok(Transformed::no(node));
            };
            let groups = files.file_groups.iter().map(|group| self.sorted(group)).collect();
            let files = FileScanConfigBuilder::from(files.clone()).with_file_groups(groups).build();
            Ok(Transformed::yes(DataSourceExec::from_data_source(files) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(ordered.data)
    }

    fn sorted(&self, group: &FileGroup) -> FileGroup {
        let mut files: Vec<PartitionedFile> = group.iter().cloned().collect();
        let written = |file: &PartitionedFile| {
            self.written.get(last_part(file.object_meta.location.as_ref())).copied().unwrap_or(i64::MAX)
        };
        files.sort_by_cached_key(|file| (written(file), file.object_meta.location.clone()));
        FileGroup::new(files)
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[async_trait]
impl TableProvider for VersionScan {
    fn schema(&self) -> SchemaRef {
        self.scan.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table.update_datafusion_session(session)?;
        self.in_order(self.scan.scan(session, projection, filters, limit).await?)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.scan.supports_filters_pushdown(filters)
    }
}
