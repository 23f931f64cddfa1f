//! What scans read and what they did not have to, by source. Counted where files are opened, printed by `metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What the scans of one source read and pruned so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub files_read: u64,
    /// Files that were not opened, because no row in them could be asked for.
    pub files_pruned: u64,
    /// Row groups of opened files.
    pub row_groups_read: u64,
    pub row_groups_pruned: u64,
    /// Pages of row groups that were read, as far as the files have page indexes.
    pub pages_pruned: u64,
    pub bytes_read: u64,
}

/// The counts of all sources.
#[derive(Debug, Default)]
pub struct Reads {
    by_source: Mutex<BTreeMap<String, Read>>,
}

impl Reads {
    /// Adds what one scan did.
    pub(super) fn add(&self, source: &str, more: Read) {
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match by_source.get_mut(source) {
            Some(known) => known,
            None => by_source.entry(source.to_owned()).or_default(),
        };
        known.files_read += more.files_read;
        known.files_pruned += more.files_pruned;
        known.row_groups_read += more.row_groups_read;
        known.row_groups_pruned += more.row_groups_pruned;
        known.pages_pruned += more.pages_pruned;
        known.bytes_read += more.bytes_read;
    }

    /// What was counted until now.
    pub fn counts(&self) -> Vec<(String, Read)> {
        let by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        by_source.iter().map(|(source, read)| (source.clone(), *read)).collect()
    }
}
