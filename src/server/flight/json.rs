//! A column written as JSON, in a ticket that a person can type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar};
use crate::clock::Micros;
use crate::flow::Error;

/// The JSON array `raw` as a column of the type of `field`.
///
/// Floats may be the words `"NaN"`, `"Infinity"` and `"-Infinity"`, bytes are base64, times and dates are ISO 8601
/// (without a zone: UTC).
pub(super) fn json_column(raw: &RawValue, field: &Field) -> Result<ArrayRef, Error> {
    Ok(match field.dtype {
        DType::One(Scalar::Bool) => Arc::new(BooleanArray::from(cells::<bool>(raw, field)?)),
        DType::One(Scalar::Int32) => Arc::new(Int32Array::from(cells::<i32>(raw, field)?)),
        DType::One(Scalar::Int64) => Arc::new(Int64Array::from(cells::<i64>(raw, field)?)),
        DType::One(Scalar::Float32) => {
            let narrow = |cell: Option<Float>| cell.map(|Float(number)| number as f32);
            Arc::new(Float32Array::from_iter(cells(raw, field)?.into_iter().map(narrow)))
        }
        DType::One(Scalar::Float64) => {
            let number = |cell: Option<Float>| cell.map(|Float(number)| number);
            Arc::new(Float64Array::from_iter(cells(raw, field)?.into_iter().map(number)))
        }
        DType::One(Scalar::String) => Arc::new(StringArray::from(cells::<String>(raw, field)?)),
        DType::One(Scalar::Bytes) => {
            let bytes = |cell: Option<Base64>| cell.map(|Base64(bytes)| bytes);
            Arc::new(BinaryArray::from_iter(cells(raw, field)?.into_iter().map(bytes)))
        }
        DType::One(Scalar::Timestamp) => {
            let micros = |cell: Option<Time>| cell.map(|Time(micros)| micros);
            Arc::new(timestamps(cells(raw, field)?.into_iter().map(micros).collect()))
        }
        DType::One(Scalar::Date) => {
            let days = |cell: Option<Day>| cell.map(|Day(days)| days);
            Arc::new(Date32Array::from_iter(cells(raw, field)?.into_iter().map(days)))
        }
        DType::List(item) => list_column(raw, field, item)?,
        DType::Embedding(_) => list_column(raw, field, Scalar::Float32)?,
    })
}

/// The number of values in the JSON array `raw`.
pub(super) fn length(raw: &RawValue) -> Option<usize> {
    serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok().map(|cells| cells.len())
}

/// A time in ISO 8601; without a zone it is UTC, without a time of day it is midnight.
pub(super) fn parse_time(text: &str) -> Option<Micros> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| parse_date(text).map(|date| date.and_time(NaiveTime::MIN)));
    naive.map(|time| time.and_utc().timestamp_micros())
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// Every cell as a `T`, or the first row that is not one.
fn cells<T: DeserializeOwned>(raw: &RawValue, field: &Field) -> Result<Vec<Option<T>>, Error> {
    if let Ok(cells) = serde_json::from_str(raw.get()) {
        return Ok(cells);
    }
    let Ok(each) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Err(wrong(field, "not an array", "write one value for each row, in brackets".to_owned()));
    };
    let cell = |(row, cell): (usize, &&RawValue)| {
        serde_json::from_str(cell.get()).map_err(|error| {
            // serde_json ends with the place within the cell, which means nothing to a reader of rows.
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            wrong(field, "something else", format!("row {row}: {why}"))
        })
    };
    each.iter().enumerate().map(cell).collect()
}

