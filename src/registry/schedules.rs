//! Who syncs a view by its schedule, and when: leases, which one gateway at a time has, and the time of the next run. And
//! which copies of online rows were begun.
//!
//! The gateways' clocks are compared here, so a lease lasts longer than honest clocks differ.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Error, OnlineSnapshot, Registry, SyncSchedule};
use crate::clock::Micros;

impl Registry {
    /// Takes the lease or, for who has it, makes it last longer; false while another owner has it. One that has run out
    /// is anybody's.
    pub async fn take_lease(&self, name: &str, owner: &str, now: Micros, until: Micros) -> Result<bool, Error> {
        let take = sqlx::query(
            "INSERT INTO leases (name, owner, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
             WHERE owner = excluded.owner OR until <= ?4",
        );
        let taken = take.bind(name).bind(owner).bind(until).bind(now).execute(&self.pool).await;
        Ok(taken.map_err(|error| self.describe("taking a lease", error))?.rows_affected() == 1)
    }

    /// Gives a lease back before its time; one that another owner has stays.
    pub async fn give_lease_back(&self, name: &str, owner: &str) -> Result<(), Error> {
        let give = sqlx::query("DELETE FROM leases WHERE name = ? AND owner = ?").bind(name).bind(owner);
        let given = give.execute(&self.pool).await;
        given.map(|_| ()).map_err(|error| self.describe("giving a lease back", error))
    }

    /// The schedule of every view that ever ran by one.
    pub async fn schedules(&self) -> Result<Vec<SyncSchedule>, Error> {
        let reading = |error| self.describe("reading the schedules of sync", error);
        let rows = sqlx::query("SELECT * FROM sync_schedules ORDER BY view").fetch_all(&self.pool).await;
        rows.map_err(reading)?.iter().map(|row| schedule_of(row).map_err(reading)).collect()
    }

    /// The schedule of one view; none before its first run.
    pub async fn schedule(&self, view: &str) -> Result<Option<SyncSchedule>, Error> {
        let reading = |error| self.describe("reading a schedule of sync", error);
        let row = sqlx::query("SELECT * FROM sync_schedules WHERE view = ?").bind(view);
        let row = row.fetch_optional(&self.pool).await.map_err(reading)?;
        row.map(|row| schedule_of(&row).map_err(reading)).transpose()
    }

    pub async fn set_schedule(&self, schedule: &SyncSchedule) -> Result<(), Error> {
        let set = sqlx::query(
            "INSERT INTO sync_schedules (view, next_at, failures, failure) VALUES (?, ?, ?, ?)
             ON CONFLICT (view) DO UPDATE
             SET next_at = excluded.next_at, failures = excluded.failures, failure = excluded.failure",
        );
        let set = set.bind(&schedule.view).bind(schedule.next_at).bind(schedule.failures).bind(&schedule.failure);
        let done = set.execute(&self.pool).await;
        done.map(|_| ()).map_err(|error| self.describe("writing a schedule of sync", error))
    }
}

impl Registry {
    /// The copy of online rows with this id; the first one to say what it is decides.
    pub async fn begin_snapshot(&self, snapshot: &OnlineSnapshot) -> Result<OnlineSnapshot, Error> {
        let failed = |error| self.describe("recording a snapshot of online rows", error);
        let insert = sqlx::query(
            "INSERT INTO online_snapshots (id, view, source, groups) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        );
        let insert = insert.bind(&snapshot.id).bind(&snapshot.view).bind(&snapshot.source).bind(snapshot.groups);
        insert.execute(&self.pool).await.map_err(failed)?;
        self.snapshot(&snapshot.id).await?.ok_or_else(|| self.damaged("a snapshot is not there after it was recorded"))
    }

    pub async fn snapshot(&self, id: &str) -> Result<Option<OnlineSnapshot>, Error> {
        let failed = |error| self.describe("reading a snapshot of online rows", error);
        let row = sqlx::query("SELECT * FROM online_snapshots WHERE id = ?").bind(id).fetch_optional(&self.pool).await;
        row.map_err(failed)?.map(|row| snapshot_of(&row).map_err(failed)).transpose()
    }
}

fn snapshot_of(row: &SqliteRow) -> Result<OnlineSnapshot, sqlx::Error> {
    Ok(OnlineSnapshot {
        id: row.try_get("id")?,
        view: row.try_get("view")?,
        source: row.try_get("source")?,
        groups: row.try_get("groups")?,
    })
}

fn schedule_of(row: &SqliteRow) -> Result<SyncSchedule, sqlx::Error> {
    Ok(SyncSchedule {
        view: row.try_get("view")?,
        next_at: row.try_get("next_at")?,
        failures: row.try_get("failures")?,
        failure: row.try_get("failure")?,
    })
}
