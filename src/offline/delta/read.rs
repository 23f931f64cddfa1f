//! One version of a Delta table, opened to be scanned: the newest, one by number, or the one of a moment.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStoreExt};
use deltalake::DeltaTableError;
use deltalake::kernel::LogicalFileView;
use deltalake::table::state::DeltaTableState;
use futures::{StreamExt, TryStreamExt, stream};

use super::super::tables::{Table, TableFile};
use super::super::{Error, Part};
use super::place::{LOG_FOLDER, Loaded, Place};
use super::scan::VersionScan;
use super::{failure, features};
use crate::catalog::TableVersion;
use crate::clock::Micros;
use crate::limits::DELTA_FILE_CHECKS_AT_ONCE;

/// The table as it is now, as `as_of` says, or as it was when `part` was taken of it, and which version that is; `None`
/// where there is none.
pub(super) async fn open(
    place: &Place,
    as_of: Option<TableVersion>,
    part: Option<&Part>,
) -> Result<Option<(Table, Part)>, Error> {
    let Some(mut found) = place.find().await? else {
        return match part {
            None => Ok(None),
            Some(_) => Err(changed(place, format!("there is no Delta table at {} any more", place.path))),
        };
    };
    let version = match (part, as_of) {
        (Some(Part::Delta { version }), _) => Some(*version),
        (Some(_), _) => return Err(changed(place, "it was no Delta table when this was recorded".to_owned())),
        (None, Some(TableVersion::Number(version))) => Some(version),
        (None, Some(TableVersion::Time(time))) => Some(version_at(place, &found, time).await?),
        (None, None) => None,
    };
    match version {
        Some(version) => load_past(place, &mut found, version).await?,
        None => found.load(None).await.map_err(|error| failure::read(place, error))?,
    }
    let state = found.table.snapshot().map_err(|error| failure::read(place, error))?;
    features::check_read(place, state)?;
    if part.is_none() && matches!(as_of, Some(TableVersion::Time(_))) {
        check_times(place, state)?;
    }
    let (part, files) = (Part::Delta { version: state.version() }, files(place, &found, state));
    let scan = VersionScan::new(&found.table).map_err(|error| failure::read(place, error))?;
    Ok(Some((Table { provider: Arc::new(scan), files }, part)))
}

/// Reads the log up to `version` and makes sure that all of it can still be read.
async fn load_past(place: &Place, found: &mut Loaded, version: u64) -> Result<(), Error> {
    let commits = commits(found).await.map_err(|error| failure::read(place, error))?;
    let newest = commits.last().map_or(0, |(version, _)| *version);
    if version > newest {
        let detail = format!("{} has no version {version} yet, its newest is {newest}", place.path);
        return Err(Error::Unreadable { source_name: place.name.clone(), detail });
    }
    let loaded = found.load(Some(version)).await;
    if let Err(error) = loaded.and_then(|()| has_version(found, version)) {
        let oldest = commits.first().map_or(newest, |(version, _)| *version);
        let detail = match version < oldest || oldest > 0 {
            true => {
                format!("the log of {} begins after version {version}; the oldest commit left is {oldest}", place.path)
            }
            false => format!("version {version} of {}: {}", place.path, failure::words(&error)),
        };
        return Err(changed(place, detail));
    }
    if version == newest {
        return Ok(());
    }
    match first_missing(place, found).await.map_err(|error| failure::read(place, error))? {
        None => Ok(()),
        Some(file) => Err(changed(
            place,
            format!("version {version} of {} was vacuumed away: its file {file} is gone", place.path),
        )),
    }
}

fn has_version(found: &Loaded, version: u64) -> Result<(), DeltaTableError> {
    match found.table.version() == Some(version) {
        true => Ok(()),
        false => Err(DeltaTableError::InvalidVersion(version)),
    }
}

