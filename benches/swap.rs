//! A thousand versions come and go in a gateway under load: each has another build of a plugin. No request may fail, no
//! answer may have two builds in it, and the memory must come back to what it was.
//!
//! Two views are the same distance, there and back, by one plugin; every other build is on a larger globe. So an answer
//! shows by itself which build it is of, and whether it is of one alone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lockstep::app::Project as Folder;
use lockstep::client;
use serde_json::{Value, json};

use crate::Result;
use crate::load::{Gateway, Http};
use crate::measure::{Spread, generator, resident_bytes_of, rounds};
use crate::report::{Table, root};
use crate::synthetic::{JOIN_KEY, Project};

const SWAPS: usize = 1_000;
/// Connections that ask again as soon as they are answered.
const LANES: usize = 4;
const ROWS: usize = 8;
/// Parts of the run that have a row each.
const PARTS: usize = 4;
/// Swaps after which the allocator has what it keeps, before the first part begins.
const SETTLING: usize = 50;
/// What of the memory may be more in the end than after the settling.
const MEMORY_MORE_MAX: f64 = 0.05;
const PATH: &str = "/v1/services/distances_v1/features";

const DEFINITIONS: &str = "sources: [{name: trips, type: push, path: data/trips, event_time: at}]
feature_views:
  - {name: ends, entities: [customer], source: trips, features: [{name: a, type: float64}, {name: b, type: float64}]}
derived_views:
  - name: near
    plugin: haversine
    inputs: {from_latitude: 'ends:a', from_longitude: 'ends:a', to_latitude: 'ends:b', to_longitude: 'ends:b'}
    features: [{output: distance_km, name: near_km}]
  - name: far
    plugin: haversine
    inputs: {from_latitude: 'ends:b', from_longitude: 'ends:b', to_latitude: 'ends:a', to_longitude: 'ends:a'}
    features: [{output: distance_km, name: far_km}]
feature_services: [{name: distances_v1, features: [near, far]}]
";

/// What the callers saw in one part of the run.
struct Seen {
    latency: Histogram<u64>,
    failed: u64,
    mixed: u64,
}

/// Another build of the plugin, with a digest of its own.
fn build(number: usize) -> Result<Vec<u8>> {
    let name = if number.is_multiple_of(2) { "haversine" } else { "haversine_equatorial" };
    let mut bytes = std::fs::read(root().join(format!("plugins/built/{name}.wasm")))?;
    // A custom section: its id, its length, the length of its name, its name, what is in it.
    bytes.extend_from_slice(&[0, 1 + 5 + 8, 5]);
    bytes.extend_from_slice(b"build");
    bytes.extend_from_slice(&(number as u64).to_le_bytes());
    Ok(bytes)
}

pub fn run() -> Result<()> {
    let swaps = if rounds(2) == 1 { SWAPS / 10 } else { SWAPS };
    let mut table = Table::new(
        "swap",
        &["swaps", "requests", "failed", "mixed", "p50 ms", "p99 ms", "largest ms", "until it is on, ms", "gateway MB"],
    );
    let mut project = Project::new()?;
    project.define(DEFINITIONS);
    project.write_definitions()?;
    Gateway::command(project.folder(), &["apply"])?;
    let gateway = Gateway::start(project.folder(), None, Vec::new())?;
    let (part, over, runtime) = (AtomicUsize::new(0), AtomicBool::new(false), generator()?);
    let seen = std::thread::scope(|scope| {
        let (part, over, address) = (&part, &over, gateway.target.http);
        let load = scope.spawn(move || ask(address, part, over));
        let swapped = runtime.block_on(swap_all(project.folder(), &gateway, swaps, part));
        over.store(true, Ordering::Relaxed);
        let seen = load.join().map_err(|_| "the load has panicked")??;
        Ok::<_, crate::Error>((seen, swapped?))
    });
    let (seen, (settled_bytes, parts)) = seen?;
    let (mut failed, mut mixed) = (0, 0);
    for ((number, seen), (times, bytes)) in seen.iter().enumerate().skip(1).zip(&parts) {
        (failed, mixed) = (failed + seen.failed, mixed + seen.mixed);
        let millis = |quantile: f64| seen.latency.value_at_quantile(quantile) as f64 / 1e3;
        let row = vec![
            times.len().to_string(),
            seen.latency.len().to_string(),
            seen.failed.to_string(),
            seen.mixed.to_string(),
            format!("{:.2}", millis(0.5)),
            format!("{:.2}", millis(0.99)),
            format!("{:.1}", seen.latency.max() as f64 / 1e3),
            format!("{:.0}", Spread::of(times.iter().copied())),
            format!("{:.1}", *bytes as f64 / 1e6),
        ];
        let result = json!({
            "part": number, "swaps": times.len(), "requests": seen.latency.len(), "failed": seen.failed,
            "mixed": seen.mixed, "p50_ms": millis(0.5), "p99_ms": millis(0.99), "gateway_bytes": bytes,
            "until_on_ms": Spread::of(times.iter().copied()),
        });
        table.push(row, result)?;
    }
    let last = parts.last().map_or(settled_bytes, |(_, bytes)| *bytes);
    let more = last as f64 / settled_bytes as f64 - 1.0;
    table.note(format!(
        "{LANES} connections ask for {ROWS} rows of two derived views over and over; every answer is compared. {SETTLING} swaps \
         before the first row; the gateway had {:.1} MB then, and {:+.1} % in the end.",
        settled_bytes as f64 / 1e6,
        more * 100.0
    ));
    table.note(
        "Until it is on: from the end of apply to the first moment at which every new request is answered with the new \
         build, compiling it included (`POST /reload` on the admin port).",
    );
    match (failed, mixed) {
        (0, 0) if more <= MEMORY_MORE_MAX => table.publish(),
        (0, 0) => Err(format!("the gateway has {:.1} % more memory after {swaps} swaps", more * 100.0).into()),
        (failed, mixed) => Err(format!("{failed} requests failed and {mixed} answers were mixed").into()),
    }
}

