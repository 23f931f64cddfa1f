//! The contract of [`OfflineStore`] as code; every store runs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;

use super::{Error, KeyFilter, KnownBy, Maintenance, OfflineStore, Scan};
use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar, Source, SourceKind, Stored};
use crate::error::ErrorKind;

mod times;
mod upkeep;
mod windows;

use times::times_are_exact_from_the_first_to_the_last;
use upkeep::{how_a_scan_would_read_can_be_said, maintenance_leaves_the_rows_as_they_are};
use windows::{
    a_sql_source_keeps_the_order_of_its_query, a_window_sees_the_rows_before_the_range_and_none_after,
    a_window_takes_rows_of_equal_order_keys_in_source_order,
};

/// A store, and ways to prepare it that are not part of the port.
pub(super) struct Subject {
    pub store: Arc<dyn OfflineStore>,
    /// The table at a path.
    pub stored: fn(&str) -> Stored,
    /// Whether a column may be of a wider type in later rows.
    pub widens: bool,
    /// Whether rows can be read again as they were.
    pub keeps_past: bool,
    /// Puts rows behind those that a source has.
    pub put: Box<dyn Fn(&Source, RecordBatch) + Send + Sync>,
    pub define: Box<dyn Fn(BTreeMap<String, Source>) + Send + Sync>,
}

impl Subject {
    /// Whether rows come in the order in which they were put.
    fn ordered(&self) -> bool {
        (self.stored)("any").keeps_order()
    }
}

pub(super) async fn run(subject: &Subject) {
    a_range_has_both_its_ends(subject).await;
    rows_come_in_source_order_and_twice_the_same(subject).await;
    rows_without_an_event_time_are_left_out(subject).await;
    created_time_is_null_where_the_source_has_none(subject).await;
    columns_are_cast_exactly_or_refused(subject).await;
    only_rows_of_the_range_have_to_fit(subject).await;
    nanoseconds_are_cut_down_before_they_are_compared(subject).await;
    times_are_exact_from_the_first_to_the_last(subject).await;
    one_column_can_be_asked_for_in_several_ways(subject).await;
    an_unknown_column_is_named(subject).await;
    parts_with_different_columns_are_one_source(subject).await;
    a_push_source_without_rows_is_empty(subject).await;
    appending_a_batch_again_changes_nothing(subject).await;
    queries_cannot_be_written(subject).await;
    a_sql_source_reads_sql_sources_in_any_order_of_definition(subject).await;
    a_sql_source_keeps_the_order_of_its_query(subject).await;
    a_window_sees_the_rows_before_the_range_and_none_after(subject).await;
    a_window_takes_rows_of_equal_order_keys_in_source_order(subject).await;
    a_query_that_is_not_the_same_each_time_is_refused(subject).await;
    a_wrong_query_is_the_users_mistake(subject).await;
    only_rows_of_the_asked_entities_are_answered(subject).await;
    keys_reach_into_a_query_without_changing_it(subject).await;
    what_was_written_later_was_not_known(subject).await;
    a_snapshot_is_what_was_there(subject).await;
    a_snapshot_of_a_query_is_one_of_all_that_it_reads(subject).await;
    a_stored_source_takes_rows_too(subject).await;
    an_upsert_replaces_rows_of_the_same_keys(subject).await;
    how_a_scan_would_read_can_be_said(subject).await;
    maintenance_leaves_the_rows_as_they_are(subject).await;
}

fn source(name: &str, kind: SourceKind) -> Source {
    let (event_time, created_time) = ("t".to_owned(), Some("c".to_owned()));
    Source { name: name.to_owned(), kind, event_time, created_time, description: String::new() }
}

fn files(subject: &Subject, name: &str) -> Source {
    source(name, SourceKind::Stored((subject.stored)(name)))
}

fn pushed(subject: &Subject, name: &str) -> Source {
    source(name, SourceKind::Push { into: (subject.stored)(name) })
}

fn query(name: &str, query: &str) -> Source {
    Source { created_time: None, ..source(name, SourceKind::Sql { query: query.to_owned() }) }
}

fn define(subject: &Subject, sources: &[&Source]) {
    (subject.define)(sources.iter().map(|source| (source.name.clone(), (*source).clone())).collect());
}

