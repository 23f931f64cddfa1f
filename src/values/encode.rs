//! Arrow columns to JSON, straight into one buffer: no allocation per value.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array,
    Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Times, time};

/// A column that is about to be written, its type looked at once.
#[derive(Debug)]
pub struct Column<'a> {
    cells: Cells<'a>,
    times: Times,
}

#[derive(Debug)]
enum Cells<'a> {
    Bool(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Date(&'a Date32Array),
    List(&'a ListArray, Box<Column<'a>>),
    Embedding(&'a FixedSizeListArray, Box<Column<'a>>),
}

impl<'a> Column<'a> {
    /// # Panics
    /// If the column's type is none that the catalog has.
    pub fn of(array: &'a ArrayRef, times: Times) -> Self {
        let items = |items: &'a ArrayRef| Box::new(Self::of(items, times));
        let cells = match array.data_type() {
            DataType::Boolean => Cells::Bool(array.as_boolean()),
            DataType::Int32 => Cells::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Cells::Int64(array.as_primitive::<Int64Type>()),
            DataType::Float32 => Cells::Float32(array.as_primitive::<Float32Type>()),
            DataType::Float64 => Cells::Float64(array.as_primitive::<Float64Type>()),
            DataType::Utf8 => Cells::String(array.as_string()),
            DataType::Binary => Cells::Bytes(array.as_binary()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Cells::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Date32 => Cells::Date(array.as_primitive::<Date32Type>()),
            DataType::List(_) => Cells::List(array.as_list(), items(array.as_list::<i32>().values())),
            DataType::FixedSizeList(..) => {
                Cells::Embedding(array.as_fixed_size_list(), items(array.as_fixed_size_list().values()))
            }
            other => unreachable!("no feature, join key or request field is {other}"),
        };
        Self { cells, times }
    }

    /// Writes the first `rows` values, commas between.
    pub fn push_all(&self, out: &mut Vec<u8>, rows: usize) {
        let floats = match &self.cells {
            Cells::Float64(cells) if cells.null_count() == 0 => &cells.values()[..rows],
            _ => return self.push_separated(out, 0..rows),
        };
        // Most features are these, and most answers have all of them.
        let mut floats = floats.iter();
        if let Some(first) = floats.next() {
            push_float(out, *first);
        }
        for float in floats {
            out.push(b',');
            push_float(out, *float);
        }
    }

    /// Writes one value.
    pub fn push(&self, out: &mut Vec<u8>, row: usize) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.cells {
            Cells::Bool(cells) => out.extend_from_slice(if cells.value(row) { b"true" } else { b"false" }),
            Cells::Int32(cells) => push_integer(out, i64::from(cells.value(row))),
            Cells::Int64(cells) => push_integer(out, cells.value(row)),
            // Feast widens a 32-bit number and then writes it, so 0.1 becomes 0.10000000149011612.
            Cells::Float32(cells) => push_float(out, f64::from(cells.value(row))),
            Cells::Float64(cells) => push_float(out, cells.value(row)),
            Cells::String(cells) => push_string(out, cells.value(row)),
            Cells::Bytes(cells) => push_base64(out, cells.value(row)),
            Cells::Timestamp(cells) => match self.times {
                Times::Seconds => push_integer(out, time::seconds(cells.value(row))),
                Times::Micros => quoted(out, |out| time::push_rfc3339(out, cells.value(row))),
            },
            Cells::Date(cells) => quoted(out, |out| time::push_days(out, cells.value(row))),
            Cells::List(cells, items) => {
                let ends = cells.value_offsets();
                items.push_items(out, ends[row] as usize..ends[row + 1] as usize);
            }
            Cells::Embedding(cells, items) => {
                let start = cells.value_offset(row) as usize;
                items.push_items(out, start..start + cells.value_length() as usize);
            }
        }
    }

    fn push_items(&self, out: &mut Vec<u8>, items: std::ops::Range<usize>) {
        out.push(b'[');
        self.push_separated(out, items);
        out.push(b']');
    }

    fn push_separated(&self, out: &mut Vec<u8>, items: std::ops::Range<usize>) {
        for item in items.clone() {
            if item > items.start {
                out.push(b',');
            }
            self.push(out, item);
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match &self.cells {
            Cells::Bool(cells) => cells.is_null(row),
            Cells::Int32(cells) => cells.is_null(row),
            Cells::Int64(cells) => cells.is_null(row),
            Cells::Float32(cells) => cells.is_null(row),
            Cells::Float64(cells) => cells.is_null(row),
            Cells::String(cells) => cells.is_null(row),
            Cells::Bytes(cells) => cells.is_null(row),
            Cells::Timestamp(cells) => cells.is_null(row),
            Cells::Date(cells) => cells.is_null(row),
            Cells::List(cells, _) => cells.is_null(row),
            Cells::Embedding(cells, _) => cells.is_null(row),
        }
    }
}

/// Writes a string, escaped.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a buffer takes every string");
}

fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Always with a point or an exponent, so that a reader sees a float; JSON has no word for what is not a number.
fn push_float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value > 0.0 {
        out.extend_from_slice(b"\"Infinity\"");
    } else {
        out.extend_from_slice(b"\"-Infinity\"");
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    quoted(out, |out| {
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        BASE64.encode_slice(bytes, &mut out[start..]).expect("four characters for every three bytes");
    });
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}
