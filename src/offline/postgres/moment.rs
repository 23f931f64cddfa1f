//! One moment of a database: a snapshot in which any number of scans read the same rows.
//!
//! The connection that took the snapshot is the first to scan in it. A second scan at the same time (a table joined with
//! itself) takes another connection and begins in the exported snapshot, as `pg_dump` does with several jobs.

use std::sync::{Arc, Mutex, PoisonError};

use super::failure::Failure;
use super::pool::{Lease, Pool};
use super::sql;

#[derive(Debug)]
pub(super) struct Moment {
    pool: Arc<Pool>,
    /// As `pg_current_snapshot` says it: the first transaction that was open, the next one to come, those open between.
    pub transaction: String,
    exported: String,
    /// A connection in the snapshot that nobody uses just now.
    spare: Mutex<Option<Lease>>,
}

impl Moment {
    /// The present of the database. What is read in it first is up to the caller, on the connection that is given too.
    pub async fn begin(pool: &Arc<Pool>) -> Result<(Self, Lease), Failure> {
        let mut lease = pool.begin(&begin(pool, None)).await?;
        let rows = lease.query("SELECT pg_current_snapshot()::text, pg_export_snapshot()", &[]).await?;
        let row = rows.first().ok_or_else(|| Failure::lost(pool.settings(), "it has no present"))?;
        let text = |column| row.try_get(column).map_err(|error| Failure::of(pool.settings(), &error));
        let (transaction, exported) = (text(0)?, text(1)?);
        Ok((Self { pool: Arc::clone(pool), transaction, exported, spare: Mutex::default() }, lease))
    }

    /// A connection in the snapshot.
    pub async fn lease(&self) -> Result<Lease, Failure> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        match spare {
            Some(lease) => Ok(lease),
            None => self.pool.begin(&begin(&self.pool, Some(&self.exported))).await,
        }
    }

    /// Keeps a connection of [`Moment::lease`] for the next one who asks, and with it the snapshot.
    pub fn keep(&self, lease: Lease) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            *spare = Some(lease);
        }
    }

    /// Whether `before`, a [`Moment::transaction`], can have been a moment of this database.
    pub fn is_after(&self, before: &str) -> bool {
        match (next_transaction(before), next_transaction(&self.transaction)) {
            (Some(before), Some(now)) => before <= now,
            _ => false,
        }
    }
}

/// Plans that go along the table, whole or through a bitmap, answer rows as they lie in it; plans along an index, with
/// several workers, or that join a scan already under way would answer them in an order of the moment.
fn begin(pool: &Pool, snapshot: Option<&str>) -> String {
    let import = snapshot.map(|snapshot| format!("SET TRANSACTION SNAPSHOT {};", sql::text(snapshot)));
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\
         {}\
         SET LOCAL standard_conforming_strings = on;\
         SET LOCAL enable_indexscan = off;\
         SET LOCAL enable_indexonlyscan = off;\
         SET LOCAL max_parallel_workers_per_gather = 0;\
         SET LOCAL synchronize_seqscans = off;\
         SET LOCAL statement_timeout = {}",
        import.unwrap_or_default(),
        pool.settings().statement_timeout.as_millis()
    )
}

fn next_transaction(snapshot: &str) -> Option<u64> {
    snapshot.split(':').nth(1)?.parse().ok()
}
