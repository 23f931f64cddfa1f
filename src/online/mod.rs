//! The online port: the newest value of each feature, by entity key.
//!
//! Serving reads through it, sync and ingest write through it. It knows views as tables of typed columns and keys as
//! bytes; it knows nothing of definitions, plans, plugins or wires.

pub mod cache;
pub mod embedded;
pub mod guarded;
pub mod memory;
mod packed;
mod scan;

pub mod redis;

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod samples;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::buffer::BooleanBuffer;
use async_trait::async_trait;

use crate::batch::{FeatureRows, KeyBatch, StoredRows};
use crate::catalog::{Digest, Field};
use crate::clock::{Deadline, Micros};
use crate::error::ErrorKind;

pub use scan::{Cursor, RowPage};

/// A view as the online store sees it: a feature view, or a derived view placed at sync.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineView {
    pub name: String,
    /// Whose features these are, by name; layouts that other programs read build their keys of it.
    pub entities: Vec<String>,
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

/// Whether a store can be used now, and what its operator should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// What the store is and where, as a person would say it.
    pub store: String,
    /// Facts by name: version, mode, nodes, memory.
    pub facts: Vec<(String, String)>,
    /// What may lose or refuse data as the store is set up now, with the setting that would change it.
    pub warnings: Vec<String>,
}

/// What the store holds of one view, tombstones left out.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ViewStatistics {
    pub view: String,
    pub keys: u64,
    /// Keys whose rows were looked at; everything below is of these.
    pub sampled: u64,
    /// Bytes that the store keeps of these rows, keys included.
    pub bytes: u64,
    pub oldest_event_time: Option<Micros>,
    pub newest_event_time: Option<Micros>,
    /// Rows that have a value, by feature, in the view's order.
    pub values: Vec<(String, u64)>,
}

/// Hears which rows of a store change, whoever changes them.
///
/// Nothing is known before the first `watching` and after a `lost`: what was remembered until then must be forgotten.
pub trait ChangeListener: fmt::Debug + Send + Sync {
    /// From now on every change is told.
    fn watching(&self);
    /// Changes may be missed from now on.
    fn lost(&self);
    /// The row with this encoded key (see [`KeyBatch`]) has changed or is about to.
    fn changed(&self, view: &str, key: &[u8]);
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
/// - `write` keeps, per key, the row with the later (event time, created time); an older row is counted, not written.
///   Of two rows that tie and that both came from a stream, the one with the later (partition, offset) wins; of other
///   ties the one that comes later. So any order and any repetition of a stream's events end in the same state.
/// - A row is written whole or not at all. A batch that does not fit its view changes nothing; a call that fails
///   otherwise may have written some of its rows, and writing the batch again completes it. What is acknowledged is as
///   durable as the store is.
/// - A tombstone is a row like any other, only that its key is absent for readers: what is older stays away.
/// - `progress` is an offset up to which every event of a partition that was written to the view is there, with its
///   effects; none where nothing is known of the partition. It never runs ahead of the rows, whatever fails.
/// - `scan` goes through the rows of a view in an order of the store's own; the first page comes without a cursor. A row
///   that is there from the first page to the last is among them, in a version that it had meanwhile; a row may come
///   twice. What readers would not find is left out, and so are rows that say no event time.
/// - All are bounded by the caller's `deadline`.
#[async_trait]
pub trait OnlineStore: fmt::Debug + Send + Sync {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error>;

    /// As `read`; but where a part of the store cannot be reached, its rows are `unreachable` and the others answered.
    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        match self.read(reads, deadline).await {
            Err(error) if error.is_outage() => Ok(reads.iter().map(Read::unreachable).collect()),
            answer => answer,
        }
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error>;

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error>;

    async fn health(&self, deadline: Deadline) -> Result<Health, Error>;

    /// One for each asked view, in order. Reads much of the store: for operators, not for requests.
    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error>;

    /// One page of the rows of a view, of some thousands. For operators, not for requests.
    async fn scan(&self, view: &Arc<OnlineView>, cursor: Option<&Cursor>, deadline: Deadline)
    -> Result<RowPage, Error>;

