//! Statistics of histories, over every way to ask for them.

use arrow::array::RecordBatch;
use lockstep::error::ErrorKind;
use lockstep::flow::statistics::{Asked, statistics};
use serde_json::{Value, json};

use crate::command::{json_of, refused, succeed};
use crate::light::{DAY, HOUR, Light, NOW, batch, floats, soon, texts, times};
use crate::shop::{shop, synced_shop};
use crate::world::{World, repository};

const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: rides, type: parquet, path: rides, event_time: at}
  - {name: areas, type: parquet, path: areas, event_time: at}
feature_views:
  - name: stats
    entities: [company]
    source: rides
    features: [{name: fare, type: float64}, {name: company_name, type: string}]
    expectations: [{feature: fare, at_most: 10, on_failure: quarantine}]
derived_views:
  - {name: identity, plugin: taxi_company, inputs: {company_name: 'stats:company_name'}}
";

fn rides() -> RecordBatch {
    batch(&[
        ("company", texts(&["a", "a", "b"])),
        ("fare", floats(&[1.0, 2.0, 99.0])),
        ("company_name", texts(&["Sun Taxi", "Sun Taxi", "Flash Cab"])),
        ("at", times(&[NOW - DAY, NOW - HOUR, NOW])),
    ])
}

async fn asked(light: &Light, name: &str, asked: Asked) -> Result<Value, lockstep::flow::Error> {
    let found = statistics(&light.gateway, name, &asked, soon()).await?;
    Ok(serde_json::to_value(found).expect("JSON"))
}

#[tokio::test]
async fn a_view_is_told_by_column_and_range_with_the_rows_that_it_does_not_take() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides());
    let all = asked(&light, "stats", Asked::default()).await.expect("statistics");
    assert_eq!((&all["kind"], &all["rows"]), (&json!("feature_view"), &json!(3)));
    assert_eq!(all["newest_event_time"], "2023-11-14T22:13:20Z");
    let columns: Vec<&str> =
        all["columns"].as_array().expect("columns").iter().filter_map(|column| column["column"].as_str()).collect();
    assert_eq!(columns, ["company", "fare", "company_name"]);
    let fare = &all["columns"][1];
    assert_eq!((&fare["mean"], &fare["max"], &fare["median"]), (&json!(34.0), &json!(99.0), &json!(2.0)));
    let range = Asked { from: Some(NOW - DAY), to: Some(NOW - HOUR), columns: vec!["fare".to_owned()] };
    let some = asked(&light, "stats", range).await.expect("statistics");
    assert_eq!((&some["rows"], &some["columns"][0]["mean"]), (&json!(2), &json!(1.5)));
    assert_eq!(some["columns"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_derived_view_is_computed_over_the_history_that_it_reads() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides());
    let found = asked(&light, "identity", Asked::default()).await.expect("statistics");
    assert_eq!((&found["kind"], &found["rows"]), (&json!("derived_view"), &json!(3)));
    let clean = &found["columns"][0];
    assert_eq!((&clean["column"], &clean["distinct"]), (&json!("company_clean"), &json!(2)));
    assert_eq!(clean["top"][0], json!({"value": "sun taxi", "count": 2}));
}

#[tokio::test]
async fn a_source_is_told_as_it_is_and_what_is_not_there_is_named() {
    let light = Light::of(DEFINITIONS).await;
    light.put("rides", &rides());
    let found = asked(&light, "rides", Asked::default()).await.expect("statistics");
    assert_eq!((&found["kind"], &found["columns"][3]["type"]), (&json!("source"), &json!("timestamp")));
    let unknown = asked(&light, "rydes", Asked::default()).await.expect_err("no such thing");
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let column = Asked { columns: vec!["fair".to_owned()], ..Asked::default() };
    let error = asked(&light, "stats", column).await.expect_err("no such column");
    assert_eq!(error.to_string(), "feature view stats has no feature fair; it has company, fare, company_name");
}