/// Rows `(k, x, t, c)`: `x` as given, `k` one of three, `c` a second after `t`.
fn rows(rows: impl IntoIterator<Item = (Option<i64>, i64)>) -> RecordBatch {
    let (times, values): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let keys: StringArray = values.iter().map(|value| Some(format!("k{}", value % 3))).collect();
    let created = times.iter().map(|time| time.map(|time| time + 1_000_000)).collect();
    batch(vec![
        ("k", Arc::new(keys)),
        ("x", Arc::new(Int64Array::from(values))),
        ("t", Arc::new(timestamps(times))),
        ("c", Arc::new(timestamps(created))),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}

fn scan(columns: &[(&str, Scalar)]) -> Scan {
    let columns = columns.iter().map(|(name, scalar)| Field::new(*name, DType::One(*scalar))).collect();
    Scan::of(columns)
}

async fn read(subject: &Subject, source: &Source, scan: &Scan) -> Result<RecordBatch, Error> {
    let batches: Vec<RecordBatch> = subject.store.scan(source, scan).await?.try_collect().await?;
    let schema = batches.first().map_or_else(|| rows([]).schema(), |batch| batch.schema());
    Ok(concat_batches(&schema, &batches).expect("batches of one schema"))
}

async fn integers(subject: &Subject, source: &Source, scan: &Scan) -> Vec<i64> {
    let rows = read(subject, source, scan).await.expect("the scan works");
    if rows.num_rows() == 0 { Vec::new() } else { rows.column(0).as_primitive::<Int64Type>().values().to_vec() }
}

/// The values as they come, or in an order of ours where the store has none.
fn in_order(subject: &Subject, mut values: Vec<i64>) -> Vec<i64> {
    if !subject.ordered() {
        values.sort_unstable();
    }
    values
}

async fn a_range_has_both_its_ends(subject: &Subject) {
    let source = files(subject, "ranges");
    (subject.put)(&source, rows((0..10).map(|x| (Some(x * 10), x))));
    let range = |from, until| Scan { from, until, ..scan(&[("x", Scalar::Int64)]) };
    assert_eq!(integers(subject, &source, &range(Some(20), Some(50))).await, [2, 3, 4, 5]);
    assert_eq!(integers(subject, &source, &range(Some(71), None)).await, [8, 9]);
    assert_eq!(integers(subject, &source, &range(None, Some(9))).await, [0]);
    assert_eq!(integers(subject, &source, &range(Some(91), None)).await, Vec::<i64>::new());
    assert_eq!(integers(subject, &source, &range(Some(i64::MIN), Some(i64::MAX))).await.len(), 10);
}

async fn rows_come_in_source_order_and_twice_the_same(subject: &Subject) {
    let source = files(subject, "orders");
    for part in 0..3 {
        (subject.put)(&source, rows((0..9_000).map(|x| (Some((x * 7_919) % 1_000), part * 9_000 + x))));
    }
    let wanted = scan(&[("x", Scalar::Int64)]);
    let first = integers(subject, &source, &wanted).await;
    assert_eq!(in_order(subject, first.clone()), (0..27_000).collect::<Vec<_>>());
    assert_eq!(integers(subject, &source, &wanted).await, first);
}

async fn rows_without_an_event_time_are_left_out(subject: &Subject) {
    let source = files(subject, "timeless");
    (subject.put)(&source, rows([(None, 1), (Some(5), 2), (None, 3)]));
    assert_eq!(integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await, [2]);
}

async fn created_time_is_null_where_the_source_has_none(subject: &Subject) {
    let with = files(subject, "created");
    (subject.put)(&with, rows([(Some(5), 1)]));
    let read_with = read(subject, &with, &scan(&[])).await.expect("the scan works");
    assert_eq!(read_with.schema().field(0).name(), super::EVENT_TIME);
    assert_eq!(read_with.schema().field(1).name(), super::CREATED_TIME);
    assert_eq!(read_with.column(1).as_primitive::<TimestampMicrosecondType>().value(0), 1_000_005);
    let without = Source { created_time: None, ..with };
    let read_without = read(subject, &without, &scan(&[])).await.expect("the scan works");
    assert!(read_without.column(1).is_null(0));
    assert_eq!(read_without.column(1).data_type(), &DType::TIMESTAMP.arrow());
}

async fn columns_are_cast_exactly_or_refused(subject: &Subject) {
    let source = files(subject, "casts");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("small", Arc::new(Int32Array::from(vec![1, 2]))),
        ("large", Arc::new(Int64Array::from(vec![1, 3_000_000_000]))),
        ("half", Arc::new(Float64Array::from(vec![0.5, 2.0]))),
        ("t", Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_000]))),
        ("c", Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_000]))),
    ];
    (subject.put)(&source, batch(columns));
    let good = read(subject, &source, &scan(&[("small", Scalar::Int64), ("small", Scalar::Float64)])).await;
    let good = good.expect("the scan works");
    assert_eq!(good.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(good.column(1).as_primitive::<Float64Type>().values(), &[1.0, 2.0]);
    assert_eq!(good.column(2).as_primitive::<TimestampMicrosecondType>().values(), &[1, 2]);
    for (column, scalar) in [("large", Scalar::Int32), ("half", Scalar::Int64), ("small", Scalar::String)] {
        let error = read(subject, &source, &scan(&[(column, scalar)])).await.expect_err("it does not fit");
        assert!(error.to_string().starts_with(&format!("column {column} of source casts is")), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

async fn only_rows_of_the_range_have_to_fit(subject: &Subject) {
    let source = files(subject, "fitting");
    (subject.put)(&source, rows([(Some(1), i64::MAX), (Some(2), 7)]));
    let wanted = Scan { from: Some(2), ..scan(&[("x", Scalar::Int32)]) };
    assert_eq!(read(subject, &source, &wanted).await.expect("the scan works").num_rows(), 1);
}

async fn nanoseconds_are_cut_down_before_they_are_compared(subject: &Subject) {
    let source = Source { created_time: None, ..files(subject, "nanoseconds") };
    let times = TimestampNanosecondArray::from(vec![1_999, 2_000, 2_999, 3_000, -1]);
    (subject.put)(&source, batch(vec![("t", Arc::new(times))]));
    let times = |from, until| async move {
        let wanted = Scan { from: Some(from), until: Some(until), ..Scan::default() };
        let rows = read(subject, &Source { created_time: None, ..files(subject, "nanoseconds") }, &wanted).await;
        rows.expect("the scan works").column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    };
    assert_eq!(times(2, 2).await, [2, 2]);
    assert_eq!(times(-1, 1).await, [1, -1]);
}

async fn one_column_can_be_asked_for_in_several_ways(subject: &Subject) {
    let source = files(subject, "several");
    (subject.put)(&source, rows([(Some(5), 1)]));
    let wanted = scan(&[("t", Scalar::Timestamp), ("x", Scalar::Int64), ("t", Scalar::Timestamp)]);
    let rows = read(subject, &source, &wanted).await.expect("the scan works");
    assert_eq!(rows.num_columns(), 5);
    assert_eq!(rows.column(0), rows.column(3));
}

async fn an_unknown_column_is_named(subject: &Subject) {
    let source = files(subject, "columns");
    (subject.put)(&source, rows([(Some(5), 1)]));
    let error = read(subject, &source, &scan(&[("y", Scalar::Int64)])).await.expect_err("there is no y");
    assert_eq!(error.to_string(), "source columns has no column y; it has k, x, t, c");
    let timeless = Source { event_time: "when".to_owned(), ..source };
    let error = read(subject, &timeless, &scan(&[])).await.expect_err("there is no when");
    assert_eq!(error.to_string(), "source columns has no column when; it has k, x, t, c");
}

async fn parts_with_different_columns_are_one_source(subject: &Subject) {
    let source = Source { created_time: None, ..files(subject, "parts") };
    let times = || Arc::new(TimestampMicrosecondArray::from(vec![1]));
    let narrow: ArrayRef =
        if subject.widens { Arc::new(Int32Array::from(vec![1])) } else { Arc::new(Int64Array::from(vec![1])) };
    (subject.put)(&source, batch(vec![("x", narrow), ("t", times())]));
    let both: Vec<(&str, ArrayRef)> =
        vec![("t", times()), ("x", Arc::new(Int64Array::from(vec![2]))), ("y", Arc::new(Int64Array::from(vec![3])))];
    (subject.put)(&source, batch(both));
    let rows = read(subject, &source, &scan(&[("x", Scalar::Int64), ("y", Scalar::Int64)])).await;
    let rows = rows.expect("the scan works");
    let (x, y) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
    let mut pairs: Vec<_> = x.iter().zip(y.iter()).collect();
    if !subject.ordered() {
        pairs.sort_unstable();
    }
    assert_eq!(pairs, [(Some(1), None), (Some(2), Some(3))]);
    let schema = subject.store.schema(&source).await.expect("the files can be read");
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["x", "t", "y"]);
}

async fn a_push_source_without_rows_is_empty(subject: &Subject) {
    let source = pushed(subject, "silent");
    assert_eq!(integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await, Vec::<i64>::new());
    assert_eq!(subject.store.schema(&source).await.expect("an empty schema").fields().len(), 0);
    let over = query("over_silent", "SELECT * FROM silent");
    define(subject, &[&source, &over]);
    let error = read(subject, &over, &scan(&[])).await.expect_err("the columns are not known");
    assert!(error.to_string().contains("source silent has no rows yet"), "{error}");
    let missing = files(subject, "missing");
    let error = read(subject, &missing, &scan(&[])).await.expect_err("there is nothing");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

async fn appending_a_batch_again_changes_nothing(subject: &Subject) {
    let source = pushed(subject, "pushes");
    let odd_id = "a/../b \u{1f980}";
    for (id, x) in [("z", 1), (odd_id, 2), ("a", 3), (odd_id, 4), ("z", 5)] {
        subject.store.append(&source, id, &rows([(Some(5), x)])).await.expect("the push is stored");
    }
    let values = integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await;
    assert_eq!(in_order(subject, values), [1, 2, 3]);
}

async fn queries_cannot_be_written(subject: &Subject) {
    let asked = query("asked", "SELECT 1 AS x");
    let error = subject.store.append(&asked, "a", &rows([(Some(5), 1)])).await.expect_err("it is not for that");
    assert_eq!(error.to_string(), "rows cannot be added to source asked: it is a query; only tables can be written");
}

async fn a_sql_source_reads_sql_sources_in_any_order_of_definition(subject: &Subject) {
    let base = files(subject, "base");
    (subject.put)(&base, rows((0..6).map(|x| (Some(x), x))));
    let a_last = query("a_last", "SELECT x * 10 AS x, t FROM b_middle WHERE x > 1");
    let b_middle = query("b_middle", "SELECT x + 1 AS x, t FROM base");
    define(subject, &[&a_last, &b_middle, &base]);
    assert_eq!(integers(subject, &a_last, &scan(&[("x", Scalar::Int64)])).await, [20, 30, 40, 50, 60]);
    let circle = query("b_middle", "SELECT x, t FROM a_last");
    define(subject, &[&a_last, &circle, &base]);
    let error = read(subject, &a_last, &scan(&[])).await.expect_err("it reads itself");
    assert!(error.to_string().contains("a_last → b_middle → a_last"), "{error}");
}

async fn a_query_that_is_not_the_same_each_time_is_refused(subject: &Subject) {
    let base = files(subject, "pure_base");
    (subject.put)(&base, rows([(Some(5), 1)]));
    for impure in ["now()", "random()", "uuid()", "current_date()", "CURRENT_TIMESTAMP"] {
        let source = query("impure", &format!("SELECT {impure} AS x, t FROM pure_base"));
        define(subject, &[&source, &base]);
        let error = read(subject, &source, &scan(&[])).await.expect_err(impure);
        assert!(matches!(error, Error::Query { .. }), "{error}");
    }
}

async fn a_wrong_query_is_the_users_mistake(subject: &Subject) {
    let base = files(subject, "wrong_base");
    (subject.put)(&base, rows([(Some(5), 1)]));
    let wrong = [
        ("SELECT nothing AS x, t FROM wrong_base", "nothing"),
        ("SELECT x / 0 AS x, t FROM wrong_base", "zero"),
        ("SELECT * FROM elsewhere", "there is no source elsewhere; defined are wrong, wrong_base"),
        ("DELETE FROM wrong_base", "it must be a query"),
    ];
    for (text, because) in wrong {
        let source = query("wrong", text);
        define(subject, &[&source, &base]);
        let error = read(subject, &source, &scan(&[("x", Scalar::Int64)])).await.expect_err(text);
        assert!(matches!(error, Error::Query { .. }), "{error}");
        assert!(error.to_string().to_lowercase().contains(because), "{error}");
    }
}

fn of_keys(columns: Vec<(&str, Scalar, ArrayRef)>) -> Option<KeyFilter> {
    let (join_keys, values) =
        columns.into_iter().map(|(name, scalar, values)| (Field::new(name, DType::One(scalar)), values)).unzip();
    Some(KeyFilter { join_keys, values })
}

async fn only_rows_of_the_asked_entities_are_answered(subject: &Subject) {
    let source = files(subject, "entities");
    (subject.put)(&source, rows((0..3_000).map(|x| (Some(x), x))));
    let texts = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let numbers = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let small = |values: Vec<i32>| Arc::new(Int32Array::from(values)) as ArrayRef;
    let asked = |keys| Scan { keys, from: Some(3), until: Some(2_000), ..scan(&[("x", Scalar::Int64)]) };
    let one = asked(of_keys(vec![("k", Scalar::String, texts(vec!["k1", "none"]))]));
    assert_eq!(integers(subject, &source, &one).await, (4..=2_000).step_by(3).collect::<Vec<_>>());
    let pairs = vec![("k", Scalar::String, texts(vec!["k1", "k2"])), ("x", Scalar::Int32, small(vec![7, 9]))];
    assert_eq!(integers(subject, &source, &asked(of_keys(pairs))).await, [7], "9 is of k0");
    let many = asked(of_keys(vec![("x", Scalar::Int64, numbers((0..3_000).filter(|x| x % 7 == 0).collect()))]));
    assert_eq!(integers(subject, &source, &many).await, (7..=2_000).step_by(7).collect::<Vec<_>>());
    let nobody = asked(of_keys(vec![("k", Scalar::String, texts(vec![]))]));
    assert_eq!(integers(subject, &source, &nobody).await, Vec::<i64>::new());
    let everybody = asked(of_keys(vec![]));
    assert_eq!(integers(subject, &source, &everybody).await.len(), 1_998);
    let unknown = asked(of_keys(vec![("who", Scalar::String, texts(vec!["k1"]))]));
    let error = read(subject, &source, &unknown).await.expect_err("there is no who");
    assert!(matches!(error, Error::NoColumn { .. }), "{error}");
}

async fn keys_reach_into_a_query_without_changing_it(subject: &Subject) {
    let base = files(subject, "keyed_base");
    (subject.put)(&base, rows((0..300).map(|x| (Some(x), x))));
    let window = "SELECT k, t, row_number() OVER (ORDER BY t) AS x FROM keyed_base";
    let counted = query("keyed", window);
    define(subject, &[&counted, &base]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["k1"]));
    let asked = Scan { keys: of_keys(vec![("k", Scalar::String, texts)]), ..scan(&[("x", Scalar::Int64)]) };
    assert_eq!(integers(subject, &counted, &asked).await, (2..=300).step_by(3).collect::<Vec<_>>());
}

async fn what_was_written_later_was_not_known(subject: &Subject) {
    let source = files(subject, "known");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("t", Arc::new(timestamps(vec![Some(1), Some(2), Some(3), Some(4)]))),
        ("c", Arc::new(timestamps(vec![Some(10), None, Some(11), Some(9)]))),
    ];
    (subject.put)(&source, batch(columns));
    let at = |known_at| Scan { known_at: Some(known_at), ..scan(&[("x", Scalar::Int64)]) };
    assert_eq!(integers(subject, &source, &at(10)).await, [1, 2, 4]);
    assert_eq!(integers(subject, &source, &at(0)).await, [2]);
    let timeless = Source { created_time: None, ..source };
    assert_eq!(integers(subject, &timeless, &at(0)).await, [1, 2, 3, 4]);
}

async fn a_snapshot_is_what_was_there(subject: &Subject) {
    let source = files(subject, "moments");
    (subject.put)(&source, rows([(Some(1), 1)]));
    let snapshot = subject.store.snapshot(&source, KnownBy::Content).await.expect("a snapshot");
    assert_eq!(subject.store.snapshot(&source, KnownBy::Content).await.expect("a snapshot"), snapshot);
    (subject.put)(&source, rows([(Some(2), 2)]));
    assert_ne!(subject.store.snapshot(&source, KnownBy::Content).await.expect("a snapshot"), snapshot);
    let then = Scan { at: Some(snapshot), ..scan(&[("x", Scalar::Int64)]) };
    let found = if subject.keeps_past { vec![1] } else { vec![1, 2] };
    assert_eq!(integers(subject, &source, &then).await, found);
    assert_eq!(integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await, [1, 2]);
    let other = files(subject, "other_moments");
    (subject.put)(&other, rows([(Some(1), 1)]));
    let error = read(subject, &other, &then).await.expect_err("it was not recorded");
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

async fn a_snapshot_of_a_query_is_one_of_all_that_it_reads(subject: &Subject) {
    let (base, pushes) = (files(subject, "momentary"), pushed(subject, "momentary_pushes"));
    (subject.put)(&base, rows([(Some(1), 1)]));
    let over = query("over_momentary", "SELECT x, t FROM momentary UNION ALL SELECT x, t FROM momentary_pushes");
    define(subject, &[&base, &pushes, &over]);
    subject.store.append(&pushes, "a", &rows([(Some(5), 5)])).await.expect("the push is stored");
    let snapshot = subject.store.snapshot(&over, KnownBy::Content).await.expect("a snapshot");
    let names: Vec<&str> = snapshot.parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, snapshot.queries.len()), (vec!["momentary", "momentary_pushes"], 1));
    (subject.put)(&base, rows([(Some(2), 2)]));
    subject.store.append(&pushes, "b", &rows([(Some(6), 6)])).await.expect("the push is stored");
    let then = Scan { at: Some(snapshot), ..scan(&[("x", Scalar::Int64)]) };
    let mut values = integers(subject, &over, &then).await;
    values.sort_unstable();
    assert_eq!(values, if subject.keeps_past { vec![1, 5] } else { vec![1, 2, 5, 6] });
    let silent = pushed(subject, "momentary_silence");
    let nothing = subject.store.snapshot(&silent, KnownBy::Content).await.expect("a snapshot of nothing");
    let then = Scan { at: Some(nothing), ..scan(&[("x", Scalar::Int64)]) };
    subject.store.append(&silent, "a", &rows([(Some(5), 1)])).await.expect("the push is stored");
    assert_eq!(integers(subject, &silent, &then).await, Vec::<i64>::new());
}

