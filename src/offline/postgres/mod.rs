//! Tables of PostgreSQL databases, read and written by their binary COPY.
//!
//! A table that is opened is read at one moment: its columns and every scan see one snapshot (`REPEATABLE READ, READ
//! ONLY`), whatever others write meanwhile. Projection, time range, keys and limits are asked of the server.
//!
//! # Order
//! A table of SQL has none, so [`Stored::keeps_order`] says no; where rows may tie on event time, give the source a
//! `created_time`. Twice the same scan of the same table still answers the same order: rows are read as they lie in the
//! table, which is the order in which they came for one that only grows (see [`moment`]). A view answers as its query
//! says.
//!
//! # The past
//! PostgreSQL keeps none. A [`Part::Postgres`] names the snapshot that was read; opening it again reads the present, and
//! whoever needs the very same rows compares digests of them, as a manifest of a training set does. It is refused where
//! it cannot be: when the database has come to fewer transactions than it had then, it is another one, or was set back.
//!
//! # Why not `postgres-types` for the values
//! Its types are made one value at a time; rows here go from the socket into columns and back.

mod settings;
mod table;
mod write;

mod columns;
mod connection;
mod decode;
mod encode;
mod failure;
mod filter;
mod moment;
mod numeric;
mod pool;
mod sql;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::failure::Failure;
use self::moment::Moment;
use self::pool::Pool;
use self::table::PostgresTable;
use self::write::Writing;
use super::tables::{NewRows, Table, Tables};
use super::{Error, KnownBy, Maintained, Maintenance, Part};
use crate::catalog::Stored;

pub use crate::tls::{Tls, TlsClient};
pub use settings::Settings;

/// The tables of some databases.
#[derive(Debug)]
pub struct PostgresTables {
    databases: BTreeMap<String, Arc<Pool>>,
}

/// Where one table is.
struct Place<'a> {
    pool: &'a Arc<Pool>,
    schema: &'a str,
    table: &'a str,
}

impl PostgresTables {
    /// No connection is made before one is wanted.
    pub fn new(databases: impl IntoIterator<Item = Settings>) -> Self {
        let pool = |settings: Settings| (settings.name.clone(), Arc::new(Pool::new(settings)));
        Self { databases: databases.into_iter().map(pool).collect() }
    }

    fn place<'a>(&'a self, name: &str, stored: &'a Stored) -> Result<Place<'a>, Error> {
        let refused = |detail| Error::Unreadable { source_name: name.to_owned(), detail };
        let Stored::Postgres { connection, schema, table } = stored else {
            return Err(refused(format!("{stored} is no table of PostgreSQL")));
        };
        match self.databases.get(connection) {
            Some(pool) => Ok(Place { pool, schema, table }),
            None => {
                let known: Vec<&str> = self.databases.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(refused(format!("lockstep.yaml names no database {connection} under postgres; it names {known}")))
            }
        }
    }

    /// The table as it is now, and which moment that is.
    async fn opened(&self, name: &str, stored: &Stored, part: Option<&Part>) -> Result<Option<(Table, Part)>, Error> {
        let Place { pool, schema, table } = self.place(name, stored)?;
        let reading = |failure: Failure| failure.reading(name);
        let (moment, mut lease) = Moment::begin(pool).await.map_err(reading)?;
        let was = match part {
            Some(Part::Postgres { transaction }) => Some(transaction),
            None => None,
            Some(_) => {
                let detail = format!("it was not in {} when this was recorded", pool.settings().place());
                return Err(Error::Changed { source_name: name.to_owned(), detail });
            }
        };
        if let Some(was) = was.filter(|was| !moment.is_after(was)) {
            let detail = format!(
                "{} is at transaction {} and was at {was} when this was recorded; it is another database, or was set \
                 back",
                pool.settings().place(),
                moment.transaction
            );
            return Err(Error::Changed { source_name: name.to_owned(), detail });
        }
        let columns = columns::of(&mut lease, schema, table).await.map_err(reading)?;
        if columns.is_empty() {
            return Ok(None);
        }
        moment.keep(lease);
        let part = Part::Postgres { transaction: moment.transaction.clone() };
        let provider = PostgresTable::new(name, sql::table(schema, table), columns, Arc::new(moment));
        Ok(Some((Table { provider: Arc::new(provider), files: Vec::new() }, part)))
    }
}

