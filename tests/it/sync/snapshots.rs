//! Online rows that become rows of an offline table, on every store.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;
use lockstep::app::Project;
use lockstep::catalog::{DType, Field, Scalar};
use lockstep::flow::ingest::{PushTo, ingest};
use lockstep::flow::snapshot::{Snapshotted, snapshot};
use lockstep::gateway::Gateway;
use lockstep::offline::Scan;
use tempfile::TempDir;

use crate::command::{json_of, refused, succeed};
use crate::light::{DAY, NOW, batch, floats, integers, soon, times};
use crate::online::Store;
use crate::servers::Redis;
use crate::world::project_folder;

const DEFINITIONS: &str = "
entities: [{name: trip, join_keys: [{name: trip, type: int64}]}]
sources:
  - {name: meters, type: push, path: data/meters, event_time: at, created_time: made}
  - {name: copies, type: push, path: data/copies, event_time: true_at}
  - {name: sums, type: sql, query: 'SELECT TIMESTAMP ''2020-01-01T00:00:00'' AS at', event_time: at}
feature_views:
  - {name: last, entities: [trip], source: meters, features: [{name: fare, type: float64}]}
  - {name: again, entities: [trip], source: copies, online: false, features: [{name: fare, type: float64}]}
";
const TRIPS: i64 = 9_000;

/// A trip, its fare and its event time.
type Row = (i64, f64, i64);

async fn gateway(store: Store) -> (TempDir, Option<Redis>, Arc<Gateway>) {
    let (folder, server) = (project_folder(DEFINITIONS), store.start());
    store.configure(folder.path(), server.as_ref());
    succeed(folder.path(), &["apply"]);
    let gateway = Project::open(folder.path()).expect("a project").gateway().await.expect("a gateway");
    let trips: Vec<i64> = (0..TRIPS).collect();
    let at: Vec<i64> = trips.iter().map(|trip| NOW - DAY + trip).collect();
    let fares: Vec<f64> = trips.iter().map(|trip| *trip as f64 / 4.0).collect();
    let rows = batch(&[("trip", integers(&trips)), ("fare", floats(&fares)), ("at", times(&at)), ("made", times(&at))]);
    ingest(&gateway, "meters", &rows, PushTo::Online, soon()).await.expect("pushed");
    (folder, server, gateway)
}

async fn copies(gateway: &Gateway) -> Vec<Row> {
    let applied = gateway.applied.load_full();
    let columns = vec![Field::new("trip", DType::One(Scalar::Int64)), Field::new("fare", DType::One(Scalar::Float64))];
    let rows = gateway.offline.scan(&applied.catalog.sources["copies"], &Scan::of(columns)).await.expect("a scan");
    let batches: Vec<_> = rows.try_collect().await.expect("rows");
    let mut found = Vec::new();
    for rows in batches {
        let column = |number: usize| -> &ArrayRef { rows.column(number) };
        let (trips, fares) = (column(0).as_primitive::<Int64Type>(), column(1).as_primitive::<Float64Type>());
        let at = column(2).as_primitive::<TimestampMicrosecondType>();
        found.extend((0..rows.num_rows()).map(|row| (trips.value(row), fares.value(row), at.value(row))));
    }
    found.sort_by_key(|row| row.0);
    found
}

fn expected() -> Vec<Row> {
    (0..TRIPS).map(|trip| (trip, trip as f64 / 4.0, NOW - DAY + trip)).collect()
}

async fn check(store: Store) {
    let (_folder, _server, gateway) = gateway(store).await;
    let take = async |id| snapshot(&gateway, "last", "copies", Some(id), &|_| {}).await;
    let done = take("first").await.expect("taken");
    let named = |id: &str| Snapshotted {
        id: id.to_owned(),
        view: "last".to_owned(),
        source: "copies".to_owned(),
        rows: TRIPS as u64,
        batches: 1,
    };
    assert_eq!(done, named("first"));
    assert_eq!(copies(&gateway).await, expected());
    assert_eq!(take("first").await.expect("taken"), named("first"));
    assert_eq!(copies(&gateway).await, expected(), "the same snapshot again adds nothing");
    take("second").await.expect("taken");
    assert_eq!(copies(&gateway).await.len(), 2 * expected().len());
    let error = snapshot(&gateway, "last", "meters", Some("first"), &|_| {}).await.expect_err("taken");
    assert_eq!(error.to_string(), "snapshot first is one of last in copies; give this one another id");
}

#[tokio::test(flavor = "multi_thread")]
async fn online_rows_are_copied_once_from_the_embedded_store() {
    check(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn online_rows_are_copied_once_from_packed_rows_in_redis() {
    check(Store::Packed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn online_rows_are_copied_once_from_hashes_in_redis() {
    check(Store::Hash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_on_the_command_line_and_says_what_it_did() {
    let (folder, _server, gateway) = gateway(Store::Embedded).await;
    drop(gateway);
    let project = folder.path();
    let done = json_of(project, &["online", "snapshot", "last", "--to", "copies", "--id", "now"]);
    assert_eq!((&done["rows"], &done["id"]), (&TRIPS.into(), &"now".into()), "{done}");
    let said = succeed(project, &["online", "snapshot", "last", "--to", "copies", "--id", "now"]);
    assert_eq!(said.trim(), "9000 rows of last are in source copies, as snapshot now");
    let message = refused(project, &["online", "snapshot", "lost", "--to", "copies"], 3);
    assert_eq!(message, "feature view lost does not exist in project test");
    assert_eq!(refused(project, &["online", "snapshot", "last", "--to", "copy"], 3), "source \"copy\" is not defined");
    let message = refused(project, &["online", "snapshot", "last", "--to", "sums"], 2);
    assert_eq!(message, "source sums is a query; rows can be added to tables only");
}
