//! Rows that arrive: pushed by callers or read from an event source; online at once, and appended to the history.

use arrow::array::RecordBatch;

use super::Error;
use crate::clock::Deadline;
use crate::events::EventSource;
use crate::gateway::Gateway;

/// Where pushed rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushTo {
    Online,
    Offline,
    OnlineAndOffline,
}

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ingested {
    /// Views that got the rows, derived ones included.
    pub views: Vec<String>,
    pub rows: u64,
    pub rows_older: u64,
    pub rows_appended: u64,
}

/// Rows of a push source go to every feature view that reads it. `rows` has the source's columns under their own names
/// (join keys, features, event time, created time), of types that cast exactly; a missing feature column is null.
pub async fn ingest(
    gateway: &Gateway,
    push_source: &str,
    rows: &RecordBatch,
    to: PushTo,
    deadline: Deadline,
) -> Result<Ingested, Error> {
    let _ = (gateway, push_source, rows, to, deadline);
    todo!()
}

/// Rows go to one feature view's online table and nowhere else (Feast's `write-to-online-store`).
pub async fn write_online(
    gateway: &Gateway,
    view: &str,
    rows: &RecordBatch,
    deadline: Deadline,
) -> Result<Ingested, Error> {
    let _ = (gateway, view, rows, deadline);
    todo!()
}

/// Ingests events until the source ends: rows are stored first, then the position is committed, so a crash in between
/// repeats rows and loses none.
pub async fn follow(
    gateway: &Gateway,
    push_source: &str,
    events: &dyn EventSource,
    to: PushTo,
) -> Result<Ingested, Error> {
    let _ = (gateway, push_source, events, to);
    todo!()
}
