//! Parquet files as a table of DataFusion's: one file after the other, those left out in which no asked row can be.
//!
//! # Why not DataFusion's own listing table
//! It lists a directory by itself, in an order of its own, may answer from a cache, and reads a path with a `*` in it as
//! a pattern. Here the files and their order are given.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;

use super::footers::Footers;
use super::open::DataFile;
use super::partitions::day_bounds;
use super::place::Place;
use super::reader::Readers;
use crate::batch::timestamps;
use crate::catalog::Partition;
use crate::limits::PRUNED_KEYS_MAX;
use crate::offline::Reads;

/// The rows of some files, one file after the other.
#[derive(Debug)]
pub(super) struct ParquetTable {
    pub place: Place,
    pub url: ObjectStoreUrl,
    pub partitions: Vec<Partition>,
    pub files: Vec<DataFile>,
    /// The columns of the files, then those that their folders give.
    pub schema: TableSchema,
    pub footers: Arc<Footers>,
    pub reads: Arc<Reads>,
}

impl ParquetTable {
    /// For each file whether a row that `filters` ask for can be in it, by what its folders say.
    fn asked(&self, state: &dyn Session, filters: &[Expr]) -> Vec<bool> {
        let all = || vec![true; self.files.len()];
        let Some(asked) = conjunction(filters.to_vec()) else { return all() };
        if self.partitions.is_empty() {
            return all();
        }
        let pruned = || -> Result<Vec<bool>> {
            let schema = self.schema.table_schema();
            let asked = state.create_physical_expr(asked, &DFSchema::try_from(Arc::clone(schema))?)?;
            let asked = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(asked)?;
            asked.prune(&Folders { table: self })
        };
        // What cannot be pruned is read, and filtered then.
        pruned().unwrap_or_else(|_| all())
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Files are left out by the filters, rows are not: the filters stay with the plan above, which also offers them to
    /// the Parquet reader, so that it skips row groups and pages.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        state.runtime_env().register_object_store(self.url.as_ref(), Arc::clone(self.place.store()));
        let asked = self.asked(state, filters);
        let files: Vec<PartitionedFile> = self
            .files
            .iter()
            .zip(&asked)
            .filter(|(_, asked)| **asked)
            .map(|(file, _)| {
                PartitionedFile::new_from_meta(file.found.meta.clone()).with_partition_values(file.values.clone())
            })
            .collect();
        let files_pruned = (self.files.len() - files.len()) as u64;
        let readers =
            Readers::new(self.place.clone(), Arc::clone(&self.footers), Arc::clone(&self.reads), files_pruned);
        let mut options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        options.global.max_in_list_size = PRUNED_KEYS_MAX;
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let scan = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_group(FileGroup::new(files))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_preserve_order(true)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

/// What the folders of the files say about the values of their rows.
struct Folders<'a> {
    table: &'a ParquetTable,
}

impl Folders<'_> {
    /// The values of the partition called `column`.
    fn of_partition(&self, column: &Column) -> Option<ArrayRef> {
        let at = self.table.partitions.iter().position(|partition| partition.field.name == column.name)?;
        ScalarValue::iter_to_array(self.table.files.iter().map(|file| file.values[at].clone())).ok()
    }

    /// The first and the last time that the column can have whose days some partition is.
    fn of_times(&self, column: &Column) -> Option<(ArrayRef, ArrayRef)> {
        let is_it = |partition: &Partition| partition.day_of.as_ref() == Some(&column.name);
        let at = self.table.partitions.iter().position(is_it)?;
        let data_type = self.table.schema.table_schema().field_with_name(&column.name).ok()?.data_type().clone();
        // The last microsecond of a day has nanoseconds in it, which are before midnight too.
        let after_last = i64::from(!matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)));
        let bounds = |file: &DataFile| {
            let (begin, end) = day_bounds(&file.values[at]);
            (begin, end.map(|end| end - after_last))
        };
        let (begins, ends) = self.table.files.iter().map(bounds).unzip();
        let of_type = |times| cast(&timestamps(times), &data_type).ok();
        Some((of_type(begins)?, of_type(ends)?))
    }
}

impl PruningStatistics for Folders<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of_partition(column).or_else(|| Some(self.of_times(column)?.0))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of_partition(column).or_else(|| Some(self.of_times(column)?.1))
    }

    fn num_containers(&self) -> usize {
        self.table.files.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = |file: &DataFile| u64::try_from(file.footer.metadata.file_metadata().num_rows()).ok();
        Some(Arc::new(self.table.files.iter().map(rows).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// The columns of files, then those that folders give.
pub(super) fn table_schema(files: SchemaRef, partitions: Vec<FieldRef>) -> TableSchema {
    TableSchema::builder(files).with_table_partition_cols(partitions).build()
}
