//! Labels that no training set can be made of, by the command and over Flight: the same words, and nothing half-done.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampSecondArray};
use arrow_flight::FlightData;
use futures::{TryStreamExt, stream};
use lockstep::batch::timestamps;
use lockstep::flow::sync::Range;
use tonic::{Code, Status};

use crate::arrow_bodies::{flight_messages, stream as arrow_stream};
use crate::callers::flight;
use crate::command::{refused, succeed};
use crate::light::{DAY, Light, NOW, batch, floats, floats_of, integers, served_floats, texts, times, write_rows};
use crate::world::World;

const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources: [{name: rides, type: parquet, path: data/rides.parquet, event_time: at}]
feature_views:
  - {name: stats, entities: [company], source: rides, ttl: 1h, features: [{name: fare, type: float64}]}
feature_services: [{name: model, features: [stats]}]
";

async fn world() -> World {
    let at = [NOW - DAY, NOW];
    let rides = batch(&[("company", texts(&["a", "a"])), ("fare", floats(&[1.0, 2.0])), ("at", times(&at))]);
    World::of(DEFINITIONS, |project| {
        let config = fs::read_to_string(project.join("lockstep.yaml")).expect("the project's file");
        // So that a command can run beside the gateway.
        fs::write(project.join("lockstep.yaml"), config + "online_store: {type: memory}\n").expect("written");
        write_rows(&project.join("data/rides.parquet"), &rides);
    })
    .await
}

/// How many messages a training set over Flight has.
async fn exchanged(world: &World, labels: &RecordBatch) -> Result<usize, Status> {
    let messages: Vec<FlightData> = flight_messages(r#"{"train": {"service": "model"}}"#, &arrow_stream(labels, None));
    let mut client = flight(world.servers.flight).await.into_inner();
    let answers = client.do_exchange(stream::iter(messages)).await?.into_inner();
    answers.try_fold(0, |count, _| async move { Ok(count + 1) }).await
}

const TRAIN: [&str; 6] = ["train", "model", "--labels", "labels.parquet", "--to", "set.parquet"];

/// The message of the command, which leaves the project's folder as it was.
fn refused_labels(project: &Path, labels: &RecordBatch) -> String {
    let files = || {
        let entries = fs::read_dir(project).expect("the project").map(|entry| entry.expect("an entry").file_name());
        entries.collect::<BTreeSet<_>>()
    };
    write_rows(&project.join("labels.parquet"), labels);
    let before = files();
    let message = refused(project, &TRAIN, 2);
    assert_eq!(files(), before);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_are_none_are_refused_alike_by_the_command_and_over_flight() {
    let world = world().await;
    let company = || texts(&["a", "a"]);
    let at = || times(&[NOW, NOW]);
    let null: ArrayRef = Arc::new(timestamps(vec![Some(NOW), None]));
    let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let table: [(&str, RecordBatch, &[&str]); 9] = [
        ("no time", batch(&[("company", company())]), &["event_timestamp"]),
        (
            "two times, and which one?",
            batch(&[("company", company()), ("begin", at()), ("end", at())]),
            &["event_timestamp"],
        ),
        (
            "a null for a time",
            batch(&[("company", company()), ("event_timestamp", null)]),
            &["row 1 of the labels has no event_timestamp; every label needs its time"],
        ),
        (
            "text for a time",
            batch(&[("company", company()), ("event_timestamp", texts(&["2024-01-01", "now"]))]),
            &["event_timestamp is string, it must be timestamp"],
        ),
        (
            "a number for a time",
            batch(&[("company", company()), ("event_timestamp", number)]),
            &["event_timestamp is int64, it must be timestamp"],
        ),
        (
            "a time that there is not",
            batch(&[("company", company()), ("event_timestamp", far)]),
            &["event_timestamp", "row 1", "is not a time in range"],
        ),
        ("no key", batch(&[("event_timestamp", at())]), &["column company is missing; it holds a join key"]),
        (
            "a key of another type",
            batch(&[("company", integers(&[1, 2])), ("event_timestamp", at())]),
            &["column company is int64, it must be string"],
        ),
        (
            "a column with a feature's name",
            batch(&[("company", company()), ("fare", floats(&[1.0, 2.0])), ("event_timestamp", at())]),
            &["the label frame already has a column fare; rename it, or ask with full_feature_names"],
        ),
    ];
    for (what, labels, words) in table {
        let status = exchanged(&world, &labels).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        let project = world.folder.path().to_owned();
        let told = tokio::task::spawn_blocking(move || refused_labels(&project, &labels)).await.expect("it ran");
        for said in [status.message(), &told] {
            assert!(words.iter().all(|word| said.contains(word)), "{what}: {said}");
        }
    }
    let good = batch(&[("company", company()), ("event_timestamp", at())]);
    assert_eq!(exchanged(&world, &good).await.expect("a training set"), 2, "a schema and a batch");
    let project = world.folder.path().to_owned();
    let told = tokio::task::spawn_blocking(move || {
        write_rows(&project.join("labels.parquet"), &good);
        succeed(&project, &TRAIN)
    });
    assert!(told.await.expect("it ran").starts_with("2 rows"));
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_at_the_ends_of_time_find_what_was_true_then() {
    let ends = [i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX];
    let light = Light::of(DEFINITIONS).await;
    let rows = |at: &[i64]| {
        let fares: Vec<f64> = (0..at.len()).map(|fare| fare as f64).collect();
        batch(&[("company", texts(&vec!["a"; at.len()])), ("fare", floats(&fares)), ("at", times(at))])
    };
    light.put("rides", &rows(&ends));
    let labels = batch(&[("company", texts(&["a"; 5])), ("event_timestamp", times(&ends))]);
    let set = light.train(&["stats:fare"], &labels).await.expect("trained");
    let found = floats_of(&set, "stats__fare");
    assert_eq!(found, [Some(0.0), Some(1.0), Some(2.0), Some(3.0), Some(4.0)]);
    let between = [i64::MIN + 2, 0, 3_600_000_000, i64::MAX - 2];
    let labels = batch(&[("company", texts(&["a"; 4])), ("event_timestamp", times(&between))]);
    let set = light.train(&["stats:fare"], &labels).await.expect("trained");
    // The row a microsecond before the epoch is an hour and a microsecond old in the third one.
    assert_eq!(floats_of(&set, "stats__fare"), [Some(1.0), Some(2.0), None, None]);

    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!((synced.rows_latest, synced.rows_in_future), (1, 2));
    let asked = batch(&[("company", texts(&["a"]))]);
    for as_of in [-1, 0, NOW, i64::MAX] {
        let answer = light.serve(&["stats:fare"], &asked, as_of).await.expect("served");
        let fare = served_floats(&answer, 0);
        assert_eq!(fare, [(as_of <= 0).then_some(2.0)], "as of {as_of}");
    }
}
