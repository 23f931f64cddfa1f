//! Keys and JSON values without a server: exact texts, strictness, round trips of every type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Float32Array, Float64Array, Int64Array, StringArray};
use proptest::prelude::*;

use super::super::columns::{ColumnBuilder, SourceColumn, source_columns};
use super::super::fields::Keys;
use super::key::TextKeys;
use super::value;
use crate::batch::{KeyBatch, KeyColumns, timestamps};
use crate::catalog::{DType, Field, Scalar};
use crate::online::conformance::view_of;
use crate::online::samples;

fn one(scalar: Scalar) -> DType {
    DType::One(scalar)
}

fn written(dtype: DType, array: ArrayRef) -> Vec<String> {
    let field = Field::new("f", dtype);
    let column = SourceColumn::of(&field, &array).unwrap();
    let text = |row| {
        let mut text = Vec::new();
        value::write(&column, row, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    (0..array.len()).map(text).collect()
}

fn read(dtype: DType, text: &str) -> Result<ArrayRef, String> {
    let field = Field::new("f", dtype);
    let mut column = ColumnBuilder::new(&field, 1);
    value::read(text.as_bytes(), &mut column)?;
    Ok(column.finish())
}

#[test]
fn numbers_are_as_short_as_they_can_be_and_exact() {
    let other_nan = f64::from_bits(0xfff8_0000_0000_0000);
    let numbers = vec![0.1, -0.0, 3.0, 1e22, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, other_nan];
    let texts =
        ["0.1", "-0.0", "3.0", "1e+22", "\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "\"NaN(0xfff8000000000000)\""];
    assert_eq!(written(one(Scalar::Float64), Arc::new(Float64Array::from(numbers))), texts);
    let numbers = vec![0.1, f32::MIN_POSITIVE, f32::from_bits(0x7fc0_0001)];
    let texts = ["0.1", "1.1754944e-38", "\"NaN(0x7fc00001)\""];
    assert_eq!(written(one(Scalar::Float32), Arc::new(Float32Array::from(numbers))), texts);
    assert_eq!(
        written(one(Scalar::Int64), Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ["-9223372036854775808", "null"]
    );
}

#[test]
fn times_and_dates_are_texts_where_a_calendar_shows_them() {
    let times = vec![1_795_140_000_000_000, -1, 253_402_300_799_999_999, 253_402_300_800_000_000, i64::MIN];
    let texts = [
        "\"2026-11-20T02:00:00.000000Z\"",
        "\"1969-12-31T23:59:59.999999Z\"",
        "\"9999-12-31T23:59:59.999999Z\"",
        "253402300800000000",
        "-9223372036854775808",
    ];
    assert_eq!(written(DType::TIMESTAMP, Arc::new(timestamps(times.into_iter().map(Some).collect()))), texts);
    let days = Date32Array::from(vec![0, -719_528, -719_529, i32::MAX]);
    let texts = ["\"1970-01-01\"", "\"0000-01-01\"", "-719529", "2147483647"];
    assert_eq!(written(one(Scalar::Date), Arc::new(days)), texts);
}

#[test]
fn other_ways_to_write_the_same_value_are_read() {
    let time: ArrayRef = Arc::new(timestamps(vec![Some(1_795_140_000_000_000)]));
    for text in ["\"2026-11-20T02:00:00Z\"", "\"2026-11-20T04:00:00+02:00\"", " \"2026-11-20T02:00:00.000000000Z\" "] {
        assert_eq!(&read(DType::TIMESTAMP, text).unwrap(), &time);
    }
    let hundred: ArrayRef = Arc::new(Float64Array::from(vec![100.0]));
    for text in ["100", "1E2", "1.0e+2"] {
        assert_eq!(&read(one(Scalar::Float64), text).unwrap(), &hundred);
    }
    let text: ArrayRef = Arc::new(StringArray::from(vec!["é/"]));
    assert_eq!(&read(one(Scalar::String), r#""\u00e9\/""#).unwrap(), &text);
}

#[test]
fn a_wrong_type_is_refused_in_words() {
    let cases = [
        (one(Scalar::Int64), "1.0", "is 1.0, not an integer"),
        (one(Scalar::Int64), "1e3", "is 1e3, not an integer"),
        (one(Scalar::Int64), "\"1\"", "is a text, not an integer"),
        (one(Scalar::Int32), "2147483648", "is 2147483648, out of range"),
        (one(Scalar::Int64), "007", "is not JSON"),
        (one(Scalar::Int64), "", "is not JSON"),
        (one(Scalar::Float64), "1e999", "is out of range"),
        (one(Scalar::Float32), "1e39", "is out of range"),
        (one(Scalar::Float64), "\"nan\"", "is a text, but not a number"),
        (one(Scalar::Float64), "\"NaN(0x3ff0000000000000)\"", "is a text, but not a number"),
        (one(Scalar::Float64), "true", "is a bool, not a number"),
        (one(Scalar::Bool), "1", "is a number, not a bool"),
        (one(Scalar::String), "5", "is a number, not a text"),
        (one(Scalar::Bytes), "\"a\"", "is a text, but not a text in base64"),
        (DType::TIMESTAMP, "1795140000", "is a number; write this timestamp as \"1970-01-01T00:29:55.140000Z\""),
        (
            DType::TIMESTAMP,
            "\"2026-11-20T02:00:00.0000001Z\"",
            "is a text, but not an RFC 3339 time of whole microseconds",
        ),
        (one(Scalar::Date), "\"2026-11-31\"", "is a text, but not a date such as 2026-11-20"),
        (one(Scalar::Date), "20000", "is a number; write this date as \"2024-10-04\""),
        (DType::List(Scalar::Int64), "{}", "is an object, not a list"),
        (DType::List(Scalar::Int64), "[1,\"2\"]", "has an item that is a text, not an integer"),
        (DType::List(Scalar::Int64), "[1,null]", "has an item that is null, not an integer"),
        (DType::Embedding(2), "[1.5]", "it has 1 items, not 2"),
    ];
    for (dtype, text, expected) in cases {
        assert_eq!(read(dtype, text).unwrap_err(), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn every_value_comes_back_bit_for_bit((view, rows) in samples::views_with_rows(3)) {
        for (column, array) in source_columns(&view, &rows).unwrap().iter().zip(&rows.features) {
            let mut builder = ColumnBuilder::new(column.field, 3);
            for row in 0..3 {
                let mut text = Vec::new();
                value::write(column, row, &mut text).unwrap();
                serde_json::from_slice::<serde::de::IgnoredAny>(&text).unwrap();
                value::read(&text, &mut builder).unwrap();
            }
            prop_assert_eq!(&builder.finish(), array);
        }
    }

    #[test]
    fn any_text_is_a_value_or_an_error(text in any::<String>(), dtype in samples::dtypes()) {
        if let Ok(column) = read(dtype, &text) {
            prop_assert_eq!(column.len(), 1);
        }
    }
}

fn keys_of(dtypes: &[Scalar]) -> (TextKeys, Vec<Field>) {
    const NAMES: [&str; 3] = ["user_id", "item_id", "day"];
    let keys: Vec<(&str, DType)> = NAMES.into_iter().zip(dtypes).map(|(name, dtype)| (name, one(*dtype))).collect();
    let mut view = (*view_of("any", &keys, &[])).clone();
    view.entities = ["user", "item", "day"][..dtypes.len()].iter().map(|name| (*name).to_owned()).collect();
    (TextKeys::of(&view, "p:"), view.join_keys)
}

#[test]
fn keys_are_names_and_ids() {
    let check = |columns: &[ArrayRef], dtypes: &[Scalar], expected: &str| {
        let (keys, fields) = keys_of(dtypes);
        let written = keys.write(KeyBatch::encode(&fields, columns, 1).get(0)).unwrap();
        assert_eq!(String::from_utf8_lossy(&written), expected);
    };
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let number = || -> ArrayRef { Arc::new(Int64Array::from(vec![-7])) };
    check(&[number()], &[Scalar::Int64], "p:features:user:-7");
    check(&[text("a:b%c")], &[Scalar::String], "p:features:user:a:b%c");
    check(&[text("a:b%c"), number()], &[Scalar::String, Scalar::Int64], "p:features:user,item:a%3Ab%25c:-7");
    check(&[], &[], "p:features::");
    let time: ArrayRef = Arc::new(timestamps(vec![Some(0)]));
    check(&[time], &[Scalar::Timestamp], "p:features:user:1970-01-01T00:00:00.000000Z");
}

#[test]
fn a_key_that_we_would_write_otherwise_is_no_key_of_ours() {
    for key in
        ["p:features:user:007", "p:features:user:+7", "p:features:user:", "p:features:user:7:8", "features:user:7"]
    {
        let (keys, fields) = keys_of(&[Scalar::Int64]);
        assert!(!keys.read(key.as_bytes(), &mut KeyColumns::new(&fields)), "{key}");
    }
    let (keys, fields) = keys_of(&[Scalar::String, Scalar::String]);
    for key in ["p:features:user,item:a", "p:features:user,item:a:b:c", "p:features:user,item:a%3a:b"] {
        assert!(!keys.read(key.as_bytes(), &mut KeyColumns::new(&fields)), "{key}");
    }
}

proptest! {
    #[test]
    fn every_key_is_read_back(
        (dtypes, columns) in prop::collection::vec(prop::sample::select(vec![
            Scalar::Bool, Scalar::Int32, Scalar::Int64, Scalar::String, Scalar::Bytes, Scalar::Timestamp, Scalar::Date,
        ]), 1..4).prop_flat_map(|dtypes| {
            let columns: Vec<_> = dtypes.iter().map(|dtype| samples::column(one(*dtype), 1)).collect();
            (Just(dtypes), columns)
        })
    ) {
        let (keys, fields) = keys_of(&dtypes);
        let encoded = KeyBatch::encode(&fields, &columns, 1);
        if !encoded.is_null(0) {
            let mut read = KeyColumns::new(&fields);
            let written = keys.write(encoded.get(0)).unwrap();
            prop_assert!(keys.read(&written, &mut read), "{}", written.escape_ascii());
            prop_assert_eq!(KeyBatch::encode(&fields, &read.finish(), 1), encoded);
        }
    }
}
