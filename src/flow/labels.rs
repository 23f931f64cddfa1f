//! Labels that are a source of the project: a training set can name them instead of sending them.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use futures::TryStreamExt;

use super::Error;
use super::derive::off_the_async_threads;
use super::train::Labels;
use crate::catalog::{DType, Field, arrow_schema};
use crate::gateway::Gateway;
use crate::limits::TRAIN_ROWS_MAX;
use crate::offline::Scan;

/// All rows of a source as labels; the time of each is the source's event time unless `time_column` names another.
pub async fn labels_of_source(gateway: &Gateway, source: &str, time_column: Option<String>) -> Result<Labels, Error> {
    let applied = gateway.applied.load_full();
    let source = applied.catalog.sources.get(source).cloned().ok_or_else(|| Error::UnknownSource(source.to_owned()))?;
    let schema = gateway.offline.schema(&source).await?;
    let columns = columns(&source.name, &schema)?;
    let time_column = time_column.unwrap_or_else(|| source.event_time.clone());
    let scan = Scan::of(columns.clone());
    let batches = gateway.offline.scan(&source, &scan).await?;
    let rows = off_the_async_threads(async move {
        let mut rows = 0;
        let mut kept: Vec<RecordBatch> = Vec::new();
        let mut batches = batches;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows();
            if rows > TRAIN_ROWS_MAX {
                return Err(Error::TooManyRows { rows, max: TRAIN_ROWS_MAX });
            }
            // The scan adds the times under names of its own; the source's columns come first.
            let own: Vec<usize> = (0..columns.len()).collect();
            kept.push(batch.project(&own).map_err(|error| Error::Stopped(error.to_string()))?);
        }
        let schema = kept.first().map_or_else(|| arrow_schema(&columns), RecordBatch::schema);
        concat_batches(&schema, &kept).map_err(|error| Error::Stopped(error.to_string()))
    });
    Ok(Labels { rows: rows.await?, time_column: Some(time_column) })
}

/// The source's columns, in the types that travel through the gateway.
fn columns(source: &str, schema: &Schema) -> Result<Vec<Field>, Error> {
    let field = |field: &arrow::datatypes::FieldRef| match DType::of_arrow(field.data_type()) {
        Some(dtype) => Ok(Field::new(field.name(), dtype)),
        None => Err(Error::Invalid(format!(
            "column {} of source {source} is {}, which labels cannot carry; leave it out in a sql source",
            field.name(),
            field.data_type()
        ))),
    };
    schema.fields().iter().map(field).collect()
}
