//! The join of one view's history to all labels: in memory where that has room, else cut into parts by the hash of the
//! key, each of which is joined by itself.
//!
//! A label and the rows that it may find have one key, so they are in the same part; within a part rows stay in source
//! order and labels in label order. So each part answers as the whole would, and its answers stand in label order: putting
//! them together again is taking the next one of the part that a label is in. Labels of a part that are too many for
//! memory (all of one key, say) are joined some at a time, each time reading the part's rows again.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat, take, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;

use super::found::{Found, found_columns, found_schema};
use super::labels::Labels;
use super::spill::{Spill, SpillWriter, Spilled};
use super::{Failure, Stop, ViewJoin};
use crate::batch::{KeyBatch, bytes};
use crate::limits::{PIT_KEPT_BYTES, PIT_KEYS_SEARCHED_MAX, PIT_PARTS_MAX, PIT_TEXT_BYTES_GUESSED};
use crate::pit::kernel::LABEL_BYTES;
use crate::pit::keys::FoldState;
use crate::pit::known::KNOWN_LABEL_BYTES;
use crate::pit::{Error, Keys, PointInTime};

/// What the join of a view works with.
pub(super) struct Work {
    pub view: ViewJoin,
    /// The column of the labels' times.
    pub time: usize,
    /// The column that says until when rows were known for them.
    pub known_at: Option<usize>,
    pub labels: Arc<Labels>,
    /// What the join may take of the memory of all.
    pub memory: MemoryReservation,
    /// Memory that is kept free for a join that spills.
    pub room: usize,
    pub spill: Arc<Spill>,
    pub stop: Stop,
}

impl Work {
    /// Joins. `scan` begins the history anew each time it is called.
    pub(super) async fn join(
        self,
        scan: impl Fn() -> Result<SendableRecordBatchStream, Failure>,
    ) -> Result<Found, Failure> {
        let needed = self.labels.rows.saturating_mul(self.label_bytes());
        if u32::try_from(self.labels.rows).is_ok() && self.memory.try_grow(needed).is_ok() {
            if let Some(found) = self.in_memory(scan()?, needed).await? {
                return Ok(found);
            }
            self.memory.free();
        }
        tracing::info!(view = %self.view.name, labels = self.labels.rows, "the join goes on on disk");
        self.in_parts(scan()?).await
    }

    /// The keys of the labels, each once, where there are so few labels that a history may be searched for them.
    pub(super) fn few_keys(&self) -> Result<Option<Vec<ArrayRef>>, Error> {
        if self.labels.rows > PIT_KEYS_SEARCHED_MAX || self.view.join_keys.is_empty() {
            return Ok(None);
        }
        let batches: Vec<RecordBatch> = self.labels.columns(&self.view.label_keys)?.collect::<Result<_, _>>()?;
        let Some(columns) = whole(&batches, self.view.label_keys.len())? else { return Ok(None) };
        let keys = KeyBatch::encode(&self.view.join_keys, &columns, columns[0].len());
        let mut seen = HashSet::new();
        let first = (0..keys.rows()).filter(|row| !keys.is_null(*row) && seen.insert(keys.get(*row)));
        let first = UInt32Array::from_iter_values(first.map(|row| row as u32));
        if first.is_empty() {
            return Ok(None);
        }
        let values = columns.iter().map(|column| take(column, &first, None)).collect::<Result<_, _>>();
        values.map(Some).map_err(|error| Error::Stopped(error.to_string()))
    }

    /// What one label takes: in the join, and in the answer.
    fn label_bytes(&self) -> usize {
        let width =
            |column: &crate::catalog::Field| column.dtype.arrow().primitive_width().unwrap_or(PIT_TEXT_BYTES_GUESSED);
        let keys: usize = self.view.join_keys.iter().map(width).sum();
        let features: usize = self.view.features.iter().map(width).sum();
        LABEL_BYTES + self.known_at.map_or(0, |_| KNOWN_LABEL_BYTES) + keys + features
    }

    /// Nothing where the rows that are still wanted outgrow the memory.
    async fn in_memory(&self, mut rows: SendableRecordBatchStream, needed: usize) -> Result<Option<Found>, Failure> {
        let columns = self.label_columns();
        let batches: Vec<RecordBatch> = self.labels.columns(&columns)?.collect::<Result<_, _>>()?;
        let Some(labels) = whole(&batches, columns.len())? else {
            return Ok(Some(Found::none(&self.view.features)));
        };
        let mut join = self.begin(&labels).keeping(PIT_KEPT_BYTES);
        while let Some(batch) = rows.try_next().await? {
            self.stop.check()?;
            self.push(&mut join, &batch)?;
            if self.memory.try_resize(needed + join.kept_bytes()).is_err() {
                join.compact()?;
                if self.memory.try_resize(needed + join.kept_bytes()).is_err() {
                    return Ok(None);
                }
            }
        }
        let found = join.finish()?;
        let columns = found_columns(&found);
        if self.memory.try_resize(bytes(&columns)).is_ok() {
            return Ok(Some(Found::in_memory(columns, self.memory.split(self.memory.size()))));
        }
        let mut writer = self.spill.writer(&found_schema(&self.view.features))?;
        writer.write(record_batch(&writer, columns)?)?;
        self.memory.free();
        Ok(Some(Found::in_parts(&self.view, FoldState::default(), vec![writer.finish()?])?))
    }

