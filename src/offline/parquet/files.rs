//! The files that make up a table now, in the order in which they are read.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::names::{self, Batches, Name};
use super::place::{Found, Listing, Place};
use super::state::{self, State};
use crate::limits;
use crate::offline::Error;

/// What a table consists of.
#[derive(Debug)]
pub(super) struct Files {
    /// In the order in which they are read.
    pub live: Vec<Live>,
    /// Files that do not count: replaced, left by a write that broke off, or stored twice.
    pub dead: Vec<Found>,
    /// The ids of the batches that are in the table, hashed.
    pub batches: BTreeSet<String>,
    /// The number of the next batch.
    pub next_number: u64,
    /// Whether the table is a single file, to which nothing can be added.
    pub is_one_file: bool,
    pub state: State,
    pub state_number: u64,
}

/// A file that is read.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub found: Found,
    /// The path in whose place it stands; its own, if it took nobody's.
    pub stands_at: String,
}

/// What is at `place` now; `None` where there is no file.
pub(super) async fn look(place: &Place) -> Result<Option<Files>, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        // First the state: every file that it speaks of was there before it.
        let (state_number, state) = state::load(place).await?;
        let files = match place.list().await? {
            None if state.standing.is_empty() => return Ok(None),
            None => Vec::new(),
            Some(Listing::OneFile(file)) => return Ok(Some(one_file(file))),
            Some(Listing::Folder(files)) => files,
        };
        match sort(place, files, state, state_number) {
            // Somebody may have replaced and vacuumed files between our two looks.
            Err(_) if attempts < limits::TABLE_LOOKS_MAX => {}
            sorted => return sorted.map(Some),
        }
    }
}

fn one_file(file: Found) -> Files {
    let live = Live { stands_at: file.path.clone(), found: file };
    let (state, batches) = (State::default(), BTreeSet::new());
    Files { live: vec![live], dead: Vec::new(), batches, next_number: 0, is_one_file: true, state, state_number: 0 }
}

fn sort(place: &Place, files: Vec<Found>, state: State, state_number: u64) -> Result<Files, Error> {
    let there: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    if let Some(lost) = state.standing.keys().find(|path| !there.contains(path.as_str())) {
        let advice = "it is part of the table; bring it back, or restore the table as a whole";
        return Err(place.unreadable(format!("file {} is gone; {advice}", place.shown(lost))));
    }
    let seen = Batches::of(files.iter().map(|file| file.path.as_str()));
    let next_number = seen.next_number.max(state.next_number);
    let batches = seen.known().map(str::to_owned).chain(state.batches.iter().cloned()).collect();
    let counts: Vec<bool> =
        files.iter().map(|file| counts(place, file, &seen, &state)).collect::<Result<_, Error>>()?;
    let (mut live, mut dead) = (Vec::new(), Vec::new());
    for (file, counts) in files.into_iter().zip(counts) {
        if counts {
            let stands_at = state.standing.get(&file.path).unwrap_or(&file.path).clone();
            live.push(Live { found: file, stands_at });
        } else {
            dead.push(file);
        }
    }
    live.sort_by(by_path);
    Ok(Files { live, dead, batches, next_number, is_one_file: false, state, state_number })
}

fn counts(place: &Place, file: &Found, seen: &Batches<'_>, state: &State) -> Result<bool, Error> {
    if state.standing.contains_key(&file.path) {
        return Ok(true);
    }
    if let Some(replaced) = state.replaced.get(&file.path) {
        if replaced.bytes == file.meta.size {
            return Ok(false);
        }
        return Err(place.unreadable(format!(
            "file {} was compacted or updated here, and has been written again by another program since; give that \
             program another file name",
            place.shown(&file.path)
        )));
    }
    Ok(match names::parse(&file.path) {
        Name::Other => true,
        Name::Rewritten => false,
        Name::Batch(batch) => !state.batches.contains(batch.batch) && seen.counts(batch),
    })
}

/// By path: the names of the folders first, then those of the files in them.
fn by_path(one: &Live, other: &Live) -> Ordering {
    let by_place = one.stands_at.split('/').cmp(other.stands_at.split('/'));
    by_place.then_with(|| one.found.path.cmp(&other.found.path))
}
