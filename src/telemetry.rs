//! The log: lines on standard error, as text or (`LOCKSTEP_LOG_FORMAT=json`) as JSON, filtered by `LOCKSTEP_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log, with the usual filter unless `filter` is one.
pub fn start(filter: Option<&str>, usual: &str, json: bool) {
    let filter = filter.and_then(|filter| EnvFilter::try_new(filter).ok()).unwrap_or_else(|| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start, as in tests, leaves the first log as it is.
    let _ = if json { log.json().try_init() } else { log.try_init() };
}
