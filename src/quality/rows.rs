//! Expectations about each row by itself, over whole columns.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

use crate::catalog::{Check, DType, Expectation, Field, Literal, Scalar};

/// The rows that one expectation found to be otherwise.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its number among those of the view.
    pub expectation: usize,
    /// One bit for each row of the batch; at least one is set.
    pub rows: BooleanBuffer,
}

/// Expectations about rows, ready for columns of these fields.
#[derive(Debug)]
pub struct RowChecks(Vec<RowCheck>);

#[derive(Debug)]
struct RowCheck {
    expectation: usize,
    column: usize,
    dtype: DType,
    test: Test,
}

#[derive(Debug)]
enum Test {
    NotNull,
    Whole { low: i64, high: i64 },
    Float { low: f64, high: f64 },
    Wholes(HashSet<i64>),
    Texts(HashSet<String>),
}

impl RowChecks {
    /// Of `expectations` those about rows that `chosen` takes and whose feature is among `fields`.
    pub fn of(expectations: &[Expectation], fields: &[Field], chosen: impl Fn(&Expectation) -> bool) -> Self {
        let check = |(expectation, expected): (usize, &Expectation)| {
            let feature = expected.check.feature()?;
            let column = fields.iter().position(|field| field.name == feature)?;
            let test = test(&expected.check)?;
            chosen(expected).then_some(RowCheck { expectation, column, dtype: fields[column].dtype, test })
        };
        Self(expectations.iter().enumerate().filter_map(check).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The expectations that some row is not up to. `columns` are those of the fields, all of one length.
    pub fn failed(&self, columns: &[ArrayRef]) -> Vec<Failed> {
        let failed = |check: &RowCheck| {
            let rows = check.failed(&columns[check.column])?;
            (rows.count_set_bits() > 0).then_some(Failed { expectation: check.expectation, rows })
        };
        self.0.iter().filter_map(failed).collect()
    }
}

impl RowCheck {
    fn failed(&self, column: &ArrayRef) -> Option<BooleanBuffer> {
        let nulls = column.nulls();
        let valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        let rows = column.len();
        Some(match (&self.test, self.dtype) {
            (Test::NotNull, _) => !nulls?.inner(),
            (Test::Whole { low, high }, dtype) => {
                let outside = |value: i64| value < *low || *high < value;
                wholes(column, dtype, |row, value| valid(row) && outside(value))?
            }
            (Test::Wholes(set), dtype) => wholes(column, dtype, |row, value| valid(row) && !set.contains(&value))?,
            // Not `value < low`: NaN is not in the range.
            (Test::Float { low, high }, DType::One(Scalar::Float32)) => {
                let values = column.as_primitive::<Float32Type>().values();
                let inside = |value: f32| (*low..=*high).contains(&f64::from(value));
                BooleanBuffer::collect_bool(rows, |row| valid(row) && !inside(values[row]))
            }
            (Test::Float { low, high }, _) => {
                let values = column.as_primitive::<Float64Type>().values();
                BooleanBuffer::collect_bool(rows, |row| valid(row) && !(*low..=*high).contains(&values[row]))
            }
            (Test::Texts(set), _) => {
                let texts: &StringArray = column.as_string();
                BooleanBuffer::collect_bool(rows, |row| valid(row) && !set.contains(texts.value(row)))
            }
        })
    }
}

/// The rows of a column of whole numbers, times or bools that `is_bad` says.
fn wholes(column: &ArrayRef, dtype: DType, is_bad: impl Fn(usize, i64) -> bool) -> Option<BooleanBuffer> {
    let rows = column.len();
    Some(match dtype {
        DType::One(Scalar::Int32) => {
            let values = column.as_primitive::<Int32Type>().values();
            BooleanBuffer::collect_bool(rows, |row| is_bad(row, i64::from(values[row])))
        }
        DType::One(Scalar::Date) => {
            let values = column.as_primitive::<Date32Type>().values();
            BooleanBuffer::collect_bool(rows, |row| is_bad(row, i64::from(values[row])))
        }
        DType::One(Scalar::Int64) => {
            let values = column.as_primitive::<Int64Type>().values();
            BooleanBuffer::collect_bool(rows, |row| is_bad(row, values[row]))
        }
        DType::One(Scalar::Timestamp) => {
            let values = column.as_primitive::<TimestampMicrosecondType>().values();
            BooleanBuffer::collect_bool(rows, |row| is_bad(row, values[row]))
        }
        DType::One(Scalar::Bool) => {
            let values = column.as_boolean().values();
            BooleanBuffer::collect_bool(rows, |row| is_bad(row, i64::from(values.value(row))))
        }
        _ => return None,
    })
}

/// Nothing for what is not about single rows.
fn test(check: &Check) -> Option<Test> {
    Some(match check {
        Check::NotNull { .. } => Test::NotNull,
        Check::Range { low, high, .. } => match (low, high) {
            (Some(Literal::Whole(low)), Some(Literal::Whole(high))) => Test::Whole { low: *low, high: *high },
            (Some(Literal::Whole(low)), None) => Test::Whole { low: *low, high: i64::MAX },
            (None, Some(Literal::Whole(high))) => Test::Whole { low: i64::MIN, high: *high },
            (Some(Literal::Float(low)), Some(Literal::Float(high))) => Test::Float { low: *low, high: *high },
            (Some(Literal::Float(low)), None) => Test::Float { low: *low, high: f64::INFINITY },
            (None, Some(Literal::Float(high))) => Test::Float { low: f64::NEG_INFINITY, high: *high },
            _ => return None,
        },
        Check::InSet { values, .. } => {
            let texts: HashSet<String> = values
                .iter()
                .filter_map(|value| match value {
                    Literal::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect();
            if !texts.is_empty() {
                return Some(Test::Texts(texts));
            }
            let whole = |value: &Literal| match value {
                Literal::Whole(value) => Some(*value),
                Literal::Bool(value) => Some(i64::from(*value)),
                Literal::Float(_) | Literal::Text(_) => None,
            };
            Test::Wholes(values.iter().filter_map(whole).collect())
        }
        Check::NullRatio { .. }
        | Check::Unique { .. }
        | Check::Variance { .. }
        | Check::OutlierRatio { .. }
        | Check::Freshness { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array};

    use super::*;
    use crate::batch::timestamps;
    use crate::catalog::OnFailure;

    /// The rows that are not as expected.
    fn failing(dtype: Scalar, column: ArrayRef, check: Check) -> Vec<usize> {
        let expectations = [Expectation { check, on_failure: OnFailure::Warn }];
        let fields = [Field::new("other", DType::One(Scalar::Bool)), Field::new("x", DType::One(dtype))];
        let other: ArrayRef = Arc::new(BooleanArray::from(vec![true; column.len()]));
        let failed = RowChecks::of(&expectations, &fields, |_| true).failed(&[other, column]);
        failed.iter().flat_map(|failed| failed.rows.set_indices()).collect()
    }

    fn range(low: Option<Literal>, high: Option<Literal>) -> Check {
        Check::Range { feature: "x".to_owned(), low, high }
    }

    fn set(values: &[Literal]) -> Check {
        Check::InSet { feature: "x".to_owned(), values: values.to_vec() }
    }

    #[test]
    fn a_range_holds_its_ends_and_every_null_and_never_nan() {
        let floats: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.0), Some(500.0), Some(500.1), None, Some(f64::NAN), Some(-0.1)]));
        let (zero, most) = (Literal::Float(0.0), Literal::Float(500.0));
        let both = range(Some(zero.clone()), Some(most.clone()));
        assert_eq!(failing(Scalar::Float64, Arc::clone(&floats), both), [2, 4, 5]);
        assert_eq!(failing(Scalar::Float64, Arc::clone(&floats), range(Some(zero), None)), [4, 5]);
        assert_eq!(failing(Scalar::Float64, floats.slice(2, 3), range(None, Some(most.clone()))), [0, 2]);
        let small: ArrayRef = Arc::new(Float32Array::from(vec![500.0, 501.0]));
        assert_eq!(failing(Scalar::Float32, small, range(None, Some(most))), [1]);
    }

    #[test]
    fn whole_numbers_and_times_have_ranges() {
        let five = || range(Some(Literal::Whole(5)), Some(Literal::Whole(7)));
        let columns: [(Scalar, ArrayRef); 4] = [
            (Scalar::Int32, Arc::new(Int32Array::from(vec![4, 5, 7, 8]))),
            (Scalar::Int64, Arc::new(Int64Array::from(vec![4, 5, 7, 8]))),
            (Scalar::Date, Arc::new(Date32Array::from(vec![4, 5, 7, 8]))),
            (Scalar::Timestamp, Arc::new(timestamps(vec![Some(4), Some(5), Some(7), Some(8)]))),
        ];
        for (scalar, column) in columns {
            assert_eq!(failing(scalar, column, five()), [0, 3], "{scalar:?}");
        }
        let extremes: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
        assert_eq!(failing(Scalar::Int64, extremes, range(None, Some(Literal::Whole(i64::MAX)))), [0; 0]);
    }

    #[test]
    fn sets_are_of_text_whole_numbers_and_bools() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("cash"), None, Some("gold")]));
        assert_eq!(failing(Scalar::String, texts, set(&[Literal::Text("cash".to_owned())])), [2]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
        assert_eq!(failing(Scalar::Int32, numbers, set(&[Literal::Whole(2)])), [0]);
        let bools: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        assert_eq!(failing(Scalar::Bool, bools, set(&[Literal::Bool(true)])), [1]);
    }

    #[test]
    fn nulls_are_found_by_not_null_alone() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None]));
        assert_eq!(failing(Scalar::Int64, column.slice(1, 3), Check::NotNull { feature: "x".to_owned() }), [0, 2]);
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!(failing(Scalar::Int64, whole, Check::NotNull { feature: "x".to_owned() }), [0; 0]);
    }
}
