//! Every value of every answer against what was written.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Float64Type;
use arrow::ipc::reader::StreamReader;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::arrivals::Answer;
use super::question::{Case, ENTITIES, EXPIRED_VIEW, Service, VIEW_FEATURES, is_expired};
use crate::Result;
use crate::synthetic::{JOIN_KEY, value};

/// What a cell of an answer must be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    value: Option<f64>,
    status: &'static str,
}

#[derive(Deserialize)]
struct Json<'a> {
    metadata: Metadata,
    #[serde(borrow)]
    results: Vec<Column<'a>>,
}

#[derive(Deserialize)]
struct Metadata {
    feature_names: Vec<String>,
}

#[derive(Deserialize)]
struct Column<'a> {
    #[serde(borrow)]
    values: Vec<Option<&'a RawValue>>,
    #[serde(borrow)]
    statuses: Vec<&'a str>,
    #[serde(borrow)]
    event_timestamps: Vec<&'a str>,
}

/// Refuses an answer in which anything is not as it was written: names, values to the last bit, nulls, statuses.
pub fn compare(case: &Case, question: usize, answer: &Answer) -> Result<()> {
    let keys = &case.questions[question].keys;
    match answer {
        Answer::Json(body) => compare_json(case, keys, body),
        Answer::ArrowStream(body) => {
            let batches = StreamReader::try_new(body.as_ref(), None)?.collect::<std::result::Result<Vec<_>, _>>()?;
            compare_batches(case, keys, &batches)
        }
        Answer::Batches(batches) => compare_batches(case, keys, batches),
    }
}

fn compare_json(case: &Case, keys: &[i64], body: &[u8]) -> Result<()> {
    let answer: Json<'_> = serde_json::from_slice(body)?;
    let names: Vec<String> = std::iter::once(JOIN_KEY.to_owned()).chain(case.features()).collect();
    if answer.metadata.feature_names != names || answer.results.len() != names.len() {
        return Err(format!("the answer has the columns {:?}", answer.metadata.feature_names).into());
    }
    let echoed = answer.results[0].values.iter().map(|key| key.and_then(|key| key.get().parse().ok()));
    if !echoed.eq(keys.iter().map(|key| Some(*key))) {
        return Err("the answer is of other keys".into());
    }
    for (feature, column) in answer.results[1..].iter().enumerate() {
        if [column.values.len(), column.statuses.len(), column.event_timestamps.len()] != [keys.len(); 3] {
            return Err(format!("{} has another number of rows", names[feature + 1]).into());
        }
        for (row, key) in keys.iter().enumerate() {
            let expected = cell(case.service, *key, feature);
            // `f64::from_str` rounds correctly, which serde_json does only with a feature of its own.
            let value = column.values[row].map(|text| text.get().parse::<f64>()).transpose()?;
            if value.map(f64::to_bits) != expected.value.map(f64::to_bits) || column.statuses[row] != expected.status {
                return Err(wrong(&names[feature + 1], *key, &(value, column.statuses[row]), expected));
            }
        }
    }
    Ok(())
}

fn compare_batches(case: &Case, keys: &[i64], batches: &[RecordBatch]) -> Result<()> {
    let schema = batches.first().ok_or("the answer has no batch")?.schema();
    let answer = concat_batches(&schema, batches)?;
    let names: Vec<String> = std::iter::once(JOIN_KEY.to_owned()).chain(case.features()).collect();
    if !schema.fields().iter().map(|field| field.name()).eq(&names) || answer.num_rows() != keys.len() {
        return Err(format!("the answer has {} rows of {schema}", answer.num_rows()).into());
    }
    if answer.column(0).as_primitive::<arrow::datatypes::Int64Type>().values() != keys {
        return Err("the answer is of other keys".into());
    }
    for (feature, column) in answer.columns()[1..].iter().enumerate() {
        let column = column.as_primitive::<Float64Type>();
        for (row, key) in keys.iter().enumerate() {
            let expected = cell(case.service, *key, feature);
            let value = column.is_valid(row).then(|| column.value(row));
            if value.map(f64::to_bits) != expected.value.map(f64::to_bits) {
                return Err(wrong(&names[feature + 1], *key, &value, expected));
            }
        }
    }
    Ok(())
}

fn wrong(feature: &str, key: i64, answered: &impl std::fmt::Debug, expected: Cell) -> crate::Error {
    format!("{feature} of customer {key} was answered as {answered:?}; it is {expected:?}").into()
}

fn cell(service: Service, entity: i64, feature: usize) -> Cell {
    let known = u64::try_from(entity).is_ok_and(|entity| entity < ENTITIES);
    let expired = feature / VIEW_FEATURES == EXPIRED_VIEW && is_expired(entity);
    let stored = if known && !expired { value(entity, feature, 0) } else { None };
    let value = match service {
        Service::Stored => stored,
        Service::Derived => stored.map(|x| ((x - 3.5) * 0.25).clamp(-5.0, 5.0)),
    };
    // A derived row is there as soon as one of the rows it reads is.
    let status = match value {
        _ if !known => "NOT_FOUND",
        _ if expired && service == Service::Stored => "OUTSIDE_MAX_AGE",
        Some(_) => "PRESENT",
        None => "NULL_VALUE",
    };
    Cell { value, status }
}
