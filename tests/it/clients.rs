//! Clients that are not ours, in Python: the standard library over HTTP, and pyarrow over Flight.

use std::fs;
use std::process::Command;

use crate::world::{World, copy_taxi, repository};

/// The Chicago taxi example under its own name, applied and synced.
pub async fn example() -> World {
    let world = World::of("", |folder| {
        let config = "project: chicago_taxi\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";
        fs::write(folder.join("lockstep.yaml"), config).expect("written");
        copy_taxi(folder);
    });
    let world = world.await;
    world.sync_all().await;
    world
}

pub async fn run(world: &World, script: &str) {
    let python = std::env::var_os("LOCKSTEP_PYTHON")
        .expect("LOCKSTEP_PYTHON is not set: run bash tests/run, which installs them");
    let mut command = Command::new(python);
    command.arg(repository().join("tests/clients").join(script));
    command.args(["--http", &world.servers.http.to_string(), "--flight", &world.servers.flight.to_string()]);
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread").expect("Python");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{script}: {}\n{out}\n{error}", ran.status);
    assert!(out.contains("checks passed."), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_pythons_standard_library_is_served_over_http() {
    run(&example().await, "http_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_is_served_over_flight_with_the_values_of_http() {
    run(&example().await, "flight_client.py").await;
}
