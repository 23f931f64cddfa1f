//! The last stage of a run: the newest rows are written, several batches at once. While the store writes one, the
//! derived views of the next are computed.
//!
//! Rows that are all in memory are written from there, in the order in which their keys came; should that take longer
//! than an interruption may cost, those that are left are put aside. Rows that were put aside are written some partitions
//! at a time, as many as memory has room for, and in the order of their keys: a store that keeps its rows in that order
//! then writes few of its pages at once, and each of them seldom.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::max;
use arrow::error::ArrowError;
use futures::future::ready;
use futures::{StreamExt, stream};

use super::reading::{feature_rows, push};
use super::run::{Run, shared};
use super::{Counts, Progress};
use crate::batch::bytes;
use crate::clock::Deadline;
use crate::flow::Error;
use crate::flow::derive::off_the_async_threads;
use crate::flow::spool::Pieces;
use crate::flow::store::store;
use crate::gateway::Gateway;
use crate::limits::{SYNC_BATCH_BYTES, SYNC_BATCH_ROWS, SYNC_PARTITIONS, SYNC_WRITE_DEADLINE, SYNC_WRITES_AT_ONCE};
use crate::pit::{Newest, Ties};
use crate::plan::StorePlan;

/// Between two times that it is made durable which partitions are written.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// Rows that could not be written, and why.
struct Unwritten {
    rows: u64,
    error: Error,
}

impl Run<'_> {
    pub(super) async fn write(&mut self, tell: &(dyn Fn(Progress) + Send + Sync)) -> Result<(), Error> {
        tell(self.progress());
        if self.spool.is_none() {
            self.write_from_memory(tell).await?;
        }
        if self.spool.is_some() { self.write_from_spool(tell).await } else { Ok(()) }
    }

    /// Writes all rows, or those that can be until the next checkpoint is due, and then puts the others aside.
    async fn write_from_memory(&mut self, tell: &(dyn Fn(Progress) + Send + Sync)) -> Result<(), Error> {
        let (gateway, plan, pause) = (self.gateway, self.plan, self.pause(Duration::MAX));
        let mut progress = self.progress();
        let newest = shared(&mut self.newest);
        let (step, mut written) = (batch_rows(&newest), 0);
        {
            let batches = stream::iter((0..newest.len()).step_by(step)).take_while(|_| ready(!pause.is_due()));
            let writes = batches.map(|from| write_batch(gateway, plan, Arc::clone(&newest), from, step));
            let mut writes = std::pin::pin!(writes.buffered(SYNC_WRITES_AT_ONCE));
            while let Some(done) = writes.next().await {
                let done = done.map_err(|unwritten| self.failed(unwritten))?;
                written += done.latest as usize;
                self.done.counts.add(&done);
                progress.rows_written = self.done.counts.written;
                tell(progress);
            }
        }
        if written == newest.len() {
            return Ok(());
        }
        self.newest =
            Arc::into_inner(newest).ok_or_else(|| Error::Stopped("rows are still being written".to_owned()))?;
        self.checkpoint(written).await?;
        if self.is_asked_to_stop() { Err(self.stopped()) } else { Ok(()) }
    }

    async fn write_from_spool(&mut self, tell: &(dyn Fn(Progress) + Send + Sync)) -> Result<(), Error> {
        let (gateway, plan, ties) = (self.gateway, self.plan, self.ties.clone());
        let Some(spool) = &self.spool else { return Ok(()) };
        let (pieces, spooled) = (spool.pieces(), spool.bytes());
        let step = match gateway.syncing.checkpoint_every < MARK_EVERY {
            // Who wants to lose so little work gets it in the smallest steps.
            true => 1,
            false => partitions_at_once(gateway.syncing.memory_bytes, spooled),
        };
        while self.done.partitions_written < SYNC_PARTITIONS {
            let (first, pause) = (self.done.partitions_written, self.pause(MARK_EVERY));
            // At least once, so that a checkpoint that is always due holds up nothing.
            let partitions = stream::iter((first..SYNC_PARTITIONS).step_by(step))
                .take_while(|partition| ready(*partition == first || !pause.is_due()))
                .map(|partition| partition..SYNC_PARTITIONS.min(partition + step));
            let writes = partitions.map(|some| write_partitions(gateway, plan, pieces.clone(), some, &ties));
            let mut writes = std::pin::pin!(writes.buffered(SYNC_WRITES_AT_ONCE));
            while let Some(done) = writes.next().await {
                let (done, partitions) = done.map_err(|unwritten| self.failed(unwritten))?;
                self.done.counts.add(&done);
                self.done.partitions_written += partitions;
                tell(self.progress());
            }
            self.checkpoint(0).await?;
            if self.is_asked_to_stop() && self.done.partitions_written < SYNC_PARTITIONS {
                return Err(self.stopped());
            }
        }
        Ok(())
    }

    fn failed(&mut self, unwritten: Unwritten) -> Error {
        self.rows_failed += unwritten.rows;
        unwritten.error
    }
}

