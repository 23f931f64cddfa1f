//! How far each view is synced, and the runs of sync.

use std::collections::BTreeMap;

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

    /// The progress of all that was ever synced.
    pub async fn all_progress(&self) -> Result<BTreeMap<String, Micros>, Error> {
        let all = sqlx::query_as::<_, (String, Micros)>("SELECT view, synced_until FROM sync_progress");
        let all = all.fetch_all(&self.pool).await.map_err(|error| self.describe("reading sync progress", error))?;
        Ok(all.into_iter().collect())
    }

    /// By view, the latest event time that any run brought, and the share of values that are not null of the last run
    /// that brought some.
    pub async fn freshness(&self) -> Result<BTreeMap<String, (Micros, f64)>, Error> {
        let all = sqlx::query_as::<_, (String, Micros, f64)>("SELECT * FROM view_freshness");
        let all =
            all.fetch_all(&self.pool).await.map_err(|error| self.describe("reading the freshness of views", error))?;
        Ok(all.into_iter().map(|(view, newest, coverage)| (view, (newest, coverage))).collect())
    }

    /// Remembers a run; of each view the last [`SYNC_RUNS_KEPT`] are kept.
    pub async fn record_run(&self, run: &SyncRun) -> Result<(), Error> {
        self.insert_run(run).await.map_err(|error| self.describe("recording a run of sync", error))
    }

    /// The last `limit` runs, of one view or of all, newest first.
    pub async fn runs(&self, view: Option<&str>, limit: u32) -> Result<Vec<SyncRun>, Error> {
        let reading = |error| self.describe("reading the runs of sync", error);
        // By name: of a table that a migration has just changed, a connection that is open already has an older idea.
        let runs = sqlx::query(
            "SELECT view, range, range_from, range_until, started_at, seconds, newest_event_time, nulls, snapshot, stopped,
                    failure, rows_read, rows_latest, rows_written, rows_older, rows_without_key, rows_in_future,
                    rows_failed, rows_reused, rows_read_again, bytes_written, bytes_spooled, rows_quarantined, expectations
             FROM sync_runs WHERE ?1 IS NULL OR view = ?1 ORDER BY id DESC LIMIT ?2",
        );
        let rows = runs.bind(view).bind(limit).fetch_all(&self.pool).await.map_err(reading)?;
        rows.iter().map(|row| run_of(row).map_err(reading)).collect()
    }

    async fn insert_run(&self, run: &SyncRun) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let (stopped, failure) = match &run.outcome {
            Outcome::Finished => (false, None),
            Outcome::Stopped => (true, None),
            Outcome::Failed(why) => (false, Some(why)),
        };
        let insert = sqlx::query(
            "INSERT INTO sync_runs (view, range, range_from, range_until, started_at, seconds, newest_event_time, nulls,
                                    snapshot, stopped, failure, rows_read, rows_latest, rows_written, rows_older,
                                    rows_without_key, rows_in_future, rows_failed, rows_reused, rows_read_again,
                                    bytes_written, bytes_spooled, rows_quarantined, expectations)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let nulls =
            serde_json::Value::from_iter(run.nulls.iter().map(|(feature, rows)| serde_json::json!([feature, rows])));
        let mut insert = insert.bind(&run.view).bind(&run.range).bind(run.from).bind(run.until);
        insert = insert.bind(run.started_at).bind(run.seconds).bind(run.newest_event_time).bind(nulls.to_string());
        insert = insert.bind(&run.snapshot).bind(stopped).bind(failure);
        for count in [
            run.rows_read,
            run.rows_latest,
            run.rows_written,
            run.rows_older,
            run.rows_without_key,
            run.rows_in_future,
            run.rows_failed,
            run.rows_reused,
            run.rows_read_again,
            run.bytes_written,
            run.bytes_spooled,
            run.rows_quarantined,
        ] {
            insert = insert.bind(i64::try_from(count).unwrap_or(i64::MAX));
        }
        insert = insert.bind(&run.expectations);
        insert.execute(&mut *transaction).await?;
        if let (Some(newest), Some(coverage)) = (run.newest_event_time, run.coverage()) {
            let keep = sqlx::query(
                "INSERT INTO view_freshness (view, newest_event_time, coverage) VALUES (?, ?, ?)
                 ON CONFLICT (view) DO UPDATE SET coverage = excluded.coverage,
                 newest_event_time = max(newest_event_time, excluded.newest_event_time)",
            );
            keep.bind(&run.view).bind(newest).bind(coverage).execute(&mut *transaction).await?;
        }
        let forget = sqlx::query(
            "DELETE FROM sync_runs WHERE view = ?1 AND id <=
                 (SELECT id FROM sync_runs WHERE view = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        );
        forget.bind(&run.view).bind(SYNC_RUNS_KEPT).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

impl SyncRun {
    /// Of the values of the rows that count, the share that is not null; none where there are no values.
    fn coverage(&self) -> Option<f64> {
        let values = self.rows_latest * self.nulls.len() as u64;
        let nulls: u64 = self.nulls.iter().map(|(_, rows)| rows).sum();
        (values > 0).then(|| 1.0 - nulls as f64 / values as f64)
    }
}

fn run_of(row: &SqliteRow) -> Result<SyncRun, sqlx::Error> {
    let count = |column| row.try_get::<i64, &str>(column).map(i64::unsigned_abs);
    let not_json =
        |error: serde_json::Error| sqlx::Error::ColumnDecode { index: "nulls".to_owned(), source: error.into() };
    let outcome = match (row.try_get::<Option<String>, _>("failure")?, row.try_get::<bool, _>("stopped")?) {
        (Some(why), _) => Outcome::Failed(why),
        (None, true) => Outcome::Stopped,
        (None, false) => Outcome::Finished,
    };
    Ok(SyncRun {
        view: row.try_get("view")?,
        range: row.try_get("range")?,
        from: row.try_get("range_from")?,
        until: row.try_get("range_until")?,
        started_at: row.try_get("started_at")?,
        seconds: row.try_get("seconds")?,
        rows_read: count("rows_read")?,
        rows_latest: count("rows_latest")?,
        rows_written: count("rows_written")?,
        rows_older: count("rows_older")?,
        rows_without_key: count("rows_without_key")?,
        rows_in_future: count("rows_in_future")?,
        rows_failed: count("rows_failed")?,
        rows_reused: count("rows_reused")?,
        rows_read_again: count("rows_read_again")?,
        bytes_written: count("bytes_written")?,
        bytes_spooled: count("bytes_spooled")?,
        newest_event_time: row.try_get("newest_event_time")?,
        nulls: serde_json::from_str(row.try_get::<&str, _>("nulls")?).map_err(not_json)?,
        snapshot: row.try_get("snapshot")?,
        rows_quarantined: count("rows_quarantined")?,
        expectations: row.try_get("expectations")?,
        outcome,
    })
}
