//! What time costs: CPU seconds of processes, medians with their spread, and which CPUs a process may use.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Result;

/// Clock ticks in `/proc/<pid>/stat`; Linux shows 100 to programs whatever the kernel uses.
const TICKS_PER_SECOND: f64 = 100.0;

/// A debug build is for those who change the benchmarks: it goes through all of a table in a hurry and publishes nothing.
const HURRY: bool = cfg!(debug_assertions);

/// So many rounds.
pub const fn rounds(rounds: usize) -> usize {
    if HURRY { 1 } else { rounds }
}

/// One round of so many milliseconds.
pub const fn round_millis(millis: u64) -> Duration {
    Duration::from_millis(if HURRY { millis / 10 } else { millis })
}

/// So many entities.
pub const fn entities(entities: u64) -> u64 {
    if HURRY { entities / 100 } else { entities }
}

/// A median with the smallest and the largest of the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let middle = rounds.len() / 2;
        let median = if rounds.len() % 2 == 1 { rounds[middle] } else { (rounds[middle - 1] + rounds[middle]) / 2.0 };
        Self { median, min: rounds[0], max: rounds[rounds.len() - 1] }
    }

    /// The same in another unit.
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, min: self.min * factor, max: self.max * factor }
    }
}

impl std::fmt::Display for Spread {
    /// `median (min–max)`, or one number if there was one round; `{:.1}` gives every number one decimal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        if self.min == self.max {
            return write!(f, "{:.decimals$}", self.median);
        }
        write!(f, "{:.decimals$} ({:.decimals$}–{:.decimals$})", self.median, self.min, self.max)
    }
}

/// CPU time, user and system, that a process has used so far, to 10 ms.
pub fn cpu_seconds_of(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may hold spaces.
    let after_name = stat.rsplit_once(") ").ok_or("/proc/<pid>/stat has another form")?.1;
    let ticks: Vec<f64> = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// The CPU time of other processes from some moment on.
#[derive(Debug)]
pub struct Meter {
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    pid: u32,
    ticks: f64,
    /// By thread, in ns.
    threads: BTreeMap<String, u64>,
}

impl Meter {
    pub fn start(pids: &[u32]) -> Result<Self> {
        let process = |pid: &u32| {
            Ok(Process { pid: *pid, ticks: cpu_seconds_of(*pid)?, threads: cpu_by_thread(&pid.to_string())? })
        };
        Ok(Self { processes: pids.iter().map(process).collect::<Result<_>>()? })
    }

    /// CPU seconds since the start: to the nanosecond, or to 10 ms for a process in which a thread ended meanwhile.
    pub fn seconds(&self) -> Result<f64> {
        // Added to zero, because a sum of nothing is minus zero.
        self.processes.iter().try_fold(0.0, |sum, process| Ok(sum + process.seconds()?))
    }
}

impl Process {
    fn seconds(&self) -> Result<f64> {
        let now = cpu_by_thread(&self.pid.to_string())?;
        if self.threads.keys().any(|thread| !now.contains_key(thread)) {
            return Ok(cpu_seconds_of(self.pid)? - self.ticks);
        }
        let used: u64 = now.values().sum::<u64>() - self.threads.values().sum::<u64>();
        Ok(Duration::from_nanos(used).as_secs_f64())
    }
}

/// A process and all that it started, as Python servers have their workers.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let mut pids = vec![pid];
    let mut next = 0;
    while next < pids.len() {
        for task in fs::read_dir(format!("/proc/{}/task", pids[next]))? {
            let children = fs::read_to_string(task?.path().join("children"))?;
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    Ok(pids)
}

/// The memory that a process has in use now, in bytes.
pub fn resident_bytes_of(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("/proc/<pid>/status has no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

/// Files and sockets that a process has open.
pub fn open_files_of(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Wall and CPU time of this process, to the nanosecond.
#[derive(Debug)]
pub struct Stopwatch {
    started: Instant,
    /// By thread.
    cpu: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seconds {
    pub wall: f64,
    pub cpu: f64,
}

impl Stopwatch {
    pub fn start() -> Result<Self> {
        Ok(Self { cpu: cpu_by_thread("self")?, started: Instant::now() })
    }

    /// # Errors
    /// If a thread ended meanwhile, because its time would be missing.
    pub fn stop(self) -> Result<Seconds> {
        let wall = self.started.elapsed().as_secs_f64();
        let now = cpu_by_thread("self")?;
        if let Some(thread) = self.cpu.keys().find(|thread| !now.contains_key(*thread)) {
            return Err(format!("thread {thread} ended while its CPU time was measured").into());
        }
        let used: u64 = now.values().sum::<u64>() - self.cpu.values().sum::<u64>();
        Ok(Seconds { wall, cpu: Duration::from_nanos(used).as_secs_f64() })
    }
}

/// By thread of a process, in ns.
fn cpu_by_thread(process: &str) -> Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let entry = entry?;
        // A thread that ended since the folder was read is one that is not there.
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
        let used = text.split(' ').next().ok_or("schedstat is empty")?.parse()?;
        threads.insert(entry.file_name().to_string_lossy().into_owned(), used);
    }
    Ok(threads)
}

/// The runtime of the benchmarks that run flows in this process. Its threads live on, so that their time is counted.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().thread_keep_alive(Duration::from_secs(3_600)).build()?)
}

/// The runtime of a load: its one thread is the generator.
pub fn generator() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Lets all threads of a process run on these CPUs only (`0`, `0-1`).
pub fn pin(pid: u32, cpus: &str) -> Result<()> {
    let done = Command::new("taskset").args(["-a", "-c", "-p", cpus, &pid.to_string()]).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("taskset: {}", String::from_utf8_lossy(&done.stderr)).into())
}

/// The machine's load averages over 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Keeps running `work` until `time` has passed, and says how often.
pub fn repeat(time: Duration, mut work: impl FnMut() -> Result<()>) -> Result<(u32, Duration)> {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < time {
        work()?;
        count += 1;
    }
    Ok((count, started.elapsed()))
}
