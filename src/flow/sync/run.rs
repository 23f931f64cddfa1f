//! A run of sync: what it has done, and how that outlives the process.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::reading::Place;
use super::{Counts, Options, Progress, Range, Synced, Window, made_of};
use crate::catalog::{Catalog, Source};
use crate::flow::derive::off_the_async_threads;
use crate::flow::expectations::{Examined, Looked, before_sync};
use crate::flow::spool::Spool;
use crate::flow::{Error, history};
use crate::gateway::{Gateway, Stop};
use crate::offline::{KnownBy, Snapshot};
use crate::pit::{Newest, Ties};
use crate::plan::StorePlan;
use crate::quality::Unmet;
use crate::registry::Outcome;

/// Runs of before that are looked at for one that tells how much there is to read.
const RUNS_LOOKED_AT: u32 = 20;

pub(super) struct Run<'a> {
    pub gateway: &'a Gateway,
    pub plan: &'a StorePlan,
    pub source: &'a Source,
    pub task: Task,
    pub done: Done,
    /// Rows that were read since the last checkpoint, or since the beginning where there was none.
    pub newest: Newest,
    /// Which of two rows of the scan counts that tie on both times.
    pub ties: Ties,
    pub spool: Option<Spool>,
    /// What the interrupted run had done that this one goes on with.
    pub before: Counts,
    /// What came of the view's expectations.
    pub examined: Examined,
    pub rows_read_again: u64,
    pub rows_failed: u64,
    pub rows_to_read: Option<u64>,
    pub bytes_spooled: u64,
    stop: Stop,
    last_checkpoint: Instant,
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    made_of: String,
    range: String,
    pub window: Window,
    /// None until the source was looked at.
    pub snapshot: Option<Snapshot>,
}

/// How much of it is done; what it says of rows is true of the spool and of the online store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    pub place: Place,
    pub is_read: bool,
    pub partitions_written: usize,
    pub counts: Counts,
}

/// Kept beside the rows that are put aside.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    task: Task,
    done: Done,
}

/// When a stage is to pause: for a checkpoint, or because the run is to end.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    at: Instant,
    stops: [Stop; 2],
}

impl<'a> Run<'a> {
    pub fn new(
        gateway: &'a Gateway,
        plan: &'a StorePlan,
        catalog: &'a Catalog,
        range: Range,
        window: Window,
        options: &Options,
    ) -> Self {
        let source = &catalog.sources[&plan.view.source];
        let columns = plan.view.join_keys.len() + plan.view.features.len();
        let nulls = vec![0; plan.view.features.len()];
        Self {
            gateway,
            plan,
            source,
            task: Task { made_of: made_of(plan, source), range: range.word().to_owned(), window, snapshot: None },
            done: Done { counts: Counts { nulls, ..Counts::default() }, ..Done::default() },
            newest: Newest::default(),
            ties: history::ties(catalog, source, plan.view.join_keys.len()..columns),
            spool: None,
            before: Counts::default(),
            examined: Examined::default(),
            rows_read_again: 0,
            rows_failed: 0,
            rows_to_read: None,
            bytes_spooled: 0,
            stop: options.stop.clone(),
            last_checkpoint: Instant::now(),
        }
    }

    pub async fn go(
        &mut self,
        catalog: &Catalog,
        options: &Options,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), Error> {
        self.open(options).await?;
        let Window { from, until, scan_until } = self.task.window;
        let looked = Looked { from, until, reaches_now: scan_until.is_none(), at: self.task.snapshot.clone() };
        self.examined = before_sync(self.gateway, catalog, &self.plan.view, looked).await?;
        Unmet::among(&self.plan.view.name, &self.examined.verdicts)?;
        self.read(tell).await?;
        self.write(tell).await
    }

    /// Looks at the source, and goes on with a run of the same if one was interrupted.
    async fn open(&mut self, options: &Options) -> Result<(), Error> {
        self.task.snapshot = Some(self.gateway.offline.snapshot(self.source, KnownBy::State).await?);
        let runs = self.gateway.registry.runs(Some(&self.plan.view.name), RUNS_LOOKED_AT).await?;
        let alike = |run: &&crate::registry::SyncRun| {
            run.range == "full" && run.range == self.task.range && run.outcome == Outcome::Finished
        };
        self.rows_to_read = runs.iter().find(alike).map(|run| run.rows_read);
        let (root, view) = (self.gateway.syncing.spool.clone(), self.plan.view.name.clone());
        let left = off_the_async_threads(async move { Spool::left::<Checkpoint>(&root, &view) }).await?;
        for (spool, Checkpoint { task, done }) in left {
            if self.spool.is_none() && !options.restart && task.is_as_good_as(&self.task) {
                tracing::info!(view = %self.plan.view.name, rows = done.counts.read, "going on with an interrupted sync");
                self.before = done.counts.clone();
                (self.task, self.done, self.spool) = (task, done, Some(spool));
            } else {
                off_the_async_threads(async move { spool.remove() }).await?;
            }
        }
        Ok(())
    }

