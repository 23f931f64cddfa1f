//! The thread that makes files of the log: requests of one question and one version of the definitions share a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::record::{FORM, FORM_KEY, SELECTION_KEY, VERSION_KEY, rows, schema, written_selection};
use super::{Counts, Entry, Queued, Settings};
use crate::limits::{
    REQUEST_LOG_FILE_BYTES, REQUEST_LOG_FILE_ROWS, REQUEST_LOG_FILES_MAX, REQUEST_LOG_FLUSH_EVERY,
    REQUEST_LOG_QUESTIONS_MAX,
};
use crate::offline::write_parquet;
use crate::plan::FeaturePlan;

/// The beginning and the end of the names of our files; what else lies in the folder is left alone.
const NAME: (&str, &str) = ("requests-", ".parquet");

/// Requests of one question that wait for their file.
struct Group {
    version: u64,
    plan: Arc<FeaturePlan>,
    metadata: Vec<(String, String)>,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    since: Instant,
}

/// Requests that are put together at once.
const PACKED: usize = 256;

impl Group {
    /// Single requests become one batch of their own memory: their columns may hold on to the buffers of whole frames.
    fn pack(&mut self) {
        let single = self.batches.iter().rev().take_while(|batch| batch.num_rows() < PACKED).count();
        if single < PACKED {
            return;
        }
        let from = self.batches.len() - single;
        if let Ok(packed) = concat_batches(&self.schema, &self.batches[from..]) {
            self.batches.truncate(from);
            self.batches.push(packed);
        }
    }
}

/// Writes what comes until nobody can send any more.
pub(super) fn run(queue: &Receiver<Queued>, settings: &Settings, counts: &Counts) {
    let mut log = Log { settings, counts, groups: Vec::new(), last_request: 0, last_file: 0, complained: false };
    loop {
        match queue.recv_timeout(REQUEST_LOG_FLUSH_EVERY) {
            Ok(queued) => log.add(&queued.entry, queued.bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        log.write_groups(|group| group.since.elapsed() >= REQUEST_LOG_FLUSH_EVERY);
    }
    log.write_groups(|_| true);
}

struct Log<'a> {
    settings: &'a Settings,
    counts: &'a Counts,
    groups: Vec<Group>,
    last_request: i64,
    last_file: i64,
    /// Whether the log has said already that it cannot write; it says so again when it could in between.
    complained: bool,
}

impl Log<'_> {
    fn add(&mut self, entry: &Entry, bytes: usize) {
        // Numbers that grow with time and are not given twice, over restarts too.
        self.last_request = entry.served_at.max(self.last_request + 1);
        let request = self.last_request;
        let place = self.group(entry);
        let group = &mut self.groups[place];
        match rows(entry, request, &group.schema) {
            Ok(batch) => {
                group.batches.push(batch);
                group.rows += entry.rows;
                group.bytes += bytes;
                group.pack();
            }
            Err(error) => self.failed(entry.rows, &error.to_string()),
        }
        let is_full = |group: &Group| group.rows >= REQUEST_LOG_FILE_ROWS || group.bytes >= REQUEST_LOG_FILE_BYTES;
        if is_full(&self.groups[place]) {
            let group = self.groups.swap_remove(place);
            self.write(group);
        }
        if self.groups.len() > REQUEST_LOG_QUESTIONS_MAX {
            let oldest = (0..self.groups.len()).min_by_key(|place| self.groups[*place].since).unwrap_or(0);
            let group = self.groups.swap_remove(oldest);
            self.write(group);
        }
    }

    fn group(&mut self, entry: &Entry) -> usize {
        let is_same = |group: &Group| {
            let same_plan = Arc::ptr_eq(&group.plan, &entry.plan) || group.plan == entry.plan;
            group.version == entry.version && same_plan
        };
        if let Some(place) = self.groups.iter().position(is_same) {
            return place;
        }
        let given = entry.schema.metadata().iter().map(|(key, value)| (key.clone(), value.clone()));
        let mut metadata: Vec<(String, String)> = given.filter(|(key, _)| key != VERSION_KEY).collect();
        metadata.push((FORM_KEY.to_owned(), FORM.to_owned()));
        metadata.push((VERSION_KEY.to_owned(), entry.version.to_string()));
        metadata.push((SELECTION_KEY.to_owned(), written_selection(&entry.plan)));
        self.groups.push(Group {
            version: entry.version,
            plan: Arc::clone(&entry.plan),
            metadata,
            schema: schema(&entry.plan),
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
            since: Instant::now(),
        });
        self.groups.len() - 1
    }

    fn write_groups(&mut self, is_due: impl Fn(&Group) -> bool) {
        while let Some(place) = self.groups.iter().position(&is_due) {
            let group = self.groups.swap_remove(place);
            self.write(group);
        }
    }

    fn write(&mut self, group: Group) {
        if group.rows == 0 {
            return;
        }
        let path = self.new_path();
        let written = concat_batches(&group.schema, &group.batches)
            .map_err(|error| error.to_string())
            .and_then(|batch| {
                let written = write_parquet(&path, &group.schema, &[batch], &group.metadata);
                written.map_err(|error| crate::error::chain(&error))
            })
            .and_then(|()| {
                make_room(&self.settings.folder, self.settings.bytes_max).map_err(|error| error.to_string())
            });
        match written {
            Ok(()) => {
                self.complained = false;
                self.counts.rows.fetch_add(group.rows as u64, Ordering::Relaxed);
            }
            Err(why) => self.failed(group.rows, &why),
        }
    }

    /// Names sort as their files were written.
    fn new_path(&mut self) -> PathBuf {
        self.last_file = self.last_request.max(self.last_file + 1);
        self.settings.folder.join(format!("{}{:020}{}", NAME.0, self.last_file, NAME.1))
    }

    fn failed(&mut self, rows: usize, why: &str) {
        self.counts.failed_rows.fetch_add(rows as u64, Ordering::Relaxed);
        if !self.complained {
            tracing::warn!(error = why, rows, "requests could not be logged");
            self.complained = true;
        }
    }
}

/// The files of a log, oldest first, with their sizes.
pub(super) fn log_files(folder: &Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        if is_ours && entry.file_type()?.is_file() {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// Removes the oldest files until the others are within the bound. The newest one stays, whatever its size.
pub(super) fn make_room(folder: &Path, bytes_max: u64) -> std::io::Result<()> {
    let files = log_files(folder)?;
    let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut left = files.len();
    for (path, size) in &files[..files.len().saturating_sub(1)] {
        if bytes <= bytes_max && left <= REQUEST_LOG_FILES_MAX {
            break;
        }
        std::fs::remove_file(path)?;
        (bytes, left) = (bytes - size, left - 1);
    }
    Ok(())
}