async fn a_stored_source_takes_rows_too(subject: &Subject) {
    let source = files(subject, "taking");
    for (id, x) in [("one", 1), ("two", 2), ("one", 3)] {
        subject.store.append(&source, id, &rows([(Some(x), x)])).await.expect("the rows are stored");
    }
    assert_eq!(integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await, [1, 2]);
}

async fn an_upsert_replaces_rows_of_the_same_keys(subject: &Subject) {
    let source = files(subject, "replacing");
    let keys = ["k".to_owned(), "t".to_owned()];
    let upsert = |id: &'static str, rows: RecordBatch| {
        let (source, keys) = (&source, &keys);
        async move { subject.store.upsert(source, id, keys, &rows).await.expect("rows are replaced") }
    };
    upsert("a", rows([(Some(1), 1), (Some(2), 2), (Some(3), 3)])).await;
    // Of k2 at 2, and of k1 at 2, which is new.
    upsert("b", rows([(Some(2), 5), (Some(2), 7)])).await;
    upsert("b", rows([(Some(3), 300)])).await;
    let mut found = integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await;
    if !subject.ordered() {
        found.sort_unstable();
    }
    assert_eq!(found, [1, 3, 5, 7]);
    let error = subject.store.upsert(&source, "c", &["who".to_owned()], &rows([(Some(1), 1)])).await;
    let error = error.expect_err("there is no who");
    assert!(
        error.to_string().contains("there is no column who") || error.to_string().contains("no column who"),
        "{error}"
    );
    let mut found = integers(subject, &source, &scan(&[("x", Scalar::Int64)])).await;
    if !subject.ordered() {
        found.sort_unstable();
    }
    assert_eq!(found, [1, 3, 5, 7]);
}