type Part = (Vec<f64>, u64);

/// Applies one build after the other; how long each took until it was on, and the memory after each part.
async fn swap_all(folder: &Path, gateway: &Gateway, swaps: usize, part: &AtomicUsize) -> Result<(u64, Vec<Part>)> {
    let project = Folder::open(folder)?;
    let swap = async |number: usize| -> Result<f64> {
        let planned = project.with_plugin("haversine", build(number)?).await?;
        let version = project.apply(&planned, true).await?.number;
        let begun = Instant::now();
        let on: Value = serde_json::from_str(&client::post(gateway.admin, "/reload").await?)?;
        match on["version"].as_u64() == Some(version) {
            true => Ok(begun.elapsed().as_secs_f64() * 1e3),
            false => Err(format!("version {version} is not on: {on}").into()),
        }
    };
    for number in 1..=SETTLING {
        swap(number).await?;
    }
    let settled_bytes = resident_bytes_of(gateway.pid())?;
    let mut parts = Vec::new();
    for number in 0..PARTS {
        part.store(number + 1, Ordering::Relaxed);
        let mut times = Vec::new();
        for step in 0..swaps / PARTS {
            times.push(swap(SETTLING + 1 + number * (swaps / PARTS) + step).await?);
        }
        parts.push((times, resident_bytes_of(gateway.pid())?));
    }
    Ok((settled_bytes, parts))
}

/// Asks until it is over. What is seen is counted by part; before the first part it is part 0.
fn ask(address: SocketAddr, part: &AtomicUsize, over: &AtomicBool) -> Result<Vec<Seen>> {
    generator()?.block_on(async {
        seed(address).await?;
        let lanes = (0..LANES).map(|_| lane(address, part, over));
        let mut seen = new_seen()?;
        for lane in futures::future::try_join_all(lanes).await? {
            for (all, one) in seen.iter_mut().zip(lane) {
                all.latency.add(&one.latency)?;
                (all.failed, all.mixed) = (all.failed + one.failed, all.mixed + one.mixed);
            }
        }
        Ok(seen)
    })
}

fn new_seen() -> Result<Vec<Seen>> {
    let seen = || -> Result<Seen> { Ok(Seen { latency: Histogram::new(3)?, failed: 0, mixed: 0 }) };
    (0..=PARTS).map(|_| seen()).collect()
}

async fn lane(address: SocketAddr, part: &AtomicUsize, over: &AtomicBool) -> Result<Vec<Seen>> {
    let mut seen = new_seen()?;
    let keys: Vec<usize> = (0..ROWS).collect();
    let body = json!({"entities": {JOIN_KEY: keys}}).to_string();
    let mut http = Http::open(address, PATH, "application/json", None).await?;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let (status, answer) = http.post(body.as_bytes()).await?;
        let now = &mut seen[part.load(Ordering::Relaxed)];
        now.latency.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
        match status {
            200 if is_of_one_build(&answer)? => {}
            200 => now.mixed += 1,
            _ => now.failed += 1,
        }
        // The callers share two CPUs with the gateway and with who applies.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(seen)
}

/// Whether the version that the answer names computed all of it.
fn is_of_one_build(answer: &[u8]) -> Result<bool> {
    let answer: Value = serde_json::from_slice(answer)?;
    let version = answer["version"].as_u64().ok_or("the answer names no version")?;
    let rows = answer["features"].as_array().ok_or("the answer has no rows")?;
    let radius = |version: u64| if version.is_multiple_of(2) { 6_378.137 } else { 6_371.008_8 };
    let km = |row: &Value, name: &str| row[name].as_f64().ok_or("a distance is missing");
    for row in rows {
        let (near, far) = (km(row, "near_km")?, km(row, "far_km")?);
        // From 0°, 0° to 1°, 1° it is so much of the radius.
        let expected = 0.024_682_056_4 * radius(version);
        if near.to_bits() != far.to_bits() || (near / expected - 1.0).abs() > 1e-4 {
            return Ok(false);
        }
    }
    Ok(rows.len() == ROWS)
}

async fn seed(address: SocketAddr) -> Result<()> {
    let keys: Vec<usize> = (0..ROWS).collect();
    let df =
        json!({JOIN_KEY: keys, "a": vec![0.0; ROWS], "b": vec![1.0; ROWS], "at": vec!["2020-01-01T00:00:00Z"; ROWS]});
    let body = json!({"push_source_name": "trips", "df": df}).to_string();
    let (status, answer) = Http::open(address, "/push", "application/json", None).await?.post(body.as_bytes()).await?;
    match status {
        200 => Ok(()),
        _ => Err(format!("HTTP {status}: {}", String::from_utf8_lossy(&answer)).into()),
    }
}