/// Lists of any type: all their items as one column, cut by the lengths of the lists.
fn list_column(raw: &RawValue, field: &Field, item: Scalar) -> Result<ArrayRef, Error> {
    let rows = cells::<Vec<Value>>(raw, field)?;
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let width = match field.dtype {
        DType::Embedding(width) => Some(width as usize),
        _ => None,
    };
    let mut lengths = Vec::with_capacity(rows.len());
    let mut items = Vec::new();
    for (row, list) in rows.into_iter().enumerate() {
        // The row of a null embedding takes its room all the same.
        let list = list.unwrap_or_else(|| vec![Value::from(0); width.unwrap_or(0)]);
        if width.is_some_and(|width| width != list.len()) || list.contains(&Value::Null) {
            return Err(wrong(field, "another list", format!("row {row} has {} items or a null item", list.len())));
        }
        lengths.push(list.len());
        items.extend(list);
    }
    let items = serde_json::value::to_raw_value(&items).map_err(|error| wrong(field, "a list", error.to_string()))?;
    let items = json_column(&items, &Field::new(&field.name, DType::One(item)))?;
    let list: Result<ArrayRef, _> = match field.dtype.arrow() {
        DataType::FixedSizeList(of, width) => {
            FixedSizeListArray::try_new(of, width, items, Some(nulls)).map(|list| Arc::new(list) as ArrayRef)
        }
        DataType::List(of) => ListArray::try_new(of, OffsetBuffer::from_lengths(lengths), items, Some(nulls))
            .map(|list| Arc::new(list) as ArrayRef),
        other => return Err(wrong(field, "a list", format!("{other} is no list"))),
    };
    list.map_err(|error| wrong(field, "a list", error.to_string()))
}

fn wrong(field: &Field, is: &str, detail: String) -> Error {
    Error::WrongType { column: field.name.clone(), is: is.to_owned(), wanted: field.dtype.to_string(), detail }
}

#[derive(Deserialize)]
#[serde(try_from = "NumberOrWord")]
struct Float(f64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "it is not a number")]
enum NumberOrWord {
    Number(f64),
    Word(String),
}

impl TryFrom<NumberOrWord> for Float {
    type Error = String;

    fn try_from(written: NumberOrWord) -> Result<Self, String> {
        match written {
            NumberOrWord::Number(number) => Ok(Self(number)),
            NumberOrWord::Word(word) => match word.as_str() {
                "NaN" => Ok(Self(f64::NAN)),
                "Infinity" => Ok(Self(f64::INFINITY)),
                "-Infinity" => Ok(Self(f64::NEG_INFINITY)),
                _ => Err(format!("{word:?} is not a number")),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Base64(Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        STANDARD.decode(&text).map(Self).map_err(|error| format!("{text:?} is not base64: {error}"))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Time(Micros);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_time(&text).map(Self).ok_or_else(|| format!("{text:?} is not a time such as 2016-12-31T00:00:00Z"))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Day(i32);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let days = parse_date(&text).map(|date| date.signed_duration_since(NaiveDate::default()).num_days());
        let days = days.and_then(|days| i32::try_from(days).ok());
        days.map(Self).ok_or_else(|| format!("{text:?} is not a date such as 2016-12-31"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(json: &str, dtype: &str) -> Result<ArrayRef, String> {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        json_column(&raw, &Field::new("hour", dtype.parse().unwrap())).map_err(|error| error.to_string())
    }

    #[test]
    fn every_type_has_a_json_form() {
        for (json, dtype) in [
            ("[true, null]", "bool"),
            ("[3, null]", "int32"),
            ("[-9007199254740993]", "int64"),
            ("[0.1, 1, \"NaN\", null]", "float32"),
            ("[\"-Infinity\"]", "float64"),
            ("[\"é\", null]", "string"),
            ("[\"AP8=\"]", "bytes"),
            ("[\"2016-12-31T01:00:00+01:00\", \"2016-12-31\", null]", "timestamp"),
            ("[\"1970-01-02\"]", "date"),
            ("[[1, 2], [], null]", "list<int64>"),
            ("[[0.5, 1], null]", "list<float32, 2>"),
            ("[]", "int64"),
        ] {
            let column = column(json, dtype).unwrap();
            assert_eq!(column.data_type(), &dtype.parse::<DType>().unwrap().arrow());
            assert_eq!(Some(column.len()), length(&RawValue::from_string(json.to_owned()).unwrap()));
        }
    }

    #[test]
    fn the_first_row_that_does_not_fit_is_named() {
        for (json, dtype, expected) in [
            ("[1, \"x\"]", "int64", "row 1: invalid type: string \"x\", expected i64"),
            ("[1, 2.5]", "int64", "row 1: invalid type: floating point `2.5`, expected i64"),
            ("[\"tomorrow\"]", "timestamp", "row 0: \"tomorrow\" is not a time such as 2016-12-31T00:00:00Z"),
            ("[[1]]", "list<float32, 2>", "row 0 has 1 items or a null item"),
            ("3", "int64", "write one value for each row, in brackets"),
        ] {
            let error = column(json, dtype).unwrap_err();
            assert!(error.starts_with("column hour is ") && error.ends_with(expected), "{error}");
        }
    }
}
