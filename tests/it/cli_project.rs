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
          values may change: feature view customer_orders: ttl 30d → 60d (used by customer_model)
          changed: feature view customer_visits: feature minutes added (float64)
          added: feature service city_only
          changed: feature service customer_model: customer_visits:minutes added
          changed: feature service customer_model: version 1 → 2
        applied as version 2; a running gateway takes it up within a second
    "#]]
    .assert_eq(&succeed(folder, &["apply"]));

    rewrite(folder, "\n  - {name: city_only, features: ['customer_orders:city']}", "");
    let planned = run(folder, &["plan"]);
    let expected = "  incompatible: feature service city_only: removed\n";
    assert_eq!((planned.code, planned.stdout.as_str()), (1, expected));
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
    assert!(message.contains("\nleave customer_orders as it was and define the change beside it"), "{message}");
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
    expect![[r#"
        9 mistakes
        features/features.yaml:2:60: join key customer_id of entity customer is float64, which cannot identify anything: two values that should be equal may not be; use bool, int32, int64, string, bytes, timestamp or date
        features/features.yaml:5:12: the name of source Orders must be snake_case (a–z, 0–9 and _, a letter first); write orders
        features/features.yaml:6:47: source orders_again has the path ../orders.parquet, which leads out of the project's folder; write a path relative to it, without ..
        features/features.yaml:9:37: feature view store_visits names entity stoer, which is not defined; did you mean store?
        features/features.yaml:10:52: feature view store_pages reads source vists, which is not defined; did you mean visits?
        features/features.yaml:11:67: ttl of feature view store_minutes: "30" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d
        features/features.yaml:11:106: feature minutes of feature view store_minutes: "int" is not a type; write bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or list<float32, 384>
        features/features.yaml:13:30: derived view distance: there is no nonesuch in ./plugins; build it, or correct the name
        features/features.yaml:15:36: feature service store_model names view store_dwell, which is not defined"#]].assert_eq(&message);
    assert_eq!(refused(folder.path(), &["apply"], 2), message);
}

#[test]
fn mistakes_of_shape_are_told_with_their_places_too() {
    let misspelt = SHOP.replace("event_time: visited_at", "event_tiem: visited_at").replace("ttl: 30d", "ttl: 30");
    let folder = shop_of(&misspelt);
    let message = refused(folder.path(), &["plan"], 2);
    expect![[r#"
        3 mistakes
        features/features.yaml:6:5: source visits lacks the key event_time
        features/features.yaml:6:51: source visits has the unknown key event_tiem; did you mean event_time?
        features/features.yaml:11:10: ttl of feature view customer_orders must be text, it is the number 30; put it in quotes"#]].assert_eq(&message);

    fs::write(folder.path().join("lockstep.yaml"), "project: Test\nlisten: {htp: 127.0.0.1:0}\n").expect("written");
    let message = refused(folder.path(), &["plan"], 2);
    expect!["lockstep.yaml:2:10: listen has the unknown key htp; did you mean http?"].assert_eq(&message);
}

#[test]
fn a_file_of_data_that_is_missing_or_cut_off_is_told_with_its_source_and_place() {
    let folder = shop();
    let orders = folder.path().join("data/orders.parquet");
    let whole = fs::read(&orders).expect("the orders");
    fs::write(&orders, &whole[..whole.len() / 2]).expect("written");
    let message = refused(folder.path(), &["plan"], 2);
    expect!["features/features.yaml:5:5: source orders cannot be read: file ./data/orders.parquet: Parquet error: Invalid Parquet file. Corrupt footer"].assert_eq(&message);

    fs::remove_file(&orders).expect("removed");
    let message = refused(folder.path(), &["plan"], 2);
    expect!["features/features.yaml:5:5: source orders has no file at data/orders.parquet"].assert_eq(&message);
}
