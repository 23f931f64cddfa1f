//! How a Redis is doing, and which of its settings may lose or refuse rows.

use futures::future::join_all;
use redis::Value;

use super::failure::Failure;
use super::link::{Link, Primary};
use super::settings::Mode;
use crate::clock::Deadline;
use crate::online::{Error, Health};

const DOING: &str = "asking for its health";

/// What one primary says of itself.
struct Report {
    address: String,
    info: String,
    /// When it writes snapshots; none where we may not know.
    snapshots: Option<String>,
}

pub(super) async fn health(link: &Link, deadline: Deadline) -> Result<Health, Error> {
    let primaries = link.primaries(deadline).await.map_err(|failure| failure.into_error(DOING))?;
    let reports: Result<Vec<Report>, Failure> =
        join_all(primaries.iter().map(|primary| report(primary, deadline))).await.into_iter().collect();
    let reports = reports.map_err(|failure| failure.into_error(DOING))?;
    let (mode, store) = match &link.server().mode {
        Mode::Standalone => ("standalone", format!("Redis at {}", addresses(&reports))),
        Mode::Sentinel { master, .. } => {
            ("sentinel", format!("Redis at {}, the primary {master}", addresses(&reports)))
        }
        Mode::Cluster => ("cluster", format!("Redis cluster with the primaries {}", addresses(&reports))),
    };
    let mut health = Health { store, ..Health::default() };
    health.facts.push(("mode".to_owned(), mode.to_owned()));
    health.facts.push(("database".to_owned(), link.server().database.to_string()));
    for report in &reports {
        describe(report, reports.len() > 1, &mut health);
    }
    Ok(health)
}

async fn report(primary: &Primary, deadline: Deadline) -> Result<Report, Failure> {
    let snapshots = redis::cmd("CONFIG").arg("GET").arg("save").take();
    let mut answers = primary.call(vec![redis::cmd("INFO"), snapshots], deadline).await;
    let snapshots = match answers.pop() {
        Some(Ok(reply)) => redis::from_redis_value::<Vec<(String, String)>>(reply)
            .ok()
            .and_then(|pairs| Some(pairs.into_iter().next()?.1)),
        _ => None,
    };
    let info = match answers.pop() {
        Some(Ok(Value::BulkString(info))) => String::from_utf8_lossy(&info).into_owned(),
        Some(Err(failure)) => return Err(failure),
        _ => String::new(),
    };
    Ok(Report { address: primary.address().to_string(), info, snapshots })
}

fn describe(report: &Report, is_one_of_many: bool, health: &mut Health) {
    let of = |name: &str| if is_one_of_many { format!("{name} of {}", report.address) } else { name.to_owned() };
    let said = |name: &str| fact(&report.info, name).unwrap_or("unknown");
    let number = |name: &str| fact(&report.info, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let append_only = number("aof_enabled") == 1;
    let persistence = match (append_only, report.snapshots.as_deref()) {
        (true, Some("")) => "append-only file",
        (true, _) => "append-only file and snapshots",
        (false, Some("")) => "none",
        (false, Some(_)) => "snapshots",
        (false, None) => "no append-only file; snapshots unknown",
    };
    let memory_max = match number("maxmemory") {
        0 => "no limit".to_owned(),
        bytes => bytes.to_string(),
    };
    let policy = said("maxmemory_policy");
    let replicas = number("connected_slaves");
    let facts = [
        ("version", said("redis_version").to_owned()),
        ("role", said("role").to_owned()),
        ("replicas", replicas.to_string()),
        ("memory bytes", said("used_memory").to_owned()),
        ("memory bytes at most", memory_max),
        ("eviction", policy.to_owned()),
        ("persistence", persistence.to_owned()),
    ];
    health.facts.extend(facts.map(|(name, value)| (of(name), value)));

    let address = &report.address;
    let warnings = &mut health.warnings;
    if policy != "noeviction" && policy != "unknown" {
        warnings.push(format!(
            "{address} throws rows away when its memory is full (maxmemory-policy {policy}); set maxmemory-policy noeviction"
        ));
    }
    if persistence == "none" {
        warnings.push(format!("{address} keeps nothing on disk: a restart loses every row; set appendonly yes"));
    }
    // Redis counts good replicas only where it is told to wait for some.
    if replicas > 0 && fact(&report.info, "min_slaves_good_slaves").is_none() {
        warnings.push(format!(
            "a failover of {address} may lose acknowledged writes; set min-replicas-to-write 1 and min-replicas-max-lag 10"
        ));
    }
}

fn addresses(reports: &[Report]) -> String {
    reports.iter().map(|report| report.address.as_str()).collect::<Vec<_>>().join(", ")
}

/// The value of `name:value` in a reply to INFO.
pub(super) fn fact<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}