async fn write_batch(
    gateway: &Gateway,
    plan: &StorePlan,
    newest: Arc<Newest>,
    from: usize,
    count: usize,
) -> Result<Counts, Unwritten> {
    let rows = count.min(newest.len() - from) as u64;
    write_gathered(gateway, plan, rows, move || newest.rows(from, count)).await
}

async fn write_partitions(
    gateway: &Gateway,
    plan: &StorePlan,
    pieces: Pieces,
    partitions: Range<usize>,
    ties: &Ties,
) -> Result<(Counts, usize), Unwritten> {
    let (view, ties, count) = (Arc::clone(&plan.view), ties.clone(), partitions.len());
    let loaded = off_the_async_threads(async move {
        let newest = pieces.partitions(partitions, |newest, batch| push(newest, &view, batch, &ties).map(|_| ()))?;
        let mut numbers: Vec<usize> = (0..newest.len()).collect();
        numbers.sort_unstable_by_key(|number| newest.key(*number));
        Ok((Arc::new(newest), numbers))
    });
    let (newest, numbers) = loaded.await.map_err(|error| Unwritten { rows: 0, error })?;
    let mut counts = Counts { nulls: vec![0; plan.view.features.len()], ..Counts::default() };
    for some in numbers.chunks(batch_rows(&newest)) {
        let (newest, some) = (Arc::clone(&newest), some.to_vec());
        counts.add(&write_gathered(gateway, plan, some.len() as u64, move || newest.rows_of(&some)).await?);
    }
    Ok((counts, count))
}

async fn write_gathered(
    gateway: &Gateway,
    plan: &StorePlan,
    rows: u64,
    gather: impl FnOnce() -> Result<RecordBatch, ArrowError> + Send + 'static,
) -> Result<Counts, Unwritten> {
    let gathered = off_the_async_threads(async move { gather().map_err(|error| Error::Stopped(error.to_string())) });
    write_rows(gateway, plan, gathered.await.map_err(|error| Unwritten { rows, error })?).await
}

/// How many partitions one write has: all writes that are under way share the memory, one share stays free for what is
/// gathered of them, and half of each is for finding the newest row of a key.
fn partitions_at_once(memory_bytes: usize, bytes_spooled: u64) -> usize {
    let share = (memory_bytes / (SYNC_WRITES_AT_ONCE + 1) / 2) as u64;
    let fit = share.saturating_mul(SYNC_PARTITIONS as u64) / bytes_spooled.max(1);
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, SYNC_PARTITIONS)
}

/// Brings rows online, with what is derived of them.
async fn write_rows(gateway: &Gateway, plan: &StorePlan, batch: RecordBatch) -> Result<Counts, Unwritten> {
    let rows = feature_rows(&plan.view, &batch);
    let latest = rows.rows() as u64;
    let counts = Counts {
        latest,
        bytes_written: bytes(batch.columns()) as u64,
        newest_event_time: max(&rows.event_time),
        nulls: rows.features.iter().map(|feature| feature.null_count() as u64).collect(),
        ..Counts::default()
    };
    let stored = store(gateway, plan, rows, Deadline::after(SYNC_WRITE_DEADLINE)).await;
    let stored = stored.map_err(|error| Unwritten { rows: latest, error })?;
    Ok(Counts { written: stored.written, older: stored.older, ..counts })
}

/// Rows of one write, so that it has about as many bytes as it may.
fn batch_rows(newest: &Newest) -> usize {
    let row_bytes = newest.bytes() / newest.len().max(1);
    (SYNC_BATCH_BYTES / row_bytes.max(1)).clamp(1, SYNC_BATCH_ROWS)
}

impl Counts {
    /// Adds what became of rows that were read.
    fn add(&mut self, more: &Self) {
        self.latest += more.latest;
        self.written += more.written;
        self.older += more.older;
        self.bytes_written += more.bytes_written;
        self.newest_event_time = self.newest_event_time.max(more.newest_event_time);
        for (sum, nulls) in self.nulls.iter_mut().zip(&more.nulls) {
            *sum += nulls;
        }
    }
}
