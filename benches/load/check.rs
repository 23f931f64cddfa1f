//! Every value of every answer against what was written.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use arrow_flight::utils::flight_data_to_batches;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::arrivals::{Answer, Run};
use super::dataset::Stored;
use super::question::{Case, Plan, Service, Speaker};
use crate::Result;
use crate::transform::distance_km;

/// What a cell of an answer must be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    value: Option<f64>,
    /// None where the peer has no statuses worth the name.
    status: Option<&'static str>,
}

#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    results: Vec<Column<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    feature_names: Vec<&'a str>,
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

/// Refuses a run in which one answer is not as it was written: names, values to the last bit, nulls, statuses.
pub fn compare_all(case: &Case, run: &Run) -> Result<()> {
    for (question, answer) in &run.answers {
        compare(case, *question, answer).map_err(|error| format!("{}: {error}", case.plan.name()))?;
    }
    Ok(())
}

fn compare(case: &Case, question: usize, answer: &Answer) -> Result<()> {
    let keys = &case.questions[question].keys;
    if case.plan.speaker == Speaker::Constant {
        return Ok(());
    }
    match answer {
        Answer::Json(body) => compare_json(case, keys, body),
        Answer::ArrowStream(_) | Answer::Flight(_) => compare_batches(case, keys, &batches(answer)?),
    }
}

/// The batches of an answer that is not JSON.
pub fn batches(answer: &Answer) -> Result<Vec<RecordBatch>> {
    match answer {
        Answer::Json(_) => Err("an answer in JSON has no batches".into()),
        Answer::ArrowStream(body) => {
            Ok(StreamReader::try_new(body.as_ref(), None)?.collect::<std::result::Result<_, _>>()?)
        }
        Answer::Flight(messages) => Ok(flight_data_to_batches(messages)?),
    }
}

fn compare_json(case: &Case, keys: &[i64], body: &[u8]) -> Result<()> {
    let answer: Json<'_> = serde_json::from_slice(body)?;
    let names = &answer.metadata.feature_names;
    let in_order = names.iter().eq(&case.columns);
    // Feast orders features as its hash tables do.
    if answer.results.len() != case.columns.len() || (case.plan.speaker == Speaker::Lockstep && !in_order) {
        return Err(format!("the answer has the columns {names:?}").into());
    }
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    let column = |number: usize| -> Result<&Column<'_>> {
        let name = &case.columns[number];
        let place = if in_order { Some(&number) } else { places.get(name.as_str()) };
        let column = &answer.results[*place.ok_or_else(|| format!("the answer has no column {name}"))?];
        match [column.values.len(), column.statuses.len(), column.event_timestamps.len()] == [keys.len(); 3] {
            true => Ok(column),
            false => Err(format!("{name} has another number of rows").into()),
        }
    };
    let echoed = column(0)?.values.iter().map(|key| key.and_then(|key| key.get().parse().ok()));
    if !echoed.eq(keys.iter().map(|key| Some(*key))) {
        return Err("the answer is of other keys".into());
    }
    for feature in 0..case.plan.features() {
        let column = column(feature + 1)?;
        for (row, key) in keys.iter().enumerate() {
            let expected = cell(&case.plan, *key, feature);
            // `f64::from_str` rounds correctly, which serde_json does only with a feature of its own.
            let value = column.values[row].map(|text| text.get().parse::<f64>()).transpose()?;
            let status = column.statuses[row];
            let same_status = expected.status.is_none_or(|expected| expected == status);
            if !case.plan.is_same(feature, value, expected.value) || !same_status {
                return Err(wrong(&case.columns[feature + 1], *key, &(value, status), expected));
            }
        }
    }
    Ok(())
}

