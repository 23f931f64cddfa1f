//! Sync: which rows it brings online, and what is left when it cannot end.

mod interrupted;
mod resumed;
mod scheduled;
mod snapshots;
mod trips;

use std::fs;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use lockstep::batch::timestamps;
use lockstep::clock::Micros;
use lockstep::flow::serve::Status;
use lockstep::flow::sync::{Range, progress};
use lockstep::registry::Outcome;

use crate::light::{DAY, HOUR, History, Light, NOW, batch, served_floats, served_status, stage, texts};

const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources: [{name: rides, type: parquet, path: rides, event_time: at, created_time: made}]
feature_views:
  - {name: stats, entities: [company], source: rides, features: [{name: fare, type: float64}]}
  - {name: fresh, entities: [company], source: rides, ttl: 1d, features: [{name: fare, type: float64}]}
";

/// One ride: company, fare, event time, created time.
type Ride<'a> = (Option<&'a str>, f64, Micros, Option<Micros>);

fn rides(rides: &[Ride<'_>]) -> RecordBatch {
    let companies: StringArray = rides.iter().map(|ride| ride.0).collect();
    let fares: Float64Array = rides.iter().map(|ride| Some(ride.1)).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("company", std::sync::Arc::new(companies)),
        ("fare", std::sync::Arc::new(fares)),
        ("at", std::sync::Arc::new(timestamps(rides.iter().map(|ride| Some(ride.2)).collect()))),
        ("made", std::sync::Arc::new(timestamps(rides.iter().map(|ride| ride.3).collect()))),
    ];
    batch(&columns)
}

async fn fares(light: &Light, companies: &[&str]) -> Vec<Option<f64>> {
    let asked = batch(&[("company", texts(companies))]);
    served_floats(&light.serve(&["stats:fare"], &asked, light.gateway.clock.now()).await.expect("served"), 0)
}

#[tokio::test]
async fn a_full_sync_brings_the_newest_row_of_each_key_and_counts_what_it_leaves_out() {
    let light = Light::of(DEFINITIONS).await;
    light.put(
        "rides",
        &rides(&[
            (Some("a"), 1.0, NOW - DAY, None),
            (Some("a"), 2.0, NOW - HOUR, None),
            (None, 9.0, NOW - HOUR, None),
            (Some("b"), 3.0, NOW, None),
            (Some("b"), 9.0, NOW + 1, None),
            (Some("c"), 9.0, NOW + HOUR, None),
        ]),
    );
    light.put("rides", &rides(&[(Some("a"), 9.0, NOW - 2 * DAY, None), (None, 9.0, NOW, None)]));
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!((synced.rows_read, synced.rows_latest, synced.rows_written), (6, 2, 2));
    assert_eq!((synced.rows_without_key, synced.rows_in_future, synced.rows_older), (2, 2, 0));
    assert_eq!(fares(&light, &["a", "b", "c", "d"]).await, [Some(2.0), Some(3.0), None, None]);

    light.gateway.clock.set(NOW + 2 * HOUR);
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(synced.rows_in_future, 0);
    assert_eq!(fares(&light, &["a", "b", "c"]).await, [Some(2.0), Some(9.0), Some(9.0)]);
}

#[tokio::test]
async fn of_rows_of_one_moment_the_later_created_one_counts_and_then_the_later_one() {
    let light = Light::of(DEFINITIONS).await;
    light.put(
        "rides",
        &rides(&[
            (Some("a"), 1.0, NOW, Some(NOW + 5)),
            (Some("a"), 2.0, NOW, None),
            (Some("a"), 3.0, NOW, Some(NOW + 4)),
            (Some("b"), 1.0, NOW, None),
            (Some("b"), 2.0, NOW, None),
            (Some("c"), 1.0, NOW, Some(NOW)),
            (Some("c"), 2.0, NOW, Some(NOW)),
            (Some("c"), 3.0, NOW - 1, Some(NOW + 1)),
        ]),
    );
    light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(fares(&light, &["a", "b", "c"]).await, [Some(1.0), Some(2.0), Some(2.0)]);
}

