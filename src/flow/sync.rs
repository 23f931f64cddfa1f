//! Offline rows become online rows.

use super::Error;
use crate::clock::Micros;
use crate::gateway::Gateway;

/// Which rows of the source to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Full,
    /// Both ends inclusive.
    Between {
        from: Micros,
        until: Micros,
    },
    /// From where the last sync ended; with no sync before, from `until − ttl`, or from the beginning without a ttl.
    Incremental {
        until: Micros,
    },
}

/// How far a sync is; told after each batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rows_read: u64,
    pub rows_written: u64,
}

/// What a sync of one view did.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Synced {
    pub view: String,
    pub rows_read: u64,
    /// Rows that are the newest of their key within the range.
    pub rows_latest: u64,
    pub rows_written: u64,
    /// Rows that the online store had in a newer version already.
    pub rows_older: u64,
    /// Rows with a null join key.
    pub rows_without_key: u64,
    pub derived_views: Vec<String>,
    pub seconds: f64,
}

/// Brings one feature view, and the derived views placed at sync that read it, to the online store.
pub async fn sync(
    gateway: &Gateway,
    view: &str,
    range: Range,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Synced, Error> {
    let _ = (gateway, view, range, tell);
    todo!()
}

/// The feature views that `sync` is for: online, and not only pushed to.
pub fn syncable_views(gateway: &Gateway) -> Vec<String> {
    let _ = gateway;
    todo!()
}
