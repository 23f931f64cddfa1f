//! Rows that are not as a view expects them: told, put aside, or kept out with everything that came with them; at sync,
//! push and set, and never a difference between serving and training.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use lockstep::catalog::{DType, Field, Scalar, Source, SourceKind, Stored};
use lockstep::clock::Micros;
use lockstep::error::ErrorKind;
use lockstep::flow::expectations::check;
use lockstep::flow::ingest::PushTo;
use lockstep::flow::online::set;
use lockstep::flow::sync::Range;
use lockstep::offline::Scan;
use lockstep::registry::Outcome;
use serde_json::json;

use crate::command::{json_of, run, succeed};
use crate::light::{DAY, HOUR, Light, NOW, batch, floats_of, served_floats, soon, texts, times};
use crate::shop::{SHOP, shop_of};

/// A project whose view of rides has these expectations.
fn definitions(expectations: &[&str]) -> String {
    let items: String = expectations.iter().map(|expectation| format!("      - {{{expectation}}}\n")).collect();
    format!(
        "
entities: [{{name: company, join_keys: [{{name: company, type: string}}]}}]
sources:
  - {{name: rides, type: parquet, path: rides, event_time: at}}
  - {{name: pushed, type: push, path: pushed, event_time: at}}
feature_views:
  - name: stats
    entities: [company]
    source: rides
    features: [{{name: fare, type: float64}}, {{name: kind, type: string}}]
    expectations:
{items}  - name: live
    entities: [company]
    source: pushed
    features: [{{name: fare, type: float64}}, {{name: kind, type: string}}]
    expectations:
{items}  - {{name: every, entities: [company], source: pushed, features: [{{name: fare, type: float64}}]}}
"
    )
}

/// Rides: company, fare, kind, event time.
fn rides(rides: &[(&str, Option<f64>, &str, Micros)]) -> RecordBatch {
    let fares: Float64Array = rides.iter().map(|ride| ride.1).collect();
    batch(&[
        ("company", texts(&rides.iter().map(|ride| ride.0).collect::<Vec<_>>())),
        ("fare", std::sync::Arc::new(fares) as ArrayRef),
        ("kind", texts(&rides.iter().map(|ride| ride.2).collect::<Vec<_>>())),
        ("at", times(&rides.iter().map(|ride| ride.3).collect::<Vec<_>>())),
    ])
}

async fn served(light: &Light, feature: &str, companies: &[&str]) -> Vec<Option<f64>> {
    let asked = batch(&[("company", texts(companies))]);
    served_floats(&light.serve(&[feature], &asked, NOW).await.expect("served"), 0)
}

async fn trained(light: &Light, feature: &str, companies: &[&str]) -> Vec<Option<f64>> {
    let labels = batch(&[("company", texts(companies)), ("event_timestamp", times(&vec![NOW; companies.len()]))]);
    floats_of(&light.train(&[feature], &labels).await.expect("trained"), &feature.replace(':', "__"))
}

/// What is in a side table: company and reason, in its order.
async fn aside(light: &Light, name: &str, kind: SourceKind) -> Vec<(String, String)> {
    let source = Source {
        name: name.to_owned(),
        kind,
        event_time: "event_time".to_owned(),
        created_time: None,
        description: String::new(),
    };
    let text = |name: &str| Field::new(name, DType::One(Scalar::String));
    let scan = Scan::of(vec![text("company"), text("quarantine_reason")]);
    let rows = light.gateway.offline.scan(&source, &scan).await.expect("a side table");
    let batches: Vec<RecordBatch> = rows.try_collect().await.expect("rows");
    let of = |batch: &RecordBatch, column: usize| -> Vec<String> {
        let texts: &StringArray = batch.column(column).as_string();
        (0..texts.len()).map(|row| texts.value(row).to_owned()).collect()
    };
    batches.iter().flat_map(|batch| of(batch, 0).into_iter().zip(of(batch, 1))).collect()
}

async fn quarantined(light: &Light, view: &str) -> Vec<(String, String)> {
    let into = Stored::parquet(format!(".lockstep/quarantine/{view}"));
    aside(light, &format!("{view}_quarantine"), SourceKind::Push { into }).await
}

fn owned(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(company, reason)| ((*company).to_owned(), (*reason).to_owned())).collect()
}