#[async_trait]
impl Tables for PostgresTables {
    fn keeps(&self, stored: &Stored) -> bool {
        matches!(stored, Stored::Postgres { .. })
    }

    async fn open(&self, name: &str, stored: &Stored, part: Option<&Part>) -> Result<Option<Table>, Error> {
        Ok(self.opened(name, stored, part).await?.map(|(table, _)| table))
    }

    async fn snapshot(&self, name: &str, stored: &Stored, _: KnownBy) -> Result<Option<Part>, Error> {
        Ok(self.opened(name, stored, None).await?.map(|(_, part)| part))
    }

    async fn write(&self, name: &str, stored: &Stored, new: NewRows<'_>) -> Result<(), Error> {
        let Place { pool, schema, table } = self.place(name, stored)?;
        let NewRows { batch_id, rows, keys } = new;
        Writing { source: name, schema, table, batch_id, rows, keys }.run(pool).await
    }

    async fn maintain(&self, name: &str, stored: &Stored, what: Maintenance) -> Result<Maintained, Error> {
        let Place { pool, schema, table } = self.place(name, stored)?;
        let refused = |detail: &str| Error::NotWritable { source_name: name.to_owned(), detail: detail.to_owned() };
        match what {
            Maintenance::Compact => {}
            Maintenance::Vacuum { .. } => {
                return Err(refused("PostgreSQL keeps no old versions of a table that could be removed"));
            }
        }
        let writing = |failure: Failure| failure.writing(name);
        let before = size(pool, schema, table).await.map_err(writing)?;
        let Some((before, is_ours)) = before else {
            return Err(refused("there is no such table; views and foreign tables cannot be compacted"));
        };
        if !is_ours {
            // PostgreSQL would skip it and say nothing that anybody hears.
            return Err(refused("only the owner of the table can compact it"));
        }
        vacuum(pool, schema, table).await.map_err(writing)?;
        let after = size(pool, schema, table).await.map_err(writing)?.map_or(before, |(bytes, _)| bytes);
        Ok(Maintained { files_before: 1, files_after: 1, bytes_before: before, bytes_after: after })
    }
}

/// Bytes of a table with its indexes, and whether we may compact it.
async fn size(pool: &Arc<Pool>, schema: &str, table: &str) -> Result<Option<(u64, bool)>, Failure> {
    let mut lease = pool.begin("BEGIN READ ONLY").await?;
    let size = "SELECT pg_total_relation_size(c.oid), pg_has_role(c.relowner, 'USAGE')
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'm')";
    let rows = lease.query(size, &[schema, table]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let unexpected = |error: tokio_postgres::Error| Failure::of(pool.settings(), &error);
    let bytes: i64 = row.try_get(0).map_err(unexpected)?;
    Ok(Some((u64::try_from(bytes).unwrap_or_default(), row.try_get(1).map_err(unexpected)?)))
}

/// Takes out dead rows and counts anew what the planner wants to know.
async fn vacuum(pool: &Arc<Pool>, schema: &str, table: &str) -> Result<(), Failure> {
    let (mut lease, _) = pool.lease().await?;
    lease.run_alone(&format!("SET statement_timeout = {}", pool.settings().statement_timeout.as_millis())).await?;
    let done = lease.run_alone(&format!("VACUUM (ANALYZE) {}", sql::table(schema, table))).await;
    lease.run_alone("RESET statement_timeout").await?;
    done
}

#[cfg(test)]
mod tests;