#[test]
fn the_command_line_prints_a_table_for_people_and_everything_for_programs() {
    let folder = synced_shop();
    let folder = folder.path();
    let table = succeed(folder, &["stats", "customer_orders"]);
    expect_test::expect![""].assert_eq(&table);
    let found =
        json_of(folder, &["stats", "orders", "--column", "amount", "--from", "2024-01-11", "--to", "2024-01-16"]);
    assert_eq!((&found["rows"], &found["columns"][0]["nans"]), (&json!(3), &json!(1)));
    let file = json_of(folder, &["stats", "data/orders.parquet"]);
    assert_eq!((&file["kind"], &file["rows"], &file["columns"][0]["nulls"]), (&json!("file"), &json!(5), &json!(1)));
    let message = refused(folder, &["stats", "data/orders.parquet", "--from", "2024-01-01"], 2);
    assert!(message.contains("event time"), "{message}");
    let message = refused(folder, &["stats", "data/nothing.parquet"], 3);
    assert!(message.contains("there is no file data/nothing.parquet"), "{message}");
}

#[test]
fn plan_explains_how_a_source_is_read() {
    let folder = shop();
    let folder = folder.path();
    let all = succeed(folder, &["plan", "--explain"]);
    assert!(all.starts_with("source orders for view customer_orders:\n"), "{all}");
    assert!(all.contains("DataSourceExec") && all.contains("source visits for view customer_visits"), "{all}");
    let one = json_of(folder, &["plan", "--explain", "visits"]);
    assert_eq!((&one[0]["source"], one.as_array().map(Vec::len)), (&json!("visits"), Some(1)));
    let message = refused(folder, &["plan", "--explain", "nothing"], 3);
    assert_eq!(message, "source \"nothing\" is not defined");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_over_http_are_those_that_pandas_computes() {
    let world = World::taxi().await;
    let golden =
        std::fs::read_to_string(repository().join("tests/golden/statistics/trips.json")).expect("the golden file");
    let golden: Value = serde_json::from_str(&golden).expect("JSON");
    let reply = world.get("/v1/views/trips/statistics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let found = reply.json();
    assert_eq!(found["rows"], golden["rows"]);
    let mut compared = 0;
    for expected in golden["columns"].as_array().expect("columns") {
        let name = &expected["column"];
        let column = found["columns"].as_array().expect("columns").iter().find(|column| column["column"] == *name);
        let column = column.unwrap_or_else(|| panic!("no column {name}"));
        for (key, value) in expected.as_object().expect("an object") {
            compared += 1;
            match (value.as_f64(), column[key].as_f64()) {
                (Some(expected), Some(found)) if column["distinct_method"] == "hyperloglog" && key == "distinct" => {
                    assert!((expected - found).abs() <= 4.0 * 0.0081 * expected, "{name}: {found} and not {expected}");
                }
                (Some(expected), Some(found)) => {
                    let close = (expected - found).abs() <= 1e-9 * expected.abs().max(1.0);
                    assert!(close, "{key} of {name}: {found} and not {expected}");
                }
                _ if key == "top_first" => assert_eq!(&column["top"][0], value, "{name}"),
                _ if key == "quantiles" => same_quantiles(name, value, &column[key]),
                _ => assert_eq!(&column[key], value, "{key} of {name}"),
            }
        }
    }
    assert!(compared > 100, "{compared} values were compared");

    let some = world.get("/v1/views/company_stats/statistics?feature=trips_30d&from=2016-12-01T00:00:00Z").await.json();
    assert_eq!(some["columns"].as_array().map(Vec::len), Some(1), "{some}");
    let reply = world.get("/v1/views/company_stats/statistics?until=2016-12-01").await;
    assert_eq!((reply.status, reply.text().contains("parameter until is not known")), (422, true), "{}", reply.text());
    assert_eq!(world.get("/v1/views/nothing/statistics").await.status, 404);
}

fn same_quantiles(name: &Value, expected: &Value, found: &Value) {
    let values = |list: &Value| -> Vec<f64> {
        list.as_array().expect("a list").iter().filter_map(|quantile| quantile["value"].as_f64()).collect()
    };
    let (expected, found) = (values(expected), values(found));
    assert_eq!(expected.len(), found.len(), "{name}");
    for (expected, found) in expected.iter().zip(&found) {
        assert!((expected - found).abs() <= 1e-9 * expected.abs().max(1.0), "{name}: {found} and not {expected}");
    }
}
