//! Files become a table: their footers are read, their columns merged, and what their folders say is checked.

use std::sync::Arc;

use arrow::compute::kernels::aggregate::{max, min};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use super::footers::{Footer, Footers};
use super::partitions;
use super::place::{Found, Place};
use crate::cast::{self, type_name};
use crate::catalog::Partition;
use crate::limits;
use crate::offline::engine::words;
use crate::offline::merge::Merged;
use crate::offline::{Error, object_stores};

/// A file whose columns are known.
#[derive(Clone, Debug)]
pub(super) struct DataFile {
    pub found: Found,
    pub footer: Footer,
    /// What its folders say, one for each partition.
    pub values: Vec<ScalarValue>,
}

/// Reads the footers of `files`; the order stays.
pub(super) async fn open(
    place: &Place,
    partitions: &[Partition],
    footers: &Footers,
    files: Vec<Found>,
) -> Result<Vec<DataFile>, Error> {
    let opened = stream::iter(files).map(|found| async move {
        let unreadable = |detail: String| place.unreadable(format!("file {}: {detail}", place.shown(&found.path)));
        let values = partitions::values(partitions, &found.path).map_err(unreadable)?;
        let footer = footers.read(place.store(), &found.meta).await.map_err(|error| {
            let file = format!("file {}", place.shown(&found.path));
            let failed = object_stores::failed_request(&place.source_name, &file, &error);
            failed.unwrap_or_else(|| unreadable(words(&error)))
        })?;
        check_days(partitions, &values, &footer).map_err(unreadable)?;
        Ok(DataFile { found, footer, values })
    });
    opened.buffered(limits::FOOTERS_READ_AT_ONCE).try_collect().await
}

/// The columns of all files together; those that folders give are not among them.
pub(super) fn merged(place: &Place, partitions: &[FieldRef], files: &[DataFile]) -> Result<SchemaRef, Error> {
    let mut merged = Merged::default();
    for file in files {
        merged.add(&file.footer.schema).map_err(|conflict| {
            let (before, now) = (type_name(&conflict.before), type_name(&conflict.now));
            let path = place.shown(&file.found.path);
            let column = &conflict.column;
            place.unreadable(format!("file {path}: column {column} is {now}, in the files before it {before}"))
        })?;
    }
    let schema = merged.schema();
    let is_partition = |field: &FieldRef| partitions.iter().any(|partition| partition.name() == field.name());
    let fields: Vec<FieldRef> = schema.fields().iter().filter(|field| !is_partition(field)).cloned().collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether the times of a file are of the day that its folder says, as far as its statistics know them. Files are left
/// out by what their folders say, so a wrong one would be missed in silence.
fn check_days(partitions: &[Partition], values: &[ScalarValue], footer: &Footer) -> Result<(), String> {
    for (partition, value) in partitions.iter().zip(values) {
        let (Some(column), (Some(begin), Some(end))) = (&partition.day_of, partitions::day_bounds(value)) else {
            continue;
        };
        let Some((first, last)) = times(column, footer) else { continue };
        if first < begin || last >= end {
            let name = &partition.field.name;
            return Err(format!(
                "its folder is {name}={value}, and it has rows with a {column} of another day; write them to the folder \
                 of their day in UTC, or leave day_of out of the source's partitions"
            ));
        }
    }
    Ok(())
}

/// The first and the last time in a column, if the statistics of all row groups have them.
fn times(column: &str, footer: &Footer) -> Option<(i64, i64)> {
    let metadata = &footer.metadata;
    let parquet_schema = metadata.file_metadata().schema_descr();
    let converter = StatisticsConverter::try_new(column, &footer.schema, parquet_schema).ok()?;
    let mins = cast::to_times(&converter.row_group_mins(metadata.row_groups()).ok()?).ok()?;
    let maxes = cast::to_times(&converter.row_group_maxes(metadata.row_groups()).ok()?).ok()?;
    let first = min(&mins)?;
    let last = max(&maxes)?;
    Some((first, last))
}
