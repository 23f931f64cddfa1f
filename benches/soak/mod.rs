//! The soak: reads and writes against a Redis Cluster for a quarter of an hour, while it fails over, loses a primary and
//! moves slots. No answer may be wrong, and the gateway's memory must stay what it was.
//!
//! Every value follows from its entity, its feature and the event time of its row, so any answer can be checked without
//! knowing who wrote last. What Redis loses of acknowledged writes when a primary dies is counted and shown, and is no
//! mistake of the gateway: replication in Redis is asynchronous.

mod events;
mod load;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use self::load::Seen;
use self::watch::Samples;
use crate::Result;
use crate::load::Gateway;
use crate::measure::generator;
use crate::report::Table;
use crate::store::Cluster;
use crate::synthetic::{DAY, Project, rows, write_parquet};

pub const ENTITIES: u64 = 20_000;
pub const VIEWS: usize = 5;
pub const VIEW_FEATURES: usize = 10;
pub const SERVICE: &str = "all_v1";
/// Of the rate that a closed loop reaches in the beginning.
const OF_SATURATION: f64 = 0.7;
const SATURATION: Duration = Duration::from_secs(5);
const MINUTES: f64 = 15.0;

pub fn view(view: usize) -> String {
    format!("view_{view}")
}

/// `LOCKSTEP_SOAK_MINUTES` is how long; `benches/soak` sets it.
pub fn run() -> Result<()> {
    let minutes = match std::env::var("LOCKSTEP_SOAK_MINUTES") {
        Ok(text) => text.parse().map_err(|_| format!("LOCKSTEP_SOAK_MINUTES is {text:?}, not a number"))?,
        Err(_) => MINUTES,
    };
    let time = Duration::from_secs_f64(minutes * 60.0);
    let header =
        ["minute", "requests", "errors", "p50 ms", "p99 ms", "largest ms", "gateway MB", "files", "what happened"];
    let mut table = Table::new("soak", &header);
    let mut cluster = Cluster::start()?;
    let version = cluster.version()?;
    let project = project(&cluster)?;
    let gateway = Gateway::start(project.folder(), None, cluster.pids())?;
    let runtime = generator()?;
    let most = runtime.block_on(load::saturate(gateway.target.http, SATURATION))?;
    let rate = most * OF_SATURATION;
    eprintln!("-- {most:.0} requests a second at saturation; {rate:.0} for {minutes} minutes");

    let begin = Instant::now();
    let over = AtomicBool::new(false);
    let (seen, events, samples) = std::thread::scope(|scope| {
        let events = scope.spawn(|| events::happen(&mut cluster, begin, time, &over));
        let samples = scope.spawn(|| watch::sample(gateway.pid(), begin, &over));
        let seen = runtime.block_on(load::run(gateway.target.http, begin, time, rate));
        over.store(true, Ordering::Relaxed);
        let events = events.join().map_err(|_| "what happens to the cluster has panicked")?;
        let samples = samples.join().map_err(|_| "watching the gateway has panicked")?;
        Ok::<_, crate::Error>((seen?, events?, samples?))
    })?;
    fill(&mut table, &seen, &events, &samples, rate)?;
    notes(&mut table, &seen, &samples, &version, minutes);
    table.publish()
}

fn project(cluster: &Cluster) -> Result<Project> {
    let mut project = Project::on(&cluster.yaml())?;
    let features = |view: usize| view * VIEW_FEATURES..(view + 1) * VIEW_FEATURES;
    let views: Vec<_> = (0..VIEWS).map(|number| (view(number), features(number))).collect();
    project.define_views(&views, "30d");
    let names: Vec<&str> = views.iter().map(|(view, _)| view.as_str()).collect();
    project.define(&format!("feature_services:\n  - {{name: {SERVICE}, features: [{}]}}\n", names.join(", ")));
    project.write_definitions()?;
    let keys: Vec<i64> = (0..ENTITIES as i64).collect();
    let event_time = project.now - DAY;
    for (view, features) in &views {
        let rows = rows(&keys, vec![Some(event_time); keys.len()], features.clone(), |_| event_time as u64)?;
        write_parquet(&project.data(&format!("{view}.parquet")), &rows)?;
    }
    Gateway::command(project.folder(), &["apply"])?;
    Gateway::command(project.folder(), &["sync"])?;
    Ok(project)
}

/// One row a minute.
fn fill(table: &mut Table, seen: &Seen, events: &[events::Event], samples: &Samples, rate: f64) -> Result<()> {
    for (number, minute) in seen.minutes.iter().enumerate() {
        let millis = |quantile: f64| minute.latency.value_at_quantile(quantile) as f64 / 1e6;
        let errors: Vec<String> = minute.errors.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        let happened: Vec<&events::Event> = events.iter().filter(|event| event.minute() == number).collect();
        let told: Vec<String> = happened.iter().map(|event| event.tell()).collect();
        let (resident, files) = samples.at_minute(number);
        let row = vec![
            (number + 1).to_string(),
            minute.latency.len().to_string(),
            if errors.is_empty() { "0".to_owned() } else { errors.join(", ") },
            format!("{:.1}", millis(0.5)),
            format!("{:.1}", millis(0.99)),
            format!("{:.0}", minute.latency.max() as f64 / 1e6),
            format!("{:.1}", resident as f64 / 1e6),
            files.to_string(),
            told.join("; "),
        ];
        let result = json!({
            "minute": number + 1, "answers": minute.latency.len(), "errors": minute.errors, "p50_millis": millis(0.5),
            "p99_millis": millis(0.99), "max_millis": minute.latency.max() as f64 / 1e6, "resident_bytes": resident,
            "files": files, "events": told, "intended_requests_per_second": rate,
        });
        table.push(row, result)?;
    }
    Ok(())
}

fn notes(table: &mut Table, seen: &Seen, samples: &Samples, version: &str, minutes: f64) {
    table.note(format!(
        "Redis {version} Cluster of three primaries and three replicas, nothing pinned; {minutes} minutes at {:.0} % of saturation: {:.0} requests a second, \
         one in {} a write of {} rows, the others reads of {} rows × {} features of {VIEWS} views.",
        OF_SATURATION * 100.0,
        seen.rate,
        load::WRITE_ONE_IN,
        load::WRITE_ROWS,
        load::READ_ROWS,
        VIEWS * VIEW_FEATURES,
    ));
    table.note(format!(
        "{} values were checked, {} wrong. Rows older than a write that was acknowledged before the question: {}{}.",
        seen.values,
        seen.wrong,
        seen.lost_rows,
        seen.lost_times(),
    ));
    if !seen.reasons.is_empty() {
        let reasons: Vec<String> = seen.reasons.iter().map(|(reason, count)| format!("{count} × “{reason}”")).collect();
        table.note(format!("Why requests were refused: {}.", reasons.join("; ")));
    }
    table.note(format!(
        "Requests that were never sent because all connections waited for more than {:?}: {}. The generator's timer counts milliseconds.",
        load::BACKLOG_MAX,
        seen.skipped
    ));
    table.note(format!(
        "Gateway memory after the first tenth {:.1} MB, in the end {:.1} MB, slope {:+.2} MB an hour; at most {} open files.",
        samples.settled_bytes() as f64 / 1e6,
        samples.last_bytes() as f64 / 1e6,
        samples.slope_bytes_an_hour() / 1e6,
        samples.files_max()
    ));
}
