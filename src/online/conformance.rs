//! The contract of [`OnlineStore`] as code; every store runs it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::{Error, OnlineStore, OnlineView, Read, Written, samples};
use crate::batch::{FeatureRows, KeyBatch, StoredRows, timestamps};
use crate::catalog::{DType, Digest, Field, Scalar};
use crate::clock::Deadline;

const INT: DType = DType::One(Scalar::Int64);
const TEXT: DType = DType::One(Scalar::String);

/// Checks a kind of store; `make` makes an empty one. Properties are tried with `cases` random cases.
pub(crate) fn check(make: &dyn Fn() -> Arc<dyn OnlineStore>, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        unknown_and_null_keys_are_rows_of_nulls(&*make()).await;
        the_later_row_stays(&*make()).await;
        of_rows_that_tie_the_later_one_stays(&*make()).await;
        a_row_without_created_time_is_before_one_with_it(&*make()).await;
        rows_of_one_key_in_one_batch_are_taken_in_order(&*make()).await;
        empty_batches_and_questions_are_answered(&*make()).await;
        extreme_times_are_kept(&*make()).await;
        many_questions_are_answered_in_order(&*make()).await;
        long_and_composite_keys_are_told_apart(&*make()).await;
        rows_of_an_older_view_are_read_by_name_and_type(&*make()).await;
        rows_of_other_join_keys_are_not_there(&*make()).await;
        rows_of_another_transform_are_not_there(&*make()).await;
        a_batch_that_does_not_fit_its_view_changes_nothing(&*make()).await;
        after_the_deadline_nothing_is_done(&*make()).await;
        concurrent_writers_end_in_the_latest_state(make()).await;
    });
    any_order_of_writes_ends_in_the_same_state(&runtime, &*make(), cases);
    every_type_comes_back(&runtime, &*make(), cases);
}

/// `(id, event time, created time, value)`
type Line = (Option<i64>, i64, Option<i64>, Option<i64>);

pub(crate) fn view_of(name: &str, join_keys: &[(&str, DType)], features: &[(&str, DType)]) -> Arc<OnlineView> {
    let fields = |columns: &[(&str, DType)]| columns.iter().map(|(name, dtype)| Field::new(*name, *dtype)).collect();
    Arc::new(OnlineView {
        name: name.to_owned(),
        entities: join_keys.iter().map(|(name, _)| (*name).to_owned()).collect(),
        join_keys: fields(join_keys),
        features: fields(features),
        digest: None,
    })
}

/// A view `id → value`.
pub(crate) fn plain_view(name: &str) -> Arc<OnlineView> {
    view_of(name, &[("id", INT)], &[("value", INT)])
}

pub(crate) fn lines(lines: &[Line]) -> FeatureRows {
    FeatureRows {
        keys: vec![Arc::new(Int64Array::from_iter(lines.iter().map(|line| line.0)))],
        features: vec![Arc::new(Int64Array::from_iter(lines.iter().map(|line| line.3)))],
        event_time: timestamps(lines.iter().map(|line| Some(line.1)).collect()),
        created_time: timestamps(lines.iter().map(|line| line.2).collect()),
        deleted: None,
        origin: None,
    }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub(crate) async fn write(store: &dyn OnlineStore, view: &Arc<OnlineView>, rows: &FeatureRows) -> Written {
    store.write(view, rows, soon()).await.unwrap()
}

fn ids(view: &OnlineView, ids: &[Option<i64>]) -> KeyBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    KeyBatch::encode(&view.join_keys, &[column], ids.len())
}

async fn read(store: &dyn OnlineStore, view: &Arc<OnlineView>, keys: &KeyBatch) -> StoredRows {
    let columns: Vec<usize> = (0..view.features.len()).collect();
    let mut answers = store.read(&[Read { view, keys, columns: &columns }], soon()).await.unwrap();
    assert_eq!(answers.len(), 1);
    let stored = answers.remove(0);
    for (feature, column) in view.features.iter().zip(&stored.columns) {
        assert_eq!(column.data_type(), &feature.dtype.arrow());
        assert_eq!(column.len(), keys.rows());
    }
    stored
}

