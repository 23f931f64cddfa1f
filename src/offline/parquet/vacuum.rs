//! Vacuum: files that no longer count are removed, when nobody can need them any more.

use std::time::Duration;

use super::files;
use super::names::{self, Name};
use super::place::Place;
use super::state;
use crate::clock::Micros;
use crate::limits;
use crate::offline::{Error, Maintained};

/// Removes files that were replaced longer than `keep` ago, and what writes that broke off have left.
///
/// A reader that is under way for longer than `keep` may miss a file, and fails then; so does a snapshot of before.
pub(super) async fn vacuum(place: &Place, keep: Duration, now: Micros) -> Result<Maintained, Error> {
    let Some(files) = files::look(place).await? else { return Ok(Maintained::default()) };
    let live: u64 = files.live.iter().map(|live| live.found.meta.size).sum();
    let dead: u64 = files.dead.iter().map(|found| found.meta.size).sum();
    let before = |age: Duration| now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
    let mut done = Maintained {
        files_before: (files.live.len() + files.dead.len()) as u64,
        files_after: (files.live.len() + files.dead.len()) as u64,
        bytes_before: live + dead,
        bytes_after: live + dead,
    };
    let mut state = files.state.clone();
    for file in &files.dead {
        let modified = file.meta.last_modified.timestamp_micros();
        let is_old = match (files.state.replaced.get(&file.path), names::parse(&file.path)) {
            (Some(replaced), _) => replaced.at <= before(keep),
            // Somebody may be about to count it in.
            (None, Name::Batch(_) | Name::Rewritten) => modified <= before(keep.max(limits::UNCOMMITTED_KEPT)),
            (None, Name::Other) => false,
        };
        if is_old {
            place.remove(&file.path).await?;
            state.replaced.remove(&file.path);
            done.files_after -= 1;
            done.bytes_after -= file.meta.size;
        }
    }
    if state != files.state && state::commit(place, files.state_number, &state).await? {
        state::forget_before(place, files.state_number + 1).await?;
    }
    Ok(done)
}
