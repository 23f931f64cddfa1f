//! The online port: the newest value of each feature, by entity key.
//!
//! Serving reads through it, sync and ingest write through it. It knows views as tables of typed columns and keys as
//! bytes; it knows nothing of definitions, plans, plugins or wires.

pub mod embedded;
pub mod memory;
mod packed;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod samples;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::batch::{FeatureRows, KeyBatch, StoredRows};
use crate::catalog::{Digest, Field};
use crate::clock::Deadline;
use crate::error::ErrorKind;

/// A view as the online store sees it: a feature view, or a derived view placed at sync.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineView {
    pub name: String,
    pub join_keys: Vec<Field>,
    pub features: Vec<Field>,
    /// The transform that computed the features; zero bytes for a plain feature view.
    pub digest: Option<Digest>,
}

/// One question: these columns of this view for these keys.
#[derive(Debug)]
pub struct Read<'a> {
    pub view: &'a Arc<OnlineView>,
    pub keys: &'a KeyBatch,
    /// Positions in `view.features`.
    pub columns: &'a [usize],
}

/// What a write did, row by row in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub written: u64,
    /// Rows that the store already had in a newer version.
    pub older: u64,
    /// Rows with a null join key, which no one could ever ask for.
    pub without_key: u64,
}

/// The newest value of each feature, by entity key.
///
/// # Contract
/// - `read` answers every question, in order, with one row per key, in key order; an unknown or null key is a row of
///   nulls with `present` false, never a missing row. Columns have exactly the Arrow types of the view's fields.
/// - A row that was written when the view had other features is read by name and type: a feature it does not have is
///   null, and nothing is misread. A row that was written when the view had other join keys describes something else:
///   it is not there, and the next row with its key replaces it.
/// - A row that another transform made (its `digest` is not the view's) is absent until it is written again: its values
///   are not those of today's definitions.
/// - `write` keeps, per key, the row with the later (event time, created time); an older row is counted, not written;
///   of two rows that tie, the one that comes later wins. A batch is written whole or not at all, and is durable when
///   the call returns.
/// - Both are bounded by the caller's `deadline` and never by a timeout of their own.
#[async_trait]
pub trait OnlineStore: fmt::Debug + Send + Sync {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error>;
    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error>;
}

/// Why a read or write of an online store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the online store {path} is in use by another gateway; stop it, or send it the request over HTTP")]
    InUse { path: String },
    #[error("the online store did not answer before the deadline")]
    Late,
    #[error(
        "the online store has no room left ({detail}); free disk space and run the command again; what is written stays"
    )]
    Full { detail: String },
    #[error("a stored row of {view} is damaged: {detail}; sync {view} again to replace it")]
    Damaged { view: String, detail: String },
    #[error("the online store {path} is damaged: {detail}; move it away and sync again")]
    DamagedFile { path: String, detail: String },
    #[error(
        "the online store {path} was written by a newer version of Lockstep (format {format}, this one knows {known})"
    )]
    NewerFormat { path: String, format: u64, known: u64 },
    #[error("rows of {view} cannot be stored: {detail}")]
    Unstorable { view: String, detail: String },
    #[error("{view} is too large: {detail}")]
    TooLarge { view: String, detail: String },
    #[error("the online store failed while {doing}: {detail}")]
    Store { doing: &'static str, detail: String },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } | Self::NewerFormat { .. } => ErrorKind::Conflict,
            Self::Late => ErrorKind::Late,
            Self::Full { .. } | Self::Store { .. } => ErrorKind::Unavailable,
            Self::Damaged { .. } | Self::DamagedFile { .. } => ErrorKind::Internal,
            Self::Unstorable { .. } => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}
