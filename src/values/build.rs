//! Columns as they grow, one literal at a time. What a literal may become is decided here, for JSON and query text alike.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeListArray, Float32Builder, Float64Builder,
    Int32Builder, Int64Builder, ListArray, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Times, time};
use crate::catalog::{DType, Scalar};

/// Characters of a wrong value that an error repeats.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// A value as it was written.
#[derive(Clone, Copy, Debug)]
pub enum Literal<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number beyond `i64`.
    Large(u64),
    Float(f64),
    Text(&'a str),
}

/// Why a column cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it must be an array of values")]
    NotAnArray,
    #[error("it has more than {max} values")]
    TooLong { max: usize },
    #[error("row {row} is {value}; it must be {wanted}")]
    Value { row: usize, value: String, wanted: &'static str },
}

/// What a value should have been.
pub type Wanted = &'static str;

/// A column of one type that takes literals.
#[derive(Debug)]
pub struct ColumnBuilder {
    kind: Kind,
    times: Times,
}

#[derive(Debug)]
enum Kind {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    String(StringBuilder),
    Bytes(BinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    List(ListBuilder),
}

/// A list column: its items in one column, and where each list ends.
#[derive(Debug)]
struct ListBuilder {
    dtype: DType,
    items: Box<ColumnBuilder>,
    ends: Vec<i32>,
    present: Vec<bool>,
}

impl ColumnBuilder {
    pub fn new(dtype: DType, times: Times) -> Self {
        let item = match dtype {
            DType::One(scalar) => return Self { kind: Kind::new(scalar), times },
            DType::List(item) => item,
            DType::Embedding(_) => Scalar::Float32,
        };
        let items = Box::new(Self { kind: Kind::new(item), times });
        Self { kind: Kind::List(ListBuilder { dtype, items, ends: vec![0], present: Vec::new() }), times }
    }