#[tokio::test]
async fn the_same_sync_again_changes_nothing() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides(&[(Some("a"), 1.0, NOW - DAY, None), (Some("b"), -0.0, NOW, Some(NOW))]));
    let first = light.sync("stats", Range::Full).await.expect("synced");
    let before = fares(&light, &["a", "b"]).await;
    let again = light.sync("stats", Range::Full).await.expect("synced");
    let bits = |fares: Vec<Option<f64>>| fares.into_iter().map(|fare| fare.map(f64::to_bits)).collect::<Vec<_>>();
    assert_eq!(bits(fares(&light, &["a", "b"]).await), bits(before));
    assert_eq!((first.rows_read, first.rows_latest), (again.rows_read, again.rows_latest));
    let runs = light.gateway.registry.runs(Some("stats"), 10).await.expect("runs");
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run.outcome == Outcome::Finished && run.range == "full" && run.rows_read == 2));
    assert_eq!(runs[0].started_at, NOW);
}

#[tokio::test]
async fn a_range_includes_both_its_ends_and_nothing_else() {
    let light = Light::of(DEFINITIONS).await;
    let (from, until) = (NOW - 2 * DAY, NOW - DAY);
    light.put(
        "rides",
        &rides(&[
            (Some("before"), 1.0, from - 1, None),
            (Some("from"), 2.0, from, None),
            (Some("until"), 3.0, until, None),
            (Some("after"), 4.0, until + 1, None),
        ]),
    );
    let synced = light.sync("stats", Range::Between { from, until }).await.expect("synced");
    assert_eq!((synced.rows_read, synced.rows_written, synced.rows_in_future), (2, 2, 0));
    assert_eq!(fares(&light, &["before", "from", "until", "after"]).await, [None, Some(2.0), Some(3.0), None]);

    let error = light.sync("stats", Range::Between { from: NOW, until: NOW }).await.expect_err("empty");
    assert_eq!(error.to_string(), "the range is empty: its start must be before its end");
}

#[tokio::test]
async fn a_range_of_the_past_leaves_newer_rows_online_alone() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides(&[(Some("a"), 1.0, NOW - 3 * DAY, None), (Some("a"), 2.0, NOW - HOUR, None)]));
    light.sync("stats", Range::Full).await.expect("synced");
    let past = Range::Between { from: NOW - 4 * DAY, until: NOW - 2 * DAY };
    let synced = light.sync("stats", past).await.expect("synced");
    assert_eq!((synced.rows_written, synced.rows_older), (0, 1));
    assert_eq!(fares(&light, &["a"]).await, [Some(2.0)]);
}

#[tokio::test]
async fn a_range_that_reaches_beyond_the_clock_ends_at_the_clock() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides(&[(Some("a"), 1.0, NOW, None), (Some("a"), 9.0, NOW + 1, None)]));
    for range in [Range::Between { from: 0, until: NOW + DAY }, Range::Incremental { until: NOW + DAY }] {
        let synced = light.sync("stats", range).await.expect("synced");
        assert_eq!(synced.rows_in_future, 1, "{range:?}");
        assert_eq!(fares(&light, &["a"]).await, [Some(1.0)], "{range:?}");
        let until = progress(&light.gateway, "stats").await.expect("progress");
        assert_eq!(until, Some(NOW), "{range:?}");
    }
}

