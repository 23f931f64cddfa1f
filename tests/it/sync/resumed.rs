//! Syncs that are interrupted go on where they were: killed at random points, stopped in good order, with the source or
//! the definitions changed in between, and without enough memory for all rows.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use lockstep::app::Project;
use lockstep::flow::Error;
use lockstep::flow::sync::{Options, Range, Synced, sync_with};
use lockstep::gateway::{Stop, Syncing};
use lockstep::online::OnlineStore;
use lockstep::plan;
use lockstep::registry::Outcome;
use serde_json::Value;

use super::trips::{DEFINITIONS, trips};
use crate::command::{command, json_of, succeed};
use crate::light::{DAY, HOUR, History, Light, NOW, soon, stage, times, write_rows};
use crate::online::Store;
use crate::world::project_folder;

const FILES: i64 = 5;
const ROWS_OF_A_FILE: i64 = 6_000;
const ROWS: u64 = (FILES * ROWS_OF_A_FILE) as u64;
/// Partitions that a run marks as written, one after the other.
const PARTITIONS: u64 = lockstep::limits::SYNC_PARTITIONS as u64;
const KILLS: usize = 20;

/// Rows of one file: half of its trips are those of the file before, once more and later.
fn trips_of_file(file: i64) -> RecordBatch {
    let first = file * ROWS_OF_A_FILE / 2;
    let numbers: Vec<i64> = (first..first + ROWS_OF_A_FILE).map(|trip| trip * 7_919 % 1_000_003).collect();
    trips(&numbers, |trip| (trip * 10 + file) as f64, |trip| NOW - 9 * DAY + file * HOUR + trip % 1_000)
}

/// A project with its data, in which every sync makes durable what it does all the time.
fn project(store: Store, server: Option<&crate::servers::Redis>) -> tempfile::TempDir {
    let folder = project_folder(DEFINITIONS);
    store.configure(folder.path(), server);
    let path = folder.path().join("lockstep.yaml");
    let config = fs::read_to_string(&path).expect("the settings");
    fs::write(path, config + "sync: {checkpoint_every: 1ms, memory_mib: 16}\n").expect("written");
    for file in 0..FILES {
        write_rows(&folder.path().join(format!("trips/{file}.parquet")), &trips_of_file(file));
    }
    succeed(folder.path(), &["apply"]);
    folder
}

/// Every row of both views: trip, fare or the company's bucket, and text, as bits.
type Rows = BTreeMap<(String, i64), (Option<u64>, Option<String>, i64)>;

