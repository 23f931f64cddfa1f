//! Upsert: rows take the place of those with the same keys and event time. Files that hold such rows are written anew
//! without them (copy on write); the new rows come in files of their own, behind all others.
//!
//! Only files whose statistics allow for a key are looked into, and only their key columns, before one is rewritten.
//! A file is rewritten in memory, so there is a limit to its size. A table that is updated all the time is better kept
//! as a Delta table, or in PostgreSQL.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use super::append::{encoded, is_there};
use super::compact::{decode, read};
use super::encode::encode;
use super::files;
use super::footers::{Footer, Footers};
use super::names::{BatchFile, batch_file, batch_hash};
use super::open::{self, DataFile};
use super::place::{Created, Place, off_the_async_threads};
use super::replace::{self, Change};
use crate::catalog::Partition;
use crate::clock::Micros;
use crate::limits;
use crate::offline::Error;
use crate::offline::panics::without_panic;

/// Puts `rows` into the table, in the place of those with the same `keys`, unless a batch of this id is there.
pub(super) async fn upsert(
    place: &Place,
    partitions: &[Partition],
    footers: &Footers,
    (batch_id, now): (&str, Micros),
    keys: &[String],
    rows: &RecordBatch,
) -> Result<(), Error> {
    let batch = batch_hash(batch_id);
    let wanted = Wanted::new(keys, rows).map_err(|detail| place.write_failed(detail))?;
    let wanted = Arc::new(wanted);
    for attempt in 0..limits::TABLE_CHANGES_MAX {
        let files = files::look(place).await?;
        if is_there(&files, place, &batch)? {
            return Ok(());
        }
        let Some(files) = files else { return super::append::append(place, partitions, batch_id, rows).await };
        let found = files.live.iter().map(|live| live.found.clone()).collect();
        let opened = open::open(place, partitions, footers, found).await?;
        let mut change = Change { batch: Some(batch.clone()), ..Change::default() };
        let mut is_new = true;
        for (live, file) in files.live.iter().zip(&opened) {
            let rewrite = rewrite(place, file, partitions, &wanted).await?;
            let Some(rest) = rewrite else { continue };
            change.replaced.push(live.clone());
            if let Some(rest) = rest {
                let path = replace::new_path(&files, &live.found.path, attempt, now);
                is_new &= place.create(&path, rest).await? == Created::New;
                change.added.push((path, live.stands_at.clone()));
            }
        }
        if change.replaced.is_empty() {
            return super::append::append(place, partitions, batch_id, rows).await;
        }
        let new = encoded(place, partitions, Some(batch_id), rows).await?;
        let parts = new.len();
        for (part, (folder, bytes)) in (1..).zip(new) {
            let number = files.next_number;
            let stands_at = batch_file(&folder, BatchFile { number, batch: &batch, part, parts });
            let path = replace::new_path(&files, &stands_at, attempt, now);
            is_new &= place.create(&path, bytes).await? == Created::New;
            change.added.push((path, stands_at));
        }
        if is_new && replace::commit(place, &files, &change, now).await? {
            return Ok(());
        }
    }
    Err(place.write_failed("other programs keep changing the table; try again later"))
}

/// The keys whose rows are replaced.
#[derive(Debug)]
struct Wanted {
    names: Vec<String>,
    types: Vec<DataType>,
    /// The smallest and the largest value of each key.
    bounds: Vec<Option<(ScalarValue, ScalarValue)>>,
    rows: HashSet<Box<[u8]>>,
}

impl Wanted {
    fn new(keys: &[String], rows: &RecordBatch) -> Result<Self, String> {
        let column =
            |key: &String| rows.column_by_name(key).cloned().ok_or_else(|| format!("the rows have no column {key}"));
        let columns: Vec<ArrayRef> = keys.iter().map(column).collect::<Result<_, _>>()?;
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let bounds = columns.iter().map(bounds).collect();
        let rows = converted(&types, &columns)?;
        let rows = rows.iter().map(|row| Box::from(row.as_ref())).collect();
        Ok(Self { names: keys.to_vec(), types, bounds, rows })
    }

    /// Whether a file can hold one of the keys, by its statistics.
    fn may_be_in(&self, footer: &Footer) -> bool {
        let row_groups = footer.metadata.row_groups();
        let mut may_be = vec![true; row_groups.len()];
        let parquet_schema = footer.metadata.file_metadata().schema_descr();
        for ((name, data_type), bounds) in self.names.iter().zip(&self.types).zip(&self.bounds) {
            let Some((smallest, largest)) = bounds else { continue };
            let Ok(statistics) = StatisticsConverter::try_new(name, &footer.schema, parquet_schema) else { continue };
            let (Ok(mins), Ok(maxes)) = (statistics.row_group_mins(row_groups), statistics.row_group_maxes(row_groups))
            else {
                continue;
            };
            let (Ok(mins), Ok(maxes)) = (cast(&mins, data_type), cast(&maxes, data_type)) else { continue };
            for (at, may_be) in may_be.iter_mut().enumerate() {
                let value =
                    |column: &ArrayRef| ScalarValue::try_from_array(column, at).ok().filter(|value| !value.is_null());
                let below = value(&maxes).is_some_and(|max| max < *smallest);
                let above = value(&mins).is_some_and(|min| min > *largest);
                *may_be &= !below && !above;
            }
        }
        may_be.contains(&true)
    }

