//! Rows that arrive: pushed, written, followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray};
use async_trait::async_trait;
use futures::StreamExt;
use lockstep::batch::timestamps;
use lockstep::catalog::{DType, Field, Scalar};
use lockstep::clock::{Deadline, Micros};
use lockstep::error::{ErrorKind, chain};
use lockstep::events::memory::{MemoryLog, MemoryReader};
use lockstep::events::{self, EventSource, Events};
use lockstep::flow::ingest::{Ingested, PushTo, follow, write_online};
use lockstep::flow::serve::Status;
use lockstep::flow::sync::Range;
use lockstep::offline::Scan;

use crate::light::{
    DAY, HOUR, Light, NOW, SECOND, batch, floats, floats_of, served_floats, served_status, soon, texts, times,
};

const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: rides, type: push, path: rides, event_time: at, created_time: made}
  - {name: meters, type: push, path: meters, event_time: at}
  - {name: trips, type: parquet, path: trips, event_time: at}
feature_views:
  - name: last_ride
    entities: [company]
    source: rides
    features: [{name: fare, type: float64}, {name: company_name, type: string}]
  - {name: last_miles, entities: [company], source: rides, features: [{name: miles, type: int32}]}
  - {name: archive, entities: [company], source: rides, online: false, features: [{name: tip, type: float64}]}
  - {name: meter, entities: [company], source: meters, features: [{name: fare, type: float64}]}
  - {name: trip, entities: [company], source: trips, features: [{name: fare, type: float64}]}
derived_views:
  - {name: identity, plugin: taxi_company, placement: sync, inputs: {company_name: 'last_ride:company_name'}}
  - {name: identity_again, plugin: taxi_company, placement: sync, inputs: {company_name: 'identity:company_clean'}}
";

/// Rides of a source: company, fare, event time.
fn rides(rides: &[(&str, f64, Micros)]) -> RecordBatch {
    batch(&[
        ("company", texts(&rides.iter().map(|ride| ride.0).collect::<Vec<_>>())),
        ("fare", floats(&rides.iter().map(|ride| ride.1).collect::<Vec<_>>())),
        ("at", times(&rides.iter().map(|ride| ride.2).collect::<Vec<_>>())),
    ])
}

fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let kept = schema.fields().iter().zip(rows.columns()).filter(|(field, _)| field.name() != name);
    let mut columns: Vec<(&str, ArrayRef)> =
        kept.map(|(field, column)| (field.name().as_str(), Arc::clone(column))).collect();
    columns.push((name, column));
    batch(&columns)
}

async fn fares(light: &Light, feature: &str, companies: &[&str]) -> Vec<Option<f64>> {
    let asked = batch(&[("company", texts(companies))]);
    served_floats(&light.serve(&[feature], &asked, light.gateway.clock.now()).await.expect("served"), 0)
}

/// What training finds now.
async fn trained(light: &Light, feature: &str, companies: &[&str]) -> Vec<Option<f64>> {
    let now = vec![light.gateway.clock.now(); companies.len()];
    let labels = batch(&[("company", texts(companies)), ("event_timestamp", times(&now))]);
    floats_of(&light.train(&[feature], &labels).await.expect("trained"), &feature.replace(':', "__"))
}

/// Rows in the history of a source.
async fn history(light: &Light, source: &str) -> usize {
    let source = light.gateway.applied.load().catalog.sources[source].clone();
    let scan = Scan::of(vec![Field::new("company", DType::One(Scalar::String))]);
    let batches = light.gateway.offline.scan(&source, &scan).await.expect("a history");
    batches.map(|batch| batch.expect("rows").num_rows()).fold(0, |sum, rows| async move { sum + rows }).await
}

