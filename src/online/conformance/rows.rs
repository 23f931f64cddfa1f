//! Rows that are written are read: keys, questions, types, batches that cannot be stored.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use tokio::runtime::Runtime;

use super::{
    INT, Line, Promises, TEXT, ids, lines, plain_view, read, soon, try_cases, values, view_of, write, written,
};
use crate::batch::{FeatureRows, KeyBatch, timestamps};
use crate::clock::Deadline;
use crate::online::{Error, OnlineStore, Read, Written, samples};

pub(super) async fn check(make: &dyn Fn() -> Arc<dyn OnlineStore>, promises: Promises) {
    unknown_and_null_keys_are_rows_of_nulls(&*make()).await;
    empty_batches_and_questions_are_answered(&*make()).await;
    many_questions_are_answered_in_order(&*make()).await;
    long_and_composite_keys_are_told_apart(&*make()).await;
    a_batch_that_does_not_fit_its_view_changes_nothing(&*make()).await;
    after_the_deadline_nothing_is_done(&*make()).await;
    what_can_be_reached_is_read_as_ever(&*make()).await;
    if promises.views_without_features {
        a_view_without_features_has_rows(&*make()).await;
    }
    if promises.extreme_times {
        extreme_times_are_kept(&*make()).await;
    }
}

pub(super) fn check_properties(runtime: &Runtime, store: &dyn OnlineStore, promises: Promises, cases: u32) {
    every_type_comes_back(runtime, store, promises, cases);
}

async fn unknown_and_null_keys_are_rows_of_nulls(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    assert_eq!(values(store, &view, &[Some(1), None]).await, [None, None]);
    let done = write(store, &view, &lines(&[(Some(1), 10, None, Some(7)), (None, 10, None, Some(8))])).await;
    assert_eq!(done, written(1, 0, 1));
    let asked = [Some(2), Some(1), None, Some(1)];
    let row = Some((10, Some(7)));
    assert_eq!(values(store, &view, &asked).await, [None, row, None, row]);
}

async fn a_view_without_features_has_rows(store: &dyn OnlineStore) {
    let without_features = view_of("bare", &[("id", INT)], &[]);
    let rows = FeatureRows { features: Vec::new(), ..lines(&[(Some(1), 3, None, None)]) };
    assert_eq!(write(store, &without_features, &rows).await, written(1, 0, 0));
    let stored = read(store, &without_features, &ids(&without_features, &[Some(1), Some(2)])).await;
    assert_eq!((stored.present.value(0), stored.present.value(1)), (true, false));
}

async fn empty_batches_and_questions_are_answered(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    assert_eq!(write(store, &view, &lines(&[])).await, Written::default());
    assert_eq!(write(store, &view, &lines(&[(None, 1, None, None)])).await, written(0, 0, 1));
    assert_eq!(values(store, &view, &[]).await, []);
    assert!(store.read(&[], soon()).await.unwrap().is_empty());
    assert!(read(store, &view, &KeyBatch::default()).await.present.is_empty());
}

async fn extreme_times_are_kept(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    let first = lines(&[(Some(i64::MIN), i64::MIN, None, Some(i64::MIN)), (Some(i64::MAX), -1, None, None)]);
    assert_eq!(write(store, &view, &first).await, written(2, 0, 0));
    let second = lines(&[(Some(i64::MAX), i64::MAX, Some(i64::MAX), Some(i64::MAX))]);
    assert_eq!(write(store, &view, &second).await, written(1, 0, 0));
    let asked = [Some(i64::MIN), Some(i64::MAX), Some(0)];
    let expected = [Some((i64::MIN, Some(i64::MIN))), Some((i64::MAX, Some(i64::MAX))), None];
    assert_eq!(values(store, &view, &asked).await, expected);
}

