//! Rows go into a table, whole or not at all, and once: one transaction makes what is missing, marks the batch as
//! written, and copies the rows.
//!
//! The marks stand in `lockstep_batches`, beside the table. A second writer of the same batch waits for the first one at
//! the mark, and finds that there is nothing to do. A writer that lost its connection at the commit does not know
//! whether it was done; the mark does, so it just tries again.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::SinkExt;
use sha2::{Digest, Sha256};

use super::columns::{self, Column};
use super::encode::{Encoder, HEAD, TAIL};
use super::failure::Failure;
use super::pool::{Lease, Pool};
use super::sql;
use crate::limits::{POSTGRES_SEND_BYTES, POSTGRES_WRITE_ATTEMPTS_MAX};
use crate::offline::Error;

/// The table of the marks.
const BATCHES: &str = "lockstep_batches";
/// Rows of an upsert on their way into the table.
const ARRIVING: &str = "lockstep_arriving";

/// Rows for one table.
pub(super) struct Writing<'a> {
    /// The source's name, for errors.
    pub source: &'a str,
    pub schema: &'a str,
    pub table: &'a str,
    pub batch_id: &'a str,
    pub rows: &'a RecordBatch,
    /// The columns that tell rows apart, for rows that take the place of others.
    pub keys: Option<&'a [String]>,
}

/// Why an attempt was in vain.
enum Wrong {
    Server(Failure),
    /// The rows do not fit the table.
    Rows(String),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

impl Writing<'_> {
    pub async fn run(&self, pool: &Arc<Pool>) -> Result<(), Error> {
        let mut attempts = 1;
        loop {
            match self.attempt(pool).await {
                Ok(()) => return Ok(()),
                Err(Wrong::Server(failure)) if failure.may_pass() && attempts < POSTGRES_WRITE_ATTEMPTS_MAX => {
                    attempts += 1;
                }
                Err(Wrong::Server(failure)) => return Err(failure.writing(self.source)),
                Err(Wrong::Rows(detail)) => {
                    return Err(Error::NotWritable { source_name: self.source.to_owned(), detail });
                }
            }
        }
    }

    async fn attempt(&self, pool: &Arc<Pool>) -> Result<(), Wrong> {
        let mut lease = pool.begin(&begin(pool)).await?;
        self.make_batches(&mut lease).await?;
        let columns = self.make_columns(&mut lease).await?;
        if let Some(keys) = self.keys {
            self.make_index(&mut lease, keys).await?;
        }
        if !self.mark(&mut lease).await? {
            return Ok(());
        }
        match self.keys {
            None => self.copy(&mut lease, &columns, &self.target()).await?,
            Some(keys) => self.merge(&mut lease, &columns, keys).await?,
        }
        Ok(lease.commit().await?)
    }

    fn target(&self) -> String {
        sql::table(self.schema, self.table)
    }

    /// Two writers that find something missing make it one after the other.
    async fn alone(&self, lease: &mut Lease) -> Result<(), Failure> {
        let what = format!("lockstep {}", self.schema);
        lease.query("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))", &[&what]).await?;
        Ok(())
    }

    async fn make_batches(&self, lease: &mut Lease) -> Result<(), Failure> {
        let batches = sql::table(self.schema, BATCHES);
        let there = lease.query("SELECT 1 WHERE to_regclass($1) IS NOT NULL", &[&batches]).await?;
        if !there.is_empty() {
            return Ok(());
        }
        self.alone(lease).await?;
        let made = format!(
            "CREATE TABLE IF NOT EXISTS {batches} (table_name text, batch bytea, written_at timestamptz NOT NULL \
             DEFAULT now(), PRIMARY KEY (table_name, batch));
             COMMENT ON TABLE {batches} IS 'Batches that Lockstep has written, by the SHA-256 of their id, so that none \
             is written twice'"
        );
        lease.run(&made).await
    }

