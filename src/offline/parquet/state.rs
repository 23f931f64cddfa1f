//! Which files of a table no longer count, and which count in their place: what compaction and upsert leave behind.
//!
//! Files are never changed. Who replaces some writes the new ones under names that do not count by themselves, and then,
//! in one file `_lockstep/<number>.json`, that from now on they do and the old ones do not. The file with the largest
//! number is the state; a table without one is just its files. It is created, never overwritten, so of two who replace
//! files at once one is told that the number is taken, looks again and starts over.
//!
//! The old files stay until they are vacuumed, so readers that are under way, and snapshots, find them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::place::{Created, Place, STATE_FOLDER};
use crate::clock::Micros;
use crate::offline::Error;

const FORMAT: u32 = 1;

/// What is known of a table beside its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub format: u32,
    /// Files that no longer count.
    pub replaced: BTreeMap<String, Replaced>,
    /// Files that count because this says so, and the path in whose place, by order, each of them stands.
    pub standing: BTreeMap<String, String>,
    /// Batches that are in the table although files of theirs no longer count.
    pub batches: BTreeSet<String>,
    /// No batch has this number or a larger one.
    pub next_number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replaced {
    pub bytes: u64,
    /// Since when.
    pub at: Micros,
}

impl Default for State {
    fn default() -> Self {
        Self {
            format: FORMAT,
            replaced: BTreeMap::new(),
            standing: BTreeMap::new(),
            batches: BTreeSet::new(),
            next_number: 0,
        }
    }
}

/// The state and its number; 0 where nothing was replaced so far.
pub(super) async fn load(place: &Place) -> Result<(u64, State), Error> {
    let newest = place.state_files().await?.iter().filter_map(|name| number(name)).max();
    let Some(newest) = newest else { return Ok((0, State::default())) };
    let path = path(newest);
    let wrong = |detail: String| place.unreadable(format!("file {}: {detail}", place.shown(&path)));
    let bytes = place.read(&path).await?.ok_or_else(|| wrong("it is gone".to_owned()))?;
    let state: State = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match state.format {
        FORMAT => Ok((newest, state)),
        other => Err(wrong(format!("its format is {other}; this version of Lockstep knows {FORMAT}"))),
    }
}

/// Makes `state` the one after number `before`; false where another one has taken its place.
pub(super) async fn commit(place: &Place, before: u64, state: &State) -> Result<bool, Error> {
    let bytes = serde_json::to_vec(state).map_err(|error| place.write_failed(error.to_string()))?;
    Ok(place.create(&path(before + 1), bytes.into()).await? == Created::New)
}

/// Removes the states before number `newest`.
pub(super) async fn forget_before(place: &Place, newest: u64) -> Result<(), Error> {
    for old in place.state_files().await?.iter().filter_map(|name| number(name)).filter(|number| *number < newest) {
        place.remove(&path(old)).await?;
    }
    Ok(())
}

fn path(number: u64) -> String {
    format!("{STATE_FOLDER}/{number:012}.json")
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}
