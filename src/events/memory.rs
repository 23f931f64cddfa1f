//! A log of events in memory: bounded, with readers that go on where the last commit was.
//!
//! For tests and for callers in the same process. Nothing outlives the process; what is committed is forgotten at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::{Error, EventSource, Events};
use crate::clock::Deadline;

/// The log. A position is the number of rows before it, counted from the first row ever pushed.
#[derive(Debug)]
pub struct MemoryLog {
    schema: SchemaRef,
    rows_max: usize,
    state: Mutex<State>,
    /// Told of every push, commit and close.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What is not committed, without empty batches.
    batches: VecDeque<RecordBatch>,
    committed: u64,
    end: u64,
    closed: bool,
}

/// One reader of a log.
#[derive(Debug)]
pub struct MemoryReader {
    log: Arc<MemoryLog>,
    /// Where its next answer begins.
    position: tokio::sync::Mutex<u64>,
}

impl MemoryLog {
    /// A log of rows of `schema` that holds at most `rows_max` rows that no one has committed.
    pub fn new(schema: SchemaRef, rows_max: usize) -> Arc<Self> {
        Arc::new(Self { schema, rows_max, state: Mutex::default(), changed: Notify::new() })
    }

    /// Appends rows, and waits until there is room for all of them.
    pub async fn push(&self, rows: RecordBatch, deadline: Deadline) -> Result<(), Error> {
        if rows.schema_ref().fields() != self.schema.fields() {
            let detail = format!("they have {:?}, the source has {:?}", names(rows.schema_ref()), names(&self.schema));
            return Err(Error::Decode(detail));
        }
        if rows.num_rows() > self.rows_max {
            return Err(Error::Full { rows_max: self.rows_max });
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if state.closed {
                    return Err(Error::Ended);
                }
                if state.rows() + rows.num_rows() <= self.rows_max {
                    state.append(rows);
                    break;
                }
            }
            if timeout_at(deadline.instant().into(), changed).await.is_err() {
                return Err(Error::Full { rows_max: self.rows_max });
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// No more rows will come. Readers still get those that are there.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    /// A reader that begins after the last committed row.
    pub fn reader(self: &Arc<Self>) -> MemoryReader {
        let position = self.state().committed;
        MemoryReader { log: Arc::clone(self), position: tokio::sync::Mutex::new(position) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn append(&mut self, rows: RecordBatch) {
        self.end += rows.num_rows() as u64;
        if rows.num_rows() > 0 {
            self.batches.push_back(rows);
        }
    }

    /// Slices of at most `rows_max` rows from `position` on.
    fn slices(&self, position: u64, rows_max: usize) -> Vec<RecordBatch> {
        let mut skip = usize::try_from(position - self.committed).expect("what is not committed fits in memory");
        let mut left = rows_max;
        let mut slices = Vec::new();
        for batch in &self.batches {
            let start = skip.min(batch.num_rows());
            let rows = left.min(batch.num_rows() - start);
            if rows > 0 {
                slices.push(batch.slice(start, rows));
            }
            skip -= start;
            left -= rows;
        }
        slices
    }

    fn commit(&mut self, position: u64) {
        while let Some(batch) = self.batches.front_mut() {
            let rows = batch.num_rows() as u64;
            let done = position.min(self.end).saturating_sub(self.committed).min(rows);
            self.committed += done;
            if done < rows {
                *batch = batch.slice(done as usize, (rows - done) as usize);
                break;
            }
            self.batches.pop_front();
        }
    }
}

#[async_trait]
impl EventSource for MemoryReader {
    async fn next(&self, rows_max: usize, deadline: Deadline) -> Result<Option<Events>, Error> {
        let Ok(mut position) = timeout_at(deadline.instant().into(), self.position.lock()).await else {
            return Ok(None);
        };
        loop {
            let changed = self.log.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let slices = {
                let state = self.log.state();
                // Another reader may have committed further than this one has read.
                *position = (*position).max(state.committed);
                if state.closed && *position == state.end {
                    return Err(Error::Ended);
                }
                state.slices(*position, rows_max.max(1))
            };
            if !slices.is_empty() {
                let rows =
                    concat_batches(&self.log.schema, &slices).map_err(|error| Error::Decode(error.to_string()))?;
                *position += rows.num_rows() as u64;
                return Ok(Some(Events { rows, position: *position }));
            }
            if timeout_at(deadline.instant().into(), changed).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// A position before the last commit changes nothing.
    async fn commit(&self, position: u64) -> Result<(), Error> {
        self.log.state().commit(position);
        self.log.changed.notify_waiters();
        Ok(())
    }
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

#[cfg(test)]
mod tests;