async fn online_rows(store: &dyn OnlineStore, catalog: &lockstep::catalog::Catalog) -> Rows {
    let mut found = Rows::new();
    for view in plan::online_views(catalog) {
        let mut cursor = None;
        loop {
            let page = store.scan(&view, cursor.as_ref(), soon()).await.expect("a page");
            for rows in page.rows {
                let trips = rows.keys[0].as_primitive::<Int64Type>();
                let text = |column: &ArrayRef, row: usize| {
                    let column = column.as_string_opt::<i32>()?;
                    column.is_valid(row).then(|| column.value(row).to_owned())
                };
                let number = |column: &ArrayRef, row: usize| {
                    let column = column.as_primitive_opt::<Float64Type>()?;
                    column.is_valid(row).then(|| column.value(row).to_bits())
                };
                for row in 0..rows.rows() {
                    let numbers = rows.features.iter().find_map(|column| number(column, row));
                    let texts = rows.features.iter().find_map(|column| text(column, row));
                    let key = (view.name.clone(), trips.value(row));
                    found.insert(key, (numbers, texts, rows.event_time.value(row)));
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    found
}

async fn rows_of_project(project: &Path) -> Rows {
    let gateway = Project::open(project).expect("a project").gateway().await.expect("a gateway");
    let applied = gateway.applied.load_full();
    online_rows(&*gateway.online, &applied.catalog).await
}

/// The checkpoint of the run under way, if there is one.
fn checkpoint(project: &Path) -> Option<Value> {
    let runs = fs::read_dir(project.join(".lockstep/sync")).ok()?;
    let files = runs.filter_map(|run| Some(run.ok()?.path().join("checkpoint.json")));
    files.filter_map(|file| serde_json::from_slice(&fs::read(file).ok()?).ok()).next()
}

/// How far a run is: pieces put aside, then partitions written.
fn steps(checkpoint: &Value) -> u64 {
    let pieces = checkpoint["pieces"].as_array().map_or(0, |pieces| pieces.len() as u64);
    let written = checkpoint["state"]["done"]["partitions_written"].as_u64().expect("a number");
    pieces + written
}

/// Runs a sync and kills it as soon as it has come so far; false if it ended before.
async fn kill_at(project: &Path, step: u64) -> bool {
    let mut running = command(project, &["sync", "stats"]).spawn().expect("the command was built");
    let (mut tick, started) = (tokio::time::interval(Duration::from_millis(1)), Instant::now());
    loop {
        tick.tick().await;
        assert!(started.elapsed() < Duration::from_secs(120), "the sync does not come to step {step}");
        if let Some(status) = running.try_wait().expect("its state") {
            assert!(status.success(), "the sync failed by itself: {status}");
            return false;
        }
        if checkpoint(project).is_some_and(|checkpoint| steps(&checkpoint) >= step) {
            running.kill().expect("killed");
            let status = running.wait().expect("its end");
            // It may have ended in this moment.
            return status.code().is_none();
        }
    }
}

/// The same for the same seed; xorshift64, <https://doi.org/10.18637/jss.v008.i14>.
fn random_numbers(seed: u64) -> impl Iterator<Item = u64> {
    let next = |state: &u64| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    };
    std::iter::successors(Some(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)), next).skip(8)
}

async fn check_killed_at_random_points(store: Store) {
    let server = store.start();
    let undisturbed = project(store, server.as_ref());
    succeed(undisturbed.path(), &["sync", "stats"]);
    let expected = rows_of_project(undisturbed.path()).await;
    let run = &json_of(undisturbed.path(), &["syncs", "stats", "--limit", "1"])["runs"][0];
    assert_eq!((run["rows_read"].as_u64(), run["outcome"].as_str()), (Some(ROWS), Some("finished")));
    let latest = run["rows_latest"].as_u64().expect("a number");
    assert_eq!(expected.len() as u64, 2 * latest, "each trip has a row in both views");
    drop((undisturbed, server));

    let server = store.start();
    let project = project(store, server.as_ref());
    // Two while it reads, which is four steps, and the others at random places of the writing.
    let mut points: Vec<u64> = vec![1, 3];
    points.extend(random_numbers(store as u64).map(|number| FILES as u64 + number % (PARTITIONS - 24)).take(KILLS - 2));
    points.sort_unstable();
    let (mut killed, mut before) = (0, 0);
    for point in points {
        // Each run has to get further than the one before.
        let step = point.max(before + 1);
        if !kill_at(project.path(), step).await {
            break;
        }
        killed += 1;
        let left = checkpoint(project.path()).expect("what the killed run had done");
        assert!(steps(&left) >= before, "what is done stays done");
        before = steps(&left);
    }
    assert_eq!(killed, KILLS, "a run got further than it was to be let");

    succeed(project.path(), &["sync", "stats"]);
    assert_eq!(rows_of_project(project.path()).await, expected);
    let run = &json_of(project.path(), &["syncs", "stats", "--limit", "1"])["runs"][0];
    assert_eq!(run["rows_read"].as_u64(), Some(ROWS), "{run}");
    assert_eq!(run["rows_reused"].as_u64(), Some(ROWS), "all was read when the last one was killed: {run}");
    assert_eq!(run["rows_read_again"].as_u64(), Some(0), "{run}");
    assert_eq!(run["rows_latest"].as_u64(), Some(latest), "{run}");
    assert!(checkpoint(project.path()).is_none(), "nothing is left of it");
}

#[tokio::test]
async fn a_sync_that_is_killed_twenty_times_ends_as_if_it_had_not_been_in_the_embedded_store() {
    check_killed_at_random_points(Store::Embedded).await;
}

#[tokio::test]
async fn a_sync_that_is_killed_twenty_times_ends_as_if_it_had_not_been_in_redis() {
    check_killed_at_random_points(Store::Packed).await;
}

#[tokio::test]
async fn a_signal_stops_a_sync_at_a_checkpoint_and_the_same_command_goes_on() {
    let project = project(Store::Embedded, None);
    let mut running = command(project.path(), &["sync", "stats"]).stderr(Stdio::piped()).spawn().expect("it starts");
    let (mut tick, started) = (tokio::time::interval(Duration::from_millis(1)), Instant::now());
    while checkpoint(project.path()).is_none() {
        tick.tick().await;
        assert!(started.elapsed() < Duration::from_secs(120), "the sync puts nothing aside");
    }
    let kill = format!("kill -TERM {}", running.id());
    assert!(Command::new("bash").args(["-c", &kill]).status().expect("bash").success());
    let ended = running.wait().expect("its end");
    let mut said = String::new();
    running.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert_eq!(ended.code(), Some(9), "{said}");
    let stopped = "error: the sync of stats was stopped; run the same again and it goes on where it was";
    assert!(said.contains("stopping at the next checkpoint") && said.contains(stopped), "{said}");
    let run = &json_of(project.path(), &["syncs", "stats"])["runs"][0];
    assert_eq!(run["outcome"], "stopped", "{run}");
    let read = run["rows_read"].as_u64().expect("a number");
    let gone_on = &json_of(project.path(), &["sync", "stats"])[0];
    assert_eq!((gone_on["rows_reused"].as_u64(), gone_on["rows_read"].as_u64()), (Some(read), Some(ROWS)));
}

/// A light gateway over files, whose syncs may keep so many bytes and cut the source into slices of so many.
async fn light(memory_bytes: usize, slice_bytes: u64) -> Light {
    let online = std::sync::Arc::new(lockstep::online::memory::MemoryStore::default());
    let mut light = Light::over(stage(), DEFINITIONS, online, History::in_files()).await;
    let folder: PathBuf = light.spool.path().to_owned();
    light.gateway.syncing = Syncing {
        memory_bytes,
        slice_bytes,
        checkpoint_every: Duration::from_secs(3_600),
        ..Syncing::in_folder(folder)
    };
    for file in 0..FILES {
        light.put("trips", &trips_of_file(file));
    }
    light
}

/// Syncs until it is asked to stop after so many told batches.
async fn stopped_after(light: &Light, batches: usize, range: Range) -> Result<Synced, Error> {
    let options = Options { stop: Stop::default(), ..Options::default() };
    let told = std::sync::atomic::AtomicUsize::new(0);
    let tell = |_| {
        if told.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == batches {
            options.stop.ask();
        }
    };
    sync_with(&light.gateway, "stats", range, &options, &tell).await
}

async fn rows_of(light: &Light) -> Rows {
    let applied = light.gateway.applied.load_full();
    online_rows(&*light.gateway.online, &applied.catalog).await
}

fn folders_left(light: &Light) -> usize {
    fs::read_dir(light.spool.path()).expect("the spool").count()
}

const MUCH: usize = 1 << 30;

#[tokio::test]
async fn rows_that_do_not_fit_in_memory_are_put_aside_and_end_where_the_others_do() {
    let (small, large) = (light(1, u64::MAX).await, light(MUCH, u64::MAX).await);
    let spooled = small.sync("stats", Range::Full).await.expect("synced");
    let kept = large.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(
        (spooled.rows_read, spooled.rows_latest, spooled.rows_written),
        (kept.rows_read, kept.rows_latest, kept.rows_written)
    );
    let rows = rows_of(&large).await;
    assert_eq!(rows.len() as u64, 2 * kept.rows_latest);
    assert_eq!(rows_of(&small).await, rows);
    let [spooled, kept] = [&small, &large].map(|light| light.gateway.registry.clone());
    let [spooled] = spooled.runs(None, 5).await.expect("runs").try_into().expect("one run");
    let [kept] = kept.runs(None, 5).await.expect("runs").try_into().expect("one run");
    assert!(spooled.bytes_spooled > ROWS * 16, "{spooled:?}");
    assert_eq!((kept.bytes_spooled, folders_left(&small), folders_left(&large)), (0, 0, 0));
    assert!(spooled.bytes_written > ROWS * 16 && kept.bytes_written > ROWS * 16, "{spooled:?} {kept:?}");
    assert_eq!(spooled.nulls, [("fare".to_owned(), 0), ("company_name".to_owned(), 0)]);
    assert_eq!(spooled.newest_event_time, rows.values().map(|row| row.2).max());
}

#[tokio::test]
async fn a_sync_that_was_stopped_reads_no_file_again_that_it_had_read() {
    let light = light(MUCH, 1).await;
    let stopped = stopped_after(&light, 3, Range::Full).await.expect_err("stopped");
    assert_eq!(stopped.to_string(), "the sync of stats was stopped; run the same again and it goes on where it was");
    let runs = light.gateway.registry.runs(Some("stats"), 5).await.expect("runs");
    assert_eq!((&runs[0].outcome, runs[0].rows_written, folders_left(&light)), (&Outcome::Stopped, 0, 1));
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!((synced.rows_reused, synced.rows_read_again), (3 * ROWS_OF_A_FILE as u64, 0));
    assert_eq!((synced.rows_read, folders_left(&light)), (ROWS, 0));
    let undisturbed = self::light(MUCH, u64::MAX).await;
    undisturbed.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(rows_of(&light).await, rows_of(&undisturbed).await);
}

#[tokio::test]
async fn within_a_slice_a_sync_counts_its_way_to_where_it_was() {
    let light = light(MUCH, u64::MAX).await;
    stopped_after(&light, 2, Range::Full).await.expect_err("stopped");
    let before = light.gateway.registry.runs(Some("stats"), 1).await.expect("runs").remove(0);
    assert!(before.rows_read > 0 && before.rows_read < ROWS, "{before:?}");
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(
        (synced.rows_reused, synced.rows_read_again, synced.rows_read),
        (before.rows_read, before.rows_read, ROWS)
    );
}

#[tokio::test]
async fn a_sync_that_was_stopped_while_it_wrote_writes_what_is_left() {
    let light = light(MUCH, u64::MAX).await;
    let told = std::sync::atomic::AtomicUsize::new(0);
    let options = Options::default();
    let tell = |progress: lockstep::flow::sync::Progress| {
        if progress.rows_to_write.is_some() {
            told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            options.stop.ask();
        }
    };
    sync_with(&light.gateway, "stats", Range::Full, &options, &tell).await.expect_err("stopped");
    assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), 1, "it is asked before the first row is written");
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!((synced.rows_reused, synced.rows_read_again), (ROWS, 0));
    assert_eq!(synced.rows_written, synced.rows_latest);
}