#[tokio::test]
async fn a_warning_is_told_and_counted_and_every_row_goes_on() {
    let light =
        Light::of(&definitions(&["feature: fare, range: [0, 500]", "feature: kind, in_set: [cash, card]"])).await;
    light.put("rides", &rides(&[("a", Some(900.0), "cash", NOW - HOUR), ("b", Some(5.0), "gold", NOW - HOUR)]));
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!((synced.rows_written, synced.rows_quarantined), (2, 0));
    let verdicts: Vec<_> = synced.expectations.iter().map(|verdict| (verdict.holds, verdict.failed)).collect();
    assert_eq!(verdicts, [(false, 1), (false, 1)]);
    assert_eq!(
        synced.expectations[0].examples,
        ["company=a at 2023-11-14T21:13:20Z: fare is 900.0"],
        "an example names its key and time"
    );
    assert_eq!(served(&light, "stats:fare", &["a", "b"]).await, [Some(900.0), Some(5.0)]);
    let metrics = light.gateway.metrics.encode();
    let line = "lockstep_expectation_failures_total{view=\"stats\",expectation=\"fare.range\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[tokio::test]
async fn a_quarantined_row_is_no_row_of_the_view_for_sync_and_training_alike() {
    let expectations = ["feature: fare, range: [0, 500], on_failure: quarantine", "feature: kind, not_null: true"];
    let light = Light::of(&definitions(&expectations)).await;
    light.put(
        "rides",
        &rides(&[
            ("a", Some(1.0), "cash", NOW - DAY),
            ("a", Some(900.0), "cash", NOW - HOUR),
            ("b", Some(-1.0), "cash", NOW - HOUR),
            ("c", None, "cash", NOW - HOUR),
        ]),
    );
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!((synced.rows_quarantined, synced.rows_written), (2, 2));
    let companies = ["a", "b", "c"];
    let expected = [Some(1.0), None, None];
    assert_eq!(served(&light, "stats:fare", &companies).await, expected, "the row before the bad one counts");
    assert_eq!(trained(&light, "stats:fare", &companies).await, expected);
    let labels = batch(&[("company", texts(&companies)), ("event_timestamp", times(&[NOW; 3]))]);
    let kinds = light.train(&["stats:kind"], &labels).await.expect("trained");
    assert_eq!(kinds.column(2).null_count(), 1, "also where the feature that is bad is not asked for");
    let bad = owned(&[("a", "fare.range"), ("b", "fare.range")]);
    assert_eq!(quarantined(&light, "stats").await, bad);

    light.sync("stats", Range::Full).await.expect("synced again");
    assert_eq!(quarantined(&light, "stats").await, bad, "the same rows are put aside once");
    let metrics = light.gateway.metrics.encode();
    assert!(metrics.contains("lockstep_quarantined_rows_total{view=\"stats\"} 4"), "{metrics}");
}

#[tokio::test]
async fn what_must_hold_stops_a_sync_before_it_writes_or_puts_aside_anything() {
    let expectations = [
        "feature: fare, range: [0, 500], on_failure: quarantine",
        "feature: kind, in_set: [cash], on_failure: fail",
        "feature: fare, null_ratio_at_most: 0.5, on_failure: fail",
    ];
    let light = Light::of(&definitions(&expectations)).await;
    light.put("rides", &rides(&[("a", Some(900.0), "cash", NOW - HOUR), ("b", Some(5.0), "gold", NOW - HOUR)]));
    let error = light.sync("stats", Range::Full).await.expect_err("a kind that is none");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "nothing was written to feature view stats: expectation kind.in_set (kind is one of \"cash\"): \
         1 of 2 rows are otherwise; such as company=b at 2023-11-14T21:13:20Z: kind is gold"
    );
    assert_eq!(served(&light, "stats:fare", &["a", "b"]).await, [None, None]);
    assert!(quarantined(&light, "stats").await.is_empty(), "nothing is put aside either");
    let run = light.gateway.registry.runs(Some("stats"), 1).await.expect("the runs").remove(0);
    assert!(matches!(&run.outcome, Outcome::Failed(why) if why.contains("kind.in_set")), "{run:?}");
    let shown =
        lockstep::flow::sync::runs(&light.gateway.registry, Some("stats"), 1).await.expect("the runs").remove(0);
    let held: Vec<_> = shown.expectations.iter().map(|verdict| verdict["holds"].clone()).collect();
    assert_eq!(
        (held, shown.rows_quarantined),
        (vec![json!(false), json!(false), json!(true)], 0),
        "what stopped it is kept"
    );

    light.apply(&definitions(&expectations[..1]));
    light.sync("stats", Range::Full).await.expect("nothing must hold any more");
    assert_eq!(quarantined(&light, "stats").await, owned(&[("a", "fare.range")]));
    let run = light.gateway.registry.runs(Some("stats"), 1).await.expect("the runs").remove(0);
    assert_eq!((run.rows_quarantined, run.outcome), (1, Outcome::Finished));
    assert_eq!(served(&light, "stats:fare", &["a", "b"]).await, [None, Some(5.0)]);
}

