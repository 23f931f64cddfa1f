//! The proof: the same entities, at the same moment, through serving and through training; then bits are compared.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, make_comparator, new_null_array};
use arrow::compute::{SortOptions, take};
use futures::StreamExt;
use serde::Serialize;

use super::serve::{Answer, Prepared, WhenUnreachable, prepare, read_stored, serve};
use super::train::{Labels, Options, train};
use super::{Error, Selection};
use crate::batch::{KeyBatch, record_batch, timestamps};
use crate::cast::to_text;
use crate::catalog::{DType, Field, Scalar};
use crate::clock::{Deadline, Micros};
use crate::gateway::Gateway;
use crate::limits::{PARITY_CELLS_SHOWN_MAX, PARITY_DEADLINE, SERVE_ROWS_MAX};
use crate::offline::Scan;
use crate::plan::{FeaturePlan, InputKind, PlanInput};

/// What the comparison of one service found.
#[derive(Clone, Debug, Serialize)]
pub struct Parity {
    pub service: String,
    pub rows: usize,
    /// Cells compared.
    pub values: usize,
    /// Cells whose bits differ.
    pub differ: usize,
    /// Cells that are not null; a comparison of nothing proves nothing.
    pub not_null: usize,
    /// The moment both sides were asked about.
    pub as_of: Micros,
    /// The first differing cells.
    pub cells: Vec<DifferingCell>,
}

/// One value that is not the same in serving and in training.
#[derive(Clone, Debug, Serialize)]
pub struct DifferingCell {
    pub keys: BTreeMap<String, String>,
    pub feature: String,
    pub served: String,
    pub trained: String,
}

/// Serves `sample` rows of a service's entities (with several kinds of entities, in changing combinations), makes the training rows as of the same moment, and compares the bits.
///
/// `as_of` is the moment asked about; `None` takes the newest event time that serving knows of the sample, so that data
/// that ended long ago is compared while its ttl still holds.
pub async fn parity(gateway: &Gateway, service: &str, sample: usize, as_of: Option<Micros>) -> Result<Parity, Error> {
    let selection = Selection::Service { name: service.to_owned(), full_feature_names: Some(true) };
    let prepared = prepare(gateway, &selection)?.undivided();
    let inputs = sampled_inputs(gateway, &prepared, sample.clamp(1, SERVE_ROWS_MAX)).await?;
    let rows = inputs.first().map_or(0, |column| column.len());

    let asked = match as_of {
        Some(as_of) => as_of,
        None => newest_served(gateway, &prepared, &inputs, rows).await?,
    };
    let (unreachable, deadline) = (WhenUnreachable::Fail, Deadline::after(PARITY_DEADLINE));
    let served = serve(gateway, prepared.clone(), inputs.clone(), rows, Some(asked), unreachable, deadline).await?;
    let labels = labels(&prepared.plan, &inputs, rows, asked);
    let trained = train(gateway, &selection, labels, Options::default()).await?.collect().await?;
    compare(service, &served, &trained, asked)
}

/// Entities from the histories of the views that the service reads, and request fields of every kind of value.
async fn sampled_inputs(gateway: &Gateway, prepared: &Prepared, sample: usize) -> Result<Vec<ArrayRef>, Error> {
    let mut keys: BTreeMap<usize, ArrayRef> = BTreeMap::new();
    for read in &prepared.plan.reads {
        if read.keys.iter().all(|input| keys.contains_key(input)) {
            continue;
        }
        let source = &prepared.applied.catalog.sources[&read.view.source];
        let scan = Scan::of(read.view.join_keys.clone());
        let found = sample_keys(gateway.offline.scan(source, &scan).await?, &read.view.join_keys, sample).await?;
        for (input, column) in read.keys.iter().zip(found) {
            keys.entry(*input).or_insert(column);
        }
    }
    let input = |(position, input): (usize, &PlanInput)| match keys.get(&position) {
        Some(column) if !column.is_empty() => repeated(column, sample),
        // A key without a history is asked for too: both sides must say that nothing is known of it.
        _ if input.kind == InputKind::JoinKey => Ok(made_up(&Field { nullable: false, ..input.field.clone() }, sample)),
        _ => Ok(made_up(&input.field, sample)),
    };
    prepared.plan.inputs.iter().enumerate().map(input).collect()
}

/// The `sample` keys with the smallest hashes: a fair sample, and the same one each time.
async fn sample_keys(
    mut batches: crate::offline::Rows,
    join_keys: &[Field],
    sample: usize,
) -> Result<Vec<ArrayRef>, Error> {
    let mut chosen: BTreeMap<(u64, Vec<u8>), Vec<ArrayRef>> = BTreeMap::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let keys = KeyBatch::encode(join_keys, &batch.columns()[..join_keys.len()], batch.num_rows());
        for row in (0..keys.rows()).filter(|row| !keys.is_null(*row)) {
            let mut hasher = DefaultHasher::new();
            hasher.write(keys.get(row));
            let entry = (hasher.finish(), keys.get(row).to_vec());
            let full = chosen.len() >= sample;
            if full && chosen.last_key_value().is_some_and(|(last, _)| *last <= entry) || chosen.contains_key(&entry) {
                continue;
            }
            chosen
                .insert(entry, batch.columns()[..join_keys.len()].iter().map(|column| column.slice(row, 1)).collect());
            if full {
                chosen.pop_last();
            }
        }
    }
    (0..join_keys.len())
        .map(|column| {
            let parts: Vec<&dyn Array> = chosen.values().map(|row| row[column].as_ref()).collect();
            match parts.is_empty() {
                true => Ok(new_null_array(&join_keys[column].dtype.arrow(), 0)),
                false => arrow::compute::concat(&parts).map_err(|error| Error::Stopped(error.to_string())),
            }
        })
        .collect()
}