#[tokio::test]
async fn a_sync_begins_anew_when_something_has_changed_or_it_is_told_to() {
    let light = light(MUCH, 1).await;
    let again = async |options: Options, range: Range| {
        stopped_after(&light, 2, Range::Full).await.expect_err("stopped");
        let synced = sync_with(&light.gateway, "stats", range, &options, &|_| {}).await.expect("synced");
        assert_eq!(folders_left(&light), 0);
        synced.rows_reused
    };
    let full = Options::default;
    assert!(again(full(), Range::Full).await > 0);
    assert_eq!(again(Options { restart: true, ..full() }, Range::Full).await, 0);
    assert_eq!(again(full(), Range::Between { from: 0, until: NOW }).await, 0, "it is another range");

    stopped_after(&light, 2, Range::Full).await.expect_err("stopped");
    light.apply(&DEFINITIONS.replace("{name: fare, type: float64}, ", ""));
    assert_eq!(light.sync("stats", Range::Full).await.expect("synced").rows_reused, 0, "the view is another one");
    light.apply(DEFINITIONS);
    stopped_after(&light, 2, Range::Full).await.expect_err("stopped");
    light.put("trips", &trips_of_file(FILES));
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(
        (synced.rows_reused, synced.rows_read),
        (0, ROWS + ROWS_OF_A_FILE as u64),
        "the source has another file"
    );
}

