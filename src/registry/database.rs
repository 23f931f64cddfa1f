//! The SQLite file: opened, brought to the current format, and its errors in the user's words.

use std::path::Path;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Error, Registry};
use crate::limits::{REGISTRY_BUSY_TIMEOUT, REGISTRY_CONNECTIONS_MAX};

/// The steps from an empty file to the current format. The format of a file, its `user_version`, is how many were done.
const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
    include_str!("migrations/6.sql"),
];

impl Registry {
    /// Opens the registry at `path`, or makes it; its folder must be there.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(REGISTRY_BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(REGISTRY_CONNECTIONS_MAX)
            .acquire_timeout(REGISTRY_BUSY_TIMEOUT)
            .connect_lazy_with(options);
        Self::over(pool, path.display().to_string()).await
    }

    /// A registry that is gone with the value; for tests.
    pub async fn in_memory() -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        // The data lives in the one connection, which must never be replaced.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(REGISTRY_BUSY_TIMEOUT)
            .connect_lazy_with(options);
        Self::over(pool, "in memory".to_owned()).await
    }

    pub(super) async fn over(pool: SqlitePool, path: String) -> Result<Self, Error> {
        let registry = Self { pool, path };
        registry.migrate().await?;
        Ok(registry)
    }

    /// Brings the file to the current format; a file of someone else, or of a newer version, is refused.
    async fn migrate(&self) -> Result<(), Error> {
        let opening = |error| match self.describe("opening", error) {
            Error::Store { detail, .. } => Error::Open { path: self.path.clone(), detail },
            other => other,
        };
        let known = MIGRATIONS.len() as i64;
        let format = sqlx::query_scalar("PRAGMA user_version").fetch_one(&self.pool);
        match format.await.map_err(opening)? {
            format if format == known => Ok(()),
            format if !(0..known).contains(&format) => {
                Err(Error::NewerFormat { path: self.path.clone(), format, known })
            }
            _ if self.run_migrations().await.map_err(opening)? => Ok(()),
            _ => Err(self.damaged("it is a database, but not one of Lockstep")),
        }
    }

    /// Does all steps that are missing, in one transaction; a second process that opens the file waits and finds none
    /// missing. False where the file has tables of someone else.
    async fn run_migrations(&self) -> Result<bool, sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction).await?;
        if format == 0 && tables > 0 {
            return Ok(false);
        }
        let Some(missing) = usize::try_from(format).ok().and_then(|done| MIGRATIONS.get(done..)) else {
            return Ok(true);
        };
        for step in missing {
            sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        }
        // A pragma takes no bound values; this one is a number of ours.
        let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", MIGRATIONS.len()));
        sqlx::raw_sql(mark).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The same error in the user's words.
    pub(super) fn describe(&self, doing: &'static str, error: sqlx::Error) -> Error {
        let path = self.path.clone();
        match (&error, primary_code(&error)) {
            // SQLITE_BUSY, SQLITE_LOCKED
            (sqlx::Error::PoolTimedOut, _) | (_, Some(5 | 6)) => Error::Busy { path },
            // SQLITE_CORRUPT, SQLITE_NOTADB
            (_, Some(11 | 26)) => Error::Damaged { path, detail: error.to_string() },
            // SQLITE_FULL
            (_, Some(13)) => Error::Full { path },
            (sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_), _) => {
                Error::Damaged { path, detail: error.to_string() }
            }
            _ => Error::Store { doing, detail: format!("{path}: {error}") },
        }
    }

    pub(super) fn damaged(&self, detail: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), detail: detail.into() }
    }
}

/// SQLite's result code (<https://www.sqlite.org/rescode.html>) without what it adds in the higher bytes.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<i64>().ok()? & 0xff)
}
