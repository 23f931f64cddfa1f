//! The offline port: the history of every feature, as rows with an event time.
//!
//! Sync, training and `stats` scan through it; push and ingest append through it. This folder (with `pit/`) is the only
//! one that names DataFusion; everybody else sees Arrow batches.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::catalog::{Field, Source};
use crate::clock::Micros;
use crate::error::ErrorKind;

/// What to read of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// The columns, with the types they are read as; a column of another type is cast exactly or refused.
    pub columns: Vec<Field>,
    /// Only rows with `from <= event time`.
    pub from: Option<Micros>,
    /// Only rows with `event time <= until`.
    pub until: Option<Micros>,
}

/// Batches of a scan: `columns` in order, then `event_time` (timestamp µs UTC, never null), then `created_time`
/// (the same, null where the source has none).
pub type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// The name under which a scan answers the source's event time.
pub const EVENT_TIME: &str = "event_time";
/// The name under which a scan answers the source's created time.
pub const CREATED_TIME: &str = "created_time";

/// The history of feature rows, by source.
///
/// # Contract
/// - `scan` answers rows in source order: files by path, rows as they stand; twice the same scan of the same files
///   gives the same rows in the same order. A row without an event time is left out.
/// - `schema` answers the source's own columns and types.
/// - `append` is whole or not at all, durable when it returns, and idempotent by `batch_id`: the same id again changes
///   nothing.
#[async_trait]
pub trait OfflineStore: fmt::Debug + Send + Sync {
    async fn schema(&self, source: &Source) -> Result<SchemaRef, Error>;
    async fn scan(&self, source: &Source, scan: &Scan) -> Result<Rows, Error>;
    async fn append(&self, source: &Source, batch_id: &str, rows: &RecordBatch) -> Result<(), Error>;
}

/// Why reading or writing offline data failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("source {source_name} has no file at {path}")]
    NoFile { source_name: String, path: String },
    #[error("source {source_name} cannot be read: {detail}")]
    Unreadable { source_name: String, detail: String },
    #[error("source {source_name} has no column {column}; it has {has}")]
    NoColumn { source_name: String, column: String, has: String },
    #[error("column {column} of source {source_name} is {is}, which cannot be read as {wanted}: {detail}")]
    WrongType { source_name: String, column: String, is: String, wanted: String, detail: String },
    #[error("the query of source {source_name} is wrong: {detail}")]
    Query { source_name: String, detail: String },
    #[error("rows cannot be added to source {source_name}: {detail}")]
    NotWritable { source_name: String, detail: String },
    #[error("writing to source {source_name} failed: {detail}")]
    Write { source_name: String, detail: String },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFile { .. } => ErrorKind::NotFound,
            Self::NoColumn { .. }
            | Self::WrongType { .. }
            | Self::Query { .. }
            | Self::NotWritable { .. }
            | Self::Unreadable { .. } => ErrorKind::Invalid,
            Self::Write { .. } => ErrorKind::Unavailable,
        }
    }
}
