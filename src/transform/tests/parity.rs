//! The same rows give the same bits, however they are cut, ordered and computed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Float64Type;
use serde_json::{Value, json};

use super::*;
use crate::transform::CODE_NULL_INPUT;

/// Rows for `taxi_quote`, with nulls and rows that it refuses.
fn quotes(rows: usize) -> Vec<Vec<Value>> {
    let or_null = |row: usize, every: usize, value: Value| if row.is_multiple_of(every) { Value::Null } else { value };
    let column = |value: &dyn Fn(usize) -> Value| (0..rows).map(value).collect();
    vec![
        column(&|row| or_null(row, 7, json!(row as f64 * 12.75))),
        column(&|row| or_null(row, 11, json!((row % 13) as f64 * 1.5))),
        column(&|row| or_null(row, 17, json!(row % 25))),
        column(&|row| or_null(row, 5, json!(["Credit Card", "Cash", "Mobile", ""][row % 4]))),
        column(&|row| or_null(row, 19, json!(0.1 * row as f64))),
    ]
}

fn apply(stage: &Transforms, transform: &Transform, rows: &RecordBatch) -> RecordBatch {
    stage.apply(transform, rows.columns(), rows.num_rows(), soon()).unwrap().rows
}

/// Equal in every bit, null rows included.
fn assert_same(is: &RecordBatch, wanted: &RecordBatch) {
    assert_eq!(is, wanted);
    for (is, wanted) in is.columns().iter().zip(wanted.columns()) {
        let floats = |array: &ArrayRef| -> Option<Vec<u64>> {
            let floats = array.as_primitive_opt::<Float64Type>()?;
            Some(floats.values().iter().map(|value| value.to_bits()).collect())
        };
        assert_eq!(floats(is), floats(wanted));
    }
}

#[test]
fn one_row_at_a_time_gives_the_same_as_all_at_once() {
    for reuse in [Reuse::Always, Reuse::Never] {
        let stage = stage(Settings { reuse, ..settings() });
        let transform = bound(&stage, "taxi_quote", &[]);
        let rows = batch(&transform, &quotes(300));
        let whole = apply(&stage, &transform, &rows);
        for size in [1, 7, 64] {
            let parts: Vec<RecordBatch> = (0..300)
                .step_by(size)
                .map(|start| apply(&stage, &transform, &rows.slice(start, size.min(300 - start))))
                .collect();
            assert_same(&concat_batches(&whole.schema(), &parts).unwrap(), &whole);
        }
    }
}

#[test]
fn permuted_rows_give_permuted_outputs() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_quote", &[]);
    let rows = batch(&transform, &quotes(500));
    let order: UInt32Array = (0..500).map(|row| row * 263 % 500).collect();
    let permuted = take_record_batch(&rows, &order).unwrap();
    let wanted = take_record_batch(&apply(&stage, &transform, &rows), &order).unwrap();
    assert_same(&apply(&stage, &transform, &permuted), &wanted);
}

#[test]
fn batches_beyond_one_frame_are_cut_and_put_together() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_company", &[]);
    let names = |row: usize| match row % 3 {
        0 => Value::Null,
        1 => json!(format!("{row} - 7 Cab {row}, Inc.")),
        _ => json!("x".repeat(row % 3_000)),
    };
    let rows = batch(&transform, &[(0..20_000).map(names).collect()]);
    let answer = apply(&stage, &transform, &rows);
    assert_eq!(answer.num_rows(), 20_000);
    for row in [0, 1, 8_191, 8_192, 19_999] {
        assert_same(&answer.slice(row, 1), &apply(&stage, &transform, &rows.slice(row, 1)));
    }
}

#[test]
fn a_row_that_does_not_fit_into_a_frame_is_named() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_company", &[]);
    let names = vec![json!("short"), json!("x".repeat(crate::limits::FRAME_BYTES_MAX)), json!("short")];
    let error = applied(&stage, &transform, &[names]).unwrap_err();
    let max = crate::limits::FRAME_BYTES_MAX;
    assert_eq!(error, Error::RowTooLarge { plugin: "taxi_company".to_owned(), row: 1, max });
}

#[test]
fn threads_that_share_the_stage_get_the_same() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_quote", &[]);
    let rows = batch(&transform, &quotes(100));
    let wanted = apply(&stage, &transform, &rows);
    std::thread::scope(|scope| {
        let call = || (0..50).for_each(|_| assert_same(&apply(&stage, &transform, &rows), &wanted));
        (0..4).for_each(|_| drop(scope.spawn(call)));
    });
}

#[test]
fn a_refused_row_is_null_and_named_by_its_place_in_the_whole_batch() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_quote", &[]);
    let mut columns: Vec<Vec<Value>> = quotes(10_000);
    columns[2] = (0..10_000).map(|row| json!(if row == 9_000 { 24 } else { 3 })).collect();
    let answer = applied(&stage, &transform, &columns).unwrap();
    assert_eq!(answer.error_count, 1);
    let error = &answer.errors[0];
    assert_eq!((error.row, error.code, error.message.as_str()), (9_000, 1_000, "hour 24 is not between 0 and 23"));
    assert!(answer.rows.columns().iter().all(|column| column.is_null(9_000)));
    assert!(answer.rows.columns().iter().any(|column| column.is_valid(8_999)));
}

#[test]
fn row_errors_beyond_the_bound_are_counted() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_quote", &[]);
    let mut columns = quotes(200);
    columns[2] = vec![json!(-1); 200];
    let answer = applied(&stage, &transform, &columns).unwrap();
    assert_eq!((answer.errors.len(), answer.error_count), (crate::limits::ROW_ERRORS_MAX, 200));
}

#[test]
fn nulls_propagate_where_the_plugin_says_so() {
    let stage = stage(settings());
    let transform = bound(&stage, "haversine", &[]);
    for input in 0..4 {
        let mut columns = vec![vec![json!(41.9), json!(41.8)]; 4];
        columns[input][1] = Value::Null;
        let answer = applied(&stage, &transform, &columns).unwrap();
        assert_eq!(values::cells(answer.rows.column(0)), "0.0, null");
    }
}

#[test]
fn a_null_as_of_refuses_the_row() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_recency", &[]);
    let day = 86_400_000_000_i64;
    let columns = [vec![json!(9 * day), Value::Null, json!(day)], vec![json!(day), json!(day), json!(2 * day)]];
    let answer = applied(&stage, &transform, &columns).unwrap();
    assert_eq!((answer.error_count, answer.errors[0].row, answer.errors[0].code), (1, 1, CODE_NULL_INPUT));
    assert_eq!(values::cells(answer.rows.column(0)), "8.0, null, 0.0");
    assert_eq!(values::cells(answer.rows.column(1)), "true, null, false");
}

#[test]
fn no_rows_give_no_rows() {
    let stage = stage(settings());
    let transform = bound(&stage, "taxi_quote", &[]);
    let answer = applied(&stage, &transform, &quotes(0)).unwrap();
    assert_eq!((answer.rows.num_rows(), answer.rows.num_columns(), answer.fuel), (0, 5, 0));
}

#[test]
fn the_same_bytes_share_one_plugin_and_one_pool() {
    let stage = stage(settings());
    let (first, second) = (bound(&stage, "haversine", &[]), bound(&stage, "haversine", &[]));
    assert_eq!(first, second);
    assert!(!Arc::ptr_eq(&first, &second) || first.digest == second.digest);
    assert_eq!(stage.stats().compiled.load(std::sync::atomic::Ordering::Relaxed), 1);
}