    /// Makes durable what is done; the rows in memory, those of the keys from number `from` on, are put aside.
    pub async fn checkpoint(&mut self, from: usize) -> Result<(), Error> {
        let newest = mem::take(&mut self.newest);
        let (spool, root, view) = (self.spool.take(), self.gateway.syncing.spool.clone(), self.plan.view.name.clone());
        let checkpoint = Checkpoint { task: self.task.clone(), done: self.done.clone() };
        let kept = off_the_async_threads(async move {
            let mut spool = match spool {
                Some(spool) => spool,
                None => Spool::begin(&root, &view)?,
            };
            spool.add(&newest, from)?;
            spool.keep(&checkpoint)?;
            Ok(spool)
        });
        let spool = kept.await?;
        self.bytes_spooled = spool.bytes();
        self.spool = Some(spool);
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    pub fn is_asked_to_stop(&self) -> bool {
        self.stop.is_asked() || self.gateway.syncing.stop.is_asked()
    }

    pub fn stopped(&self) -> Error {
        Error::SyncStopped { view: self.plan.view.name.clone() }
    }

    /// The next pause, `at_most` after the last checkpoint.
    pub fn pause(&self, at_most: Duration) -> Pause {
        let every = self.gateway.syncing.checkpoint_every.min(at_most);
        Pause { at: self.last_checkpoint + every, stops: [self.stop.clone(), self.gateway.syncing.stop.clone()] }
    }

    pub fn progress(&self) -> Progress {
        let rows_to_write = match &self.spool {
            _ if !self.done.is_read => None,
            Some(spool) => Some(spool.pieces().rows()),
            None => Some(self.newest.len() as u64),
        };
        let counts = &self.done.counts;
        Progress {
            rows_read: counts.read,
            rows_to_read: self.rows_to_read.map(|rows| rows.max(counts.read)),
            rows_written: counts.written,
            rows_to_write,
            rows_reused: self.before.read,
        }
    }

    pub fn synced(&self, took: Duration) -> Synced {
        let counts = &self.done.counts;
        Synced {
            view: self.plan.view.name.clone(),
            rows_read: counts.read,
            rows_latest: counts.latest,
            rows_written: counts.written,
            rows_older: counts.older,
            rows_without_key: counts.without_key,
            rows_in_future: counts.in_future,
            rows_reused: self.before.read,
            rows_read_again: self.rows_read_again,
            rows_quarantined: self.examined.rows_quarantined,
            expectations: self.examined.verdicts.clone(),
            derived_views: self.plan.derived.iter().map(|derived| derived.name.clone()).collect(),
            seconds: took.as_secs_f64(),
        }
    }

    /// Everything is recorded: what was put aside is of no use any more.
    pub async fn finish(self) -> Result<(), Error> {
        let Some(spool) = self.spool else { return Ok(()) };
        off_the_async_threads(async move { spool.remove() }).await
    }
}

impl Task {
    /// Whether whoever wants `asked` gets it by ending this task.
    fn is_as_good_as(&self, asked: &Self) -> bool {
        let (ours, theirs) = (self.window, asked.window);
        let reads_the_same = match self.range.as_str() {
            // What it leaves out, the next incremental sync reads.
            "incremental" => {
                ours.from <= theirs.from
                    && theirs.from.is_none_or(|from| from <= ours.until)
                    && ours.until <= theirs.until
            }
            _ => ours.from == theirs.from && ours.scan_until == theirs.scan_until,
        };
        self.made_of == asked.made_of && self.range == asked.range && self.snapshot == asked.snapshot && reads_the_same
    }
}

impl Pause {
    pub fn is_due(&self) -> bool {
        self.stops.iter().any(Stop::is_asked) || Instant::now() >= self.at
    }
}

/// What is shared with the threads that gather and write.
pub(super) fn shared(newest: &mut Newest) -> Arc<Newest> {
    Arc::new(mem::take(newest))
}
