//! Sync that runs out of disk, is killed, or finds the store taken: what was there is served, and the same command
//! again completes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lockstep::app::{self, Project};
use lockstep::error::ErrorKind;
use lockstep::flow::parity::parity;
use lockstep::flow::sync::{Range, sync};
use lockstep::gateway::Gateway;
use lockstep::registry::Outcome;

use super::trips::{DEFINITIONS, trips};
use crate::command::{command, json_of, refused, succeed};
use crate::light::{DAY, NOW, write_rows};
use crate::world::{World, project_folder};

/// Trips `0..100`, each with a fare of 1, in a file of their own.
fn write_old_trips(project: &Path) {
    write_trips(project, "old", 100, NOW - 2 * DAY, |_| 1.0);
}

/// Trips `0..trips`, each a day newer and with its number for a fare.
fn write_new_trips(project: &Path, trips: usize) {
    write_trips(project, "new", trips, NOW - DAY, |trip| trip as f64);
}

fn write_trips(project: &Path, file: &str, count: usize, at: i64, fare: impl Fn(i64) -> f64) {
    let numbers: Vec<i64> = (0..count as i64).collect();
    write_rows(&project.join(format!("trips/{file}.parquet")), &trips(&numbers, fare, |_| at));
}

/// What `lockstep get` says of a trip's fare.
fn fare(project: &Path, trip: usize) -> f64 {
    let asked = format!("trip={trip}");
    let rows = json_of(project, &["get", "stats:fare", &asked]);
    rows[0]["value"].as_f64().unwrap_or_else(|| panic!("no fare of trip {trip}: {rows}"))
}

#[test]
fn a_full_disk_is_told_and_the_same_command_completes_once_there_is_room() {
    let folder = project_folder(DEFINITIONS);
    let project = folder.path();
    write_old_trips(project);
    succeed(project, &["apply"]);
    succeed(project, &["sync"]);
    write_new_trips(project, 20_000);

    // Files may grow by half a MiB, counted in blocks of 512 bytes, or of 1,024 where the shell has them so.
    let stored = fs::metadata(project.join(".lockstep/online.db")).expect("the store").len();
    let blocks = stored / 1_024 + 512;
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" -C \"$1\" sync stats");
    let full = Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_lockstep")]).arg(project).output();
    let full = full.expect("a shell");
    let text = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(9), "{text}");
    assert!(text.contains("the online store has no room left"), "{text}");
    assert!(text.contains("free disk space and run the command again"), "{text}");
    assert_eq!(fare(project, 5), 1.0, "the old rows are served");

    succeed(project, &["sync", "stats"]);
    assert_eq!((fare(project, 5), fare(project, 19_999)), (5.0, 19_999.0));
    assert!(succeed(project, &["parity"]).contains("parity: 0 of "));
}

#[test]
fn a_disk_without_room_for_what_a_sync_puts_aside_is_told_and_nothing_is_written() {
    let folder = project_folder(DEFINITIONS);
    let project = folder.path();
    let config = fs::read_to_string(project.join("lockstep.yaml")).expect("the project");
    fs::write(project.join("lockstep.yaml"), config + "sync: {memory_mib: 16}\n").expect("written");
    write_old_trips(project);
    succeed(project, &["apply"]);
    succeed(project, &["sync"]);
    write_new_trips(project, 200_000);
    let stored = fs::metadata(project.join(".lockstep/online.db")).expect("the store").len();
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" -C \"$1\" sync stats", stored / 512 + 512);
    let full = Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_lockstep")]).arg(project).output();
    let full = full.expect("a shell");
    let text = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(9), "{text}");
    assert!(text.contains(".lockstep/sync/stats@") && text.contains("File too large"), "{text}");
    assert!(text.contains("free disk space, or set sync.spool to another folder"), "{text}");
    assert_eq!(fare(project, 5), 1.0, "the old rows are served");
    let run = &json_of(project, &["syncs", "stats"])["runs"][0];
    assert_eq!((run["outcome"].as_str(), run["rows_written"].as_u64()), (Some("failed"), Some(0)), "{run}");

    succeed(project, &["sync", "stats"]);
    assert_eq!((fare(project, 5), fare(project, 199_999)), (5.0, 199_999.0));
    let left = fs::read_dir(project.join(".lockstep/sync")).expect("the spool").count();
    assert_eq!(left, 0, "what the failed one had put aside is gone");
}

