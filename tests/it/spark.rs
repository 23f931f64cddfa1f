//! Transforms without a gateway: the Python module on its own, inside of PySpark and inside of Sail, against a gateway.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::world::{World, built_plugins, copy_taxi, repository};

/// Features of the plugin `arithmetic`.
const SUMS: usize = 50;

fn python() -> std::ffi::OsString {
    std::env::var_os("LOCKSTEP_SPARK_PYTHON")
        .expect("LOCKSTEP_SPARK_PYTHON is not set: run bash tests/run, which installs PySpark, Sail and wasmtime")
}

async fn succeed(mut command: Command) {
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread").expect("Python");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}\n{out}\n{error}", ran.status);
    assert!(out.contains("All checks passed."), "{out}\n{error}");
    println!("{out}");
}

/// The taxi example, and a view of the plugin that only adds.
async fn world() -> World {
    let mut numbers = "entities: [{name: number, join_keys: [{name: number, type: int64}]}]\n\
         sources: [{name: numbers, type: push, path: numbers, event_time: at}]\n\
         feature_views:\n  - name: numbers\n    entities: [number]\n    source: numbers\n    features:\n"
        .to_owned();
    let mut inputs = String::new();
    for column in 0..SUMS {
        writeln!(numbers, "      - {{name: x_{column}, type: float64}}").expect("a text");
        writeln!(inputs, "      x_{column}: 'numbers:x_{column}'").expect("a text");
    }
    write!(numbers, "derived_views:\n  - name: sums\n    plugin: arithmetic\n    inputs:\n{inputs}").expect("a text");
    World::of(&numbers, |folder| {
        let config = "project: chicago_taxi\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";
        fs::write(folder.join("lockstep.yaml"), config).expect("written");
        copy_taxi(folder);
    })
    .await
}

async fn run_in(engine: &str) {
    let world = world().await;
    let mut command = Command::new(python());
    command.arg(repository().join("tests/spark/spark_client.py"));
    command.args(["--engine", engine, "--flight", &world.servers.flight.to_string()]);
    command.arg("--plugins").arg(built_plugins());
    succeed(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_module_writes_and_reads_the_frames_of_everybody_else() {
    let mut command = Command::new(python());
    command.arg(repository().join("tests/spark/frame_vectors.py")).arg(repository());
    succeed(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_pyspark_computes_the_values_of_the_gateway() {
    run_in("spark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sail_computes_the_values_of_the_gateway() {
    run_in("sail").await;
}
