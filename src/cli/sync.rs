//! `lockstep sync`: offline rows go online.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::clock::Micros;
use crate::flow::sync::{Options, Progress, Range, Synced, sync_with, syncable_views, views_of_service};
use crate::gateway::{Gateway, Stop};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep sync\n  lockstep sync company_stats --incremental\n  lockstep sync --service tip_model_v1\n  lockstep sync --from 2016-01-01 --until 2016-12-31\n\nA sync that is interrupted goes on where it was when the same command is run again. Ctrl-C stops it in good order."
)]
pub(super) struct Arguments {
    /// The feature views; all of them if none is named
    views: Vec<String>,
    /// The feature views that this feature service reads
    #[arg(long, conflicts_with = "views")]
    service: Option<String>,
    /// Only what is new since the last sync
    #[arg(long, conflicts_with_all = ["from", "until"])]
    incremental: bool,
    /// The first event time to read, such as 2016-01-01 or 2016-01-01T08:00:00Z
    #[arg(long, value_parser = time::parse)]
    from: Option<Micros>,
    /// The last event time to read; now if not given
    #[arg(long, value_parser = time::parse, requires = "from")]
    until: Option<Micros>,
    /// Begin anew, whatever an interrupted sync has done
    #[arg(long)]
    restart: bool,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let range = match (arguments.from, arguments.until) {
        // A range that reaches beyond the clock ends there.
        (Some(from), until) => Range::Between { from, until: until.unwrap_or(Micros::MAX) },
        _ if arguments.incremental => Range::Incremental { until: gateway.clock.now() },
        _ => Range::Full,
    };
    let views = match &arguments.service {
        Some(service) => views_of_service(&gateway, service)?,
        None if arguments.views.is_empty() => syncable_views(&gateway),
        None => arguments.views.clone(),
    };
    stop_on_signals(gateway.syncing.stop.clone());
    let options = Options { restart: arguments.restart, ..Options::default() };
    let synced = sync_views_with(&gateway, &views, range, &options).await?;
    output::print(context.format, &synced, |synced| report(synced))?;
    Ok(Outcome::Done)
}

/// From now on the first signal stops syncs in good order, and the second one ends the process. Where signals cannot be
/// heard they end it at once, which costs no more than what was done since the last checkpoint.
fn stop_on_signals(stop: Stop) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 };
        next().await;
        output::note("stopping at the next checkpoint; a second signal stops at once");
        stop.ask();
        std::process::exit(next().await);
    });
}

/// Syncs one view after the other, with a progress line each.
pub(super) async fn sync_views(gateway: &Gateway, views: &[String], range: Range) -> Result<Vec<Synced>, Failure> {
    sync_views_with(gateway, views, range, &Options::default()).await
}

async fn sync_views_with(
    gateway: &Gateway,
    views: &[String],
    range: Range,
    options: &Options,
) -> Result<Vec<Synced>, Failure> {
    let mut all = Vec::with_capacity(views.len());
    for view in views {
        let bar = output::progress(view);
        let pace = Mutex::new(Pace::begin());
        let tell = |progress: Progress| {
            let line = pace.lock().unwrap_or_else(PoisonError::into_inner).line(&progress, Instant::now());
            bar.set_message(line);
        };
        let synced = sync_with(gateway, view, range, options, &tell).await;
        bar.finish_and_clear();
        let synced = synced?;
        if synced.rows_in_future > 0 {
            output::note(format!(
                "warning: {} rows of {view} are from after this machine's clock and were left out; is the clock right?",
                synced.rows_in_future
            ));
        }
        for verdict in synced.expectations.iter().filter(|verdict| !verdict.holds) {
            output::note(format!("warning: {view}: {verdict}"));
        }
        if synced.rows_quarantined > 0 {
            output::note(format!("warning: {} rows of {view} are quarantined", synced.rows_quarantined));
        }
        if synced.rows_reused > 0 {
            output::note(format!("{view}: gone on after {} rows that were read before", synced.rows_reused));
        }
        all.push(synced);
    }
    Ok(all)
}

/// How quickly a sync reads, and then writes.
struct Pace {
    is_writing: bool,
    /// When the stage began, and how many of its rows were done then.
    began: Instant,
    rows_then: Option<u64>,
}

impl Pace {
    fn begin() -> Self {
        Self { is_writing: false, began: Instant::now(), rows_then: None }
    }

    /// Rows, rows a second and, where it is known how many there are, the time left.
    fn line(&mut self, progress: &Progress, now: Instant) -> String {
        if progress.rows_to_write.is_some() && !self.is_writing {
            *self = Self { is_writing: true, began: now, rows_then: None };
        }
        let (rows, of, word) = match self.is_writing {
            true => (progress.rows_written, progress.rows_to_write, "written"),
            false => (progress.rows_read, progress.rows_to_read, "read"),
        };
        let done = rows - *self.rows_then.get_or_insert(rows.min(progress.rows_reused));
        let rate = done as f64 / now.duration_since(self.began).as_secs_f64().max(1e-3);
        let mut line = match of {
            Some(of) => format!("{rows} of {of} rows {word}"),
            None => format!("{rows} rows {word}"),
        };
        if done > 0 {
            // A string takes everything that is written to it.
            let _ = write!(line, ", {rate:.0} rows/s");
            if let Some(left) = of.map(|of| of.saturating_sub(rows)).filter(|left| *left > 0) {
                let _ = write!(line, ", {} left", shown(Duration::from_secs_f64((left as f64 / rate).min(1e9))));
            }
        }
        line
    }
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A line for each view.
pub(super) fn report(synced: &[Synced]) -> String {
    if synced.is_empty() {
        return "no feature view is online, so there is nothing to sync".to_owned();
    }
    let row = |view: &Synced| {
        vec![
            view.view.clone(),
            view.derived_views.join(", "),
            view.rows_read.to_string(),
            view.rows_latest.to_string(),
            view.rows_written.to_string(),
            view.rows_older.to_string(),
            view.rows_without_key.to_string(),
            format!("{:.2}", view.seconds),
        ]
    };
    let header = ["view", "derived views", "rows read", "newest", "written", "older", "without key", "seconds"];
    output::table(&header, synced.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_done_how_quickly_and_how_long_it_takes() {
        let mut pace = Pace::begin();
        let began = pace.began;
        let mut line = |seconds: u64, progress: Progress| pace.line(&progress, began + Duration::from_secs(seconds));
        let read = |rows_read, rows_to_read| Progress { rows_read, rows_to_read, ..Progress::default() };
        assert_eq!(line(0, read(0, None)), "0 rows read");
        assert_eq!(line(2, read(1_000, None)), "1000 rows read, 500 rows/s");
        assert_eq!(line(4, read(2_000, Some(42_000))), "2000 of 42000 rows read, 500 rows/s, 1 min 20 s left");
        let written = |rows_written| Progress { rows_written, rows_to_write: Some(900), ..read(2_000, Some(42_000)) };
        assert_eq!(line(4, written(0)), "0 of 900 rows written");
        assert_eq!(line(7, written(300)), "300 of 900 rows written, 100 rows/s, 6 s left");
        assert_eq!(line(13, written(900)), "900 of 900 rows written, 100 rows/s");
    }

    #[test]
    fn what_an_interrupted_run_had_read_counts_as_read_and_not_as_quick() {
        let mut pace = Pace::begin();
        let began = pace.began;
        let progress = Progress { rows_read: 1_100, rows_reused: 1_000, ..Progress::default() };
        assert_eq!(pace.line(&progress, began + Duration::from_secs(1)), "1100 rows read, 100 rows/s");
    }
}
