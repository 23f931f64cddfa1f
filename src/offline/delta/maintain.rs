//! Compaction and vacuum of Delta tables.
//!
//! Both leave the rows as they are. Compaction writes small files together and keeps the old ones for readers of older
//! versions; vacuum deletes files that no version younger than a span needs, and what writers left behind that died.

use std::time::Duration;

use chrono::TimeDelta;
use deltalake::DeltaTableError;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::table::state::DeltaTableState;
use futures::TryStreamExt;

use super::super::{Error, Maintained};
use super::failure;
use super::place::{LOG_FOLDER, Loaded, Place};
use super::write::{file_properties, newest, session, too_busy, wait};
use crate::document::duration_text;
use crate::limits::{DELTA_ATTEMPTS_MAX, DELTA_COMPACTIONS_AT_ONCE};

/// How long Delta keeps removed files unless the table says otherwise.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Many small files become few of the table's target size.
pub(super) async fn compact(place: &Place) -> Result<Maintained, Error> {
    for attempt in 1..=DELTA_ATTEMPTS_MAX {
        let loaded = existing(place).await?;
        let state = loaded.table.snapshot().map_err(|error| failure::write(place, error))?;
        let (files_before, bytes_before) = active(state);
        let done = match session() {
            Ok(session) => {
                let optimize = loaded.table.clone().optimize().with_session_state(session);
                let optimize = optimize.with_writer_properties(file_properties());
                optimize.with_max_concurrent_tasks(DELTA_COMPACTIONS_AT_ONCE).await
            }
            Err(error) => Err(error),
        };
        match done {
            Err(error) if failure::is_conflict(&error) => wait(attempt).await,
            Err(error) => return Err(failure::write(place, error)),
            Ok((table, _)) => {
                let state = table.snapshot().map_err(|error| failure::write(place, error))?;
                let (files_after, bytes_after) = active(state);
                return Ok(Maintained { files_before, files_after, bytes_before, bytes_after });
            }
        }
    }
    Err(too_busy(place))
}

/// Deletes the files that no version younger than `keep` needs. What the table promises to keep is the least.
pub(super) async fn vacuum(place: &Place, keep: Duration) -> Result<Maintained, Error> {
    let loaded = existing(place).await?;
    let failed = |error: DeltaTableError| failure::write(place, error);
    let state = loaded.table.snapshot().map_err(failed)?;
    let promised = state.snapshot().table_properties().deleted_file_retention_duration.unwrap_or(KEPT);
    if keep < promised {
        let detail = format!(
            "{} keeps removed files for {}, so that whoever reads an older version is not cut off; to keep them for {} \
             only, set its property delta.deletedFileRetentionDuration first",
            place.path,
            duration_text(promised),
            duration_text(keep)
        );
        return Err(Error::NotWritable { source_name: place.name.clone(), detail });
    }
    let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    let (files_before, bytes_before) = stored(&loaded).await.map_err(failed)?;
    let vacuum = loaded.table.clone().vacuum().with_mode(VacuumMode::Full);
    vacuum.with_retention_period(keep).with_enforce_retention_duration(true).await.map_err(failed)?;
    let (files_after, bytes_after) = stored(&loaded).await.map_err(failed)?;
    Ok(Maintained { files_before, files_after, bytes_before, bytes_after })
}

async fn existing(place: &Place) -> Result<Loaded, Error> {
    let missing = || Error::NoFile { source_name: place.name.clone(), path: format!("delta {}", place.path) };
    newest(place).await?.ok_or_else(missing)
}

/// How many files the table has, and how many bytes.
fn active(state: &DeltaTableState) -> (u64, u64) {
    state
        .log_data()
        .iter()
        .fold((0, 0), |(files, bytes), file| (files + 1, bytes + u64::try_from(file.size()).unwrap_or_default()))
}

/// How many files lie in the table's folder, those of older versions included, and how many bytes.
async fn stored(loaded: &Loaded) -> Result<(u64, u64), DeltaTableError> {
    let store = loaded.table.log_store().object_store(None);
    let in_log = |path: &datafusion::object_store::path::Path| {
        path.parts().next().is_some_and(|part| part.as_ref() == LOG_FOLDER)
    };
    let files = store.list(None).try_filter(|file| std::future::ready(!in_log(&file.location)));
    let sum = files.try_fold((0, 0), |(files, bytes), file| std::future::ready(Ok((files + 1, bytes + file.size))));
    Ok(sum.await?)
}