#[tokio::test]
async fn an_incremental_sync_goes_on_too_and_the_next_one_reads_what_came_meanwhile() {
    let light = light(MUCH, 1).await;
    stopped_after(&light, 2, Range::Incremental { until: NOW }).await.expect_err("stopped");
    light.gateway.clock.set(NOW + HOUR);
    let synced = light.sync("stats", Range::Incremental { until: NOW + HOUR }).await.expect("synced");
    assert!(synced.rows_reused > 0, "{synced:?}");
    let until = lockstep::flow::sync::progress(&light.gateway, "stats").await.expect("progress");
    assert_eq!(until, Some(NOW), "it ends where the interrupted one was to end");
}

#[tokio::test]
async fn files_that_lack_a_column_are_read_in_slices_too() {
    let light = light(MUCH, 1).await;
    let without_company = trips_of_file(0).project(&[0, 1, 3]).expect("the other columns");
    let newer = times(&vec![NOW - HOUR; without_company.num_rows()]);
    let columns = [without_company.column(0), without_company.column(1), &newer].map(std::sync::Arc::clone);
    light.put("trips", &RecordBatch::try_new(without_company.schema(), columns.to_vec()).expect("the same types"));
    let synced = light.sync("stats", Range::Full).await.expect("synced");
    assert_eq!(synced.rows_read, ROWS + ROWS_OF_A_FILE as u64);
    let rows = rows_of(&light).await;
    let nulls = rows.iter().filter(|((view, _), row)| view == "stats" && row.1.is_none()).count();
    assert_eq!(nulls as i64, ROWS_OF_A_FILE);
    let run = light.gateway.registry.runs(None, 1).await.expect("runs").remove(0);
    assert_eq!(run.nulls, [("fare".to_owned(), 0), ("company_name".to_owned(), ROWS_OF_A_FILE as u64)]);
}

#[tokio::test]
async fn two_runs_of_one_view_at_once_do_not_take_each_others_rows() {
    let light = light(1, u64::MAX).await;
    let (one, other) = tokio::join!(light.sync("stats", Range::Full), light.sync("stats", Range::Full));
    let (one, other) = (one.expect("synced"), other.expect("synced"));
    assert_eq!((one.rows_read, other.rows_read, folders_left(&light)), (ROWS, ROWS, 0));
    assert_eq!((one.rows_latest, one.rows_reused, other.rows_reused), (other.rows_latest, 0, 0));
}