    /// The columns of the table that the rows have, in their order. A table or column that is not there is made.
    async fn make_columns(&self, lease: &mut Lease) -> Result<Vec<Column>, Wrong> {
        let mut there = columns::of(lease, self.schema, self.table).await?;
        if self.missing(&there).next().is_some() {
            self.alone(lease).await?;
            there = columns::of(lease, self.schema, self.table).await?;
        }
        let types: Result<Vec<String>, Wrong> = self.missing(&there).map(definition).collect();
        let types = types?;
        if !types.is_empty() {
            let statement = match there.is_empty() {
                true => format!("CREATE TABLE {} ({})", self.target(), types.join(", ")),
                false => {
                    let added: Vec<String> = types.iter().map(|column| format!("ADD COLUMN {column}")).collect();
                    format!("ALTER TABLE {} {}", self.target(), added.join(", "))
                }
            };
            lease.run(&statement).await?;
            if there.is_empty() {
                // Marks of a table of this name that somebody dropped.
                let forget = format!("DELETE FROM {} WHERE table_name = $1", sql::table(self.schema, BATCHES));
                lease.query(&forget, &[self.table]).await?;
            }
            there = columns::of(lease, self.schema, self.table).await?;
        }
        let schema = self.rows.schema_ref();
        let column = |name: &String| there.iter().find(|column| column.name == *name).cloned();
        let columns: Option<Vec<Column>> = schema.fields().iter().map(|field| column(field.name())).collect();
        columns.ok_or_else(|| Wrong::Rows(format!("table {} changed while rows were written", self.target())))
    }