#[tokio::test]
async fn a_push_goes_to_every_view_of_the_source_and_to_the_history() {
    let light = Light::of(DEFINITIONS).await;
    let rows = with(&rides(&[("a", 1.5, NOW)]), "company_name", texts(&["12 - 34 Benny Jona, Inc."]));
    let rows = with(&rows, "miles", Arc::new(Int32Array::from(vec![7])));
    let pushed = light.push("rides", &rows, PushTo::OnlineAndOffline).await.expect("pushed");
    let views = ["last_miles", "last_ride", "identity", "identity_again"];
    assert_eq!(pushed.views, views, "derived views too, and no view that is not online");
    assert_eq!((pushed.rows, pushed.rows_older, pushed.rows_appended), (1, 0, 1));

    let features = ["last_miles:miles", "identity:company_clean", "identity_again:company_clean"];
    let answer = light.serve(&features, &batch(&[("company", texts(&["a"]))]), NOW).await.expect("served");
    let row: Vec<String> = answer.columns.iter().map(|column| lockstep::cast::to_text(&column.values, 0)).collect();
    assert_eq!(row, ["7", "benny jona", "benny jona"]);
    assert_eq!(fares(&light, "last_ride:fare", &["a"]).await, [Some(1.5)]);
    assert_eq!(trained(&light, "last_ride:fare", &["a"]).await, [Some(1.5)]);
    assert_eq!(trained(&light, "archive:tip", &["a"]).await, [None], "a column that did not come is null");
}

#[tokio::test]
async fn rows_go_where_the_caller_says() {
    let light = Light::of(DEFINITIONS).await;
    let online = light.push("rides", &rides(&[("online", 1.0, NOW)]), PushTo::Online).await.expect("pushed");
    let offline = light.push("rides", &rides(&[("offline", 2.0, NOW)]), PushTo::Offline).await.expect("pushed");
    assert_eq!((online.rows_appended, offline.rows_appended), (0, 1));
    assert!(offline.views.is_empty());
    let both = ["online", "offline"];
    assert_eq!(fares(&light, "last_ride:fare", &both).await, [Some(1.0), None]);
    assert_eq!(trained(&light, "last_ride:fare", &both).await, [None, Some(2.0)]);
    light.sync("last_ride", Range::Full).await.expect("synced");
    assert_eq!(fares(&light, "last_ride:fare", &both).await, [Some(1.0), Some(2.0)]);
}