/// `column` over and over again, up to `rows`.
fn repeated(column: &ArrayRef, rows: usize) -> Result<ArrayRef, Error> {
    let positions = arrow::array::UInt64Array::from_iter_values((0..rows).map(|row| (row % column.len()) as u64));
    take(column, &positions, None).map_err(|error| Error::Stopped(error.to_string()))
}

/// Values of a request field: ordinary ones, the ends of its type, and nulls where it allows them.
fn made_up(field: &Field, rows: usize) -> ArrayRef {
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
    };
    let null = |row: usize| field.nullable && row % 11 == 10;
    macro_rules! column {
        ($array:ty, $values:expr) => {{
            let values = $values;
            Arc::new((0..rows).map(|row| (!null(row)).then(|| values[row % values.len()].clone())).collect::<$array>())
                as ArrayRef
        }};
    }
    match field.dtype {
        DType::One(Scalar::Bool) => column!(BooleanArray, [true, false]),
        DType::One(Scalar::Int32) => column!(Int32Array, [0, 7, 23, -1, i32::MAX, i32::MIN]),
        DType::One(Scalar::Int64) => column!(Int64Array, [0, 7, 23, -1, i64::MAX, i64::MIN]),
        DType::One(Scalar::Float32) => column!(Float32Array, [0.5, -0.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE]),
        DType::One(Scalar::Float64) => {
            column!(Float64Array, [0.5, 3.25, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE])
        }
        DType::One(Scalar::String) => column!(StringArray, ["Credit Card", "Cash", "", "naïve 🚕"]),
        DType::One(Scalar::Bytes) => {
            Arc::new(BinaryArray::from_iter((0..rows).map(|row| (!null(row)).then_some([0_u8, 255]))))
        }
        DType::One(Scalar::Date) => column!(Date32Array, [0, 17_000, -1]),
        DType::TIMESTAMP => {
            Arc::new(timestamps((0..rows).map(|row| (!null(row)).then_some(row as i64 * 1_000_003)).collect()))
        }
        other => new_null_array(&other.arrow(), rows),
    }
}

/// The newest event time among the stored rows of the sample; the clock's time if there is none.
async fn newest_served(
    gateway: &Gateway,
    prepared: &Prepared,
    inputs: &[ArrayRef],
    rows: usize,
) -> Result<Micros, Error> {
    let now = gateway.clock.now();
    let (unreachable, deadline) = (WhenUnreachable::Fail, Deadline::after(PARITY_DEADLINE));
    let stored = read_stored(gateway, &prepared.plan, inputs, rows, unreachable, deadline).await?;
    let newest = stored.iter().filter_map(|found| arrow::compute::max(&found.event_time)).max();
    Ok(newest.unwrap_or(now).min(now))
}

fn labels(plan: &FeaturePlan, inputs: &[ArrayRef], rows: usize, as_of: Micros) -> Labels {
    let mut fields: Vec<Field> =
        plan.inputs.iter().map(|input| Field { nullable: true, ..input.field.clone() }).collect();
    let mut columns = inputs.to_vec();
    let time_column = "lockstep_label_time".to_owned();
    fields.push(Field::new(&time_column, DType::TIMESTAMP));
    columns.push(Arc::new(timestamps(vec![Some(as_of); rows])));
    Labels::of(record_batch(&fields, columns, rows), Some(time_column))
}

fn compare(service: &str, served: &Answer, trained: &RecordBatch, as_of: Micros) -> Result<Parity, Error> {
    let plan = &served.prepared.plan;
    let mut parity = Parity {
        service: service.to_owned(),
        rows: served.rows,
        values: 0,
        differ: 0,
        not_null: 0,
        as_of,
        cells: Vec::new(),
    };
    for (output, column) in plan.outputs.iter().zip(&served.columns) {
        let name = &output.field.name;
        let made = trained
            .column_by_name(name)
            .ok_or_else(|| Error::Stopped(format!("the training set has no column {name}")))?;
        // The comparator orders floats by their bits: -0.0 is not 0.0, and a NaN equals only the same NaN.
        let order = make_comparator(column.values.as_ref(), made.as_ref(), SortOptions::default())
            .map_err(|error| Error::Stopped(error.to_string()))?;
        parity.values += served.rows;
        parity.not_null += served.rows - column.values.null_count();
        for row in (0..served.rows).filter(|row| !order(*row, *row).is_eq()) {
            parity.differ += 1;
            if parity.cells.len() < PARITY_CELLS_SHOWN_MAX {
                parity.cells.push(DifferingCell {
                    keys: keys_of(served, row),
                    feature: name.clone(),
                    served: to_text(&column.values, row),
                    trained: to_text(made, row),
                });
            }
        }
    }
    Ok(parity)
}

fn keys_of(served: &Answer, row: usize) -> BTreeMap<String, String> {
    let plan = &served.prepared.plan;
    let keys = plan.inputs.iter().zip(&served.inputs).filter(|(input, _)| input.kind == InputKind::JoinKey);
    keys.map(|(input, column)| (input.field.name.clone(), to_text(column, row))).collect()
}
