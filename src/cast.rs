//! The one rule by which a column of somebody else's becomes a column of ours: the same values, or an error.
//!
//! Rows come from files, pushes, label frames and Flight clients in whatever types their writers liked. Each is cast
//! here to the type that the definitions name. A cast that would change a value is refused and names the row: an
//! integer that does not fit, a float with a fraction where an integer is wanted, a float64 that is no float32.
//! Times are the one exception: they are kept in microseconds, and what is finer is cut off.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options, kernels::cmp::not_distinct};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::catalog::{DType, Scalar};

const CHECKED: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// `column` as `dtype`, or why not: in the words of the column's owner, with the row where there is one.
pub fn exactly(column: &ArrayRef, dtype: DType) -> Result<ArrayRef, String> {
    let wanted = dtype.arrow();
    if *column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let plain = unpacked(column).map_err(|error| error.to_string())?;
    if *plain.data_type() == wanted {
        return Ok(plain);
    }
    if let Some(sentence) = refused(plain.data_type(), dtype) {
        return Err(sentence);
    }
    let cast = cast_with_options(&plain, &wanted, &CHECKED).map_err(|error| error.to_string())?;
    if may_change_values(plain.data_type(), &wanted) {
        check_unchanged(&plain, &cast)?;
    }
    Ok(cast)
}

/// `column` as times in microseconds, UTC. A time without a zone is UTC.
pub fn to_times(column: &ArrayRef) -> Result<TimestampMicrosecondArray, String> {
    Ok(exactly(column, DType::TIMESTAMP)?.as_primitive::<TimestampMicrosecondType>().clone())
}