    /// Which rows of `batch` are replaced; `values` are those that the folders of its file give.
    fn among(&self, batch: &RecordBatch, values: &[(String, ScalarValue)]) -> Result<BooleanArray, String> {
        let column = |(name, data_type): (&String, &DataType)| {
            let given = values.iter().find(|(partition, _)| partition == name);
            let column = match given {
                Some((_, value)) => value.to_array_of_size(batch.num_rows()).map_err(|error| error.to_string())?,
                // A file that was written before the column was there has nulls in it.
                None => batch
                    .column_by_name(name)
                    .cloned()
                    .unwrap_or_else(|| arrow::array::new_null_array(data_type, batch.num_rows())),
            };
            cast(&column, data_type).map_err(|error| error.to_string())
        };
        let columns: Vec<ArrayRef> = self.names.iter().zip(&self.types).map(column).collect::<Result<_, _>>()?;
        let rows = converted(&self.types, &columns)?;
        Ok(rows.iter().map(|row| Some(self.rows.contains(row.as_ref()))).collect())
    }
}

/// What is left of a file without the rows that are replaced: `None` where all of it stays, `Some(None)` where nothing
/// does.
async fn rewrite(
    place: &Place,
    file: &DataFile,
    partitions: &[Partition],
    wanted: &Arc<Wanted>,
) -> Result<Option<Option<Bytes>>, Error> {
    if !wanted.may_be_in(&file.footer) {
        return Ok(None);
    }
    let path = place.shown(&file.found.path);
    let max = limits::REWRITTEN_FILE_BYTES_MAX;
    if file.found.meta.size > max {
        let advice = "keep tables that are updated as Delta tables or in PostgreSQL";
        let detail =
            format!("file {path} has {} bytes, and files up to {max} are rewritten; {advice}", file.found.meta.size);
        return Err(Error::NoRoom { source_name: place.source_name.clone(), detail });
    }
    let bytes = read(place, file).await?;
    let (schema, wanted) = (Arc::clone(&file.footer.schema), Arc::clone(wanted));
    let names = partitions.iter().map(|partition| partition.field.name.clone());
    let values: Vec<(String, ScalarValue)> = names.zip(file.values.clone()).collect();
    let rewriting = off_the_async_threads(move || {
        Ok(without_panic(|| {
            if !holds(bytes.clone(), &wanted, &values)? {
                return Ok(None);
            }
            let mut rows = 0;
            let rest = decode(bytes, Arc::clone(&schema)).map(|batch| {
                let batch = batch?;
                let stays = arrow::compute::not(&wanted.among(&batch, &values)?).map_err(|error| error.to_string())?;
                let rest = filter_record_batch(&batch, &stays).map_err(|error| error.to_string())?;
                rows += rest.num_rows();
                Ok(rest)
            });
            let encoded = encode(&schema, rest.collect::<Vec<_>>(), None)?;
            Ok(Some((rows > 0).then_some(encoded)))
        }))
    });
    let rewritten = rewriting.await.map_err(|error| place.write_failed(error.to_string()))?;
    rewritten.map_err(|detail| place.unreadable(format!("file {path}: {detail}")))
}

/// Whether a file holds one of the keys; looks at their columns only.
fn holds(bytes: Bytes, wanted: &Wanted, values: &[(String, ScalarValue)]) -> Result<bool, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| error.to_string())?;
    let keys = ProjectionMask::columns(builder.parquet_schema(), wanted.names.iter().map(String::as_str));
    let reader = builder.with_projection(keys).with_batch_size(limits::SCAN_BATCH_ROWS).build();
    for batch in reader.map_err(|error| error.to_string())? {
        if wanted.among(&batch.map_err(|error| error.to_string())?, values)?.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn converted(types: &[DataType], columns: &[ArrayRef]) -> Result<arrow::row::Rows, String> {
    let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(columns));
    rows.map_err(|error| error.to_string())
}

/// The smallest and the largest value; nothing where one is null, which no statistics speak of.
fn bounds(column: &ArrayRef) -> Option<(ScalarValue, ScalarValue)> {
    if column.null_count() > 0 || column.is_empty() {
        return None;
    }
    let order = arrow::compute::sort_to_indices(column, None, None).ok()?;
    let at = |position: usize| ScalarValue::try_from_array(column, order.value(position) as usize).ok();
    Some((at(0)?, at(order.len() - 1)?))
}
