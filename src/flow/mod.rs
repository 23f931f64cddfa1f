//! READ FIRST. The four ways of a row through the gateway, one function each, read from top to bottom:
//! [`serve`], [`sync`], [`ingest`] and [`train`]. All of them compute with [`derive`], so a feature is computed in one
//! way only. [`online`] is what people do to stored rows by hand; it writes as `ingest` does.

mod derive;
pub mod expectations;
mod history;
pub mod ingest;
pub mod parity;
pub mod serve;
pub mod statistics;
pub mod labels;
mod logged;
pub mod maintain;
pub mod online;
pub mod replay;
pub mod schedule;
pub mod snapshot;
mod spool;
mod store;
pub mod sync;
pub mod train;
pub mod transform;
pub mod verify;

use std::path::PathBuf;

use crate::cast::CastError;
use crate::error::ErrorKind;
use crate::{manifest, offline, pit, plan, quality, registry};

pub use derive::Working;

pub use crate::catalog::Selection;

/// Why a flow failed; the text is for the caller, the chain for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Plan(#[from] plan::Error),
    #[error("{rows} rows asked for, at most {max} are answered in one request")]
    TooManyRows { rows: usize, max: usize },
    #[error("column {column}: it has more than {max} values")]
    ColumnTooLong { column: String, max: usize },
    #[error("row {row} has no value for join key {join_key}; every row needs one")]
    NullJoinKey { join_key: String, row: usize },
    #[error("column {column} is missing; it holds {what}")]
    MissingColumn { column: String, what: &'static str },
    #[error("column {column} is {is}, it must be {wanted}: {detail}")]
    WrongType { column: String, is: String, wanted: String, detail: String },
    #[error("{0}")]
    Invalid(String),
    #[error("source {0:?} is not defined")]
    UnknownSource(String),
    #[error("push source {0:?} is not defined")]
    UnknownPushSource(String),
    #[error(
        "the label frame has no column {0:?} with the time of each label; name it event_timestamp, or say which one it is"
    )]
    NoLabelTime(String),
    #[error("the deadline passed while {0}")]
    Late(&'static str),
    #[error(transparent)]
    Online(#[from] crate::online::Error),
    #[error(transparent)]
    Offline(#[from] offline::Error),
    #[error(transparent)]
    PointInTime(#[from] pit::Error),
    #[error("computing derived view {view}")]
    Transform {
        view: String,
        #[source]
        source: crate::transform::Error,
    },
    #[error(transparent)]
    Unmet(#[from] quality::Unmet),
    #[error("plugin {plugin} is used by no derived view of the applied definitions; those that are: {has}")]
    UnknownPlugin { plugin: String, has: String },
    #[error(
        "callers have bound plugins with {max} different parameters already; define a derived view with yours and name that"
    )]
    TooManyBindings { max: usize },
    #[error("{most} questions for statistics are being answered already; ask again when one of them is done")]
    StatisticsBusy { most: usize },
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error("{path} cannot be written or read: {detail}; free disk space, or set sync.spool to another folder", path = .path.display())]
    Spool { path: PathBuf, detail: String },
    #[error("the sync of {view} was stopped; run the same again and it goes on where it was")]
    SyncStopped { view: String },
    #[error(transparent)]
    Content(#[from] manifest::Unhashable),
    #[error("a stage of ours stopped: {0}")]
    Stopped(String),
}

impl Error {
    /// A caller's column that cannot be taken as what it must be.
    pub(crate) fn wrong_type(column: &str, error: CastError) -> Self {
        Self::WrongType { column: column.to_owned(), is: error.is, wanted: error.wanted, detail: error.detail }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Plan(source) => source.kind(),
            Self::TooManyRows { .. } | Self::ColumnTooLong { .. } => ErrorKind::TooLarge,
            Self::NullJoinKey { .. }
            | Self::MissingColumn { .. }
            | Self::WrongType { .. }
            | Self::Invalid(_)
            | Self::Unmet(_)
            | Self::Content(_)
            | Self::NoLabelTime(_) => ErrorKind::Invalid,
            Self::StatisticsBusy { .. } | Self::TooManyBindings { .. } => ErrorKind::Exhausted,
            Self::UnknownPushSource(_) | Self::UnknownSource(_) | Self::UnknownPlugin { .. } => ErrorKind::NotFound,
            Self::Late(_) => ErrorKind::Late,
            Self::Online(source) => source.kind(),
            Self::Offline(source) => source.kind(),
            Self::PointInTime(source) => source.kind(),
            Self::Transform { source, .. } => source.kind(),
            Self::Registry(source) => source.kind(),
            Self::Spool { .. } | Self::SyncStopped { .. } => ErrorKind::Unavailable,
            Self::Stopped(_) => ErrorKind::Internal,
        }
    }
}
