//! The one rule by which a column of somebody else's becomes a column of ours: the same values, or an error.
//!
//! Rows come from files, pushes, label frames and Flight clients in whatever types their writers liked. Each column is
//! cast here to the type that the definitions name, so that the same number is the same feature wherever it came from.

mod decimal;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Float32Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Field as ArrowField, Float32Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::catalog::{DType, Scalar};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A column cannot be read as the type that was asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{is} cannot be read as {wanted}: {detail}")]
pub struct CastError {
    pub is: String,
    pub wanted: String,
    pub detail: String,
}

/// The same values as type `to`, or the first one that is not the same there.
///
/// - Integers, floats and decimals become one another where every value stays what it is. Two things round to the
///   nearest, because the type that was asked for says so: `float64` read as `float32`, and decimals read as floats.
///   A finite number never becomes infinite.
/// - Text of any encoding is `string`, also out of a dictionary or out of bytes that are UTF-8; `bytes` take any of
///   these. Text is never parsed: a number or a time in a string needs a sql source that says how.
/// - Times of any unit and zone become microseconds UTC. A time without a zone is UTC; nanoseconds are cut down to the
///   microsecond before. A date is the midnight it begins with, and a midnight can be read as a date.
/// - Lists of any kind become lists; an item must not be null. An embedding needs lists of exactly its width.
/// - A column that is null throughout can be read as anything.
pub fn exactly(column: &ArrayRef, to: DType) -> Result<ArrayRef, CastError> {
    let cast = match to {
        DType::One(scalar) => cast_scalar(column, scalar),
        DType::List(item) => cast_list(column, item).map(|list| Arc::new(list) as ArrayRef),
        DType::Embedding(width) => cast_embedding(column, width),
    };
    cast.map_err(|detail| CastError { is: type_name(column.data_type()), wanted: to.to_string(), detail: detail.0 })
}

/// As [`exactly`], and the error says which row it was; for columns that a caller counts the rows of.
pub fn exactly_by_row(column: &ArrayRef, to: DType) -> Result<ArrayRef, CastError> {
    exactly(column, to).map_err(|error| match first_refused_row(column, to) {
        Some(row) => CastError { detail: format!("row {row}: {}", error.detail), ..error },
        None => error,
    })
}

/// The first row that cannot be cast; nothing where no row could be. Halves the column, since a cast of the rows before
/// the first refused one succeeds.
fn first_refused_row(column: &ArrayRef, dtype: DType) -> Option<usize> {
    let fits = |rows: usize| exactly(&column.slice(0, rows), dtype).is_ok();
    if !fits(0) {
        return None;
    }
    let (mut fitting, mut refused) = (0, column.len());
    while refused - fitting > 1 {
        let middle = fitting + (refused - fitting) / 2;
        match fits(middle) {
            true => fitting = middle,
            false => refused = middle,
        }
    }
    Some(fitting)
}

/// `column` as times in microseconds, UTC.
pub fn to_times(column: &ArrayRef) -> Result<TimestampMicrosecondArray, CastError> {
    Ok(exactly_by_row(column, DType::TIMESTAMP)?.as_primitive::<TimestampMicrosecondType>().clone())
}

/// Values as people type them (on a command line, in a URL), as a column.
pub fn from_text(values: &[Option<&str>], dtype: DType) -> Result<ArrayRef, String> {
    let DType::One(scalar) = dtype else {
        return Err(format!("a {dtype} cannot be typed here; send it as JSON or Arrow"));
    };
    let texts: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let parsed = match scalar {
        Scalar::String => return Ok(texts),
        Scalar::Bytes => {
            return Ok(Arc::new(BinaryArray::from_iter(values.iter().map(|value| value.map(str::as_bytes)))));
        }
        _ => strict(&texts, &dtype.arrow()),
    };
    parsed.map_err(|_| {
        let shown = values.iter().flatten().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        format!("{shown} cannot be read as {dtype}")
    })
}

