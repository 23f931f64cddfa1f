//! What was applied: versions with their definitions, plugin bytes by digest, how far each sync has come, and what ran.
//!
//! A gateway reads it at start and when it reloads, `apply` and `sync` write to it; no request ever waits for it. It
//! stores definitions as the text they were given in and does not know what they mean.
//!
//! # Why SQLite
//! One file, many readers and one writer at a time, also over processes: `lockstep apply` may run beside a gateway.
//! Every write here is one transaction, and durable when the call returns.

mod database;
mod progress;
mod services;
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
#[derive(Clone, Debug, PartialEq)]
pub struct SyncRun {
    pub view: String,
    /// In words.
    pub range: String,
    pub started_at: Micros,
    pub seconds: f64,
    pub rows_read: u64,
    pub rows_latest: u64,
    pub rows_written: u64,
    pub rows_older: u64,
    pub rows_without_key: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    /// Why, in the words of the error.
    Failed(String),
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
