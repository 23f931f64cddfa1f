//! Sorts leave rows that are equal in the order of the source.
//!
//! DataFusion's own sort puts them in any order: it depends on how wide the rows are and on whether they spill. Windows
//! would add up the same numbers in another order for each set of columns, so a training set of one feature would have
//! other bits than the online store, whose sync reads all of them. A last rule of the optimizer therefore sorts by the
//! number of the row, too, and takes that column away again behind the sort.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

/// The column with the number of the row.
const ROW: &str = "lockstep_row";

/// Makes every sort of a plan a stable one.
#[derive(Debug)]
pub(super) struct SourceOrderOfTies;

impl PhysicalOptimizerRule for SourceOrderOfTies {
    fn name(&self) -> &str {
        "source_order_of_ties"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let stable = plan.transform_up(|plan| match plan.downcast_ref::<SortExec>() {
            Some(sort) => Ok(Transformed::yes(stable(sort)?)),
            None => Ok(Transformed::no(plan)),
        });
        stable.data()
    }
}

fn stable(sort: &SortExec) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = sort.schema();
    let mut order = sort.expr().clone();
    order.push(PhysicalSortExpr::new_default(Arc::new(Column::new(ROW, schema.fields().len()))));
    let numbered = Arc::new(NumberedExec::new(Arc::clone(sort.input()))?);
    let sorted = SortExec::new(order, numbered).with_preserve_partitioning(sort.preserve_partitioning());
    let sorted = Arc::new(sorted.with_fetch(sort.fetch()));
    let columns = schema.fields().iter().enumerate();
    let columns = columns.map(|(position, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), position));
        (column, field.name().clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns, sorted)?))
}

/// The rows of its input, numbered from 0 in the last column.
#[derive(Debug)]
struct NumberedExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl NumberedExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let of_input = input.schema();
        let mut fields = of_input.fields().to_vec();
        fields.push(Arc::new(Field::new(ROW, DataType::UInt64, false)));
        let schema = Schema::new_with_metadata(fields, of_input.metadata().clone());
        // What is known of the input's columns, of which none has moved, goes on being known.
        let mut equal = EquivalenceProperties::new(Arc::new(schema));
        equal.add_equivalence_group(input.equivalence_properties().eq_group().clone())?;
        let properties = PlanProperties::new(
            equal,
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { input, properties: Arc::new(properties) })
    }
}

impl DisplayAs for NumberedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberedExec")
    }
}

impl ExecutionPlan for NumberedExec {
    fn name(&self) -> &str {
        "NumberedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = inputs.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self::new(input)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, mut next) = (self.schema(), 0);
        let numbered = self.input.execute(partition, context)?.map({
            let schema = Arc::clone(&schema);
            move |batch| -> Result<RecordBatch> {
                let batch = batch?;
                let end = next + batch.num_rows() as u64;
                let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(next..end));
                next = end;
                let columns = [batch.columns(), &[numbers]].concat();
                Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, numbered)))
    }
}
