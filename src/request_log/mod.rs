//! The request log: a sample of what was served, with everything that the answers were computed from.
//!
//! A request that is chosen leaves its columns here by reference and goes on; one thread makes rows of them and Parquet
//! files of the rows. Its queue is bounded in requests and in bytes, and when it is full the request is not logged and
//! that is counted: no answer ever waits for the log. The folder is bounded too; the oldest files make room.
//!
//! It knows plans and columns and nothing of flows; [`crate::flow::replay`] computes again what stands in a log.
//!
//! # Why one file for one question
//! The columns of a log are those of a plan, with their own types: anything that reads Parquet can use them as they are.

mod read;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwapOption;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::batch::{StoredRows, bytes};
use crate::catalog::Catalog;
use crate::clock::Micros;
use crate::limits::{REQUEST_LOG_QUEUE_BYTES_MAX, REQUEST_LOG_QUEUE_MAX};
use crate::plan::FeaturePlan;

pub use read::{LogFile, Logged, files};
pub use record::selection;

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The part of the requests that is logged, above 0 and up to 1.
    pub share: f64,
    pub folder: PathBuf,
    /// What all files of the folder may take.
    pub bytes_max: u64,
    /// Whether requests that read sensitive views are logged too.
    pub sensitive: bool,
}

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the request log cannot be kept in {folder}: {detail}")]
    Folder { folder: PathBuf, detail: String },
}

/// The log of one gateway; of one that keeps none it costs a request one load.
#[derive(Default)]
pub struct RequestLog {
    open: ArcSwapOption<Open>,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub counts: Arc<Counts>,
}

/// What became of the requests that were chosen.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that went to the writer.
    pub requests: AtomicU64,
    /// Rows that stand in files.
    pub rows: AtomicU64,
    /// Requests that found the queue full.
    pub dropped: AtomicU64,
    /// Rows that could not be written.
    pub failed_rows: AtomicU64,
}

/// One served request, by reference.
#[derive(Debug)]
pub struct Entry {
    /// The version of the definitions, and the schema of the answer with its provenance.
    pub version: u64,
    pub schema: SchemaRef,
    pub plan: Arc<FeaturePlan>,
    pub rows: usize,
    pub as_of: Micros,
    pub served_at: Micros,
    pub inputs: Vec<ArrayRef>,
    /// What was read, by read, with nulls where a row was not to be seen.
    pub stored: Vec<StoredRows>,
    /// Feast's number of what each row of each read is.
    pub statuses: Vec<Vec<u8>>,
    /// The answer, by output.
    pub outputs: Vec<ArrayRef>,
}

struct Open {
    sender: SyncSender<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    settings: Settings,
    /// A request is logged if its number has a hash up to here.
    chosen_up_to: u64,
    hasher: RandomState,
    requests: AtomicU64,
}

/// An entry in the queue; its room is given back when it is dropped.
struct Queued {
    entry: Entry,
    bytes: usize,
    of_all: Arc<AtomicUsize>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request that was chosen.
pub struct Chosen(Arc<Open>);

impl RequestLog {
    /// Begins to log. Opening a log that is open changes nothing.
    pub fn open(&self, settings: Settings) -> Result<(), Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Ok(());
        }
        let folder = settings.folder.clone();
        let cannot = |error: std::io::Error| Error::Folder { folder: folder.clone(), detail: error.to_string() };
        std::fs::create_dir_all(&settings.folder).map_err(cannot)?;
        let (sender, receiver) = sync_channel(REQUEST_LOG_QUEUE_MAX);
        let (writer_settings, counts) = (settings.clone(), Arc::clone(&self.counts));
        let write = move || writer::run(&receiver, &writer_settings, &counts);
        *thread = Some(thread::Builder::new().name("request-log".to_owned()).spawn(write).map_err(cannot)?);
        let chosen_up_to = (settings.share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        self.open.store(Some(Arc::new(Open {
            sender,
            queued_bytes: Arc::default(),
            settings,
            chosen_up_to,
            hasher: RandomState::new(),
            requests: AtomicU64::new(0),
        })));
        Ok(())
    }

    /// Whether the request that is answered now is to be logged. `catalog` says which views are sensitive.
    pub fn choose(&self, catalog: &Catalog, plan: &FeaturePlan) -> Option<Chosen> {
        let open = self.open.load();
        let open = open.as_ref()?;
        let number = open.requests.fetch_add(1, Ordering::Relaxed);
        if open.hasher.hash_one(number) > open.chosen_up_to {
            return None;
        }
        let is_allowed = open.settings.sensitive || !reads_sensitive(catalog, plan);
        is_allowed.then(|| Chosen(Arc::clone(open)))
    }

    /// Logs a chosen request, unless the queue is full.
    pub fn note(&self, chosen: &Chosen, entry: Entry) {
        let Chosen(open) = chosen;
        let bytes = entry.bytes();
        if open.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > REQUEST_LOG_QUEUE_BYTES_MAX {
            open.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let queued = Queued { entry, bytes, of_all: Arc::clone(&open.queued_bytes) };
        let counter = match open.sender.try_send(queued) {
            Ok(()) => &self.counts.requests,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => &self.counts.dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes what was logged so far and stops. Blocks until the files are there.
    pub fn close(&self) {
        self.open.store(None);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the request log broke off");
        }
    }
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let stored = self.stored.iter().map(|stored| bytes(&stored.columns) + stored.event_time.len() * 8);
        bytes(&self.inputs) + bytes(&self.outputs) + stored.sum::<usize>()
    }
}

/// Whether anything that a plan reads or computes is called sensitive.
fn reads_sensitive(catalog: &Catalog, plan: &FeaturePlan) -> bool {
    let is_sensitive = |name: &str| catalog.sensitive.contains(name);
    !catalog.sensitive.is_empty()
        && (plan.reads.iter().any(|read| is_sensitive(&read.view.name) || is_sensitive(&read.online.name))
            || plan.derivations.iter().any(|derivation| is_sensitive(&derivation.view.name)))
}