#[tokio::test]
async fn an_incremental_sync_reads_what_is_new() {
    let light = Light::of(DEFINITIONS).await;
    light.put(
        "rides",
        &rides(&[
            (Some("old"), 1.0, NOW - 3 * DAY, None),
            (Some("a"), 2.0, NOW - DAY, None),
            (Some("a"), 3.0, NOW - HOUR, None),
        ]),
    );
    let synced = light.sync("fresh", Range::Incremental { until: NOW }).await.expect("synced");
    assert_eq!(synced.rows_read, 2, "the first one begins a ttl ago");
    assert_eq!(progress(&light.gateway, "fresh").await.expect("progress"), Some(NOW));

    let later = NOW + DAY;
    light.gateway.clock.set(later);
    light.put("rides", &rides(&[(Some("b"), 4.0, NOW + HOUR, None), (Some("a"), 5.0, NOW - 2 * HOUR, None)]));
    let synced = light.sync("fresh", Range::Incremental { until: later }).await.expect("synced");
    assert_eq!((synced.rows_read, synced.rows_written), (1, 1), "what came late by event time is left to a full sync");
    let synced = light.sync("fresh", Range::Incremental { until: later }).await.expect("synced");
    assert_eq!(synced.rows_read, 0);
    assert_eq!(progress(&light.gateway, "fresh").await.expect("progress"), Some(later));
    let runs = light.gateway.registry.runs(Some("fresh"), 10).await.expect("runs");
    assert_eq!(runs.iter().map(|run| run.rows_read).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(runs.iter().all(|run| run.range == "incremental"));

    let without_ttl = light.sync("stats", Range::Incremental { until: later }).await.expect("synced");
    assert_eq!(without_ttl.rows_read, 5, "without a ttl the first one begins at the beginning");
}

#[tokio::test]
async fn a_damaged_file_is_named_and_changes_nothing() {
    let history = History::in_files();
    let online = std::sync::Arc::new(lockstep::online::memory::MemoryStore::default());
    let light = Light::over(stage(), DEFINITIONS, online, history.clone()).await;
    light.put("rides", &rides(&[(Some("a"), 1.0, NOW - DAY, None)]));
    light.sync("stats", Range::Full).await.expect("synced");
    let later = NOW + HOUR;
    light.gateway.clock.set(later);

    let many: Vec<Ride<'_>> =
        (0..20_000).map(|ride| (Some("a"), f64::from(ride), NOW + i64::from(ride), None)).collect();
    light.put("rides", &rides(&many));
    let History::Files(_, folder) = &history else { unreachable!("made so above") };
    let path = folder.path().join("rides/000001.parquet");
    let whole = fs::read(&path).expect("the second file");
    let truncated = whole[..whole.len() - 40].to_vec();
    let mut damaged_inside = whole.clone();
    // The header of the first page, behind the four letters that every Parquet file begins with.
    damaged_inside[4..40].fill(0xff);
    for bytes in [truncated, damaged_inside] {
        fs::write(&path, bytes).expect("written");
        let error = light.sync("stats", Range::Full).await.expect_err("damaged");
        let text = lockstep::error::chain(&error);
        assert!(text.contains("source rides cannot be read: file ") && text.contains("000001.parquet"), "{text}");
        assert_eq!(fares(&light, &["a"]).await, [Some(1.0)]);
        assert_eq!(progress(&light.gateway, "stats").await.expect("progress"), Some(NOW));
        let runs = light.gateway.registry.runs(Some("stats"), 1).await.expect("runs");
        assert!(matches!(&runs[0].outcome, Outcome::Failed(why) if why.contains("000001.parquet")), "{runs:?}");
        assert_eq!(runs[0].rows_written, 0);
    }
    fs::write(&path, whole).expect("written");
    light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(fares(&light, &["a"]).await, [Some(19_999.0)]);
}

#[tokio::test]
async fn a_row_older_than_the_ttl_is_synced_and_told_as_such() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides(&[(Some("a"), 1.0, NOW - DAY, None), (Some("b"), 1.0, NOW - DAY - 1, None)]));
    light.sync("fresh", Range::Full).await.expect("synced");
    let asked = batch(&[("company", texts(&["a", "b", "c"]))]);
    let answer = light.serve(&["fresh:fare"], &asked, NOW).await.expect("served");
    assert_eq!(served_status(&answer, 0), [Status::Present, Status::OutsideMaxAge, Status::NotFound]);
}

#[tokio::test]
async fn a_view_that_is_not_there_is_told() {
    let light = Light::of(DEFINITIONS).await;
    let error = light.sync("statz", Range::Full).await.expect_err("unknown");
    assert_eq!(error.to_string(), "feature view statz does not exist in project test");
    assert!(light.gateway.registry.runs(None, 10).await.expect("runs").is_empty());
}
