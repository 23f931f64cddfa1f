//! Columns from JSON, as test vectors and goldens write them down.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, FixedSizeListArray, Float32Array,
    Float64Array, Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef};
use serde_json::Value;

use crate::catalog::{DType, Scalar};

/// A float as vectors write it: what JSON has no number for is a string.
pub fn json_of(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        value if value.is_infinite() => if value > 0.0 { "inf" } else { "-inf" }.into(),
        value if value == 0.0 && value.is_sign_negative() => "-0".into(),
        value => value.into(),
    }
}

fn float(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        Some("-0") => -0.0,
        Some(other) => panic!("{other:?} is not a float"),
        None => value.as_f64().unwrap(),
    }
}

/// A column of `values`, which are of the type or null.
pub fn array_of(dtype: DType, values: &[Value]) -> ArrayRef {
    let integer = |value: &Value| (!value.is_null()).then(|| value.as_i64().unwrap());
    let int32 = |value: &Value| integer(value).map(|value| i32::try_from(value).unwrap());
    let float64 = |value: &Value| (!value.is_null()).then(|| float(value));
    match dtype {
        DType::One(Scalar::Bool) => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        DType::One(Scalar::Int32) => Arc::new(values.iter().map(int32).collect::<Int32Array>()),
        DType::One(Scalar::Date) => Arc::new(values.iter().map(int32).collect::<Date32Array>()),
        DType::One(Scalar::Int64) => Arc::new(values.iter().map(integer).collect::<Int64Array>()),
        DType::One(Scalar::Timestamp) => {
            Arc::new(values.iter().map(integer).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        DType::One(Scalar::Float32) => {
            Arc::new(values.iter().map(|value| float64(value).map(|value| value as f32)).collect::<Float32Array>())
        }
        DType::One(Scalar::Float64) => Arc::new(values.iter().map(float64).collect::<Float64Array>()),
        DType::One(Scalar::String) => Arc::new(values.iter().map(Value::as_str).collect::<StringArray>()),
        DType::One(Scalar::Bytes) => {
            let bytes = values.iter().map(|value| value.as_str().map(|text| hex::decode(text).unwrap()));
            Arc::new(bytes.collect::<BinaryArray>())
        }
        DType::Embedding(width) => {
            let empty = vec![Value::from(0.0); width as usize];
            let items: Vec<Value> = values.iter().flat_map(|row| row.as_array().unwrap_or(&empty).clone()).collect();
            let DataType::FixedSizeList(item, width) = dtype.arrow() else { unreachable!() };
            let items = array_of(DType::One(Scalar::Float32), &items);
            let list = FixedSizeListArray::try_new_with_length(item, width, items, nulls(values), values.len());
            Arc::new(list.unwrap())
        }
        DType::List(item) => {
            let rows = values.iter().map(|row| row.as_array().cloned().unwrap_or_default());
            let rows: Vec<Vec<Value>> = rows.collect();
            let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
            let DataType::List(field) = dtype.arrow() else { unreachable!() };
            let items = array_of(DType::One(item), &rows.concat());
            Arc::new(ListArray::try_new(FieldRef::clone(&field), offsets, items, nulls(values)).unwrap())
        }
    }
}

fn nulls(values: &[Value]) -> Option<NullBuffer> {
    let mut valid = BooleanBufferBuilder::new(values.len());
    values.iter().for_each(|value| valid.append(!value.is_null()));
    Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
}

/// The cells of a column as JSON, for messages of tests.
pub fn cells(array: &ArrayRef) -> String {
    let options = arrow::util::display::FormatOptions::default().with_null("null");
    let formatter = arrow::util::display::ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect::<Vec<_>>().join(", ")
}