    fn missing<'a>(&'a self, there: &'a [Column]) -> impl Iterator<Item = (&'a str, &'a DataType)> {
        let fields = self.rows.schema_ref().fields().iter();
        let missing = fields.filter(|field| !there.iter().any(|column| column.name == *field.name()));
        missing.map(|field| (field.name().as_str(), field.data_type()))
    }

    /// A unique index over exactly the keys, which the upsert needs to find the rows that are there.
    async fn make_index(&self, lease: &mut Lease, keys: &[String]) -> Result<(), Wrong> {
        let has = |key: &&String| self.rows.schema_ref().field_with_name(key).is_err();
        if let Some(missing) = keys.iter().find(has) {
            return Err(Wrong::Rows(format!("the rows have no column {missing}, which tells them apart")));
        }
        if self.has_index(lease, keys).await? {
            return Ok(());
        }
        self.alone(lease).await?;
        if self.has_index(lease, keys).await? {
            return Ok(());
        }
        let keys = sql::list(keys.iter().map(String::as_str));
        Ok(lease.run(&format!("CREATE UNIQUE INDEX ON {} ({keys}) NULLS NOT DISTINCT", self.target())).await?)
    }

    async fn has_index(&self, lease: &mut Lease, keys: &[String]) -> Result<bool, Failure> {
        let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        let indexes = "
            SELECT 1 FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid AND i.indimmediate
              AND i.indpred IS NULL AND i.indexprs IS NULL
              AND $3 = (SELECT string_agg(a.attname::text, E'\\n' ORDER BY a.attname::text COLLATE \"C\")
                        FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS key (place)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key.place)";
        let found = lease.query(indexes, &[self.schema, self.table, &keys.join("\n")]).await?;
        Ok(!found.is_empty())
    }

    /// Marks the batch as written; whether it was not before.
    async fn mark(&self, lease: &mut Lease) -> Result<bool, Failure> {
        let batch = hex::encode(Sha256::digest(self.batch_id.as_bytes()));
        let mark = format!(
            "INSERT INTO {} (table_name, batch) VALUES ($1, decode($2, 'hex')) ON CONFLICT DO NOTHING RETURNING 1",
            sql::table(self.schema, BATCHES)
        );
        Ok(!lease.query(&mark, &[self.table, &batch]).await?.is_empty())
    }

    async fn copy(&self, lease: &mut Lease, columns: &[Column], into: &str) -> Result<(), Wrong> {
        let pairs: Vec<(&Column, &ArrayRef)> = columns.iter().zip(self.rows.columns()).collect();
        let encoder = Encoder::new(&pairs).map_err(Wrong::Rows)?;
        let names = sql::list(columns.iter().map(|column| column.name.as_str()));
        let mut sink = Box::pin(lease.send(&format!("COPY {into} ({names}) FROM STDIN (FORMAT binary)")).await?);
        let mut piece = Vec::with_capacity(POSTGRES_SEND_BYTES * 2);
        piece.extend_from_slice(HEAD);
        for row in 0..self.rows.num_rows() {
            encoder.push(row, &mut piece).map_err(Wrong::Rows)?;
            if piece.len() >= POSTGRES_SEND_BYTES {
                let full = std::mem::replace(&mut piece, Vec::with_capacity(POSTGRES_SEND_BYTES * 2));
                if sink.send(Bytes::from(full)).await.is_err() {
                    // The server says why when it is asked for the end.
                    break;
                }
            }
        }
        piece.extend_from_slice(TAIL);
        // As above; a sink that is closed has its reason at the end.
        let _ = sink.send(Bytes::from(piece)).await;
        let finished = sink.as_mut().finish().await;
        finished.map_err(|error| Failure::of(lease.settings(), &error))?;
        lease.received();
        Ok(())
    }

    /// Rows with keys that are there take the place of those; of several with the same keys the last one counts.
    async fn merge(&self, lease: &mut Lease, columns: &[Column], keys: &[String]) -> Result<(), Wrong> {
        let names = sql::list(columns.iter().map(|column| column.name.as_str()));
        let (target, arriving) = (self.target(), sql::table("pg_temp", ARRIVING));
        let made = format!(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {names} FROM {target} WITH NO DATA",
            sql::identifier(ARRIVING)
        );
        lease.run(&made).await?;
        self.copy(lease, columns, &arriving).await?;
        let keys_list = sql::list(keys.iter().map(String::as_str));
        let others = columns.iter().filter(|column| !keys.contains(&column.name));
        let replaced: Vec<String> = others
            .map(|column| sql::identifier(&column.name))
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let then = match replaced.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}", replaced.join(", ")),
        };
        // The temporary table is new, so that its rows lie in the order in which they came.
        let merged = format!(
            "INSERT INTO {target} ({names}) SELECT DISTINCT ON ({keys_list}) {names} FROM {arriving} \
             ORDER BY {keys_list}, ctid DESC ON CONFLICT ({keys_list}) DO {then}"
        );
        Ok(lease.run(&merged).await?)
    }
}

/// A lock that a reader of hours holds is not waited for: a new column would wait for it, and every other reader behind.
fn begin(pool: &Pool) -> String {
    let settings = pool.settings();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\
         SET LOCAL standard_conforming_strings = on;\
         SET LOCAL client_min_messages = warning;\
         SET LOCAL statement_timeout = {};\
         SET LOCAL lock_timeout = {};\
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
        settings.statement_timeout.as_millis(),
        settings.connect_timeout.as_millis()
    )
}

/// A column of a new table, in the type that holds what Arrow's does.
fn definition((name, data_type): (&str, &DataType)) -> Result<String, Wrong> {
    let made = type_of(data_type).ok_or_else(|| {
        Wrong::Rows(format!("column {name} is {data_type}, for which PostgreSQL has no type; make the table yourself"))
    })?;
    Ok(format!("{} {made}", sql::identifier(name)))
}

fn type_of(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint",
        DataType::UInt16 | DataType::Int32 => "integer",
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamptz",
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            return Some(format!("numeric({precision}, {scale})"));
        }
        DataType::Dictionary(_, values) => return type_of(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => return Some(format!("{}[]", type_of(item.data_type())?)),
        _ => return None,
    };
    Some(name.to_owned())
}