    async fn in_parts(&self, rows: SendableRecordBatchStream) -> Result<Found, Failure> {
        let needed = self.labels.rows.saturating_mul(self.label_bytes());
        let parts = needed.div_ceil(self.room.max(1)).next_power_of_two().clamp(2, PIT_PARTS_MAX);
        let state = FoldState::default();
        let (labels, wanted) = self.cut_labels(&state, parts)?;
        let history = self.cut_history(rows, &state, parts, &wanted).await?;
        let mut found = Vec::with_capacity(parts);
        let schema = found_schema(&self.view.features);
        // Each part's files go when it is joined, and the answers of all parts share one file.
        for (labels, history) in labels.into_iter().zip(history) {
            let writer = match found.last() {
                None => self.spill.writer(&schema)?,
                Some(before) => Spilled::writer_behind(before, &schema)?,
            };
            found.push(self.join_part(&labels, &history, writer)?);
        }
        Ok(Found::in_parts(&self.view, state, found)?)
    }

    /// Join keys and times of the labels, by part; and which keys there are.
    fn cut_labels(&self, state: &FoldState, parts: usize) -> Result<(Vec<Spilled>, KeysWanted), Error> {
        let columns = self.label_columns();
        let schema = self.labels.schema().project(&columns).map_err(|error| Error::Stopped(error.to_string()))?;
        let schema = Arc::new(schema);
        let mut writers: Vec<SpillWriter> = (0..parts).map(|_| self.spill.writer(&schema)).collect::<Result<_, _>>()?;
        let mut wanted = KeysWanted::of(self.labels.rows);
        for batch in self.labels.columns(&columns)? {
            self.stop.check()?;
            let batch = batch?;
            let keys = self.keys(&batch, batch.num_rows());
            let hashes = keys.hashes(state);
            let part = part_of(&keys, &hashes, parts);
            for row in (0..keys.rows()).filter(|row| !keys.is_null(*row)) {
                wanted.add(hashes[row]);
            }
            cut(&batch, &part, &mut writers)?;
        }
        Ok((writers.into_iter().map(SpillWriter::finish).collect::<Result<_, _>>()?, wanted))
    }

    /// The rows whose keys some label may have, by part.
    async fn cut_history(
        &self,
        mut rows: SendableRecordBatchStream,
        state: &FoldState,
        parts: usize,
        wanted: &KeysWanted,
    ) -> Result<Vec<Spilled>, Failure> {
        let schema = rows.schema();
        let mut writers: Vec<SpillWriter> = (0..parts).map(|_| self.spill.writer(&schema)).collect::<Result<_, _>>()?;
        while let Some(batch) = rows.try_next().await? {
            self.stop.check()?;
            let keys = self.keys(&batch, batch.num_rows());
            let hashes = keys.hashes(state);
            let mut part = part_of(&keys, &hashes, parts);
            for row in 0..keys.rows() {
                if keys.is_null(row) || !wanted.may_have(hashes[row]) {
                    part[row] = NO_PART;
                }
            }
            cut(&batch, &part, &mut writers)?;
        }
        Ok(writers.into_iter().map(SpillWriter::finish).collect::<Result<_, Error>>()?)
    }

    /// The answers of one part, in label order.
    fn join_part(&self, labels: &Spilled, history: &Spilled, mut writer: SpillWriter) -> Result<Spilled, Error> {
        let at_once = (self.room / self.label_bytes()).max(1_024);
        let (mut some, mut rows) = (Vec::new(), 0);
        let mut batches = labels.rows(None)?;
        loop {
            let batch = batches.next().transpose()?;
            let ended = batch.is_none();
            rows += batch.as_ref().map_or(0, RecordBatch::num_rows);
            some.extend(batch);
            if (ended || rows >= at_once)
                && let Some(labels) = whole(&std::mem::take(&mut some), self.label_columns().len())?
            {
                rows = 0;
                let mut join = self.begin(&labels).keeping(self.room / 2);
                for batch in history.rows(None)? {
                    self.stop.check()?;
                    self.push(&mut join, &batch?)?;
                }
                let columns = found_columns(&join.finish()?);
                writer.write(record_batch(&writer, columns)?)?;
            }
            if ended {
                return writer.finish();
            }
        }
    }