    /// Adds one value.
    pub fn push(&mut self, literal: Literal<'_>) -> Result<(), Wanted> {
        if matches!(literal, Literal::Null) {
            self.push_null();
            return Ok(());
        }
        match &mut self.kind {
            Kind::Bool(column) => column.append_value(boolean(literal).ok_or("true or false")?),
            Kind::Int32(column) => {
                let value = whole(literal).and_then(|value| i32::try_from(value).ok());
                column.append_value(value.ok_or("a whole number from -2147483648 to 2147483647")?);
            }
            Kind::Int64(column) => column.append_value(whole(literal).ok_or("a whole number of 64 bits")?),
            Kind::Float32(column) => column.append_value(narrow(literal).ok_or("a number that fits 32 bits")?),
            Kind::Float64(column) => column.append_value(number(literal).ok_or("a number")?),
            Kind::String(column) => match literal {
                Literal::Text(text) => column.append_value(text),
                Literal::Int(value) => column.append_value(itoa::Buffer::new().format(value)),
                Literal::Large(value) => column.append_value(itoa::Buffer::new().format(value)),
                _ => return Err("a string"),
            },
            Kind::Bytes(column) => column.append_value(bytes(literal).ok_or("bytes in base64")?),
            Kind::Timestamp(column) => column.append_value(moment(literal, self.times)?),
            Kind::Date(column) => {
                let Literal::Text(text) = literal else { return Err("a day such as 2026-11-20") };
                column.append_value(time::days(text).ok_or("a day such as 2026-11-20")?);
            }
            Kind::List(list) => return Err(list.wanted()),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match &mut self.kind {
            Kind::Bool(column) => column.append_null(),
            Kind::Int32(column) => column.append_null(),
            Kind::Int64(column) => column.append_null(),
            Kind::Float32(column) => column.append_null(),
            Kind::Float64(column) => column.append_null(),
            Kind::String(column) => column.append_null(),
            Kind::Bytes(column) => column.append_null(),
            Kind::Timestamp(column) => column.append_null(),
            Kind::Date(column) => column.append_null(),
            Kind::List(list) => list.end(false),
        }
    }

    /// Whether an empty text is a value of this column, and not just the absence of one.
    pub fn takes_empty_text(&self) -> bool {
        matches!(self.kind, Kind::String(_))
    }

    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    /// Adds one item to the list that is being read. Items are never null.
    pub fn push_item(&mut self, literal: Literal<'_>) -> Result<(), Wanted> {
        let Kind::List(list) = &mut self.kind else { return Err(self.wanted()) };
        if matches!(literal, Literal::Null) {
            return Err("a list without nulls");
        }
        list.items.push(literal)
    }

    /// Ends the list whose items were added.
    pub fn end_list(&mut self) -> Result<(), Wanted> {
        let Kind::List(list) = &mut self.kind else { return Err(self.wanted()) };
        let length = list.items.rows() - list.ends.last().map_or(0, |end| *end as usize);
        if let DType::Embedding(width) = list.dtype
            && length != width as usize
        {
            return Err("a list of exactly as many numbers as the type says");
        }
        list.end(true);
        Ok(())
    }

    pub fn rows(&self) -> usize {
        match &self.kind {
            Kind::Bool(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Int32(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Int64(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Float32(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Float64(column) => arrow::array::ArrayBuilder::len(column),
            Kind::String(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Bytes(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Timestamp(column) => arrow::array::ArrayBuilder::len(column),
            Kind::Date(column) => arrow::array::ArrayBuilder::len(column),
            Kind::List(list) => list.present.len(),
        }
    }

    /// What an array or an object in place of a value should have been.
    pub fn wanted(&self) -> Wanted {
        match &self.kind {
            Kind::List(list) => list.wanted(),
            _ => "a single value",
        }
    }

    pub fn finish(mut self) -> ArrayRef {
        match &mut self.kind {
            Kind::Bool(column) => Arc::new(column.finish()),
            Kind::Int32(column) => Arc::new(column.finish()),
            Kind::Int64(column) => Arc::new(column.finish()),
            Kind::Float32(column) => Arc::new(column.finish()),
            Kind::Float64(column) => Arc::new(column.finish()),
            Kind::String(column) => Arc::new(column.finish()),
            Kind::Bytes(column) => Arc::new(column.finish()),
            Kind::Timestamp(column) => Arc::new(column.finish()),
            Kind::Date(column) => Arc::new(column.finish()),
            Kind::List(_) => self.finish_list(),
        }
    }

    fn finish_list(self) -> ArrayRef {
        let Kind::List(list) = self.kind else { unreachable!("only list columns are finished as lists") };
        let nulls = Some(NullBuffer::from(list.present)).filter(|nulls| nulls.null_count() > 0);
        let items = list.items.finish();
        match list.dtype.arrow() {
            DataType::FixedSizeList(item, width) => {
                Arc::new(FixedSizeListArray::try_new(item, width, items, nulls).expect("every list has the width"))
            }
            other => Arc::new(list_array(&other, list.ends, items, nulls)),
        }
    }
}

fn list_array(list: &DataType, ends: Vec<i32>, items: ArrayRef, nulls: Option<NullBuffer>) -> ListArray {
    let DataType::List(item) = list else { unreachable!("a list type of ours is fixed-size or a list") };
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    ListArray::try_new(FieldRef::clone(item), offsets, items, nulls).expect("ends grow with the items")
}

impl ListBuilder {
    /// Ends a list, or adds a null one; a null embedding still takes its width in the items.
    fn end(&mut self, present: bool) {
        if let (DType::Embedding(width), false) = (self.dtype, present)
            && let Kind::Float32(items) = &mut self.items.kind
        {
            items.append_slice(&vec![0.0; width as usize]);
        }
        self.present.push(present);
        self.ends.push(i32::try_from(self.items.rows()).expect("a body of bounded size has fewer items than 2^31"));
    }

    fn wanted(&self) -> Wanted {
        match self.dtype {
            DType::Embedding(_) => "a list of numbers",
            _ => "a list",
        }
    }
}

impl Kind {
    fn new(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool => Self::Bool(BooleanBuilder::new()),
            Scalar::Int32 => Self::Int32(Int32Builder::new()),
            Scalar::Int64 => Self::Int64(Int64Builder::new()),
            Scalar::Float32 => Self::Float32(Float32Builder::new()),
            Scalar::Float64 => Self::Float64(Float64Builder::new()),
            Scalar::String => Self::String(StringBuilder::new()),
            Scalar::Bytes => Self::Bytes(BinaryBuilder::new()),
            Scalar::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Scalar::Date => Self::Date(Date32Builder::new()),
        }
    }
}

fn boolean(literal: Literal<'_>) -> Option<bool> {
    match literal {
        Literal::Bool(value) => Some(value),
        Literal::Text("true") => Some(true),
        Literal::Text("false") => Some(false),
        _ => None,
    }
}

/// Whole numbers, also as `"1001"` and `1001.0`, as Feast takes them.
fn whole(literal: Literal<'_>) -> Option<i64> {
    match literal {
        Literal::Int(value) => Some(value),
        // 2^63 is the first float beyond the range; -2^63 is in it.
        Literal::Float(value) if value.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(63)).contains(&value) => {
            Some(value as i64)
        }
        Literal::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Numbers, also as text: `"NaN"` and `"Infinity"` have no other way to be written.
fn number(literal: Literal<'_>) -> Option<f64> {
    match literal {
        Literal::Int(value) => Some(value as f64),
        Literal::Large(value) => Some(value as f64),
        Literal::Float(value) => Some(value),
        Literal::Text(text) => text.trim().parse().ok(),
        Literal::Null | Literal::Bool(_) => None,
    }
}

/// The nearest 32-bit number; a finite number never becomes an infinite one.
fn narrow(literal: Literal<'_>) -> Option<f32> {
    let wide = number(literal)?;
    let value = wide as f32;
    (value.is_finite() || !wide.is_finite()).then_some(value)
}

fn bytes(literal: Literal<'_>) -> Option<Vec<u8>> {
    match literal {
        Literal::Text(text) => BASE64.decode(text).ok(),
        _ => None,
    }
}

fn moment(literal: Literal<'_>, times: Times) -> Result<i64, Wanted> {
    let value = match literal {
        Literal::Int(value) => time::from_number(value, times),
        Literal::Float(value) => time::from_fraction(value, times),
        Literal::Text(text) => time::instant(text, times),
        Literal::Null | Literal::Bool(_) | Literal::Large(_) => None,
    };
    value.ok_or(match times {
        Times::Seconds => "a time such as 2026-11-20T02:00:00Z, or epoch seconds",
        Times::Micros => "a time such as 2026-11-20T02:00:00Z, or epoch microseconds",
    })
}

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Large(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) if text.chars().count() > SHOWN_CHARACTERS_MAX => {
                let shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
                write!(f, "{shown:?}…")
            }
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
