//! `plan`, `apply`, `history` and `lineage`; and what a file with mistakes is told.

use std::fs;
use std::path::Path;

use expect_test::expect;
use serde_json::json;

use crate::command::{json_of, refused, run, succeed};
use crate::shop::{SHOP, shop, shop_of};
use crate::world::taxi_folder;

fn rewrite(folder: &Path, from: &str, to: &str) {
    let path = folder.join("features/features.yaml");
    let text = fs::read_to_string(&path).expect("definitions");
    assert!(text.contains(from), "{from} is not in the definitions");
    fs::write(path, text.replace(from, to)).expect("written");
}

#[test]
fn plan_and_apply_tell_what_is_added_changed_and_removed() {
    let folder = shop();
    let folder = folder.path();
    let things = [
        "entity customer",
        "source orders",
        "source visits",
        "feature view customer_orders",
        "feature view customer_visits",
    ];
    let added: String = things.iter().map(|thing| format!("  added: {thing}\n")).collect();
    assert_eq!(succeed(folder, &["plan"]), format!("{added}  added: feature service customer_model\n"));
    // Planning applies nothing.
    assert_eq!(succeed(folder, &["history"]), "nothing is applied yet; run lockstep apply\n");
    assert_eq!(json_of(folder, &["history"]), json!([]));

    let applied = json_of(folder, &["apply"]);
    assert_eq!((&applied["version"], &applied["unchanged"]), (&json!(1), &json!(false)));
    assert_eq!(applied["changes"].as_array().map(Vec::len), Some(6));
    expect![[r#"
        nothing to apply: version 1 is what is written
    "#]]
    .assert_eq(&succeed(folder, &["apply"]));
    assert_eq!(succeed(folder, &["plan"]), "  no changes\n");

    rewrite(folder, "ttl: 30d", "ttl: 60d");
    rewrite(folder, "{name: pages, type: int64}", "{name: pages, type: int64}, {name: minutes, type: float64}");
    rewrite(
        folder,
        "feature_services:",
        "feature_services:\n  - {name: city_only, features: ['customer_orders:city']}",
    );
    expect![[r#"
          changed: feature view customer_orders: ttl 30d → 60d
          changed: feature view customer_visits: feature minutes added
          added: feature service city_only
          changed: feature service customer_model: feature customer_visits:minutes added
          applied as version 2; a running gateway takes it up when it starts again
    "#]]
    .assert_eq(&succeed(folder, &["apply"]));

    rewrite(folder, "\n  - {name: city_only, features: ['customer_orders:city']}", "");
    let planned = json_of(folder, &["plan"]);
    assert_eq!(planned["changes"][0]["name"], "city_only");
}

#[test]
fn what_breaks_callers_is_found_by_plan_and_refused_by_apply_unless_it_is_meant() {
    let folder = shop();
    let folder = folder.path();
    succeed(folder, &["apply"]);
    rewrite(folder, "{name: city, type: string}, ", "");

    let planned = run(folder, &["plan"]);
    assert_eq!((planned.code, planned.stderr.as_str()), (1, ""), "{planned:?}");
    assert!(planned.stdout.contains("  incompatible: feature view customer_orders"), "{}", planned.stdout);

    let message = refused(folder, &["apply"], 4);
    assert!(message.contains("incompatible: feature view customer_orders"), "{message}");
    assert!(message.ends_with("apply them with --allow-incompatible if that is meant"), "{message}");
    assert_eq!(json_of(folder, &["history"]).as_array().map(Vec::len), Some(1));

    assert!(succeed(folder, &["apply", "--allow-incompatible"]).contains("applied as version 2"));
    assert_eq!(run(folder, &["plan"]).code, 0);
}

#[test]
fn history_says_when_and_by_whom() {
    let folder = shop();
    let folder = folder.path();
    succeed(folder, &["apply"]);
    rewrite(folder, "ttl: 30d", "ttl: 31d");
    succeed(folder, &["apply"]);

    let history = json_of(folder, &["history"]);
    assert_eq!((&history[0]["number"], &history[1]["number"]), (&json!(2), &json!(1)), "newest first");
    assert_eq!(history[0]["applied_by"], "tester");
    let applied_at = history[0]["applied_at"].as_str().expect("a time as text");
    assert!(chrono::DateTime::parse_from_rfc3339(applied_at).is_ok(), "{applied_at}");
    assert_eq!(json_of(folder, &["history", "--limit", "1"]).as_array().map(Vec::len), Some(1));

    let table = succeed(folder, &["history"]);
    assert!(table.starts_with("version   applied at"), "{table}");
    assert!(table.lines().all(|line| line == line.trim_end()), "no line ends with blanks: {table}");
}

#[test]
fn lineage_goes_down_to_the_sources_and_up_to_the_services() {
    let folder = taxi_folder();
    let folder = folder.path();
    succeed(folder, &["apply"]);
    let told = succeed(folder, &["lineage", "company_recency:days_since_last_trip"]);
    assert!(told.starts_with("company_recency:days_since_last_trip float64 from plugin taxi_recency 1.0.0"), "{told}");
    for part in [
        "  last_trip_at ← company_stats:last_trip_at",
        "company_stats:last_trip_at timestamp from source company_history",
        "source company_history (sql)",
        "used by tip_model_v1",
    ] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    let lineage = json_of(folder, &["lineage", "trip_quote:expected_fare"]);
    assert_eq!(lineage["services"], json!(["tip_model_v1"]));
    assert!(succeed(folder, &["lineage", "trips_view:fare"]).ends_with("used by no service\n"));
}

#[test]
fn all_mistakes_of_a_file_are_told_with_their_places() {
    let folder = shop_of(
        "entities:
  - {name: customer, join_keys: [{name: customer_id, type: float64}]}
  - {name: store, join_keys: [{name: store_id, type: int64}]}
sources:
  - {name: Orders, type: parquet, path: data/orders.parquet, event_time: ordered_at}
  - {name: orders_again, type: parquet, path: ../orders.parquet, event_time: ordered_at}
  - {name: visits, type: push, path: data/visits, event_time: visited_at}
feature_views:
  - {name: store_visits, entities: [stoer], source: visits, features: [{name: pages, type: int64}]}
  - {name: store_pages, entities: [store], source: vists, features: [{name: pages, type: int64}]}
  - {name: store_minutes, entities: [store], source: visits, ttl: '30', features: [{name: minutes, type: int}]}
derived_views:
  - {name: distance, plugin: nonesuch, inputs: {}}
feature_services:
  - {name: store_model, features: ['store_dwell:minutes']}
",
    );
    let message = refused(folder.path(), &["plan"], 2);
    expect![[""]].assert_eq(&message);
    assert_eq!(refused(folder.path(), &["apply"], 2), message);
}

#[test]
fn mistakes_of_shape_are_told_with_their_places_too() {
    let misspelt = SHOP.replace("event_time: visited_at", "event_tiem: visited_at").replace("ttl: 30d", "ttl: 30");
    let folder = shop_of(&misspelt);
    let message = refused(folder.path(), &["plan"], 2);
    expect![[""]].assert_eq(&message);

    fs::write(folder.path().join("lockstep.yaml"), "project: Test\nlisten: {htp: 127.0.0.1:0}\n").expect("written");
    let message = refused(folder.path(), &["plan"], 2);
    expect![[""]].assert_eq(&message);
}

#[test]
fn a_file_of_data_that_is_missing_or_cut_off_is_told_with_its_source_and_place() {
    let folder = shop();
    let orders = folder.path().join("data/orders.parquet");
    let whole = fs::read(&orders).expect("the orders");
    fs::write(&orders, &whole[..whole.len() / 2]).expect("written");
    let message = refused(folder.path(), &["plan"], 2);
    expect![[""]].assert_eq(&message);

    fs::remove_file(&orders).expect("removed");
    let message = refused(folder.path(), &["plan"], 2);
    expect![[""]].assert_eq(&message);
}
