//! How far each view is synced, and the runs of sync.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Error, Outcome, Registry, SyncRun};
use crate::clock::Micros;
use crate::limits::SYNC_RUNS_KEPT;

impl Registry {
    /// The end of the latest range that was synced completely; nothing before the first.
    pub async fn progress(&self, view: &str) -> Result<Option<Micros>, Error> {
        let until = sqlx::query_scalar("SELECT synced_until FROM sync_progress WHERE view = ?").bind(view);
        until.fetch_optional(&self.pool).await.map_err(|error| self.describe("reading sync progress", error))
    }

    /// A sync up to `until` is complete. Progress never goes back: a sync of an older range leaves it where it is.
    pub async fn set_progress(&self, view: &str, until: Micros) -> Result<(), Error> {
        let set = sqlx::query(
            "INSERT INTO sync_progress (view, synced_until) VALUES (?, ?)
             ON CONFLICT (view) DO UPDATE SET synced_until = max(synced_until, excluded.synced_until)",
        );
        let done = set.bind(view).bind(until).execute(&self.pool).await;
        done.map(|_| ()).map_err(|error| self.describe("writing sync progress", error))
    }

    /// Remembers a run; of each view the last [`SYNC_RUNS_KEPT`] are kept.
    pub async fn record_run(&self, run: &SyncRun) -> Result<(), Error> {
        self.insert_run(run).await.map_err(|error| self.describe("recording a run of sync", error))
    }

    /// The last `limit` runs, of one view or of all, newest first.
    pub async fn runs(&self, view: Option<&str>, limit: u32) -> Result<Vec<SyncRun>, Error> {
        let reading = |error| self.describe("reading the runs of sync", error);
        let runs = sqlx::query("SELECT * FROM sync_runs WHERE ?1 IS NULL OR view = ?1 ORDER BY id DESC LIMIT ?2");
        let rows = runs.bind(view).bind(limit).fetch_all(&self.pool).await.map_err(reading)?;
        rows.iter().map(|row| run_of(row).map_err(reading)).collect()
    }

    async fn insert_run(&self, run: &SyncRun) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let failure = match &run.outcome {
            Outcome::Finished => None,
            Outcome::Failed(why) => Some(why),
        };
        let insert = sqlx::query(
            "INSERT INTO sync_runs (view, range, started_at, seconds, rows_read, rows_latest, rows_written, rows_older,
                                    rows_without_key, failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let mut insert = insert.bind(&run.view).bind(&run.range).bind(run.started_at).bind(run.seconds);
        for count in [run.rows_read, run.rows_latest, run.rows_written, run.rows_older, run.rows_without_key] {
            insert = insert.bind(i64::try_from(count).unwrap_or(i64::MAX));
        }
        insert.bind(failure).execute(&mut *transaction).await?;
        let forget = sqlx::query(
            "DELETE FROM sync_runs WHERE view = ?1 AND id <=
                 (SELECT id FROM sync_runs WHERE view = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        );
        forget.bind(&run.view).bind(SYNC_RUNS_KEPT).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

fn run_of(row: &SqliteRow) -> Result<SyncRun, sqlx::Error> {
    let count = |column| row.try_get::<i64, &str>(column).map(i64::unsigned_abs);
    Ok(SyncRun {
        view: row.try_get("view")?,
        range: row.try_get("range")?,
        started_at: row.try_get("started_at")?,
        seconds: row.try_get("seconds")?,
        rows_read: count("rows_read")?,
        rows_latest: count("rows_latest")?,
        rows_written: count("rows_written")?,
        rows_older: count("rows_older")?,
        rows_without_key: count("rows_without_key")?,
        outcome: row.try_get::<Option<String>, _>("failure")?.map_or(Outcome::Finished, Outcome::Failed),
    })
}
