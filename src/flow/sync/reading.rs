//! The first stage of a run: the source is read from end to end, and of each key the newest row stays.
//!
//! A source that is many Parquet files is read a slice of files at a time, so that a run that goes on after an
//! interruption begins with the file at which it was, and reads nothing before it. Within a slice, and in every other
//! source, it counts its way to where it was; the port promises the same rows in the same order.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Progress;
use super::run::Run;
use crate::batch::{FeatureRows, KeyBatch};
use crate::catalog::{FeatureView, Field};
use crate::clock::Micros;
use crate::flow::derive::off_the_async_threads;
use crate::flow::{Error, history};
use crate::limits::SYNC_BATCHES_AHEAD;
use crate::offline::{self, FilePart, Part, Rows, Scan, Snapshot};
use crate::pit::{Newest, Ties};

/// How far a source is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Slices that are read.
    pub slice: usize,
    /// Rows of the next one that are.
    pub rows: u64,
}

impl Run<'_> {
    pub(super) async fn read(&mut self, tell: &(dyn Fn(Progress) + Send + Sync)) -> Result<(), Error> {
        if self.done.is_read {
            return Ok(());
        }
        let slices = slices(self.task.snapshot.as_ref(), self.gateway.syncing.slice_bytes);
        while let Some(slice) = slices.get(self.done.place.slice) {
            if self.is_asked_to_stop() {
                self.checkpoint(0).await?;
                return Err(self.stopped());
            }
            self.read_slice(slice, slices.len() > 1, tell).await?;
            self.done.place = Place { slice: self.done.place.slice + 1, rows: 0 };
        }
        self.done.is_read = true;
        // Once some rows are put aside, all of them are: they can only be told apart together.
        if self.spool.is_some() { self.checkpoint(0).await } else { Ok(()) }
    }

    async fn read_slice(
        &mut self,
        slice: &Snapshot,
        is_part: bool,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), Error> {
        let mut rows_to_pass = self.done.place.rows;
        let Some((rows, missing)) = self.scan(slice, is_part).await? else { return Ok(()) };
        let mut ahead = Ahead::of(rows);
        while let Some(batch) = ahead.next().await? {
            let passed = rows_to_pass.min(batch.num_rows() as u64) as usize;
            (rows_to_pass, self.rows_read_again) = (rows_to_pass - passed as u64, self.rows_read_again + passed as u64);
            if passed == batch.num_rows() {
                continue;
            }
            let batch = batch.slice(passed, batch.num_rows() - passed);
            self.take_in(batch, &missing).await?;
            tell(self.progress());
            if self.newest.bytes() > self.gateway.syncing.memory_bytes || self.pause(Duration::MAX).is_due() {
                self.checkpoint(0).await?;
            }
            if self.is_asked_to_stop() {
                // A slice that is read to its end is not read again.
                return if ahead.next().await?.is_none() { Ok(()) } else { Err(self.stopped()) };
            }
        }
        Ok(())
    }

    /// Of a batch of the scan, the rows that count join those of before.
    async fn take_in(&mut self, batch: RecordBatch, missing: &[usize]) -> Result<(), Error> {
        let (view, until, missing) = (Arc::clone(&self.plan.view), self.task.window.until, missing.to_vec());
        let (mut newest, memory_bytes) = (mem::take(&mut self.newest), self.gateway.syncing.memory_bytes);
        let ties = self.ties.clone();
        let rows = batch.num_rows() as u64;
        let taken = off_the_async_threads(async move {
            let stopped = |error: ArrowError| Error::Stopped(error.to_string());
            let (batch, after) = not_after(filled(batch, &view, &missing).map_err(stopped)?, until);
            let batch = history::taken(&view, batch).map_err(stopped)?;
            let without_key = push(&mut newest, &view, batch, &ties).map_err(stopped)?;
            if newest.bytes() > memory_bytes {
                newest.compact().map_err(stopped)?;
            }
            Ok((newest, after, without_key))
        });
        let (newest, after, without_key) = taken.await?;
        self.newest = newest;
        self.done.place.rows += rows;
        let counts = &mut self.done.counts;
        counts.read += rows - after;
        counts.in_future += after;
        counts.without_key += without_key;
        Ok(())
    }

    /// The rows of a slice, and the positions of the columns that it lacks although the source has them: files may gain
    /// columns. None where no row of it can have an event time.
    async fn scan(&self, slice: &Snapshot, is_part: bool) -> Result<Option<(Rows, Vec<usize>)>, Error> {
        let (offline, view, window) = (&self.gateway.offline, &self.plan.view, self.task.window);
        let all: Vec<&Field> = view.join_keys.iter().chain(&view.features).collect();
        let (mut source, mut missing) = (self.source.clone(), Vec::new());
        loop {
            let asked = all.iter().enumerate().filter(|(position, _)| !missing.contains(position));
            let columns = asked.map(|(_, field)| (*field).clone()).collect();
            let (from, until) = (window.from, window.scan_until);
            let scan = Scan { from, until, at: Some(slice.clone()), ..Scan::of(columns) };
            let column = match offline.scan(&source, &scan).await {
                Ok(rows) => {
                    missing.sort_unstable();
                    return Ok(Some((rows, missing)));
                }
                Err(offline::Error::NoColumn { column, .. }) if is_part => column,
                Err(error) => return Err(error.into()),
            };
            let whole = offline.schema(self.source).await?;
            let position = all.iter().position(|field| field.name == column);
            match position.filter(|position| !missing.contains(position)) {
                _ if whole.column_with_name(&column).is_none() => {
                    // The whole source lacks it; its own error says what it has.
                    let at = Some(self.task.snapshot.clone().unwrap_or_else(|| slice.clone()));
                    let scan = Scan { at, ..scan };
                    return Ok(Some((offline.scan(self.source, &scan).await?, missing)));
                }
                Some(position) => missing.push(position),
                None if source.created_time.as_ref() == Some(&column) => source.created_time = None,
                None => return Ok(None),
            }
        }
    }
}