/// A small file system in memory, mounted for as long as this lives.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(path: &Path, bytes: &str) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let options = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { path: path.to_owned() })
    }

    fn resize(&self, bytes: &str) {
        let options = format!("remount,size={bytes}");
        let resized = Command::new("mount").args(["-o", &options]).arg(&self.path).status().expect("mount");
        assert!(resized.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached at once; it is gone when the store closes its file.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_on_while_its_disk_is_full() {
    let mut disk = None;
    let world = World::of(DEFINITIONS, |project| {
        disk = SmallDisk::mount(&project.join("disk"), "6m");
        if disk.is_some() {
            let config = fs::read_to_string(project.join("lockstep.yaml")).expect("the project");
            let config = config + "online_store: {type: embedded, path: disk/online.db}\n";
            fs::write(project.join("lockstep.yaml"), config).expect("written");
        }
        write_old_trips(project);
    })
    .await;
    let Some(disk) = disk else {
        return eprintln!("skipped: only a user who may mount a small file system can fill one");
    };
    let gateway = &world.gateway;
    sync(gateway, "stats", Range::Full, &|_| {}).await.expect("synced");
    write_new_trips(world.folder.path(), 60_000);

    for attempt in 0..2 {
        let error = sync(gateway, "stats", Range::Full, &|_| {}).await.expect_err("a full disk");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let text = lockstep::error::chain(&error);
        assert!(text.contains("no room left") && text.contains("free disk space"), "{text}");
        assert_eq!(world.fare(5).await, 1.0, "after attempt {attempt}");
    }
    let runs = gateway.registry.runs(Some("stats"), 1).await.expect("runs");
    assert!(matches!(&runs[0].outcome, Outcome::Failed(why) if why.contains("no room left")), "{runs:?}");

    disk.resize("256m");
    sync(gateway, "stats", Range::Full, &|_| {}).await.expect("synced");
    assert_eq!((world.fare(5).await, world.fare(59_999).await), (5.0, 59_999.0));
    assert_same_bits(gateway).await;
    world.servers.stop().await.expect("stopped");
}

impl World {
    async fn fare(&self, trip: usize) -> f64 {
        let body = format!(r#"{{"features": ["stats:fare"], "entities": {{"trip": [{trip}]}}}}"#);
        let reply = self.post("/get-online-features", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let json = reply.json();
        let names = json["metadata"]["feature_names"].as_array().expect("names");
        let position = names.iter().position(|name| name == "fare").expect("the feature");
        json["results"][position]["values"][0].as_f64().expect("a fare")
    }
}

async fn assert_same_bits(gateway: &Gateway) {
    let compared = parity(gateway, "model", 2_000, None).await.expect("compared");
    assert_eq!(compared.differ, 0, "{:#?}", compared.cells);
    assert_eq!(compared.not_null, 8_000);
}

#[tokio::test]
async fn a_sync_that_is_killed_leaves_whole_batches_and_the_next_one_completes() {
    const TRIPS: usize = 140_000;
    let folder = project_folder(DEFINITIONS);
    let project = folder.path();
    write_old_trips(project);
    succeed(project, &["apply"]);
    succeed(project, &["sync"]);
    let synced_before = synced_until(project).await;
    write_new_trips(project, TRIPS);

    // The first batch of three makes the file grow; it is killed as soon as that shows.
    let store = project.join(".lockstep/online.db");
    let length = |path: &Path| fs::metadata(path).expect("the store").len();
    let before = length(&store);
    let mut running = command(project, &["sync"]).spawn().expect("the command was built");
    let (mut tick, started) = (tokio::time::interval(Duration::from_millis(1)), Instant::now());
    while length(&store) == before {
        tick.tick().await;
        assert!(started.elapsed() < Duration::from_secs(120), "the sync does not write");
        assert_eq!(running.try_wait().expect("its state"), None, "the sync ended before it was killed");
    }
    running.kill().expect("killed");
    let status = running.wait().expect("its end");
    assert_eq!(status.code(), None, "killed, not ended: {status}");

    assert_eq!(synced_until(project).await, synced_before, "what was not completed is not progress");
    let kept = fare(project, 5);
    assert!(kept == 1.0 || kept == 5.0, "an old row or a new one, not {kept}");
    succeed(project, &["sync"]);
    assert_eq!((fare(project, 5), fare(project, TRIPS - 1)), (5.0, (TRIPS - 1) as f64));
    let gateway = Project::open(project).expect("a project").gateway().await.expect("a gateway");
    assert_same_bits(&gateway).await;
    drop(gateway);
    assert!(synced_until(project).await > synced_before);
}

async fn synced_until(project: &Path) -> Option<i64> {
    let gateway = Project::open(project).expect("a project").gateway().await.expect("a gateway");
    lockstep::flow::sync::progress(&gateway, "stats").await.expect("progress")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_one_embedded_store_is_refused() {
    let world = World::of(DEFINITIONS, write_old_trips).await;
    let path = world.folder.path().join(".lockstep/online.db");
    let sentence = format!(
        "the online store {} is in use by another gateway; stop it, or send it the request over HTTP",
        path.display()
    );
    let error = world.project.gateway().await.expect_err("one is running");
    assert!(matches!(error, app::Error::Online(_)));
    assert_eq!((error.to_string(), error.kind()), (sentence.clone(), ErrorKind::Conflict));

    let words = ["-C", world.folder.path().to_str().expect("UTF-8"), "sync"];
    assert_eq!(refused(world.folder.path(), &words, 4), sentence);
    world.sync_all().await;
    assert_eq!(world.fare(5).await, 1.0, "the first one works on");
}
