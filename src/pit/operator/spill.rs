//! Batches on disk: what a join that does not fit into its memory puts aside.
//!
//! # Why not DataFusion's own temporary files
//! They have names, so a process that is killed leaves them behind, and their errors do not say what to do. These have no
//! names: the operating system takes them back when the last one who uses them is gone, however it goes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::super::Error;
use crate::batch::bytes;
use crate::limits::{PIT_SPILL_BATCH_BYTES, PIT_SPILL_BUFFER_BYTES, SCAN_BATCH_ROWS};

/// The folder for what is put aside, and how much there may be.
#[derive(Debug)]
pub(super) struct Spill {
    folder: PathBuf,
    bytes_max: u64,
    /// Bytes written so far.
    bytes: Arc<AtomicU64>,
}

/// A file of batches that is being written.
pub(super) struct SpillWriter {
    spill: Arc<Spill>,
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<Counted>>,
    /// Where the batches begin in the file.
    start: u64,
    /// Gathers small batches into larger ones; made when it is known how long a row is.
    gathered: Option<BatchCoalescer>,
}

/// Batches in a file, all of them written.
#[derive(Debug)]
pub(super) struct Spilled {
    spill: Arc<Spill>,
    file: Arc<File>,
    start: u64,
}

/// The batches of a file, in order.
pub(super) struct SpilledRows {
    spill: Arc<Spill>,
    reader: StreamReader<BufReader<From>>,
}

impl Spill {
    pub(super) fn new(folder: PathBuf, bytes_max: u64, bytes: Arc<AtomicU64>) -> Self {
        Self { folder, bytes_max, bytes }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn writer(self: &Arc<Self>, schema: &SchemaRef) -> Result<SpillWriter, Error> {
        let file = || {
            std::fs::create_dir_all(&self.folder)?;
            tempfile::tempfile_in(&self.folder)
        };
        self.writer_at_end_of(Arc::new(file().map_err(|source| self.failed(source))?), schema)
    }

    fn writer_at_end_of(self: &Arc<Self>, file: Arc<File>, schema: &SchemaRef) -> Result<SpillWriter, Error> {
        let start = (&*file).stream_position().map_err(|source| self.failed(source))?;
        let file = BufWriter::with_capacity(PIT_SPILL_BUFFER_BYTES, Counted { file, spill: Arc::clone(self) });
        let writer = StreamWriter::try_new(file, schema).map_err(|error| self.failed_in_arrow(error))?;
        Ok(SpillWriter { spill: Arc::clone(self), schema: Arc::clone(schema), writer, start, gathered: None })
    }

    fn failed(&self, source: io::Error) -> Error {
        match source.get_ref().is_some_and(|inner| inner.is::<TooMuch>()) {
            true => Error::SpilledTooMuch { limit: self.bytes_max },
            false => Error::Spill { folder: self.folder.display().to_string(), source },
        }
    }

    fn failed_in_arrow(&self, error: ArrowError) -> Error {
        match error {
            ArrowError::IoError(_, source) => self.failed(source),
            other => self.failed(io::Error::other(other)),
        }
    }
}

impl SpillWriter {
    /// Puts rows behind the others. Small batches are gathered into larger ones.
    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<(), Error> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let row_bytes = bytes(batch.columns()).div_ceil(batch.num_rows()).max(1);
        let rows = (PIT_SPILL_BATCH_BYTES / row_bytes).clamp(1, SCAN_BATCH_ROWS);
        let schema = Arc::clone(&self.schema);
        let gathered = self.gathered.get_or_insert_with(|| BatchCoalescer::new(schema, rows));
        gathered.push_batch(batch).map_err(|error| self.spill.failed_in_arrow(error))?;
        while let Some(batch) = gathered.next_completed_batch() {
            self.writer.write(&batch).map_err(|error| self.spill.failed_in_arrow(error))?;
        }
        Ok(())
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn finish(mut self) -> Result<Spilled, Error> {
        let failed = |error| self.spill.failed_in_arrow(error);
        if let Some(gathered) = &mut self.gathered {
            gathered.finish_buffered_batch().map_err(failed)?;
            while let Some(batch) = gathered.next_completed_batch() {
                self.writer.write(&batch).map_err(failed)?;
            }
        }
        self.writer.finish().map_err(failed)?;
        let file = self.writer.into_inner().map_err(failed)?;
        let file = file.into_inner().map_err(|error| self.spill.failed(error.into_error()))?;
        Ok(Spilled { spill: self.spill, file: file.file, start: self.start })
    }
}

impl Spilled {
    /// A writer of other batches behind these, in the same file: a process may not have many files open.
    pub(super) fn writer_behind(&self, schema: &SchemaRef) -> Result<SpillWriter, Error> {
        self.spill.writer_at_end_of(Arc::clone(&self.file), schema)
    }

    /// The rows from the first one on, of these columns alone or of all. Any number of readers may be at different places.
    pub(super) fn rows(&self, columns: Option<Vec<usize>>) -> Result<SpilledRows, Error> {
        let file = From { file: Arc::clone(&self.file), position: self.start };
        let file = BufReader::with_capacity(PIT_SPILL_BUFFER_BYTES, file);
        let reader = StreamReader::try_new(file, columns).map_err(|error| self.spill.failed_in_arrow(error))?;
        Ok(SpilledRows { spill: Arc::clone(&self.spill), reader })
    }
}

impl Iterator for SpilledRows {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.reader.next()?.map_err(|error| self.spill.failed_in_arrow(error)))
    }
}

/// More is to be written than may be.
#[derive(Debug, thiserror::Error)]
#[error("more is to be written than may be")]
struct TooMuch;

/// A file that counts what is written to it.
struct Counted {
    file: Arc<File>,
    spill: Arc<Spill>,
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.spill.bytes.load(Ordering::Relaxed) + buffer.len() as u64 > self.spill.bytes_max {
            return Err(io::Error::other(TooMuch));
        }
        let written = (&*self.file).write(buffer)?;
        self.spill.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
    }
}

/// A reader with a place of its own in a file that others read too.
struct From {
    file: Arc<File>,
    position: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