/// A file of the loaded version that is gone. Only those that the newest version has no more can be.
async fn first_missing(place: &Place, found: &Loaded) -> Result<Option<Path>, DeltaTableError> {
    let mut newest = place.unloaded()?;
    newest.load(None).await?;
    let kept: HashSet<Path> = newest.table.snapshot()?.log_data().iter().map(|file| file.object_store_path()).collect();
    let files = found.table.snapshot()?.log_data();
    let left: Vec<Path> =
        files.iter().map(|file| file.object_store_path()).filter(|file| !kept.contains(file)).collect();
    let store = found.table.log_store().object_store(None);
    let gone = stream::iter(left)
        .map(|file| {
            let store = Arc::clone(&store);
            async move {
                match store.head(&file).await {
                    Ok(_) => Ok(None),
                    Err(object_store::Error::NotFound { .. }) => Ok(Some(file)),
                    Err(error) => Err(DeltaTableError::from(error)),
                }
            }
        })
        .buffered(DELTA_FILE_CHECKS_AT_ONCE)
        .try_filter_map(|gone| async move { Ok(gone) });
    Box::pin(gone).try_next().await
}

/// The newest version that was there at `time`, by the clock of whoever keeps the log's files.
async fn version_at(place: &Place, found: &Loaded, time: Micros) -> Result<u64, Error> {
    let commits = commits(found).await.map_err(|error| failure::read(place, error))?;
    // A later version is never earlier, whatever the clocks of its writers said.
    let mut until_now = Micros::MIN;
    let mut chosen = None;
    for (version, written) in &commits {
        until_now = until_now.max(*written);
        if until_now <= time {
            chosen = Some(*version);
        }
    }
    chosen.ok_or_else(|| {
        let first =
            commits.first().map_or_else(|| "unknown".to_owned(), |(_, time)| TableVersion::Time(*time).to_string());
        let detail = format!(
            "{} has no version of {}; the oldest commit left is of {first}",
            place.path,
            TableVersion::Time(time)
        );
        Error::Unreadable { source_name: place.name.clone(), detail }
    })
}

/// The commits in the log and when their files were written, oldest first.
async fn commits(found: &Loaded) -> Result<Vec<(u64, Micros)>, DeltaTableError> {
    let store = found.table.log_store().object_store(None);
    let mut files = store.list(Some(&LOG_FOLDER.into()));
    let mut commits = Vec::new();
    while let Some(file) = files.try_next().await? {
        let number = file.location.filename().and_then(|name| name.strip_suffix(".json")?.parse().ok());
        commits.extend(number.map(|number| (number, file.last_modified.timestamp_micros())));
    }
    commits.sort_unstable();
    Ok(commits)
}

fn check_times(place: &Place, state: &DeltaTableState) -> Result<(), Error> {
    let property = state.metadata().configuration().get("delta.enableInCommitTimestamps");
    if property.is_none_or(|enabled| enabled != "true") {
        return Ok(());
    }
    let detail = format!(
        "{} keeps the times of its versions in its commits (inCommitTimestamp), which as_of does not read; give the \
         number of a version",
        place.path
    );
    Err(Error::Unreadable { source_name: place.name.clone(), detail })
}

/// The table's files, to find the damaged one among them.
fn files(place: &Place, found: &Loaded, state: &DeltaTableState) -> Vec<TableFile> {
    let store = found.table.log_store().object_store(None);
    let file = |file: LogicalFileView| TableFile {
        shown: format!("{}/{}", place.path.trim_end_matches('/'), file.path()),
        store: Arc::clone(&store),
        meta: ObjectMeta {
            location: file.object_store_path(),
            last_modified: file.modification_datetime().unwrap_or_default(),
            size: u64::try_from(file.size()).unwrap_or_default(),
            e_tag: None,
            version: None,
        },
    };
    state.log_data().iter().map(file).collect()
}

fn changed(place: &Place, detail: String) -> Error {
    Error::Changed { source_name: place.name.clone(), detail }
}