/// A scan under way, some batches ahead of who takes them, on a thread of its own.
struct Ahead {
    batches: mpsc::Receiver<Result<RecordBatch, offline::Error>>,
    reading: Option<JoinHandle<()>>,
}

impl Ahead {
    fn of(mut rows: Rows) -> Self {
        let (sender, batches) = mpsc::channel(SYNC_BATCHES_AHEAD);
        let runtime = tokio::runtime::Handle::current();
        let read = async move {
            while let Some(batch) = rows.next().await {
                // Nobody takes them any more.
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        };
        Self { batches, reading: Some(tokio::task::spawn_blocking(move || runtime.block_on(read))) }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        if let Some(batch) = self.batches.recv().await {
            return Ok(Some(batch?));
        }
        // A reader that broke off is no end of the rows.
        match self.reading.take() {
            Some(reading) => reading.await.map(|()| None).map_err(|error| Error::Stopped(error.to_string())),
            None => Ok(None),
        }
    }
}

/// What is read one after the other: of a source that is nothing but Parquet files, some of them at a time; of any other,
/// all of it.
fn slices(snapshot: Option<&Snapshot>, slice_bytes: u64) -> Vec<Snapshot> {
    let Some(snapshot) = snapshot else { return Vec::new() };
    let [(name, Part::Parquet { files })] = snapshot.parts.as_slice() else { return vec![snapshot.clone()] };
    if !snapshot.queries.is_empty() || files.len() < 2 {
        return vec![snapshot.clone()];
    }
    let mut slices: Vec<(u64, Vec<FilePart>)> = Vec::new();
    for file in files {
        match slices.last_mut() {
            Some((bytes, slice)) if *bytes + file.bytes <= slice_bytes => {
                *bytes += file.bytes;
                slice.push(file.clone());
            }
            _ => slices.push((file.bytes, vec![file.clone()])),
        }
    }
    let of = |(_, files)| Snapshot { parts: vec![(name.clone(), Part::Parquet { files })], queries: Vec::new() };
    slices.into_iter().map(of).collect()
}

/// The batch with nulls for the columns at the positions in `missing`, which it lacks.
fn filled(batch: RecordBatch, view: &FeatureView, missing: &[usize]) -> Result<RecordBatch, ArrowError> {
    if missing.is_empty() {
        return Ok(batch);
    }
    let mut there = batch.columns().iter().cloned();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns() + missing.len());
    let mut fields: Vec<arrow::datatypes::Field> = Vec::new();
    for (position, field) in view.join_keys.iter().chain(&view.features).enumerate() {
        columns.extend(match missing.contains(&position) {
            true => Some(new_null_array(&field.dtype.arrow(), batch.num_rows())),
            false => there.next(),
        });
        fields.push(Field { nullable: true, ..field.clone() }.arrow());
    }
    let times = batch.num_columns().saturating_sub(2);
    fields.extend(batch.schema_ref().fields()[times..].iter().map(|field| field.as_ref().clone()));
    columns.extend(there);
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::new(fields)), columns, &rows)
}

/// The rows up to `until`, and how many there are after it.
fn not_after(batch: RecordBatch, until: Micros) -> (RecordBatch, u64) {
    let event_time = batch.column(batch.num_columns() - 2).as_primitive::<TimestampMicrosecondType>();
    if event_time.values().iter().all(|time| *time <= until) {
        return (batch, 0);
    }
    let within = BooleanArray::from_iter((0..batch.num_rows()).map(|row| Some(event_time.value(row) <= until)));
    let after = batch.num_rows() - within.true_count();
    let kept = arrow::compute::filter_record_batch(&batch, &within).expect("the mask is as long as the batch");
    (kept, after as u64)
}

/// Adds a batch as scans give them; says how many of its rows have no key.
pub(super) fn push(
    newest: &mut Newest,
    view: &FeatureView,
    batch: RecordBatch,
    ties: &Ties,
) -> Result<u64, ArrowError> {
    push_rows(newest, &view.join_keys, batch, ties)
}

/// The same for a batch of join keys, any columns, event time and created time.
pub(in crate::flow) fn push_rows(
    newest: &mut Newest,
    join_keys: &[Field],
    batch: RecordBatch,
    ties: &Ties,
) -> Result<u64, ArrowError> {
    let features = batch.num_columns() - join_keys.len() - 2;
    let rows = split(join_keys.len(), features, &batch);
    let keys = KeyBatch::encode(join_keys, &rows.keys, rows.rows());
    let without_key = (0..keys.rows()).filter(|row| keys.is_null(*row)).count() as u64;
    newest.push(batch, &keys, &rows.event_time, &rows.created_time, ties)?;
    Ok(without_key)
}

/// A batch of a scan, by what its columns are.
pub(super) fn feature_rows(view: &FeatureView, batch: &RecordBatch) -> FeatureRows {
    split(view.join_keys.len(), view.features.len(), batch)
}

fn split(keys: usize, features: usize, batch: &RecordBatch) -> FeatureRows {
    let times = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().clone();
    FeatureRows::new(
        batch.columns()[..keys].to_vec(),
        batch.columns()[keys..keys + features].to_vec(),
        times(keys + features),
        times(keys + features + 1),
    )
}
