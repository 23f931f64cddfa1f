//! What was applied: versions with their definitions, plugin bytes by digest, how far each sync has come, what ran,
//! what runs next and who may run it.
//!
//! A gateway reads it at start and when it reloads, `apply` and `sync` write to it; no request ever waits for it. It
//! stores definitions as the text they were given in and does not know what they mean.
//!
//! # Why SQLite
//! One file, many readers and one writer at a time, also over processes: `lockstep apply` may run beside a gateway.
//! Every write here is one transaction, and durable when the call returns.

mod database;
mod progress;
mod schedules;
mod services;
mod shadows;
mod versions;

#[cfg(test)]
mod tests;

use sqlx::SqlitePool;

use crate::catalog::Digest;
use crate::clock::Micros;
use crate::error::ErrorKind;

/// The registry of one project, in SQLite. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Registry {
    pool: SqlitePool,
    /// As the user knows it, for messages.
    path: String,
}

/// A definition file as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionFile {
    pub name: String,
    pub text: String,
}

/// A plugin as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFile {
    pub name: String,
    /// Of `bytes`.
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub beside: PluginTexts,
}

/// What came beside a plugin's bytes, as texts that are kept and not read here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginTexts {
    pub signature: Option<String>,
    pub goldens: Option<String>,
    pub report: Option<String>,
}

/// What `apply` hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    pub project: String,
    pub catalog_hash: Digest,
    pub applied_by: String,
    pub applied_at: Micros,
    pub definitions: Vec<DefinitionFile>,
    pub plugins: Vec<PluginFile>,
    /// What each feature service answers.
    pub services: Vec<ServiceShape>,
    /// One line per change, for people.
    pub summary: Vec<String>,
}

/// What a feature service answers, as a text that is kept and compared and not read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceShape {
    pub service: String,
    pub shape: String,
}

/// The number under which something is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: u64,
    /// The latest version had the same hash already, so nothing was recorded.
    pub unchanged: bool,
}

/// One version, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub number: u64,
    pub project: String,
    pub catalog_hash: Digest,
    pub applied_by: String,
    pub applied_at: Micros,
    pub definitions: Vec<DefinitionFile>,
    pub plugins: Vec<PluginFile>,
    pub summary: Vec<String>,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct VersionSummary {
    pub number: u64,
    pub catalog_hash: Digest,
    pub applied_by: String,
    pub applied_at: Micros,
    pub summary: Vec<String>,
}

/// One run of sync, finished or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncRun {
    pub view: String,
    /// In words.
    pub range: String,
    /// The first event time that was asked for; none from the beginning.
    pub from: Option<Micros>,
    /// The last one; unknown of a run that an older version recorded.
    pub until: Option<Micros>,
    pub started_at: Micros,
    pub seconds: f64,
    pub rows_read: u64,
    pub rows_latest: u64,
    pub rows_written: u64,
    pub rows_older: u64,
    pub rows_without_key: u64,
    pub rows_in_future: u64,
    /// Rows of the write that failed, of a run that did.
    pub rows_failed: u64,
    /// Of the rows read, those that an interrupted run had read and this one did not read again.
    pub rows_reused: u64,
    /// Rows that were read once more only to find the place at which the interrupted run had stopped.
    pub rows_read_again: u64,
    /// Bytes of the rows that were written, as they are in memory.
    pub bytes_written: u64,
    /// Bytes that were put aside on disk, for lack of memory or to be able to go on after an interruption.
    pub bytes_spooled: u64,
    /// Of the rows that count.
    pub newest_event_time: Option<Micros>,
    /// By feature, how many of the rows that count have no value.
    pub nulls: Vec<(String, u64)>,
    /// What the source consisted of, as JSON.
    pub snapshot: Option<String>,
    /// Rows that went to a side table because they are not as the view expects.
    pub rows_quarantined: u64,
    /// What came of each expectation of the view, as JSON; none where it has none.
    pub expectations: Option<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Finished,
    /// It was asked to stop, and a run of the same goes on where it was.
    Stopped,
    /// Why, in the words of the error.
    Failed(String),
}

/// When a view is synced next, and how its last runs went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSchedule {
    pub view: String,
    pub next_at: Micros,
    /// Runs in a row that failed; none after one that finished.
    pub failures: u32,
    /// Why the last one failed.
    pub failure: Option<String>,
}

/// A copy of the online rows of a view into an offline table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineSnapshot {
    pub id: String,
    pub view: String,
    pub source: String,
    /// Batches into which its keys are cut.
    pub groups: u32,
}

/// A build of a plugin that runs beside the one of a derived view.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowRecord {
    pub view: String,
    /// As the view's definition names it.
    pub plugin: String,
    pub digest: Digest,
    /// Of the live calls of the view, above 0 and 1 at most.
    pub share: f64,
    pub started_by: String,
    pub started_at: Micros,
}

/// Why the registry could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the registry {path} cannot be opened: {detail}")]
    Open { path: String, detail: String },
    #[error("the registry {path} was written by a newer version of Lockstep (format {format}, this one knows {known})")]
    NewerFormat { path: String, format: i64, known: i64 },
    #[error("the registry {path} is damaged: {detail}")]
    Damaged { path: String, detail: String },
    #[error("the registry {path} is being written by another process; try again")]
    Busy { path: String },
    #[error("the registry {path} has no room left; free disk space and run the command again")]
    Full { path: String },
    #[error("plugin {name} does not have the digest it was given with")]
    WrongDigest { name: String },
    #[error("the registry failed while {doing}: {detail}")]
    Store { doing: &'static str, detail: String },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NewerFormat { .. } => ErrorKind::Conflict,
            Self::Damaged { .. } | Self::WrongDigest { .. } => ErrorKind::Internal,
            Self::Open { .. } | Self::Busy { .. } | Self::Full { .. } | Self::Store { .. } => ErrorKind::Unavailable,
        }
    }
}
