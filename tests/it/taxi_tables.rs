//! The taxi example with its trips in a Delta table and in PostgreSQL, by the very commands of its README: the same bits
//! as from Parquet.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{command, succeed};
use crate::postgres_server::Postgres;
use crate::world::{TAXI_AS_OF, repository};

/// What a project shows of its features.
#[derive(Debug, PartialEq)]
struct Shown {
    /// The hash over all values of the training set.
    trained: Value,
    served: Value,
    parity: String,
}

static FROM_PARQUET: LazyLock<Shown> = LazyLock::new(|| {
    let folder = project();
    succeed(folder.path(), &["apply"]);
    succeed(folder.path(), &["sync"]);
    let train = ["train", "tip_model_v1", "--labels", "data/labels.parquet", "--to", "training.parquet"];
    succeed(folder.path(), &train);
    shown(folder.path(), "training.parquet", &[], "parquet")
});

#[test]
fn the_trips_give_the_same_bits_from_a_delta_table() {
    let folder = project();
    follow_the_readme(folder.path(), "## The trips in a Delta table", &[]);
    assert_eq!(shown(folder.path(), "delta.parquet", &[], "delta"), *FROM_PARQUET);
}

#[test]
fn the_trips_give_the_same_bits_from_postgres() {
    let server = Postgres::shared();
    let (folder, database, port) = (project(), server.database(), server.port().to_string());
    let connection = folder.path().join("variants/postgres/connection.yaml");
    let text = fs::read_to_string(&connection).expect("the example");
    assert!(text.contains("port: 5432"), "{text}");
    fs::write(&connection, text.replace("port: 5432", &format!("port: {port}"))).expect("written");
    let environment = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port.as_str()),
        ("PGDATABASE", database.as_str()),
        ("PGUSER", Postgres::USER),
        ("PGPASSWORD", Postgres::PASSWORD),
    ];
    follow_the_readme(folder.path(), "## The trips in PostgreSQL", &environment);
    assert_eq!(shown(folder.path(), "postgres.parquet", &environment, "postgres"), *FROM_PARQUET);
}

/// The example as `init` writes it.
fn project() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    succeed(folder.path(), &["init", ".", "--example", "chicago-taxi"]);
    folder
}

/// Runs the last block of commands of this section.
fn follow_the_readme(project: &Path, section: &str, environment: &[(&str, &str)]) {
    let readme = fs::read_to_string(repository().join("examples/chicago_taxi/README.md")).expect("the README");
    let (_, section) = readme.split_once(section).expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let commands = section.split("```").filter(|block| block.contains("\nlockstep ")).last().expect("commands");
    let python = std::env::var("LOCKSTEP_PYTHON")
        .expect("LOCKSTEP_PYTHON is not set: run bash tests/run, which installs what is needed");
    let folder_of = |program: &str| Path::new(program).parent().expect("a folder").display().to_string();
    let path = [folder_of(env!("CARGO_BIN_EXE_lockstep")), folder_of(&python), std::env::var("PATH").expect("PATH")];
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", commands]).current_dir(project).env("PATH", path.join(":"));
    let ran = bash.envs(environment.iter().copied()).output().expect("bash");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{commands}\n{out}\n{error}");
    assert!(error.contains("11 rows of trips_view are quarantined"), "{error}");
    assert_eq!(error.matches("expectation fare.range").count(), 1, "told once: {error}");
}

/// Asks for what was made of the trips in a store of `kind`.
fn shown(project: &Path, set: &str, environment: &[(&str, &str)], kind: &str) -> Shown {
    let run = |words: &[&str]| {
        let ran = command(project, words).envs(environment.iter().copied()).output().expect("the binary runs");
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8")
    };
    let json_of = |words: &[&str]| -> Value { serde_json::from_str(&run(words)).expect("JSON") };
    let manifest = format!("{set}.manifest.json");
    assert_eq!(run(&["train", "verify", &manifest]), "equal: 15002 rows, bit for bit\n");
    let manifest = fs::read_to_string(project.join(manifest)).expect("the manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    let trips = &manifest["sources"][0]["state"]["parts"][0];
    assert_eq!((&trips[0], &trips[1]["kind"]), (&json!("trips"), &json!(kind)), "{trips}");
    let company = "company=Taxi Affiliation Services";
    let asked = ["area=8", "hour=18", "payment_type=Cash", "planned_miles=2.5", "--as-of", TAXI_AS_OF, "-o", "json"];
    let service = json_of(&[&["get", "tip_model_v1", company], &asked[..]].concat());
    let trip = |id: &str| json_of(&["get", "trips_view:fare", id, "-o", "json"]);
    let (good, bad) = (trip("trip_id=7"), trip("trip_id=11570"));
    assert_eq!((&good[0]["status"], &bad[0]["status"]), (&json!("PRESENT"), &json!("NOT_FOUND")), "{good} {bad}");
    let parity = run(&["parity", "tip_model_v1"]);
    assert!(parity.starts_with("parity: 0 of "), "{parity}");
    Shown { trained: manifest["content"]["root"].clone(), served: json!([service, good]), parity }
}