fn compare_batches(case: &Case, keys: &[i64], batches: &[RecordBatch]) -> Result<()> {
    let schema = batches.first().ok_or("the answer has no batch")?.schema();
    let answer = concat_batches(&schema, batches)?;
    if !schema.fields().iter().map(|field| field.name()).eq(&case.columns) || answer.num_rows() != keys.len() {
        return Err(format!("the answer has {} rows of {schema}", answer.num_rows()).into());
    }
    if answer.column(0).as_primitive::<Int64Type>().values() != keys {
        return Err("the answer is of other keys".into());
    }
    for (feature, column) in answer.columns()[1..].iter().enumerate() {
        let column = column.as_primitive::<Float64Type>();
        for (row, key) in keys.iter().enumerate() {
            let expected = cell(&case.plan, *key, feature);
            let value = column.is_valid(row).then(|| column.value(row));
            if !case.plan.is_same(feature, value, expected.value) {
                return Err(wrong(&case.columns[feature + 1], *key, &value, expected));
            }
        }
    }
    Ok(())
}

/// Refuses columns that a bare client has decoded, if one value is not as it was written.
pub fn compare_columns(plan: &Plan, keys: &[i64], values: impl Fn(usize, usize) -> Option<f64>) -> Result<()> {
    for feature in 0..plan.dataset.features {
        for (row, key) in keys.iter().enumerate() {
            let expected = match plan.dataset.stored(*key, feature) {
                Stored::Unknown => None,
                // A client that knows no ttl.
                Stored::Expired(value) | Stored::Fresh(value) => value,
            };
            let value = values(feature, row);
            if value.map(f64::to_bits) != expected.map(f64::to_bits) {
                return Err(wrong(&format!("f_{feature}"), *key, &value, Cell { value: expected, status: None }));
            }
        }
    }
    Ok(())
}

fn wrong(feature: &str, key: i64, answered: &impl std::fmt::Debug, expected: Cell) -> crate::Error {
    format!("{feature} of customer {key} was answered as {answered:?}; it is {expected:?}").into()
}

impl Plan {
    /// The digits of a distance are those of the guest's own sine; everything else is equal to the last bit.
    fn is_same(&self, feature: usize, answered: Option<f64>, expected: Option<f64>) -> bool {
        match (answered, expected) {
            (Some(answered), Some(expected)) if feature == self.dataset.features => {
                (answered - expected).abs() <= 1e-9 * expected.abs().max(1.0)
            }
            _ => answered.map(f64::to_bits) == expected.map(f64::to_bits),
        }
    }
}

/// What a distance must be, of four features of the first view.
fn distance(plan: &Plan, entity: i64) -> Cell {
    let place = |feature: usize| match plan.dataset.stored(entity, feature) {
        Stored::Unknown | Stored::Expired(_) => None,
        Stored::Fresh(value) => value,
    };
    let places = (place(0).zip(place(1))).zip(place(2).zip(place(3)));
    let is_known = plan.dataset.stored(entity, 0) != Stored::Unknown;
    let status = match (places, is_known) {
        (Some(_), _) => "PRESENT",
        (None, true) => "NULL_VALUE",
        (None, false) => "NOT_FOUND",
    };
    Cell { value: places.map(|(from, to)| distance_km(from, to)), status: Some(status) }
}

fn cell(plan: &Plan, entity: i64, feature: usize) -> Cell {
    if feature == plan.dataset.features {
        return distance(plan, entity);
    }
    let stored = plan.dataset.stored(entity, feature);
    let (value, status) = match (stored, plan.speaker) {
        (Stored::Unknown, Speaker::Lockstep) => (None, Some("NOT_FOUND")),
        (Stored::Expired(_), Speaker::Lockstep) if plan.service != Service::Derived => (None, Some("OUTSIDE_MAX_AGE")),
        // A derived row is there as soon as one of the rows it reads is.
        (Stored::Expired(_), Speaker::Lockstep) => (None, Some("NULL_VALUE")),
        (Stored::Fresh(Some(value)), Speaker::Lockstep) => (Some(value), Some("PRESENT")),
        (Stored::Fresh(None), Speaker::Lockstep) => (None, Some("NULL_VALUE")),
        (Stored::Unknown, _) => (None, None),
        // Feast keeps serving what is too old, and says PRESENT for nulls.
        (Stored::Expired(value) | Stored::Fresh(value), _) => (value, None),
    };
    let value = match plan.service {
        Service::Stored | Service::Beside => value,
        Service::Derived => value.map(|x| ((x - 3.5) * 0.25).clamp(-5.0, 5.0)),
    };
    Cell { value, status }
}
