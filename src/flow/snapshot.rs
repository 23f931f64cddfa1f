//! The way back: the online rows of a view become rows of an offline table, once each.
//!
//! A store is gone through page by page, and may give a row twice or in another order the next time. So all rows are put
//! aside first, cut by key into groups, and each group is appended as one batch that is named by the snapshot's id. The
//! same id again finds the same keys in the same group, and the table knows the groups that it has.
//!
//! # Why the number of groups stands in the registry
//! It follows from the number of rows, which may have changed when a snapshot that broke off is made again.

use std::mem;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use serde::Serialize;

use super::Error;
use super::derive::off_the_async_threads;
use super::spool::Spool;
use super::sync::push_rows;
use crate::batch::{FeatureRows, record_batch};
use crate::catalog::{DType, Field, Source};
use crate::clock::Deadline;
use crate::gateway::Gateway;
use crate::limits::{ONLINE_SCAN_DEADLINE, SNAPSHOT_GROUP_ROWS, SYNC_PARTITIONS};
use crate::online::{Cursor, OnlineView};
use crate::pit::{Newest, Ties};
use crate::plan;
use crate::registry::OnlineSnapshot;

/// What a snapshot did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshotted {
    /// The same again adds nothing.
    pub id: String,
    pub view: String,
    pub source: String,
    pub rows: u64,
    /// Batches in which the rows were appended; those that were there already count too.
    pub batches: u32,
}

/// Appends the online rows of `view`, as they are while this runs, to the table of `source`. Without an `id` it is a new
/// snapshot. `tell` hears how many rows were found so far.
pub async fn snapshot(
    gateway: &Gateway,
    view: &str,
    source: &str,
    id: Option<&str>,
    tell: &(dyn Fn(u64) + Send + Sync),
) -> Result<Snapshotted, Error> {
    let applied = gateway.applied.load_full();
    let project = || applied.catalog.project.clone();
    let online = plan::online_views(&applied.catalog).into_iter().find(|online| online.name == view);
    let online = online.ok_or_else(|| plan::Error::UnknownView { view: view.to_owned(), project: project() })?;
    let target = applied.catalog.sources.get(source).ok_or_else(|| Error::UnknownSource(source.to_owned()))?;
    if target.kind.stored().is_none() {
        return Err(Error::Invalid(format!("source {source} is a query; rows can be added to tables only")));
    }
    let id = id.map_or_else(|| format!("{view}-{}", gateway.clock.now()), str::to_owned);

    let spool = put_aside(gateway, &online, tell).await?;
    let rows = spool.pieces().rows();
    let groups = rows.div_ceil(SNAPSHOT_GROUP_ROWS).next_power_of_two().min(SYNC_PARTITIONS as u64) as u32;
    let (view, source) = (view.to_owned(), source.to_owned());
    let asked = OnlineSnapshot { id: id.clone(), view: view.clone(), source: source.clone(), groups };
    let begun = gateway.registry.begin_snapshot(&asked).await?;
    if (&begun.view, &begun.source) != (&view, &source) {
        let message = format!("snapshot {id} is one of {} in {}; give this one another id", begun.view, begun.source);
        return Err(Error::Invalid(message));
    }
    let rows = append(gateway, &online, target, &begun, &spool).await?;
    off_the_async_threads(async move { spool.remove() }).await?;
    Ok(Snapshotted { id, view, source, rows, batches: begun.groups })
}