/// Event time and value of each id; nothing where there is no row.
pub(crate) async fn values(
    store: &dyn OnlineStore,
    view: &Arc<OnlineView>,
    asked: &[Option<i64>],
) -> Vec<Option<(i64, Option<i64>)>> {
    let stored = read(store, view, &ids(view, asked)).await;
    let column = stored.columns[0].as_primitive::<Int64Type>();
    let row = |row: usize| {
        let value = column.is_valid(row).then(|| column.value(row));
        assert_eq!(stored.present.value(row), stored.event_time.is_valid(row));
        assert!(stored.present.value(row) || value.is_none());
        stored.present.value(row).then(|| (stored.event_time.value(row), value))
    };
    (0..asked.len()).map(row).collect()
}

fn written(written: u64, older: u64, without_key: u64) -> Written {
    Written { written, older, without_key }
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

async fn the_later_row_stays(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 9, Some(99), Some(2))])).await, written(0, 1, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(1)))]);
    assert_eq!(write(store, &view, &lines(&[(Some(1), 11, None, None)])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((11, None))], "a null is a value too");
}

async fn of_rows_that_tie_the_later_one_stays(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, Some(5), Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, Some(5), Some(2))])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(2)))]);
}

async fn a_row_without_created_time_is_before_one_with_it(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, Some(-5), Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, None, Some(2))])).await, written(0, 1, 0));
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, Some(-4), Some(3))])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(3)))]);
}

async fn rows_of_one_key_in_one_batch_are_taken_in_order(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    let batch = lines(&[
        (Some(1), 10, None, Some(1)),
        (Some(2), 10, None, Some(2)),
        (Some(1), 12, None, Some(3)),
        (Some(1), 11, None, Some(4)),
        (Some(2), 10, None, Some(5)),
    ]);
    assert_eq!(write(store, &view, &batch).await, written(4, 1, 0));
    assert_eq!(values(store, &view, &[Some(1), Some(2)]).await, [Some((12, Some(3))), Some((10, Some(5)))]);
}

async fn empty_batches_and_questions_are_answered(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    assert_eq!(write(store, &view, &lines(&[])).await, Written::default());
    assert_eq!(write(store, &view, &lines(&[(None, 1, None, None)])).await, written(0, 0, 1));
    assert_eq!(values(store, &view, &[]).await, []);
    assert!(store.read(&[], soon()).await.unwrap().is_empty());
    let without_features = view_of("bare", &[("id", INT)], &[]);
    let rows = FeatureRows { features: Vec::new(), ..lines(&[(Some(1), 3, None, None)]) };
    assert_eq!(write(store, &without_features, &rows).await, written(1, 0, 0));
    let stored = read(store, &without_features, &ids(&without_features, &[Some(1), Some(2)])).await;
    assert_eq!((stored.present.value(0), stored.present.value(1)), (true, false));
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

async fn rows_of_an_older_view_are_read_by_name_and_type(store: &dyn OnlineStore) {
    let first = view_of("companies", &[("id", INT)], &[("a", INT), ("b", TEXT)]);
    let mut rows = lines(&[(Some(1), 10, None, Some(1)), (Some(2), 10, None, Some(2))]);
    rows.features.push(Arc::new(StringArray::from(vec!["one", "two"])));
    write(store, &first, &rows).await;

    let second = view_of("companies", &[("id", INT)], &[("c", INT), ("b", TEXT), ("a", TEXT)]);
    let mut rows = lines(&[(Some(2), 11, None, Some(3)), (Some(1), 9, None, Some(4))]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["new", "old"]));
    rows.features.extend([Arc::clone(&text), text]);
    assert_eq!(write(store, &second, &rows).await, written(1, 1, 0), "an older row stays older under a new view");

    let stored = read(store, &second, &ids(&second, &[Some(1), Some(2)])).await;
    let (c, b, a) = (&stored.columns[0], stored.columns[1].as_string::<i32>(), stored.columns[2].as_string::<i32>());
    assert!(c.is_null(0) && a.is_null(0), "the first row has no c, and its a is a number");
    assert_eq!((b.value(0), b.value(1), a.value(1)), ("one", "new", "new"));
    assert_eq!(stored.present.count_set_bits(), 2);

    let stored = read(store, &first, &ids(&first, &[Some(1), Some(2)])).await;
    let a = stored.columns[0].as_primitive::<Int64Type>();
    assert_eq!((a.value(0), a.is_null(1)), (1, true), "the older view is still asked by running requests");
}

