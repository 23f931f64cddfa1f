//! The contract of [`OnlineStore`] as code; every store runs it.
//!
//! A store of our own keeps all of the contract. One whose layout other programs share can keep only what that layout
//! has room for: it runs the same suite with [`Promises`] that say what it cannot promise.

mod newest;
mod operators;
mod rows;
mod views;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{OnlineStore, OnlineView, Read, Written};
use crate::batch::{FeatureRows, KeyBatch, Origin, StoredRows, timestamps};
use crate::catalog::{DType, Field, Scalar};
use crate::clock::Deadline;

const INT: DType = DType::One(Scalar::Int64);
const TEXT: DType = DType::One(Scalar::String);

/// What a store promises beyond the least: a row that was written is read, the one with the later event time stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promises {
    /// Event times are kept and compared over the whole range of an i64.
    pub extreme_times: bool,
    /// Of rows with equal event times the one with the later created time stays.
    pub created_times: bool,
    /// Of rows that tie on all times the one that comes later stays; else the one that was there.
    pub later_tie_wins: bool,
    /// Of rows from a stream that tie on both times the one from further on stays.
    pub origins: bool,
    /// A deleted key remembers when it was deleted, so that what is older stays away.
    pub tombstones: bool,
    pub progress: bool,
    /// Rows that another transform made are absent.
    pub transforms: bool,
    /// A feature of another type than it had when its row was written is null.
    pub types_may_change: bool,
    /// Rows that were written under other join keys are absent, and replaced by the next ones.
    pub join_keys_may_change: bool,
    /// A view may have any features, or none.
    pub views_without_features: bool,
    /// Values of these types come back bit for bit.
    pub holds: fn(DType) -> bool,
}

impl Promises {
    pub const ALL: Self = Self {
        extreme_times: true,
        created_times: true,
        later_tie_wins: true,
        origins: true,
        tombstones: true,
        progress: true,
        transforms: true,
        types_may_change: true,
        join_keys_may_change: true,
        views_without_features: true,
        holds: |_| true,
    };
}

/// Checks a kind of store that keeps the whole contract; `make` makes an empty one. Properties are tried with `cases`
/// random cases.
pub(crate) fn check(make: &dyn Fn() -> Arc<dyn OnlineStore>, cases: u32) {
    check_promises(make, Promises::ALL, cases);
}

/// As [`check`], for a store that keeps less.
pub(crate) fn check_promises(make: &dyn Fn() -> Arc<dyn OnlineStore>, promises: Promises, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        rows::check(make, promises).await;
        newest::check(make, promises).await;
        views::check(make, promises).await;
        operators::check(make, promises).await;
    });
    rows::check_properties(&runtime, &*make(), promises, cases);
    newest::check_properties(&runtime, &*make(), promises, cases);
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
    FeatureRows::new(
        vec![Arc::new(Int64Array::from_iter(lines.iter().map(|line| line.0)))],
        vec![Arc::new(Int64Array::from_iter(lines.iter().map(|line| line.3)))],
        timestamps(lines.iter().map(|line| Some(line.1)).collect()),
        timestamps(lines.iter().map(|line| line.2).collect()),
    )
}

/// Tombstones of these ids, of these event times.
pub(crate) fn tombstones(of: &[(i64, i64)]) -> FeatureRows {
    let deleted = lines(&of.iter().map(|(id, time)| (Some(*id), *time, None, None)).collect::<Vec<_>>());
    FeatureRows { deleted: Some(BooleanBuffer::new_set(of.len())), ..deleted }
}

/// The same rows, from these places of partition `partition` of the stream `clicks`.
pub(crate) fn from_stream(rows: FeatureRows, partition: u32, offsets: &[u64]) -> FeatureRows {
    FeatureRows { origin: Some(Origin { stream: "clicks".into(), partition, offsets: offsets.to_vec() }), ..rows }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub(crate) async fn write(store: &dyn OnlineStore, view: &Arc<OnlineView>, rows: &FeatureRows) -> Written {
    store.write(view, rows, soon()).await.unwrap()
}

pub(crate) fn ids(view: &OnlineView, ids: &[Option<i64>]) -> KeyBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    KeyBatch::encode(&view.join_keys, &[column], ids.len())
}

pub(crate) async fn read(store: &dyn OnlineStore, view: &Arc<OnlineView>, keys: &KeyBatch) -> StoredRows {
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

pub(crate) fn try_cases<S: Strategy>(cases: u32, strategy: S, case: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |value| {
            case(value);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Every event at least once, in any order, some again, and a number of rows in which to cut them into batches.
pub(crate) fn any_order<E: Clone + std::fmt::Debug + 'static>(
    events: Vec<E>,
) -> impl Strategy<Value = (Vec<E>, usize)> {
    let again = prop::sample::subsequence(events.clone(), 0..=events.len());
    let order = again.prop_flat_map(move |again| Just([events.clone(), again].concat()).prop_shuffle());
    (order, 1..6_usize)
}