/// Goes through the store, within the memory of a sync.
async fn put_aside(
    gateway: &Gateway,
    view: &Arc<OnlineView>,
    tell: &(dyn Fn(u64) + Send + Sync),
) -> Result<Spool, Error> {
    let (root, name) = (gateway.syncing.spool.clone(), format!("snapshot.{}", view.name));
    let mut spool = off_the_async_threads(async move {
        // What was left of another one is of no use: the rows are online still.
        for (left, ()) in Spool::left::<()>(&root, &name)? {
            left.remove()?;
        }
        Spool::begin(&root, &name)
    })
    .await?;
    let (mut newest, mut cursor, mut found): (_, Option<Cursor>, u64) = (Newest::default(), None, 0);
    loop {
        let page = gateway.online.scan(view, cursor.as_ref(), Deadline::after(ONLINE_SCAN_DEADLINE)).await?;
        found += page.rows.iter().map(|rows| rows.rows() as u64).sum::<u64>();
        cursor = page.next;
        let (is_last, memory_bytes, of) = (cursor.is_none(), gateway.syncing.memory_bytes, Arc::clone(view));
        let mut kept = mem::take(&mut newest);
        (newest, spool) = off_the_async_threads(async move {
            for rows in page.rows {
                let batch = as_scanned(&of, rows);
                push_rows(&mut kept, &of.join_keys, batch, &Ties::LaterRow)
                    .map_err(|error| Error::Stopped(error.to_string()))?;
            }
            if is_last || kept.bytes() > memory_bytes {
                spool.add(&kept, 0)?;
                kept = Newest::default();
            }
            Ok((kept, spool))
        })
        .await?;
        tell(found);
        if cursor.is_none() {
            return Ok(spool);
        }
        if gateway.syncing.stop.is_asked() {
            return Err(Error::Stopped("the gateway is stopping".to_owned()));
        }
    }
}

/// Appends group after group; returns the rows of all.
async fn append(
    gateway: &Gateway,
    view: &OnlineView,
    target: &Source,
    snapshot: &OnlineSnapshot,
    spool: &Spool,
) -> Result<u64, Error> {
    let partitions_of_group = SYNC_PARTITIONS / (snapshot.groups as usize).clamp(1, SYNC_PARTITIONS);
    let mut appended = 0;
    for (group, first) in (0..SYNC_PARTITIONS).step_by(partitions_of_group).enumerate() {
        let (pieces, join_keys) = (spool.pieces(), view.join_keys.clone());
        let gathered = off_the_async_threads(async move {
            let stopped = |error: arrow::error::ArrowError| Error::Stopped(error.to_string());
            let push = |newest: &mut Newest, batch| push_rows(newest, &join_keys, batch, &Ties::LaterRow).map(|_| ());
            let newest = pieces.partitions(first..first + partitions_of_group, push)?;
            if newest.is_empty() {
                return Ok(None);
            }
            newest.rows(0, newest.len()).map(Some).map_err(stopped)
        });
        let Some(rows) = gathered.await? else { continue };
        let batch_id = format!("online/{}/{}/{group}", snapshot.view, snapshot.id);
        gateway.offline.append(target, &batch_id, &as_stored(view, target, &rows)).await?;
        appended += rows.num_rows() as u64;
    }
    Ok(appended)
}

/// Join keys, features, event time and created time, as a scan of a source gives them.
fn as_scanned(view: &OnlineView, rows: FeatureRows) -> RecordBatch {
    let count = rows.rows();
    let (event_time, created_time): (ArrayRef, ArrayRef) = (Arc::new(rows.event_time), Arc::new(rows.created_time));
    let columns = rows.keys.into_iter().chain(rows.features).chain([event_time, created_time]).collect();
    record_batch(&fields(view, "event_time", Some("created_time")), columns, count)
}

/// The same under the names that the source has for its times; without the created time if it has none.
fn as_stored(view: &OnlineView, target: &Source, rows: &RecordBatch) -> RecordBatch {
    let fields = fields(view, &target.event_time, target.created_time.as_deref());
    record_batch(&fields, rows.columns()[..fields.len()].to_vec(), rows.num_rows())
}

fn fields(view: &OnlineView, event_time: &str, created_time: Option<&str>) -> Vec<Field> {
    let times = [Some(event_time), created_time].into_iter().flatten();
    let times = times.map(|name| Field::new(name, DType::TIMESTAMP));
    let nullable = view.join_keys.iter().chain(&view.features).map(|field| Field { nullable: true, ..field.clone() });
    nullable.chain(times).collect()
}
