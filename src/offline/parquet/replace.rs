//! Files take the place of others, all at once: what compaction and upsert have in common.

use std::collections::BTreeSet;

use super::files::{Files, Live};
use super::names::{self, Name};
use super::place::Place;
use super::state::{self, Replaced};
use crate::clock::Micros;
use crate::offline::Error;

/// A change of the files of a table. Its new files are written already; they count from the commit on.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub replaced: Vec<Live>,
    /// The new files, and the path in whose place, by order, each of them stands.
    pub added: Vec<(String, String)>,
    /// A batch whose rows are in the new files.
    pub batch: Option<String>,
}

/// Where, beside `beside`, a new file can be written. The name is one that was never used, unless an attempt of the same
/// moment broke off; a file that is there already is not one of this change, and another attempt has another name.
pub(super) fn new_path(files: &Files, beside: &str, attempt: usize, now: Micros) -> String {
    let attempt = format!("{}/{now}/{attempt}", files.state_number);
    names::rewritten(names::folder_of(beside), &[beside, &attempt])
}

/// Makes the change; false where another one was made since `files` were looked at.
pub(super) async fn commit(place: &Place, files: &Files, change: &Change, now: Micros) -> Result<bool, Error> {
    let mut state = files.state.clone();
    state.next_number = files.next_number + u64::from(change.batch.is_some());
    state.batches.extend(change.batch.clone());
    let batch_of = |file: &Live| match names::parse(&file.found.path) {
        Name::Batch(batch) => Some(batch.batch.to_owned()),
        Name::Rewritten | Name::Other => None,
    };
    // From now on the state answers for these batches, also for those of their files that stay.
    let touched: BTreeSet<String> = change.replaced.iter().filter_map(batch_of).collect();
    for file in files.live.iter().filter(|file| batch_of(file).is_some_and(|batch| touched.contains(&batch))) {
        state.standing.entry(file.found.path.clone()).or_insert_with(|| file.stands_at.clone());
    }
    state.batches.extend(touched);
    for file in &change.replaced {
        state.standing.remove(&file.found.path);
        state.replaced.insert(file.found.path.clone(), Replaced { bytes: file.found.meta.size, at: now });
    }
    state.standing.extend(change.added.iter().cloned());
    state::commit(place, files.state_number, &state).await
}
