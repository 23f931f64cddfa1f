//! The event port: rows that arrive one after another, with a position to go on from.

pub mod memory;

#[cfg(test)]
mod conformance;

use std::fmt;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::clock::Deadline;
use crate::error::ErrorKind;

/// Some events of one source, in order, and the position after the last of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// The source's columns.
    pub rows: RecordBatch,
    /// Hand this to `commit` once the rows are stored.
    pub position: u64,
}

/// A stream of events.
///
/// # Contract
/// - `next` answers events from the last committed position on, in order, each batch bounded by `rows_max`; nothing
///   when none arrives before the deadline, and `Ended` when none ever will.
/// - Events that were answered but not committed are answered again by a new reader of the same source.
#[async_trait]
pub trait EventSource: fmt::Debug + Send + Sync {
    async fn next(&self, rows_max: usize, deadline: Deadline) -> Result<Option<Events>, Error>;
    async fn commit(&self, position: u64) -> Result<(), Error>;
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the event source has ended")]
    Ended,
    #[error("events are not columns of the source: {0}")]
    Decode(String),
    #[error("the event log has no room: it holds at most {rows_max} rows that are not committed")]
    Full { rows_max: usize },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ended => ErrorKind::Unavailable,
            Self::Decode(_) => ErrorKind::Invalid,
            Self::Full { .. } => ErrorKind::Exhausted,
        }
    }
}