#[tokio::test]
async fn a_late_row_is_kept_for_training_and_not_served() {
    let light = Light::of(DEFINITIONS).await;
    light.push("meters", &rides(&[("a", 2.0, NOW), ("b", 1.0, NOW)]), PushTo::OnlineAndOffline).await.expect("pushed");
    let late = rides(&[("a", 9.0, NOW - HOUR), ("b", 3.0, NOW)]);
    let pushed = light.push("meters", &late, PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!((pushed.rows, pushed.rows_older, pushed.rows_appended), (2, 1, 2));
    assert_eq!(fares(&light, "meter:fare", &["a", "b"]).await, [Some(2.0), Some(3.0)]);
    let labels = batch(&[("company", texts(&["a", "a"])), ("event_timestamp", times(&[NOW - HOUR, NOW]))]);
    let set = light.train(&["meter:fare"], &labels).await.expect("trained");
    assert_eq!(floats_of(&set, "meter__fare"), [Some(9.0), Some(2.0)]);
}

#[tokio::test]
async fn of_two_rows_of_one_moment_the_later_one_is_served_and_trained() {
    let light = Light::of(DEFINITIONS).await;
    let rows = rides(&[("a", 1.0, NOW), ("a", 2.0, NOW)]);
    light.push("meters", &rows, PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!(fares(&light, "meter:fare", &["a"]).await, [Some(2.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a"]).await, [Some(2.0)]);
    light.push("meters", &rides(&[("a", 3.0, NOW)]), PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!(fares(&light, "meter:fare", &["a"]).await, [Some(3.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a"]).await, [Some(3.0)]);
}

#[tokio::test]
async fn ties_go_by_created_time_only_where_the_source_has_one() {
    let light = Light::of(DEFINITIONS).await;
    for (source, feature, expected) in [("rides", "last_ride:fare", 1.0), ("meters", "meter:fare", 2.0)] {
        let rows = rides(&[("a", 1.0, NOW), ("a", 2.0, NOW)]);
        // As Feast's clients send it, whatever the source calls it.
        let rows = with(&rows, "created", times(&[NOW + 2 * SECOND, NOW + SECOND]));
        light.push(source, &rows, PushTo::OnlineAndOffline).await.expect("pushed");
        assert_eq!(fares(&light, feature, &["a"]).await, [Some(expected)], "{source}");
        assert_eq!(trained(&light, feature, &["a"]).await, [Some(expected)], "{source}");
    }
}

#[tokio::test]
async fn a_row_without_a_created_time_gets_the_time_of_its_push() {
    let light = Light::of(DEFINITIONS).await;
    light.push("rides", &rides(&[("a", 1.0, NOW)]), PushTo::OnlineAndOffline).await.expect("pushed");
    let rows = with(&rides(&[("a", 2.0, NOW)]), "made", times(&[NOW - SECOND]));
    let pushed = light.push("rides", &rows, PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!(pushed.rows_older, 2, "in both views of the source");
    assert_eq!(fares(&light, "last_ride:fare", &["a"]).await, [Some(1.0)]);
    assert_eq!(trained(&light, "last_ride:fare", &["a"]).await, [Some(1.0)]);
}

#[tokio::test]
async fn columns_of_other_types_are_taken_where_the_values_are_the_same() {
    let light = Light::of(DEFINITIONS).await;
    let rows = batch(&[
        ("company", Arc::new(arrow::array::LargeStringArray::from(vec!["a"]))),
        ("fare", Arc::new(Int32Array::from(vec![3]))),
        ("event_timestamp", Arc::new(TimestampNanosecondArray::from(vec![NOW * 1_000 + 999]))),
    ]);
    light.push("meters", &rows, PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!(fares(&light, "meter:fare", &["a"]).await, [Some(3.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a"]).await, [Some(3.0)]);
}

/// What is refused, and with which words.
fn refused() -> Vec<(RecordBatch, &'static str)> {
    let good = rides(&[("a", 1.0, NOW), ("b", 2.0, NOW)]);
    let without = |name: &str| {
        let kept: Vec<usize> = (0..3).filter(|column| good.schema().field(*column).name() != name).collect();
        good.project(&kept).expect("columns that are there")
    };
    let null_key: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let null_time: ArrayRef = Arc::new(timestamps(vec![Some(NOW), None]));
    vec![
        (
            with(&good, "fair", floats(&[1.0, 2.0])),
            "column fair is not one of source rides; it has company, tip, miles, fare, company_name, at",
        ),
        (without("company"), "column company is missing; it holds a join key"),
        (without("at"), "column at is missing; it holds the time at which each row became true"),
        (with(&good, "company", null_key), "row 1 has no value for join key company; every row needs one"),
        (with(&good, "at", null_time), "row 1 has no at; every row needs the time at which it became true"),
        (with(&good, "fare", texts(&["1", "2"])), "column fare is string, it must be float64"),
        (with(&good, "miles", floats(&[1.0, 1.5])), "column miles is float64, it must be int32: row 1: 1.5"),
        (
            with(&good, "at", times(&[NOW, NOW + 2 * DAY])),
            "row 1 is from more than a minute after this gateway's clock; one of the two clocks is wrong",
        ),
    ]
}

#[tokio::test]
async fn a_push_with_a_mistake_writes_nothing_anywhere() {
    for (rows, expected) in refused() {
        for to in [PushTo::Online, PushTo::Offline, PushTo::OnlineAndOffline] {
            let light = Light::of(DEFINITIONS).await;
            let error = light.push("rides", &rows, to).await.expect_err(expected);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(chain(&error).contains(expected), "{} is not {expected}", chain(&error));
            assert_eq!(history(&light, "rides").await, 0, "{expected}");
            assert_eq!(fares(&light, "last_ride:fare", &["a", "b"]).await, [None, None], "{expected}");
        }
    }
}

#[tokio::test]
async fn what_is_no_push_source_is_told() {
    let light = Light::of(DEFINITIONS).await;
    for source in ["trips", "ridez"] {
        let error = light.push(source, &rides(&[("a", 1.0, NOW)]), PushTo::Online).await.expect_err("refused");
        assert_eq!(error.to_string(), format!("push source {source:?} is not defined"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_row_from_less_than_a_minute_ahead_waits_until_it_is_true() {
    let light = Light::of(DEFINITIONS).await;
    light.push("meters", &rides(&[("a", 1.0, NOW + SECOND)]), PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!(fares(&light, "meter:fare", &["a"]).await, [None]);
    assert_eq!(trained(&light, "meter:fare", &["a"]).await, [None]);
    light.gateway.clock.set(NOW + SECOND);
    assert_eq!(fares(&light, "meter:fare", &["a"]).await, [Some(1.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a"]).await, [Some(1.0)]);
}

#[tokio::test]
async fn rows_can_be_written_online_alone() {
    let light = Light::of(DEFINITIONS).await;
    let rows = rides(&[("a", 1.0, NOW), ("b", 2.0, NOW - HOUR)]);
    let written = write_online(&light.gateway, "trip", &rows, soon()).await.expect("written");
    assert_eq!((written.views, written.rows, written.rows_appended), (vec!["trip".to_owned()], 2, 0));
    assert_eq!(fares(&light, "trip:fare", &["a", "b"]).await, [Some(1.0), Some(2.0)]);

    let named = with(&rides(&[("a", 3.0, NOW)]), "company_name", texts(&["Benny Jona"]));
    let written = write_online(&light.gateway, "last_ride", &named, soon()).await.expect("written");
    assert_eq!(written.views, ["last_ride", "identity", "identity_again"], "with what is derived of it");
    assert_eq!(history(&light, "rides").await, 0);

    let other = with(&named, "miles", floats(&[1.0]));
    let error = write_online(&light.gateway, "last_ride", &other, soon()).await.expect_err("of another view");
    assert!(error.to_string().starts_with("column miles is not one of source rides"), "{error}");
    let error = write_online(&light.gateway, "identity", &named, soon()).await.expect_err("derived");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Reads events and cannot commit the `n`-th time: the gateway goes down between the store and the commit.
#[derive(Debug)]
struct DiesAtCommit {
    reader: MemoryReader,
    commits_left: AtomicUsize,
}

#[async_trait]
impl EventSource for DiesAtCommit {
    async fn next(&self, rows_max: usize, deadline: Deadline) -> Result<Option<Events>, events::Error> {
        self.reader.next(rows_max, deadline).await
    }

    async fn commit(&self, position: u64) -> Result<(), events::Error> {
        match self.commits_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => self.reader.commit(position).await,
            Err(_) => Err(events::Error::Decode("the process died".to_owned())),
        }
    }
}

fn events_log() -> Arc<MemoryLog> {
    MemoryLog::new(rides(&[]).schema(), 1_000)
}

#[tokio::test]
async fn events_are_followed_to_their_end() {
    let light = Light::of(DEFINITIONS).await;
    let log = events_log();
    log.push(rides(&[("a", 1.0, NOW - 1), ("b", 2.0, NOW)]), soon()).await.expect("room");
    log.push(rides(&[("a", 3.0, NOW), ("b", 9.0, NOW - DAY)]), soon()).await.expect("room");
    log.close();
    let followed = follow(&light.gateway, "meters", &log.reader(), PushTo::OnlineAndOffline).await.expect("followed");
    let expected =
        Ingested { views: vec!["meter".to_owned()], rows: 4, rows_older: 1, rows_appended: 4, ..Ingested::default() };
    assert_eq!(followed, expected);
    assert_eq!(fares(&light, "meter:fare", &["a", "b"]).await, [Some(3.0), Some(2.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a", "b"]).await, [Some(3.0), Some(2.0)]);
}

#[tokio::test]
async fn a_crash_between_store_and_commit_repeats_the_batch_and_changes_nothing() {
    let light = Light::of(DEFINITIONS).await;
    let log = events_log();
    log.push(rides(&[("a", 1.0, NOW), ("a", 2.0, NOW), ("b", 3.0, NOW)]), soon()).await.expect("room");
    log.close();
    let dying = DiesAtCommit { reader: log.reader(), commits_left: AtomicUsize::new(0) };
    let error = follow(&light.gateway, "meters", &dying, PushTo::OnlineAndOffline).await.expect_err("it died");
    assert!(error.to_string().contains("the process died"), "{error}");
    drop(dying);
    assert_eq!(fares(&light, "meter:fare", &["a", "b"]).await, [Some(2.0), Some(3.0)], "stored, not committed");
    assert_eq!(history(&light, "meters").await, 3);

    let followed = follow(&light.gateway, "meters", &log.reader(), PushTo::OnlineAndOffline).await.expect("followed");
    assert_eq!(followed.rows, 3, "all of them again");
    assert_eq!(history(&light, "meters").await, 3, "and none of them twice");
    assert_eq!(fares(&light, "meter:fare", &["a", "b"]).await, [Some(2.0), Some(3.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a", "b"]).await, [Some(2.0), Some(3.0)]);
}

#[tokio::test]
async fn events_that_came_after_a_crash_do_not_change_what_is_repeated() {
    let light = Light::of(DEFINITIONS).await;
    let log = events_log();
    log.push(rides(&[("a", 1.0, NOW), ("a", 2.0, NOW)]), soon()).await.expect("room");
    let dying = DiesAtCommit { reader: log.reader(), commits_left: AtomicUsize::new(0) };
    follow(&light.gateway, "meters", &dying, PushTo::OnlineAndOffline).await.expect_err("it died");
    log.push(rides(&[("b", 3.0, NOW)]), soon()).await.expect("room");
    log.close();
    follow(&light.gateway, "meters", &log.reader(), PushTo::OnlineAndOffline).await.expect("followed");
    assert_eq!(fares(&light, "meter:fare", &["a", "b"]).await, [Some(2.0), Some(3.0)]);
    assert_eq!(trained(&light, "meter:fare", &["a", "b"]).await, [Some(2.0), Some(3.0)]);
}

#[tokio::test]
async fn an_event_that_is_refused_is_not_committed() {
    let light = Light::of(DEFINITIONS).await;
    let log = events_log();
    log.push(rides(&[("a", 1.0, NOW + 2 * DAY)]), soon()).await.expect("room");
    log.close();
    let error = follow(&light.gateway, "meters", &log.reader(), PushTo::OnlineAndOffline).await.expect_err("refused");
    assert!(error.to_string().contains("more than a minute after"), "{error}");
    light.gateway.clock.set(NOW + 2 * DAY);
    let followed = follow(&light.gateway, "meters", &log.reader(), PushTo::OnlineAndOffline).await.expect("followed");
    assert_eq!(followed.rows, 1);
}

#[tokio::test]
async fn an_online_view_keeps_the_state_of_its_rows() {
    let light = Light::of(DEFINITIONS).await;
    let null: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![None]));
    light.push("meters", &with(&rides(&[("a", 1.0, NOW)]), "fare", null), PushTo::Online).await.expect("pushed");
    let answer = light.serve(&["meter:fare"], &batch(&[("company", texts(&["a", "b"]))]), NOW).await.expect("served");
    assert_eq!(served_status(&answer, 0), [Status::NullValue, Status::NotFound]);
}