/// A dictionary as its values, and views as plain strings and bytes.
fn unpacked(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, values) => unpacked(&cast_with_options(column, values, &CHECKED)?),
        DataType::Utf8View | DataType::LargeUtf8 => cast_with_options(column, &DataType::Utf8, &CHECKED),
        DataType::BinaryView | DataType::LargeBinary => cast_with_options(column, &DataType::Binary, &CHECKED),
        DataType::Timestamp(unit, None) => {
            cast_with_options(column, &DataType::Timestamp(*unit, Some("UTC".into())), &CHECKED)
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// Casts that Arrow would do and that would surprise: text is not parsed, numbers are not printed, numbers are no times.
fn refused(from: &DataType, to: DType) -> Option<String> {
    let text = matches!(from, DataType::Utf8 | DataType::Binary);
    let number = from.is_numeric();
    let time = matches!(from, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    let wrong = match to {
        DType::One(Scalar::String) => *from != DataType::Null && *from != DataType::Utf8,
        DType::One(Scalar::Bytes) => *from != DataType::Null && !text,
        DType::One(Scalar::Bool) => *from != DataType::Null,
        DType::One(Scalar::Timestamp | Scalar::Date) => *from != DataType::Null && !time,
        DType::One(_) => *from != DataType::Null && !number,
        DType::List(_) | DType::Embedding(_) => {
            !matches!(from, DataType::Null | DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
        }
    };
    wrong.then(|| "only a column of the same kind can be taken; cast it where it is written".to_owned())
}

fn may_change_values(from: &DataType, to: &DataType) -> bool {
    let float = |dtype: &DataType| dtype.is_floating();
    match (from, to) {
        (DataType::Null, _) => false,
        (DataType::Timestamp(..), DataType::Timestamp(TimeUnit::Microsecond, _)) => false,
        (from, to) if from.is_integer() && to.is_integer() => false,
        (DataType::Float16 | DataType::Float32, DataType::Float64) => false,
        (from, to) if float(from) || float(to) => true,
        (from, _) => {
            from.is_nested()
                || matches!(
                    from,
                    DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Timestamp(..) | DataType::Date64
                )
        }
    }
}

/// Casts back and compares; the first row that differs is named.
fn check_unchanged(original: &ArrayRef, cast: &ArrayRef) -> Result<(), String> {
    if original.data_type().is_nested() {
        return check_lists_unchanged(original, cast);
    }
    let back = cast_with_options(cast, original.data_type(), &CHECKED).map_err(|error| error.to_string())?;
    let same = not_distinct(&back, original).map_err(|error| error.to_string())?;
    match (0..same.len()).find(|row| !same.value(*row)) {
        None => Ok(()),
        Some(row) => {
            let shown =
                ArrayFormatter::try_new(original, &FormatOptions::new()).map(|shown| shown.value(row).to_string());
            Err(format!("the value {} of row {row} would change", shown.unwrap_or_default()))
        }
    }
}

fn check_lists_unchanged(original: &ArrayRef, cast: &ArrayRef) -> Result<(), String> {
    let items = |list: &ArrayRef| -> ArrayRef {
        match list.data_type() {
            DataType::LargeList(_) => Arc::clone(list.as_list::<i64>().values()),
            DataType::FixedSizeList(..) => Arc::clone(list.as_fixed_size_list().values()),
            _ => Arc::clone(list.as_list::<i32>().values()),
        }
    };
    let (from, to) = (items(original), items(cast));
    if may_change_values(from.data_type(), to.data_type()) && from.len() == to.len() {
        check_unchanged(&from, &to)?;
    }
    Ok(())
}

/// Values as people type them (on a command line, in a URL), as a column.
pub fn from_text(values: &[Option<&str>], dtype: DType) -> Result<ArrayRef, String> {
    let DType::One(scalar) = dtype else {
        return Err(format!("a {dtype} cannot be typed here; send it as JSON or Arrow"));
    };
    let texts: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let wanted = dtype.arrow();
    let parsed = match scalar {
        Scalar::String => return Ok(texts),
        Scalar::Bytes => {
            return Ok(Arc::new(BinaryArray::from_iter(values.iter().map(|value| value.map(str::as_bytes)))));
        }
        _ => cast_with_options(&texts, &wanted, &CHECKED),
    };
    parsed.map_err(|_| {
        let shown = values.iter().flatten().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        format!("{shown} cannot be read as {dtype}")
    })
}

/// One value as people read it; times in RFC 3339.
pub fn to_text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    let shown = ArrayFormatter::try_new(column, &FormatOptions::new()).map(|shown| shown.value(row).to_string());
    shown.unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int32Array, Int64Array, TimestampNanosecondArray};

    use super::*;

    fn cast(column: impl Array + 'static, dtype: &str) -> Result<ArrayRef, String> {
        exactly(&(Arc::new(column) as ArrayRef), dtype.parse().expect("a type"))
    }

    #[test]
    fn integers_fit_or_are_refused_with_their_value() {
        assert_eq!(cast(Int64Array::from(vec![7, -1]), "int32").unwrap().as_ref(), &Int32Array::from(vec![7, -1]));
        assert!(cast(Int64Array::from(vec![1_i64 << 40]), "int32").unwrap_err().contains("1099511627776"));
    }

    #[test]
    fn a_fraction_is_never_cut_off() {
        assert_eq!(cast(Float64Array::from(vec![2.0]), "int64").unwrap().as_ref(), &Int64Array::from(vec![2]));
        assert_eq!(
            cast(Float64Array::from(vec![1.0, 2.5]), "int64").unwrap_err(),
            "the value 2.5 of row 1 would change"
        );
    }

    #[test]
    fn a_float64_that_is_no_float32_is_refused_and_nan_is_kept() {
        assert!(cast(Float64Array::from(vec![0.1]), "float32").is_err());
        let cast = cast(Float64Array::from(vec![0.5, f64::NAN]), "float32").unwrap();
        assert_eq!(cast.as_primitive::<arrow::datatypes::Float32Type>().value(0), 0.5_f32);
        assert!(cast.as_primitive::<arrow::datatypes::Float32Type>().value(1).is_nan());
        let _: &Float32Array = cast.as_primitive();
    }

    #[test]
    fn a_large_integer_is_no_float64() {
        assert!(cast(Int64Array::from(vec![(1_i64 << 53) + 1]), "float64").is_err());
        assert!(cast(Int64Array::from(vec![1_i64 << 53]), "float64").is_ok());
    }

    #[test]
    fn text_is_not_parsed_and_numbers_are_not_printed() {
        assert!(cast(StringArray::from(vec!["1"]), "int64").is_err());
        assert!(cast(Int64Array::from(vec![1]), "string").is_err());
        assert!(cast(Int64Array::from(vec![1]), "timestamp").is_err());
    }

    #[test]
    fn times_are_utc_microseconds_whatever_they_were() {
        let times = cast(TimestampNanosecondArray::from(vec![1_500]), "timestamp").unwrap();
        assert_eq!(times.as_primitive::<TimestampMicrosecondType>().value(0), 1);
        let chicago = TimestampNanosecondArray::from(vec![2_000]).with_timezone("-06:00");
        assert_eq!(cast(chicago, "timestamp").unwrap().as_primitive::<TimestampMicrosecondType>().value(0), 2);
    }
}
