//! The labels of a join: kept in memory, or on disk once they take more than their share of it. They are read as often as
//! there are views, and once more when the answer is put together.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;

use super::spill::{Spill, SpillWriter, Spilled};
use super::{Failure, Stop};
use crate::batch::bytes;
use crate::clock::Micros;
use crate::limits::TRAIN_BATCH_ROWS;
use crate::pit::Error;

#[derive(Debug)]
pub(super) struct Labels {
    pub rows: usize,
    /// The times of the earliest and the latest label; nothing where there is no label.
    pub times: Option<(Micros, Micros)>,
    schema: SchemaRef,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// The reservation is given back with the labels.
    Memory(Vec<RecordBatch>, #[allow(dead_code)] MemoryReservation),
    Disk(Spilled),
}

/// The batches of labels, or some columns of them.
pub(super) type LabelBatches = Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send>;

impl Labels {
    /// Takes all labels. Column `time` has their times. No more than `share` bytes stay in memory.
    pub(super) async fn read(
        mut stream: SendableRecordBatchStream,
        time: usize,
        memory: MemoryReservation,
        share: usize,
        spill: &Arc<Spill>,
        stop: &Stop,
    ) -> Result<Self, Failure> {
        let schema = stream.schema();
        let (mut rows, mut times) = (0, None);
        let (mut kept, mut on_disk): (Vec<RecordBatch>, Option<SpillWriter>) = (Vec::new(), None);
        while let Some(batch) = stream.try_next().await? {
            stop.check()?;
            for from in (0..batch.num_rows()).step_by(TRAIN_BATCH_ROWS) {
                let batch = batch.slice(from, TRAIN_BATCH_ROWS.min(batch.num_rows() - from));
                rows += batch.num_rows();
                times = widened(times, &batch, time);
                if let Some(writer) = &mut on_disk {
                    writer.write(batch)?;
                    continue;
                }
                let size = bytes(batch.columns());
                kept.push(batch);
                if memory.size() + size > share || memory.try_grow(size).is_err() {
                    let mut writer = spill.writer(&schema)?;
                    for batch in kept.drain(..) {
                        writer.write(batch)?;
                    }
                    memory.free();
                    on_disk = Some(writer);
                }
            }
        }
        let kept = match on_disk {
            Some(writer) => Kept::Disk(writer.finish()?),
            None => Kept::Memory(kept, memory),
        };
        Ok(Self { rows, times, schema, kept })
    }

    pub(super) fn on_disk(&self) -> bool {
        matches!(self.kept, Kept::Disk(_))
    }

    /// All columns, a batch at a time, in order.
    pub(super) fn batches(&self) -> Result<LabelBatches, Error> {
        match &self.kept {
            Kept::Memory(batches, _) => Ok(Box::new(batches.clone().into_iter().map(Ok))),
            Kept::Disk(spilled) => Ok(Box::new(spilled.rows(None)?)),
        }
    }

    /// These columns, in this order; the others are not read.
    pub(super) fn columns(&self, columns: &[usize]) -> Result<LabelBatches, Error> {
        let mut read = columns.to_vec();
        read.sort_unstable();
        read.dedup();
        let place = |column: &usize| read.binary_search(column).unwrap_or_default();
        let places: Vec<usize> = columns.iter().map(place).collect();
        let only = move |batch: Result<RecordBatch, Error>, places: &[usize]| {
            batch?.project(places).map_err(|error| Error::Stopped(error.to_string()))
        };
        match &self.kept {
            Kept::Memory(batches, _) => {
                let columns = columns.to_vec();
                Ok(Box::new(batches.clone().into_iter().map(move |batch| only(Ok(batch), &columns))))
            }
            Kept::Disk(spilled) => Ok(Box::new(spilled.rows(Some(read))?.map(move |batch| only(batch, &places)))),
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

fn widened(times: Option<(Micros, Micros)>, batch: &RecordBatch, time: usize) -> Option<(Micros, Micros)> {
    let column = batch.column(time).as_primitive::<TimestampMicrosecondType>();
    match (times, min(column).zip(max(column))) {
        (Some((first, last)), Some((earliest, latest))) => Some((first.min(earliest), last.max(latest))),
        (one, other) => one.or(other),
    }
}