/// Numbers, bools, times and dates out of a column of text, each of them whole: `1.5` is no `int32`, and what is larger
/// than every `float64` is none.
pub fn parsed(texts: &ArrayRef, to: Scalar) -> Result<ArrayRef, CastError> {
    let refused = |detail: String| CastError { is: "string".to_owned(), wanted: to.name().to_owned(), detail };
    let parsed = strict(texts, &to.arrow()).map_err(|detail| refused(detail.0))?;
    let overflown = match to {
        Scalar::Float32 => {
            parsed.as_primitive::<Float32Type>().iter().position(|value| value.is_some_and(f32::is_infinite))
        }
        Scalar::Float64 => {
            parsed.as_primitive::<Float64Type>().iter().position(|value| value.is_some_and(f64::is_infinite))
        }
        _ => None,
    };
    match overflown.map(|row| to_text(texts, row)) {
        Some(text) if !text.to_lowercase().contains("inf") => Err(refused(inexact(text, to.name()).0)),
        _ => Ok(parsed),
    }
}

/// One value as people read it; times in RFC 3339.
pub fn to_text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    let shown = ArrayFormatter::try_new(column, &FormatOptions::new()).map(|shown| shown.value(row).to_string());
    shown.unwrap_or_else(|error| error.to_string())
}

/// What users call an Arrow type: our word where there is one.
pub fn type_name(data_type: &DataType) -> String {
    let word = match data_type {
        DataType::Boolean => "bool",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes",
        DataType::Date32 => "date",
        DataType::Null => "null",
        other => return other.to_string().to_lowercase(),
    };
    word.to_owned()
}

/// Why not, to go behind "cannot be read as …:".
struct Detail(String);

impl From<ArrowError> for Detail {
    fn from(error: ArrowError) -> Self {
        let text = error.to_string();
        Self(text.strip_prefix("Cast error: ").unwrap_or(&text).to_owned())
    }
}

fn no_such_cast() -> Detail {
    Detail("there is no exact way; cast it in a sql source".to_owned())
}

fn cast_scalar(column: &ArrayRef, to: Scalar) -> Result<ArrayRef, Detail> {
    if column.data_type() == &to.arrow() {
        return Ok(Arc::clone(column));
    }
    match column.data_type() {
        DataType::Null => return Ok(new_null_array(&to.arrow(), column.len())),
        DataType::Dictionary(_, values) => return cast_scalar(&strict(column, values)?, to),
        DataType::RunEndEncoded(_, values) => return cast_scalar(&strict(column, values.data_type())?, to),
        _ => {}
    }
    match to {
        Scalar::Bool => Err(no_such_cast()),
        Scalar::Int32 => strict(&integers(column)?, &DataType::Int32),
        Scalar::Int64 => integers(column),
        Scalar::Float32 => float32(column),
        Scalar::Float64 => float64(column),
        Scalar::String => match column.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View => strict(column, &DataType::Utf8),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                strict(&strict(column, &DataType::Binary)?, &DataType::Utf8)
            }
            _ => Err(no_such_cast()),
        },
        Scalar::Bytes => match column.data_type() {
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) | DataType::Utf8 => {
                strict(column, &DataType::Binary)
            }
            DataType::LargeUtf8 | DataType::Utf8View => strict(&strict(column, &DataType::Utf8)?, &DataType::Binary),
            _ => Err(no_such_cast()),
        },
        Scalar::Timestamp => micros(column),
        Scalar::Date => days(column),
    }
}