#[tokio::test]
async fn a_run_that_may_stop_and_goes_on_puts_its_bad_rows_aside_afterwards() {
    let expectations =
        ["feature: fare, at_least: 0, on_failure: quarantine", "freshness_at_most: 2h, on_failure: fail"];
    let light = Light::of(&definitions(&expectations)).await;
    light.put("rides", &rides(&[("a", Some(-1.0), "cash", NOW - HOUR), ("b", Some(5.0), "cash", NOW - DAY)]));
    let synced = light.sync("stats", Range::Full).await.expect("fresh enough");
    assert_eq!((synced.rows_quarantined, synced.rows_written), (1, 1));
    assert_eq!(quarantined(&light, "stats").await, owned(&[("a", "fare.range")]));
    light.gateway.clock.set(NOW + 3 * HOUR);
    let error = light.sync("stats", Range::Full).await.expect_err("too old");
    assert!(error.to_string().contains("the newest row is 4h old"), "{error}");
    let past = Range::Between { from: NOW - 2 * DAY, until: NOW };
    light.sync("stats", past).await.expect("a range of the past is not asked whether it is fresh");
}

#[tokio::test]
async fn pushed_rows_are_put_aside_by_view_and_stay_in_the_history_that_another_view_reads() {
    let expectations = ["feature: fare, at_least: 0, on_failure: quarantine", "feature: kind, in_set: [cash]"];
    let light = Light::of(&definitions(&expectations)).await;
    let rows = rides(&[("a", Some(-1.0), "cash", NOW - HOUR), ("b", Some(5.0), "gold", NOW - HOUR)]);
    let pushed = light.push("pushed", &rows, PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!((pushed.rows, pushed.rows_appended, pushed.rows_quarantined), (2, 2, 1));
    let told: Vec<&str> = pushed.expectations.iter().map(|verdict| verdict.expectation.as_str()).collect();
    assert_eq!(told, ["fare.range", "kind.in_set"]);
    let companies = ["a", "b"];
    assert_eq!(served(&light, "live:fare", &companies).await, [None, Some(5.0)]);
    assert_eq!(trained(&light, "live:fare", &companies).await, [None, Some(5.0)]);
    assert_eq!(served(&light, "every:fare", &companies).await, [Some(-1.0), Some(5.0)]);
    assert_eq!(trained(&light, "every:fare", &companies).await, [Some(-1.0), Some(5.0)]);
    assert_eq!(quarantined(&light, "live").await, owned(&[("a", "fare.range")]));
}

#[tokio::test]
async fn a_push_with_a_row_that_must_not_be_is_refused_whole() {
    let expectations =
        ["feature: fare, at_least: 0, on_failure: fail", "feature: kind, in_set: [cash], on_failure: quarantine"];
    let light = Light::of(&definitions(&expectations)).await;
    let rows = rides(&[("a", Some(-1.0), "cash", NOW - HOUR), ("b", Some(5.0), "gold", NOW - HOUR)]);
    let error = light.push("pushed", &rows, PushTo::OnlineAndOffline).await.expect_err("a fare below zero");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("company=a at 2023-11-14T21:13:20Z: fare is -1.0"), "{error}");
    for feature in ["live:fare", "every:fare"] {
        assert_eq!(served(&light, feature, &["a", "b"]).await, [None, None], "{feature}");
        assert_eq!(trained(&light, feature, &["a", "b"]).await, [None, None], "{feature}");
    }
    assert!(quarantined(&light, "live").await.is_empty());

    let error = set(&light.gateway, "live", &rows, None, soon()).await.expect_err("by hand neither");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let good = rides(&[("c", Some(1.0), "cash", NOW), ("d", Some(1.0), "gold", NOW)]);
    let done = set(&light.gateway, "live", &good, None, soon()).await.expect("set");
    assert_eq!((done.rows, done.rows_written, done.rows_quarantined), (2, 1, 1));
    assert_eq!(quarantined(&light, "live").await, owned(&[("d", "kind.in_set")]));
}

