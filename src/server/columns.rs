//! The columns that a caller sends as Arrow, as a plan needs them: found by name, cast exactly, or refused.
//!
//! A cast is exact when casting back gives the same value: 3.0 is the int64 3, 3.5 is not, and 2^53 + 1 is no float64.
//! Casts stay within a family (numbers, text, bytes, times, dates, lists of these); text is never parsed.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, make_comparator, new_null_array};
use arrow::compute::{CastOptions, SortOptions, cast_with_options};
use arrow::datatypes::DataType;

use crate::catalog::Field;
use crate::flow::Error;
use crate::plan::{FeaturePlan, InputKind, PlanInput};

/// The inputs of a plan out of `rows`, in the plan's order and types. Other columns are left aside.
pub fn plan_inputs(plan: &FeaturePlan, rows: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    let input = |input: &PlanInput| match rows.column_by_name(&input.field.name) {
        Some(column) => cast_exactly(column, &input.field),
        None => left_out(input, rows.num_rows()),
    };
    plan.inputs.iter().map(input).collect()
}

/// The column of an input that the caller did not send: nulls, where the input may be left out.
pub fn left_out(input: &PlanInput, rows: usize) -> Result<ArrayRef, Error> {
    let what = match input.kind {
        InputKind::Request if input.field.nullable => return Ok(new_null_array(&input.field.dtype.arrow(), rows)),
        InputKind::Request => "a field of the request that a transform reads",
        InputKind::JoinKey => "a join key",
    };
    Err(Error::MissingColumn { column: input.field.name.clone(), what })
}

fn cast_exactly(column: &ArrayRef, field: &Field) -> Result<ArrayRef, Error> {
    let (is, wanted) = (column.data_type(), field.dtype.arrow());
    if *is == wanted {
        return Ok(Arc::clone(column));
    }
    let wrong = |detail: String| Error::WrongType {
        column: field.name.clone(),
        is: type_name(is),
        wanted: field.dtype.to_string(),
        detail,
    };
    if *is == DataType::Null {
        return Ok(new_null_array(&wanted, column.len()));
    }
    if !are_alike(is, &wanted) {
        return Err(wrong("send it as that type".to_owned()));
    }
    // A value that does not fit becomes null, so the way back finds it.
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cast = cast_with_options(column, &wanted, &options).map_err(|error| wrong(error.to_string()))?;
    let back = cast_with_options(&cast, is, &options).map_err(|error| wrong(error.to_string()))?;
    let compare = make_comparator(column, &back, SortOptions::default()).map_err(|error| wrong(error.to_string()))?;
    match (0..column.len()).find(|row| compare(*row, *row) != Ordering::Equal) {
        None => Ok(cast),
        Some(row) => Err(wrong(format!("the value in row {row} would change"))),
    }
}

/// Whether a column of type `is` may hold values of type `wanted` at all.
fn are_alike(is: &DataType, wanted: &DataType) -> bool {
    match (is, wanted) {
        (DataType::Utf8 | DataType::LargeUtf8, DataType::Utf8)
        | (DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_), DataType::Binary)
        | (DataType::Timestamp(..), DataType::Timestamp(..))
        | (DataType::Date64, DataType::Date32) => true,
        (
            DataType::List(is) | DataType::LargeList(is) | DataType::FixedSizeList(is, _),
            DataType::List(wanted) | DataType::FixedSizeList(wanted, _),
        ) => is.data_type() == wanted.data_type() || are_alike(is.data_type(), wanted.data_type()),
        (is, wanted) => is.is_numeric() && wanted.is_numeric(),
    }
}

/// An Arrow type in the words of the definitions, where they have one.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary => "bytes".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        AsArray, Float64Array, Int16Array, LargeStringArray, NullArray, StringArray, TimestampNanosecondArray,
        UInt64Array,
    };
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    use super::*;
    use crate::catalog::{DType, Scalar};

    fn cast_to(column: impl Array + 'static, scalar: Scalar) -> Result<ArrayRef, String> {
        let field = Field::new("hour", DType::One(scalar));
        cast_exactly(&(Arc::new(column) as ArrayRef), &field).map_err(|error| error.to_string())
    }

    #[test]
    fn values_that_fit_are_cast() {
        let int64 = |column: ArrayRef| column.as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        assert_eq!(int64(cast_to(Int16Array::from(vec![3, -4]), Scalar::Int64).unwrap()), [Some(3), Some(-4)]);
        assert_eq!(int64(cast_to(Float64Array::from(vec![Some(3.0), None]), Scalar::Int64).unwrap()), [Some(3), None]);
        assert_eq!(int64(cast_to(NullArray::new(1), Scalar::Int64).unwrap()), [None]);
        let text = cast_to(LargeStringArray::from(vec!["a"]), Scalar::String).unwrap();
        assert_eq!(text.as_string::<i32>().value(0), "a");
        let time = cast_to(TimestampNanosecondArray::from(vec![7_000]), Scalar::Timestamp).unwrap();
        assert_eq!(time.as_primitive::<TimestampMicrosecondType>().value(0), 7);
    }

    #[test]
    fn values_that_do_not_fit_are_refused_by_row() {
        let refused = |error: Result<ArrayRef, String>, row: usize| {
            let error = error.unwrap_err();
            assert!(error.ends_with(&format!("the value in row {row} would change")), "{error}");
        };
        refused(cast_to(Float64Array::from(vec![3.0, 3.5]), Scalar::Int64), 1);
        refused(cast_to(UInt64Array::from(vec![u64::MAX]), Scalar::Int64), 0);
        refused(cast_to(UInt64Array::from(vec![1, (1 << 53) + 1]), Scalar::Float64), 1);
        refused(cast_to(TimestampNanosecondArray::from(vec![7_001]), Scalar::Timestamp), 0);
    }

    #[test]
    fn text_is_not_parsed() {
        assert_eq!(
            cast_to(StringArray::from(vec!["3"]), Scalar::Int64).unwrap_err(),
            "column hour is string, it must be int64: send it as that type"
        );
    }
}
