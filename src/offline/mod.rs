//! The offline port: the history of every feature, as rows with an event time.
//!
//! Sync, training and `stats` scan through it; push and ingest append through it. This folder (with `pit/`) is the only
//! one that names DataFusion; everybody else sees Arrow batches.
//!
//! [`StoredSources`] knows the sources and which kind of [`Tables`] (Parquet files, Delta, PostgreSQL, batches in memory)
//! keeps each of them. `engine` lets the sql sources run over those tables, and turns what comes out into [`Rows`]. So a
//! sql source and a Parquet file are scanned the same way, wherever rows are kept.
//!
//! # Why one partition
//! Order is part of the answer: of two rows that tie on event time and created time the later one wins, in sync and in
//! training alike. DataFusion keeps the order of a source, and breaks ties in a window or a sort the same way each time,
//! only as long as one thread reads it.

mod damage;
pub mod delta;
mod engine;
mod file;
mod long;
mod look_ahead;
mod memory;
mod merge;
mod object_stores;
mod panics;
pub mod parquet;
mod reads;
pub mod postgres;
mod snapshot;
mod sources;
mod spill;
mod sql;
mod tables;

#[cfg(test)]
mod conformance;
#[cfg(test)]
#[path = "../../tests/servers/s3.rs"]
pub(crate) mod s3;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::catalog::{Field, Source};
use crate::clock::Micros;
use crate::error::ErrorKind;

pub use delta::{DeltaTables, DeltaWriter, WholeTable};
pub use file::{ParquetFile, ParquetRows, ParquetWriter, read_parquet, write_parquet};
pub use memory::MemoryTables;
pub use object_stores::{Bucket, BucketLogin, ObjectStores};
pub use parquet::ParquetTables;
pub use postgres::PostgresTables;
pub use reads::{Read, Reads};
pub use snapshot::{FilePart, KnownBy, Part, Snapshot};
pub use sources::StoredSources;
pub use tables::{NewRows, Table, TableFile, Tables};

/// What to read of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// The columns, with the types they are read as; a column of another type is cast exactly or refused
    /// (see [`crate::cast::exactly`]).
    pub columns: Vec<Field>,
    /// Only rows with `from <= event time`.
    pub from: Option<Micros>,
    /// Only rows with `event time <= until`.
    pub until: Option<Micros>,
    /// Only rows that were written by then, `created time <= known_at`; those without a created time always were.
    pub known_at: Option<Micros>,
    /// Only rows of these entities.
    pub keys: Option<KeyFilter>,
    /// The source as it was then, not as it is now.
    pub at: Option<Snapshot>,
}

/// Some entities: column `n` of `values` has the values of join key `n`, one row an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFilter {
    pub join_keys: Vec<Field>,
    pub values: Vec<ArrayRef>,
}

impl Scan {
    /// All rows, these columns of them.
    pub fn of(columns: Vec<Field>) -> Self {
        Self { columns, ..Self::default() }
    }
}

/// What can be done to a stored table that leaves its rows as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Many small files become few large ones.
    Compact,
    /// Files go that no version younger than this needs.
    Vacuum { keep: Duration },
}

/// What maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Maintained {
    pub files_before: u64,
    pub files_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Batches of a scan: `columns` in order, then `event_time` (timestamp µs UTC, never null), then `created_time`
/// (the same, null where the source has none). The last two go by position; a feature may have their names.
pub type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// The name under which a scan answers the source's event time.
pub const EVENT_TIME: &str = "event_time";
/// The name under which a scan answers the source's created time.
pub const CREATED_TIME: &str = "created_time";

/// The history of feature rows, by source.
///
/// # Contract
/// - `scan` answers rows in source order: files by path, rows as they stand, and for a sql source as the query yields
///   them; twice the same scan of the same files gives the same rows in the same order. A row without an event time is
///   left out. A time range filters what a sql source yields, never what it reads: a window keeps its earlier rows.
/// - `schema` answers the source's own columns and types.
/// - A push source to which nothing was pushed has no columns and no rows.
/// - `snapshot` says what a scan would read now; a scan `at` a snapshot reads those very rows, or fails. PostgreSQL keeps
///   no past: there it reads what is there now, and fails only if the database is another one.
/// - `append` and `upsert` are whole or not at all, durable when they return, and idempotent by `batch_id`: the same id
///   again changes nothing. They write to stored sources and push sources; `append` makes a table that is not there.
/// - `upsert` replaces rows of the same `keys` and event time.
/// - `explain` says in DataFusion's words how a scan would read.
#[async_trait]
pub trait OfflineStore: fmt::Debug + Send + Sync {
    /// From now on queries over other sources see these.
    fn define(&self, sources: BTreeMap<String, Source>);
    async fn schema(&self, source: &Source) -> Result<SchemaRef, Error>;
    async fn scan(&self, source: &Source, scan: &Scan) -> Result<Rows, Error>;
    async fn snapshot(&self, source: &Source, files: KnownBy) -> Result<Snapshot, Error>;
    async fn explain(&self, source: &Source, scan: &Scan) -> Result<String, Error>;
    async fn append(&self, source: &Source, batch_id: &str, rows: &RecordBatch) -> Result<(), Error>;
    async fn upsert(&self, source: &Source, batch_id: &str, keys: &[String], rows: &RecordBatch) -> Result<(), Error>;
    async fn maintain(&self, source: &Source, what: Maintenance) -> Result<Maintained, Error>;
}

/// Why reading or writing offline data failed.
#[derive(Clone, Debug, thiserror::Error)]
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
    #[error("source {source_name} is no longer as it was: {detail}")]
    Changed { source_name: String, detail: String },
    #[error("source {source_name} cannot be reached: {detail}")]
    Unreachable { source_name: String, detail: String },
    #[error("there is not enough room to work on source {source_name}: {detail}")]
    NoRoom { source_name: String, detail: String },
    #[error("there is no file {path}")]
    NoSuchFile { path: String },
    #[error("file {path} cannot be read: {detail}")]
    UnreadableFile { path: String, detail: String },
    #[error("table {path} cannot be made: {detail}")]
    NotMade { path: String, detail: String },
    #[error("writing file {path} failed: {detail}")]
    WriteFile { path: String, detail: String },
}

impl Error {
    fn is_a_query(source: &Source) -> Self {
        let detail = "it is a query; only tables can be written".to_owned();
        Self::NotWritable { source_name: source.name.clone(), detail }
    }

    fn not_kept(source: &Source) -> Self {
        let detail = format!("no store for {} is set up in this gateway", source.kind.name());
        Self::Unreachable { source_name: source.name.clone(), detail }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFile { .. } | Self::NoSuchFile { .. } => ErrorKind::NotFound,
            Self::NoColumn { .. }
            | Self::WrongType { .. }
            | Self::Query { .. }
            | Self::NotWritable { .. }
            | Self::NotMade { .. }
            | Self::Unreadable { .. }
            | Self::UnreadableFile { .. } => ErrorKind::Invalid,
            Self::Changed { .. } => ErrorKind::Conflict,
            Self::Write { .. } | Self::WriteFile { .. } | Self::Unreachable { .. } | Self::NoRoom { .. } => {
                ErrorKind::Unavailable
            }
        }
    }
}