#[tokio::test]
async fn a_row_that_no_view_takes_is_in_the_side_tables_alone() {
    let alone = definitions(&["feature: fare, at_least: 0, on_failure: quarantine"]);
    let alone = alone.lines().filter(|line| !line.contains("name: every")).collect::<Vec<_>>().join("\n");
    let light = Light::of(&alone).await;
    let rows = rides(&[("a", Some(-1.0), "cash", NOW - HOUR), ("b", Some(5.0), "cash", NOW - HOUR)]);
    let pushed = light.push("pushed", &rows, PushTo::OnlineAndOffline).await.expect("pushed");
    assert_eq!((pushed.rows_appended, pushed.rows_quarantined), (1, 1));
    light.apply(&definitions(&[]).replace("    expectations:\n", ""));
    assert_eq!(trained(&light, "live:fare", &["a", "b"]).await, [None, Some(5.0)]);
}

#[tokio::test]
async fn a_view_may_name_the_source_that_takes_its_bad_rows() {
    let named = definitions(&["feature: fare, at_least: 0, on_failure: quarantine"])
        .replace("    source: rides\n", "    source: rides\n    quarantine: bad_rides\n")
        .replace("sources:\n", "sources:\n  - {name: bad_rides, type: push, path: bad, event_time: event_time}\n");
    let light = Light::of(&named).await;
    light.put("rides", &rides(&[("a", Some(-1.0), "cash", NOW - HOUR)]));
    light.sync("stats", Range::Full).await.expect("synced");
    let source = light.gateway.applied.load().catalog.sources["bad_rides"].clone();
    assert_eq!(aside(&light, "bad_rides", source.kind).await, owned(&[("a", "fare.range")]));
}

#[tokio::test]
async fn a_check_says_what_does_not_hold_and_does_nothing_about_it() {
    let expectations =
        ["feature: fare, at_least: 0, on_failure: quarantine", "feature: kind, in_set: [cash], on_failure: fail"];
    let light = Light::of(&definitions(&expectations)).await;
    light.put("rides", &rides(&[("a", Some(-1.0), "gold", NOW - HOUR), ("b", Some(5.0), "cash", NOW + DAY)]));
    let verdicts = check(&light.gateway, "stats", None, None).await.expect("checked");
    let found: Vec<_> = verdicts.iter().map(|verdict| (verdict.holds, verdict.rows, verdict.failed)).collect();
    assert_eq!(found, [(false, 1, 1), (false, 1, 1)], "rows of the future are not looked at");
    assert!(quarantined(&light, "stats").await.is_empty());
    let error = check(&light.gateway, "nothing", None, None).await.expect_err("no such view");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn the_command_line_tells_what_does_not_hold() {
    let expecting = SHOP.replace(
        "    features: [{name: amount",
        "    expectations: [{feature: amount, range: [12, 100], on_failure: quarantine}, {feature: city, not_null: true}]
    features: [{name: amount",
    );
    let folder = shop_of(&expecting);
    let folder = folder.path();
    succeed(folder, &["apply"]);
    let ran = run(folder, &["check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    expect_test::expect![[r#"
        view              expectation                    holds   on failure   found
        ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        customer_orders   amount is between 12 and 100   NO      quarantine   3 of 5 rows are otherwise
                                                                                customer_id=1 at 2024-01-10T00:00:00Z: amount is 10.5
                                                                                customer_id=2 at 2024-01-15T00:00:00Z: amount is NaN
                                                                                customer_id=null at 2024-01-16T00:00:00Z: amount is 1.0
        customer_orders   city is not null               NO      warn         2 of 5 rows are otherwise
                                                                                customer_id=2 at 2024-01-15T00:00:00Z: city is null
                                                                                customer_id=null at 2024-01-16T00:00:00Z: city is null
    "#]].assert_eq(&ran.stdout);
    let synced = run(folder, &["sync", "customer_orders"]);
    assert!(synced.stderr.contains("warning: 3 rows of customer_orders are quarantined"), "{synced:?}");
    assert!(folder.join(".lockstep/quarantine/customer_orders").is_dir());
    let later = json_of(folder, &["check", "customer_visits"]);
    assert_eq!(later[0]["expectations"], serde_json::json!([]));
}