/// Arrow's own cast, where a value that does not fit is an error and not a null.
fn strict(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Detail> {
    Ok(cast_with_options(column, to, &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn integers(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    match column.data_type() {
        integer if integer.is_integer() => strict(column, &DataType::Int64),
        DataType::Decimal128(_, 0) | DataType::Decimal256(_, 0) => strict(column, &DataType::Int64),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            decimal::integers(column)
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats = strict(column, &DataType::Float64)?;
            let whole: Int64Array = floats.as_primitive::<Float64Type>().try_unary(|value| {
                let integer = value as i64;
                // Through i128, because the float next to i64::MAX is one above it.
                if value.fract() == 0.0 && integer as i128 == value as i128 {
                    Ok(integer)
                } else {
                    Err(Detail(format!("{value} is not a whole number that fits")))
                }
            })?;
            Ok(Arc::new(whole))
        }
        _ => Err(no_such_cast()),
    }
}

fn float64(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    match column.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => strict(column, &DataType::Float64),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            decimal::floats(column)
        }
        integer if integer.is_integer() => {
            let integers = strict(column, &DataType::Int64)?;
            let floats: Float64Array = integers.as_primitive::<Int64Type>().try_unary(|value| {
                let float = value as f64;
                if float as i128 == i128::from(value) { Ok(float) } else { Err(inexact(value, "float64")) }
            })?;
            Ok(Arc::new(floats))
        }
        _ => Err(no_such_cast()),
    }
}

fn float32(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    let floats: Float32Array = if column.data_type().is_integer() {
        let integers = strict(column, &DataType::Int64)?;
        integers.as_primitive::<Int64Type>().try_unary(|value| {
            let float = value as f32;
            if float as i128 == i128::from(value) { Ok(float) } else { Err(inexact(value, "float32")) }
        })?
    } else {
        float64(column)?.as_primitive::<Float64Type>().try_unary(|value| {
            let float = value as f32;
            if float.is_infinite() && value.is_finite() { Err(inexact(value, "float32")) } else { Ok(float) }
        })?
    };
    Ok(Arc::new(floats))
}

fn inexact(value: impl std::fmt::Display, wanted: &str) -> Detail {
    Detail(format!("{value} is not a {wanted}"))
}

fn micros(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    let times = |unit: i64| move |value: i64| value.checked_mul(unit).ok_or_else(|| inexact(value, "time in range"));
    let micros: TimestampMicrosecondArray = match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            column.as_primitive::<TimestampSecondType>().try_unary(times(1_000_000))?
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().try_unary(times(1_000))?
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => column.as_primitive::<TimestampMicrosecondType>().clone(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().unary(|value| value.div_euclid(1_000))
        }
        DataType::Date32 => {
            column.as_primitive::<Date32Type>().try_unary(|day| times(MICROS_PER_DAY)(i64::from(day)))?
        }
        DataType::Date64 => column.as_primitive::<Date64Type>().try_unary(times(1_000))?,
        _ => return Err(no_such_cast()),
    };
    Ok(Arc::new(micros.with_timezone("UTC")))
}

fn days(column: &ArrayRef) -> Result<ArrayRef, Detail> {
    let micros = micros(column)?;
    let days: Date32Array =
        micros.as_primitive::<TimestampMicrosecondType>().try_unary(|value| {
            match i32::try_from(value.div_euclid(MICROS_PER_DAY)) {
                Ok(day) if value.rem_euclid(MICROS_PER_DAY) == 0 => Ok(day),
                _ => Err(Detail("a time is not midnight UTC".to_owned())),
            }
        })?;
    Ok(Arc::new(days))
}

fn cast_list(column: &ArrayRef, item: Scalar) -> Result<ListArray, Detail> {
    let items = match column.data_type() {
        DataType::Null => {
            let list = new_null_array(&DType::List(item).arrow(), column.len());
            return Ok(list.as_list::<i32>().clone());
        }
        DataType::List(items)
        | DataType::LargeList(items)
        | DataType::ListView(items)
        | DataType::LargeListView(items)
        | DataType::FixedSizeList(items, _) => items,
        _ => return Err(no_such_cast()),
    };
    let list = strict(column, &DataType::List(Arc::clone(items)))?;
    let list = list.as_list::<i32>();
    let values = cast_scalar(list.values(), item)?;
    let has_null_item = |row: usize| {
        let start = list.value_offsets()[row] as usize;
        list.is_valid(row) && values.slice(start, list.value_length(row) as usize).null_count() > 0
    };
    if values.null_count() > 0
        && let Some(row) = (0..list.len()).find(|row| has_null_item(*row))
    {
        return Err(Detail(format!("the list in row {row} of a batch has a null in it")));
    }
    let field = Arc::new(ArrowField::new("item", item.arrow(), true));
    Ok(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?)
}

fn cast_embedding(column: &ArrayRef, width: u32) -> Result<ArrayRef, Detail> {
    let lists = cast_list(column, Scalar::Float32)?;
    let wrong = |row: &usize| lists.is_valid(*row) && i64::from(lists.value_length(*row)) != i64::from(width);
    if let Some(row) = (0..lists.len()).find(wrong) {
        return Err(Detail(format!("a list has {} items", lists.value_length(row))));
    }
    strict(&(Arc::new(lists) as ArrayRef), &DType::Embedding(width).arrow())
}

#[cfg(test)]
mod tests;
