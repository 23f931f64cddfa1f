//! Training sets of others on the same files: Feast's own on its own example, and the join of Polars.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lockstep::flow::train::{Options, train};
use lockstep::online::memory::MemoryStore;
use lockstep::training::{read_labels, write_training_set};

use crate::light::{History, Light, selection, stage};
use crate::world::repository;

async fn python(variable: &'static str, script: &str, what: &'static str, folder: &Path) {
    let python = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run bash tests/run, which installs what it needs"));
    let mut command = Command::new(python);
    command.arg(repository().join(script)).arg(what).arg(folder);
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread").expect("Python");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{script} {what}: {}\n{out}\n{error}", ran.status);
}

/// Our training set of `labels.parquet`, in `ours.parquet`. The source reads the file in `folder` under its own name.
async fn ours(folder: &Path, file: &str, definitions: &str, features: &[&str]) {
    let history = History::in_files();
    let History::Files(_, root) = &history else { panic!("files were asked for") };
    let source: PathBuf = root.path().join("history");
    std::fs::create_dir_all(&source).expect("a folder");
    std::fs::copy(folder.join(file), source.join("rows.parquet")).expect("copied");
    let light = Light::over(stage(), definitions, Arc::new(MemoryStore::default()), history).await;
    let mut selection = selection(features);
    if let lockstep::catalog::Selection::Features { full_feature_names, .. } = &mut selection {
        *full_feature_names = false;
    }
    let labels = read_labels(&folder.join("labels.parquet"), None).expect("labels");
    let set = train(&light.gateway, &selection, labels, Options::default()).await.expect("trained");
    write_training_set(&folder.join("ours.parquet"), set).await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_set_is_feasts_own_on_feasts_own_example() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "tests/feast/training.py";
    python("LOCKSTEP_FEAST_PYTHON", script, "make", folder.path()).await;
    let definitions = "
entities: [{name: driver, join_keys: [{name: driver_id, type: int64}]}]
sources: [{name: stats, type: parquet, path: history, event_time: event_timestamp, created_time: created}]
feature_views:
  - name: driver_hourly_stats
    entities: [driver]
    source: stats
    ttl: 1d
    features: [{name: conv_rate, type: float32}, {name: acc_rate, type: float32}, {name: avg_daily_trips, type: int64}]
";
    let features =
        ["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate", "driver_hourly_stats:avg_daily_trips"];
    ours(folder.path(), "driver_stats.parquet", definitions, &features).await;
    python("LOCKSTEP_FEAST_PYTHON", script, "compare", folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_set_is_what_polars_joins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "tests/clients/polars_asof.py";
    python("LOCKSTEP_PYTHON", script, "make", folder.path()).await;
    let definitions = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources: [{name: rows, type: parquet, path: history, event_time: at}]
feature_views:
  - {name: view, entities: [company], source: rows, ttl: 30d, features: [{name: value, type: float64}, {name: text, type: string}]}
";
    ours(folder.path(), "history.parquet", definitions, &["view:value", "view:text"]).await;
    python("LOCKSTEP_PYTHON", script, "compare", folder.path()).await;
}