    /// Tells `listener` of every change of the rows of `views` that another process makes, until it is dropped. A store
    /// that belongs to this process alone has nothing to tell, and says `watching` once.
    fn watch(&self, views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>);
}

impl Read<'_> {
    /// The answer where nothing can be known.
    pub fn unreachable(&self) -> StoredRows {
        let features: Vec<Field> = self.columns.iter().map(|&column| self.view.features[column].clone()).collect();
        let rows = self.keys.rows();
        StoredRows { unreachable: Some(BooleanBuffer::new_set(rows)), ..StoredRows::absent(&features, rows) }
    }
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
    #[error("the online store at {server} cannot be reached ({detail}); see that Redis runs there")]
    Unreachable { server: String, detail: String },
    #[error(
        "the online store at {server} is a replica and takes no writes; let addresses name the primary, or use mode sentinel or cluster"
    )]
    ReadOnly { server: String },
    #[error(
        "the online store at {server} has reached its maxmemory; raise it, or set expire_after; what is written stays"
    )]
    OutOfMemory { server: String },
    #[error("the online store at {server} is busy with a script that does not end; SCRIPT KILL there ends it")]
    Busy { server: String },
    #[error("the online store at {server} has just started and still loads its data; ask again")]
    Loading { server: String },
    #[error("the online store at {server} takes no writes: it has fewer replicas than min-replicas-to-write wants")]
    TooFewReplicas { server: String },
    #[error("the online store's cluster cannot serve all keys, says {server} ({detail}); see CLUSTER INFO there")]
    ClusterDown { server: String, detail: String },
    #[error(
        "the online store at {server} refuses the login ({detail}); correct username and password in lockstep.yaml"
    )]
    LoginRefused { server: String, detail: String },
    #[error(
        "the user of the online store at {server} lacks a permission ({detail}); docs/redis.md lists those it needs"
    )]
    NotAllowed { server: String, detail: String },
    #[error(
        "while {doing}, a key of the online store at {server} held another program's value; set another prefix or database"
    )]
    WrongType { server: String, doing: &'static str },
    #[error(
        "key {key} of {view} holds something that is no row of this version of Lockstep; remove it, or set another prefix or database"
    )]
    ForeignValue { view: String, key: String },
    #[error(
        "database {database} of {server} holds {keys} keys that are not Lockstep's; use another database, or say shared: true in lockstep.yaml"
    )]
    ForeignDatabase { server: String, database: u32, keys: u64 },
    #[error("the online store at {server} belongs to something else: {detail}; use another prefix or database")]
    OtherStore { server: String, detail: String },
    #[error("the online store cannot be set up: {detail}")]
    Setup { detail: String },
    #[error("the online store failed while {doing}: {detail}")]
    Store { doing: &'static str, detail: String },
    #[error(
        "the online store {store} has not answered for {}; it is asked again in {}",
        seconds(since),
        seconds(again)
    )]
    Down { store: &'static str, since: Duration, again: Duration },
    #[error("the online store {store} did not answer within {}", seconds(waited))]
    Silent { store: &'static str, waited: Duration },
    #[error("the online store {store} has {under_way} calls under way and more waiting; ask again later")]
    Crowded { store: &'static str, under_way: usize },
}

impl Error {
    /// Whether the store cannot answer now and may later, so that partial answers go on without it.
    pub fn is_outage(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Late | ErrorKind::Exhausted)
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. }
            | Self::NewerFormat { .. }
            | Self::WrongType { .. }
            | Self::ForeignValue { .. }
            | Self::ForeignDatabase { .. }
            | Self::OtherStore { .. } => ErrorKind::Conflict,
            Self::Late => ErrorKind::Late,
            Self::Full { .. }
            | Self::Unreachable { .. }
            | Self::ReadOnly { .. }
            | Self::OutOfMemory { .. }
            | Self::Busy { .. }
            | Self::Loading { .. }
            | Self::TooFewReplicas { .. }
            | Self::ClusterDown { .. }
            | Self::LoginRefused { .. }
            | Self::NotAllowed { .. }
            | Self::Store { .. }
            | Self::Down { .. }
            | Self::Silent { .. } => ErrorKind::Unavailable,
            Self::Crowded { .. } => ErrorKind::Exhausted,
            Self::Damaged { .. } | Self::DamagedFile { .. } => ErrorKind::Internal,
            Self::Unstorable { .. } | Self::Setup { .. } => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}

fn seconds(time: &Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
