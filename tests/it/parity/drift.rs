//! What parity is there to find: plugins that remember, and stored values that another plugin made.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lockstep::flow::parity::parity;
use lockstep::flow::serve::Status;
use lockstep::flow::sync::Range;
use lockstep::online::memory::MemoryStore;
use lockstep::transform::{Reuse, Settings, Transforms};

use crate::command::{json_of, run, succeed};
use crate::light::{DAY, History, Light, NOW, batch, floats, served_status, texts, times, write_rows};
use crate::world::project_folder;

/// `plugin` gives `y` for `x`.
fn faulty(plugin: &str) -> String {
    format!(
        "
entities: [{{name: company, join_keys: [{{name: company, type: string}}]}}]
sources: [{{name: rides, type: parquet, path: rides, event_time: at}}]
feature_views: [{{name: stats, entities: [company], source: rides, features: [{{name: x, type: float64}}]}}]
derived_views: [{{name: faulty, plugin: {plugin}, inputs: {{x: 'stats:x'}}}}]
feature_services: [{{name: model, features: [stats, faulty]}}]
"
    )
}

fn identity(buckets: u32) -> String {
    format!(
        "
entities: [{{name: company, join_keys: [{{name: company, type: string}}]}}]
sources: [{{name: rides, type: parquet, path: rides, event_time: at}}]
feature_views: [{{name: stats, entities: [company], source: rides, features: [{{name: company_name, type: string}}]}}]
derived_views:
  - {{name: identity, plugin: taxi_company, parameters: {{buckets: {buckets}}}, placement: sync, inputs: {{company_name: 'stats:company_name'}}}}
feature_services: [{{name: model, features: [stats, identity]}}]
"
    )
}

fn rides() -> arrow::array::RecordBatch {
    let companies: Vec<String> = (0..40).map(|number| format!("company {number}")).collect();
    let x: Vec<f64> = (0..40).map(f64::from).collect();
    let at: Vec<i64> = (0..40).map(|number| NOW - DAY + number).collect();
    batch(&[("company", texts(&companies)), ("company_name", texts(&companies)), ("x", floats(&x)), ("at", times(&at))])
}

#[tokio::test]
async fn a_plugin_that_remembers_is_found() {
    for plugin in ["fault_drift", "fault_impure"] {
        let settings = Settings { reuse: Reuse::Always, compare_one_in: 0, ..Settings::default() };
        let stage = Arc::new(Transforms::start(settings).expect("a transform stage"));
        let online = Arc::new(MemoryStore::default());
        let light = Light::over(stage, &faulty(plugin), online, History::in_memory()).await;
        light.put("rides", &rides());
        light.sync("stats", Range::Full).await.expect("synced");
        let compared = parity(&light.gateway, "model", 100, None).await.expect("compared");
        assert_eq!((compared.differ, compared.not_null), (100, 200), "{plugin}");
        let cell = &compared.cells[0];
        assert_eq!(cell.feature, "faulty__y");
        assert_ne!(cell.served, cell.trained);
        assert!(cell.keys["company"].starts_with("company "));
    }
}

#[tokio::test]
async fn values_that_another_transform_made_are_not_served_until_they_are_synced_again() {
    let light = Light::of(&identity(64)).await;
    light.put("rides", &rides());
    light.sync("stats", Range::Full).await.expect("synced");
    let asked = batch(&[("company", texts(&["company 7"]))]);
    let features = ["stats:company_name", "identity:company_bucket"];
    let before = light.serve(&features, &asked, NOW).await.expect("served");
    assert_eq!(served_status(&before, 1), [Status::Present]);
    assert_eq!(parity(&light.gateway, "model", 40, None).await.expect("compared").differ, 0);

    light.apply(&identity(65));
    let stale = light.serve(&features, &asked, NOW).await.expect("served");
    assert_eq!(served_status(&stale, 0), [Status::Present]);
    assert_eq!(served_status(&stale, 1), [Status::NotFound]);
    let compared = parity(&light.gateway, "model", 40, None).await.expect("compared");
    assert_eq!(compared.differ, 80, "both features of the 40 companies");
    assert!(compared.cells.iter().all(|cell| cell.served == "null" && cell.trained != "null"));

    light.sync("stats", Range::Full).await.expect("synced");
    let healed = light.serve(&features, &asked, NOW).await.expect("served");
    assert_eq!(served_status(&healed, 1), [Status::Present]);
    assert_eq!(parity(&light.gateway, "model", 40, None).await.expect("compared").differ, 0);
}

#[test]
fn the_command_exits_with_1_when_a_value_differs() {
    let folder = project_folder(&faulty("fault_drift"));
    let project = folder.path();
    write_rows(&project.join("rides/rides.parquet"), &rides());
    succeed(project, &["apply"]);
    succeed(project, &["sync"]);
    // A small plugin gets a fresh instance for each call, in which there is nothing to remember.
    assert!(succeed(project, &["parity", "model"]).contains("parity: 0 of "));

    // With instances that are used again it has something to remember in.
    let config = project.join("lockstep.yaml");
    let written = fs::read_to_string(&config).expect("the configuration");
    fs::write(config, written + "plugin_limits: {fault_drift: {instances: warm}}\n").expect("written");
    let output = run(project, &["parity", "model", "-o", "json"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let reports: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(reports[0]["differ"], 500);
    assert_eq!(reports[0]["cells"][0]["feature"], "faulty__y");
}

#[test]
fn a_plugin_whose_bytes_changed_after_the_sync_is_told_and_healed() {
    let folder = project_folder(&identity(64));
    let project = folder.path();
    write_rows(&project.join("rides/rides.parquet"), &rides());
    succeed(project, &["apply"]);
    succeed(project, &["sync"]);
    succeed(project, &["parity"]);

    let plugin = project.join("plugins/taxi_company.wasm");
    let mut bytes = fs::read(&plugin).expect("the plugin");
    // A custom section that says nothing: other bytes, the same function.
    bytes.extend_from_slice(b"\0\x05\x04note");
    fs::write(&plugin, bytes).expect("written");
    let refused = run(project, &["apply"]);
    assert_eq!(refused.code, 4);
    assert!(refused.stderr.contains("derived view identity: values change"), "{}", refused.stderr);
    succeed(project, &["apply", "--allow-incompatible"]);
    assert_eq!(run(project, &["parity"]).code, 1);
    assert_eq!(status_of_bucket(project), "NOT_FOUND");

    succeed(project, &["sync"]);
    succeed(project, &["parity"]);
    assert_eq!(status_of_bucket(project), "PRESENT");
}

fn status_of_bucket(project: &Path) -> String {
    let as_of = "2023-11-14T22:13:20Z";
    let arguments = ["get", "identity:company_bucket", "company=company 3", "--as-of", as_of];
    json_of(project, &arguments)[0]["status"].as_str().expect("a status").to_owned()
}
