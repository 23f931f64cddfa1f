//! Whole columns, against values computed here in the plainest way.

use std::sync::Arc;

use arrow::array::{BooleanArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{Float32Type, Int64Type};
use serde_json::json;

use super::*;
use crate::batch::timestamps;
use crate::catalog::{DType, Scalar};
use crate::limits::STATISTICS_COUNTED_VALUES;

fn profile(dtype: DType, columns: &[ArrayRef]) -> ColumnStatistics {
    let mut profile = Profile::new(&[Field::new("x", dtype)]);
    for column in columns {
        profile.push(std::slice::from_ref(column), column.len());
    }
    profile.finish().remove(0)
}

#[test]
fn floats_have_everything() {
    let values = [Some(1.5), None, Some(-2.0), Some(1.5), Some(f64::NAN), Some(f64::INFINITY), Some(-0.0), Some(0.0)];
    let whole: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let parts = [whole.slice(0, 3), whole.slice(3, 5)];
    let stats = profile(DType::One(Scalar::Float64), &parts);
    assert_eq!((stats.count, stats.nulls, stats.null_ratio), (8, 1, Some(0.125)));
    assert_eq!((stats.nans, stats.infinities), (1, 1));
    assert_eq!((stats.distinct, stats.distinct_method), (Some(4), Some(Method::Exact)), "both zeros are one value");
    assert_eq!((stats.mean, stats.min, stats.max), (Some(0.2), Some(json!(-2.0)), Some(json!(1.5))));
    let squares = [1.3_f64, -2.2, 1.3, -0.2, -0.2].iter().map(|apart| apart * apart).sum::<f64>();
    assert!((stats.std.unwrap() - (squares / 4.0).sqrt()).abs() < 1e-12);
    assert_eq!((stats.median, stats.quantiles_method), (Some(json!(0.0)), Some(Method::Exact)));
    assert_eq!((stats.top[0].count, stats.top[1].count), (2, 2));
    let bins = stats.histogram.unwrap().bins;
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 5);
    assert_eq!(bins.last().map(|bin| (bin.to.clone(), bin.count)), Some((json!(1.5), 2)));
}

#[test]
fn large_whole_numbers_keep_their_last_digit() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, 9_007_199_254_740_993]));
    let stats = profile(DType::One(Scalar::Int64), &[column]);
    assert_eq!((stats.min, stats.max), (Some(json!(i64::MIN)), Some(json!(i64::MAX))));
    assert_eq!(stats.distinct, Some(3));
}

#[test]
fn times_are_told_as_times() {
    let column: ArrayRef = Arc::new(timestamps(vec![Some(0), Some(2_000_000), Some(1_000_000), None]));
    let stats = profile(DType::TIMESTAMP, &[column]);
    assert_eq!((stats.min, stats.median), (Some(json!("1970-01-01T00:00:00Z")), Some(json!("1970-01-01T00:00:01Z"))));
    assert_eq!((stats.mean, stats.std), (None, None));
}

#[test]
fn texts_have_lengths_and_top_values() {
    let column: ArrayRef =
        Arc::new(StringArray::from(vec![Some("cash"), Some("card"), Some("cash"), None, Some("Köln!")]));
    let stats = profile(DType::One(Scalar::String), &[column]);
    assert_eq!((stats.top[0].value.clone(), stats.top[0].count), (json!("cash"), 2));
    assert_eq!((stats.distinct, stats.min), (Some(3), None));
    let lengths = stats.lengths.unwrap();
    assert_eq!((lengths.min, lengths.max, lengths.mean), (Some(4.0), Some(5.0), Some(4.25)));
}

#[test]
fn bools_have_the_share_that_is_true() {
    let column: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(true)]));
    let stats = profile(DType::One(Scalar::Bool), &[column]);
    assert_eq!((stats.mean, stats.distinct), (Some(0.75), Some(2)));
    assert_eq!((stats.top[0].value.clone(), stats.top[0].count), (json!(true), 3));
}

#[test]
fn lists_have_lengths_and_embeddings_norms() {
    let lists = [Some(vec![Some(1), Some(2)]), None, Some(vec![]), Some(vec![Some(3)])];
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
    let stats = profile(DType::List(Scalar::Int64), &[lists.slice(1, 3)]);
    assert_eq!(stats.lengths.map(|lengths| (lengths.min, lengths.max)), Some((Some(0.0), Some(1.0))));
    assert_eq!(stats.distinct, None);

    let rows =
        [Some(vec![Some(9.0), Some(9.0)]), Some(vec![Some(3.0), Some(4.0)]), None, Some(vec![Some(0.0), Some(1.0)])];
    let rows: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 2));
    let stats = profile(DType::Embedding(2), &[rows.slice(1, 3)]);
    assert_eq!(stats.norms.map(|norms| (norms.min, norms.max, norms.mean)), Some((Some(1.0), Some(5.0), Some(3.0))));
    assert_eq!((stats.count, stats.nulls), (3, 1));
}

#[test]
fn a_column_without_rows_or_without_values_says_so() {
    let none: ArrayRef = Arc::new(Int32Array::from(Vec::<i32>::new()));
    let stats = profile(DType::One(Scalar::Int32), &[none]);
    assert_eq!((stats.count, stats.null_ratio, stats.min, stats.mean), (0, None, None, None));
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![None, None]));
    let stats = profile(DType::One(Scalar::Int32), &[nulls]);
    assert_eq!((stats.null_ratio, stats.distinct, stats.median), (Some(1.0), Some(0), None));
    assert!(stats.histogram.is_none() && stats.top.is_empty());
}

#[test]
fn very_many_values_are_estimated_and_it_is_said_how() {
    let rows = 300_000;
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 7_919 % 100_003)));
    let parts: Vec<ArrayRef> =
        (0..rows as usize).step_by(8_192).map(|at| column.slice(at, 8_192.min(rows as usize - at))).collect();
    let stats = profile(DType::One(Scalar::Int64), &parts);
    assert_eq!(stats.distinct_method, Some(Method::HyperLogLog));
    assert!(stats.distinct.unwrap().abs_diff(100_003) < 4_000, "{:?}", stats.distinct);
    assert_eq!(stats.quantiles_method, Some(Method::Sketch));
    assert!(stats.rank_error > 0.0 && stats.rank_error < 0.003, "{}", stats.rank_error);
    let median = stats.median.and_then(|median| median.as_f64()).unwrap();
    assert!((median - 50_001.0).abs() < 100_003.0 * (stats.rank_error + 1e-4), "{median}");
    assert!(stats.top.is_empty(), "no value is frequent: {:?}", stats.top);
    assert!(stats.top_count_error >= rows as u64 / 100_003 && STATISTICS_COUNTED_VALUES < 100_003);
}