async fn many_questions_are_answered_in_order(store: &dyn OnlineStore) {
    let (one, two) = (plain_view("one"), view_of("two", &[("id", INT)], &[("value", INT), ("double", INT)]));
    let numbers: Vec<Line> = (0..1_500).map(|id| (Some(id), id, None, Some(id + 1))).collect();
    write(store, &one, &lines(&numbers)).await;
    let mut rows = lines(&[(Some(5), 50, None, Some(51))]);
    rows.features.push(Arc::new(Int64Array::from(vec![102])));
    write(store, &two, &rows).await;
    let many: Vec<Option<i64>> = (0..3_000).map(|row| Some(row / 2)).collect();
    let (many, few) = (ids(&one, &many), ids(&two, &[Some(5), Some(6)]));
    let reads = [
        Read { view: &two, keys: &few, columns: &[1, 0, 1] },
        Read { view: &one, keys: &many, columns: &[0] },
        Read { view: &one, keys: &few, columns: &[] },
    ];
    let answers = store.read(&reads, soon()).await.unwrap();
    let number = |answer: usize, column: usize, row: usize| {
        let column = answers[answer].columns[column].as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    assert_eq!([0, 1, 2].map(|column| number(0, column, 0)), [Some(102), Some(51), Some(102)]);
    assert_eq!(number(0, 0, 1), None);
    assert!((0..3_000).all(|row| number(1, 0, row) == Some(row as i64 / 2 + 1)));
    assert_eq!((answers[2].columns.len(), answers[2].present.count_set_bits()), (0, 2));
}

async fn long_and_composite_keys_are_told_apart(store: &dyn OnlineStore) {
    let view = view_of("pairs", &[("one", TEXT), ("two", TEXT)], &[("value", INT)]);
    let long = "k".repeat(100_000);
    let pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), ("", ""), (long.as_str(), ""), (&long[1..], "k")];
    let column = |part: fn(&(&str, &str)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(pairs.iter().map(part)))
    };
    let keys = vec![column(|pair| pair.0.to_owned()), column(|pair| pair.1.to_owned())];
    let numbers: Vec<Line> = (0..pairs.len() as i64).map(|value| (None, 1, None, Some(value))).collect();
    let rows = FeatureRows { keys: keys.clone(), ..lines(&numbers) };
    assert_eq!(write(store, &view, &rows).await, written(6, 0, 0));
    let stored = read(store, &view, &KeyBatch::encode(&view.join_keys, &keys, pairs.len())).await;
    assert_eq!(&stored.columns[0], &rows.features[0]);

    let without_entities = view_of("totals", &[], &[("value", INT)]);
    let rows = FeatureRows { keys: Vec::new(), ..lines(&[(None, 1, None, Some(3))]) };
    assert_eq!(write(store, &without_entities, &rows).await, written(1, 0, 0));
    let stored = read(store, &without_entities, &KeyBatch::encode(&[], &[], 2)).await;
    assert_eq!(stored.columns[0].as_primitive::<Int64Type>().values(), &[3, 3]);
}

async fn a_batch_that_does_not_fit_its_view_changes_nothing(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    let mut rows = lines(&[(Some(1), 10, None, Some(1))]);
    rows.features = vec![Arc::new(StringArray::from(vec!["text"]))];
    let error = store.write(&view, &rows, soon()).await.unwrap_err();
    assert!(matches!(error, Error::Unstorable { .. }), "{error}");
    assert_eq!(values(store, &view, &[Some(1)]).await, [None]);
}

async fn after_the_deadline_nothing_is_done(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    let passed = Deadline::after(Duration::ZERO);
    let rows = lines(&[(Some(1), 10, None, Some(1))]);
    assert!(matches!(store.write(&view, &rows, passed).await, Err(Error::Late)));
    for keys in [ids(&view, &[Some(1)]), ids(&view, &vec![Some(1); 5_000])] {
        let answer = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], passed).await;
        assert!(matches!(answer, Err(Error::Late)));
    }
    assert_eq!(values(store, &view, &[Some(1)]).await, [None]);
}

fn every_type_comes_back(runtime: &Runtime, store: &dyn OnlineStore, promises: Promises, cases: u32) {
    let number = Cell::new(0);
    try_cases(cases, samples::views_with_rows(3), |(mut view, mut rows)| {
        number.set(number.get() + 1);
        let held: Vec<bool> = view.features.iter().map(|feature| (promises.holds)(feature.dtype)).collect();
        keep(&mut view.features, &held);
        keep(&mut rows.features, &held);
        if view.features.is_empty() && !promises.views_without_features {
            return;
        }
        if !promises.extreme_times {
            rows.event_time = timestamps((1..=3).map(Some).collect());
        }
        view.name = format!("types_{}", number.get());
        let view = Arc::new(view);
        let keys = KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows());
        let stored = runtime.block_on(async {
            write(store, &view, &rows).await;
            read(store, &view, &keys).await
        });
        assert_eq!(stored.columns, rows.features);
        assert_eq!(stored.event_time, rows.event_time);
    });
}

fn keep<T>(all: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    all.retain(|_| kept.next().is_some_and(|is_kept| *is_kept));
}

async fn what_can_be_reached_is_read_as_ever(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, None, Some(7))])).await;
    let keys = ids(&view, &[Some(1), Some(2)]);
    let reads = [Read { view: &view, keys: &keys, columns: &[0] }, Read { view: &view, keys: &keys, columns: &[] }];
    let (all, reachable) =
        (store.read(&reads, soon()).await.unwrap(), store.read_reachable(&reads, soon()).await.unwrap());
    assert_eq!(reachable.len(), 2);
    for (all, reachable) in all.iter().zip(&reachable) {
        assert_eq!((&all.present, &all.event_time), (&reachable.present, &reachable.event_time));
        assert_eq!(all.columns, reachable.columns);
        assert!(reachable.unreachable.as_ref().is_none_or(|rows| rows.count_set_bits() == 0));
    }
    let passed = Deadline::after(Duration::ZERO);
    let answers = store.read_reachable(&reads, passed).await.unwrap();
    for answer in answers {
        assert_eq!(answer.unreachable.unwrap().count_set_bits(), 2, "after the deadline nothing can be known");
        assert_eq!(answer.present.count_set_bits(), 0);
    }
}