async fn rows_of_other_join_keys_are_not_there(store: &dyn OnlineStore) {
    let by_user = view_of("counts", &[("user", INT)], &[("value", INT)]);
    let by_item = view_of("counts", &[("item", INT)], &[("value", INT)]);
    write(store, &by_user, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(values(store, &by_item, &[Some(1)]).await, [None]);
    assert_eq!(write(store, &by_item, &lines(&[(Some(1), 3, None, Some(2))])).await, written(1, 0, 0));
    assert_eq!(values(store, &by_item, &[Some(1)]).await, [Some((3, Some(2)))]);
    assert_eq!(values(store, &by_user, &[Some(1)]).await, [None]);
}

async fn rows_of_another_transform_are_not_there(store: &dyn OnlineStore) {
    let made_by = |digest: u8| {
        Arc::new(OnlineView { digest: Some(Digest([digest; 32])), ..(*plain_view("made_by_another")).clone() })
    };
    let (before, now) = (made_by(1), made_by(2));
    write(store, &before, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(values(store, &now, &[Some(1)]).await, [None]);
    write(store, &now, &lines(&[(Some(1), 10, None, Some(2))])).await;
    assert_eq!(values(store, &now, &[Some(1)]).await, [Some((10, Some(2)))]);
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

async fn concurrent_writers_end_in_the_latest_state(store: Arc<dyn OnlineStore>) {
    const WRITERS: i64 = 4;
    const BATCHES: i64 = 6;
    let view = plain_view("companies");
    let writers = (0..WRITERS).map(|writer| {
        let (store, view) = (Arc::clone(&store), Arc::clone(&view));
        tokio::spawn(async move {
            for batch in 0..BATCHES {
                // Writers take turns in event time, each from its newest batch to its oldest.
                let time = (BATCHES - batch) * WRITERS + writer;
                let rows: Vec<Line> = (0..20).map(|id| (Some(id), time, None, Some(time))).collect();
                write(&*store, &view, &lines(&rows)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let latest = BATCHES * WRITERS + WRITERS - 1;
    let asked: Vec<Option<i64>> = (0..20).map(Some).collect();
    assert_eq!(values(&*store, &view, &asked).await, vec![Some((latest, Some(latest))); 20]);
}

fn try_cases<S: Strategy>(cases: u32, strategy: S, case: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |value| {
            case(value);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Events with distinct (event time, created time) by key, in any order, repeated and cut into any batches.
fn any_order_of_writes_ends_in_the_same_state(runtime: &Runtime, store: &dyn OnlineStore, cases: u32) {
    let event = (0..4_i64, 0..4_i64, prop::option::of(0..4_i64));
    let events = prop::collection::btree_set(event, 1..24).prop_map(|events| {
        let numbered = events.into_iter().enumerate();
        numbered.map(|(value, (id, event, created))| (Some(id), event, created, Some(value as i64))).collect()
    });
    let orders = events.prop_flat_map(|events: Vec<Line>| {
        let again = prop::sample::subsequence(events.clone(), 0..=events.len());
        let order = again.prop_flat_map(move |again| Just([events.clone(), again].concat()).prop_shuffle());
        (order, 1..6_usize)
    });
    let number = Cell::new(0);
    try_cases(cases, orders, |(order, batch_rows)| {
        number.set(number.get() + 1);
        let view = plain_view(&format!("case_{}", number.get()));
        let mut newest: BTreeMap<i64, Line> = BTreeMap::new();
        for line in &order {
            let kept = newest.entry(line.0.unwrap()).or_insert(*line);
            if (line.1, line.2) > (kept.1, kept.2) {
                *kept = *line;
            }
        }
        let expected: Vec<_> = (0..4).map(|id| newest.get(&id).map(|line| (line.1, line.3))).collect();
        let is = runtime.block_on(async {
            for batch in order.chunks(batch_rows) {
                write(store, &view, &lines(batch)).await;
            }
            values(store, &view, &[Some(0), Some(1), Some(2), Some(3)]).await
        });
        assert_eq!(is, expected);
    });
}

fn every_type_comes_back(runtime: &Runtime, store: &dyn OnlineStore, cases: u32) {
    let number = Cell::new(0);
    try_cases(cases, samples::views_with_rows(3), |(mut view, rows)| {
        number.set(number.get() + 1);
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