    /// The join keys' columns among the labels', then the time's, then what says until when rows were known.
    fn label_columns(&self) -> Vec<usize> {
        self.view.label_keys.iter().copied().chain([self.time]).chain(self.known_at).collect()
    }

    /// The keys of a batch whose first columns are the join keys.
    fn keys(&self, batch: &RecordBatch, rows: usize) -> Keys {
        Keys::of(&self.view.join_keys, &batch.columns()[..self.view.join_keys.len()], rows)
    }

    /// A join of labels that are the columns of [`Work::label_columns`].
    fn begin(&self, labels: &[ArrayRef]) -> PointInTime {
        let (keys, times) = labels.split_at(self.view.join_keys.len());
        let times: Vec<&TimestampMicrosecondArray> = times.iter().map(|times| times.as_primitive()).collect();
        let keys = Keys::of(&self.view.join_keys, keys, times[0].len());
        let (features, ttl) = (self.view.features.clone(), self.view.ttl);
        let join = match times[..] {
            [times, known_at] => PointInTime::as_known(features, &keys, times, known_at, ttl),
            _ => PointInTime::new(features, &keys, times[0], ttl),
        };
        join.breaking(self.view.ties.clone())
    }

    fn push(&self, join: &mut PointInTime, batch: &RecordBatch) -> Result<(), Error> {
        let (event_time, created_time) = (batch.num_columns() - 2, batch.num_columns() - 1);
        let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
        let features = &batch.columns()[self.view.join_keys.len()..event_time];
        join.push(&self.keys(batch, batch.num_rows()), time(event_time), time(created_time), features)
    }
}

/// No part takes this row.
const NO_PART: u32 = u32::MAX;

/// The part of each row. Rows without a key are in the first: labels among them get their answer there, nothing.
pub(super) fn part_of(keys: &Keys, hashes: &[u64], parts: usize) -> Vec<u32> {
    // The low bits choose the place in the hash tables of a part; the high ones choose the part.
    let part = |row: usize| if keys.is_null(row) { 0 } else { ((hashes[row] >> 32) % parts as u64) as u32 };
    (0..keys.rows()).map(part).collect()
}

/// Writes each row to its part, in order.
fn cut(batch: &RecordBatch, part: &[u32], writers: &mut [SpillWriter]) -> Result<(), Error> {
    let mut starts = vec![0_u32; writers.len() + 1];
    for part in part.iter().filter(|part| **part != NO_PART) {
        starts[*part as usize + 1] += 1;
    }
    for part in 0..writers.len() {
        starts[part + 1] += starts[part];
    }
    let mut next = starts.clone();
    let mut rows = vec![0; starts[writers.len()] as usize];
    for (row, part) in part.iter().enumerate().filter(|(_, part)| **part != NO_PART) {
        rows[next[*part as usize] as usize] = row as u32;
        next[*part as usize] += 1;
    }
    let sorted =
        take_record_batch(batch, &UInt32Array::from(rows)).map_err(|error| Error::Stopped(error.to_string()))?;
    for (part, writer) in writers.iter_mut().enumerate() {
        let (from, until) = (starts[part] as usize, starts[part + 1] as usize);
        if from < until {
            writer.write(sorted.slice(from, until - from))?;
        }
    }
    Ok(())
}

/// The columns of all batches; nothing of no rows.
fn whole(batches: &[RecordBatch], columns: usize) -> Result<Option<Vec<ArrayRef>>, Error> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    let column = |column: usize| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        concat(&parts).map_err(|error| Error::Stopped(error.to_string()))
    };
    (0..columns).map(column).collect::<Result<_, _>>().map(Some)
}

fn record_batch(writer: &SpillWriter, columns: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
    RecordBatch::try_new(Arc::clone(writer.schema()), columns).map_err(|error| Error::Stopped(error.to_string()))
}

/// Which hashes the keys of the labels have, as bits; a hash that none has may be taken for one of them, about one in
/// ten. Keeps most of the rows that no label asks for off the disk.
struct KeysWanted {
    bits: Vec<u64>,
}

impl KeysWanted {
    fn of(labels: usize) -> Self {
        let words = (labels / 8).clamp(64, 1 << 23).next_power_of_two();
        Self { bits: vec![0; words] }
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize & (self.bits.len() - 1), 1 << (hash & 63))
    }

    fn add(&mut self, hash: u64) {
        let (word, bit) = self.place(hash);
        self.bits[word] |= bit;
    }

    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.bits[word] & bit != 0
    }
}
