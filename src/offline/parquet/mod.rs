//! The default kind of table: Parquet files, in a folder of the project or in a bucket (`s3://bucket/path`).
//!
//! ```text
//!   day=2026-01-31/                        partitions, if the source has any
//!     000000000007-<batch>.1of2.parquet    what was appended (names)
//!     rewritten-<hash>.parquet             what took the place of others (state)
//!     part-0000.parquet                    what another program wrote
//!   _lockstep/000000000001.json            which files no longer count (state)
//! ```
//!
//! A file is never changed, so a scan under way is troubled by no write. Readers: `place` (where the files are) →
//! `files` (which count) → `open` (footers, columns) → `table` (what DataFusion sees) → `reader` (bytes).
//!
//! # Why not one log of all commits
//! That is what Delta is, and `delta` is there for it. Here any program can add a file and any program can read the
//! folder; only what cannot be said by a file's name is written down beside it.

mod append;
mod compact;
mod content;
mod encode;
mod files;
mod footers;
mod names;
mod open;
mod partitions;
mod place;
mod reader;
mod replace;
mod state;
mod table;
mod upsert;
mod vacuum;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use self::content::Contents;
use self::footers::Footers;
use self::place::{Found, Place};
use self::table::{ParquetTable, table_schema};
use super::tables::{NewRows, Table, Tables};
use super::{Error, KnownBy, Maintained, Maintenance, ObjectStores, Part, Reads};
use crate::catalog::{Partition, Stored};
use crate::clock::Clock;

/// Tables as files and folders of Parquet.
#[derive(Debug)]
pub struct ParquetTables {
    /// What the paths of sources are relative to.
    root: PathBuf,
    buckets: Arc<ObjectStores>,
    footers: Arc<Footers>,
    contents: Arc<Contents>,
    reads: Arc<Reads>,
    clock: Clock,
}

impl ParquetTables {
    pub fn new(root: PathBuf, buckets: Arc<ObjectStores>) -> Self {
        Self {
            root,
            buckets,
            footers: Arc::default(),
            contents: Arc::default(),
            reads: Arc::default(),
            clock: Clock::default(),
        }
    }

    /// What its scans count.
    pub fn reads(&self) -> Arc<Reads> {
        Arc::clone(&self.reads)
    }

    fn place(&self, name: &str, stored: &Stored) -> Result<Place, Error> {
        Place::of(name, stored, &self.root, &self.buckets)
    }

    /// The files that make up the table now, in order.
    async fn now(&self, place: &Place) -> Result<Option<Vec<Found>>, Error> {
        let files = files::look(place).await?;
        Ok(files.map(|files| files.live.into_iter().map(|live| live.found).collect()))
    }
}

fn partitions(stored: &Stored) -> &[Partition] {
    match stored {
        Stored::Parquet { partitions, .. } => partitions,
        Stored::Delta { .. } | Stored::Postgres { .. } => &[],
    }
}

#[async_trait]
impl Tables for ParquetTables {
    fn keeps(&self, stored: &Stored) -> bool {
        matches!(stored, Stored::Parquet { .. })
    }

    async fn open(&self, name: &str, stored: &Stored, part: Option<&Part>) -> Result<Option<Table>, Error> {
        let place = self.place(name, stored)?;
        let found = match part {
            None => self.now(&place).await?,
            Some(Part::Parquet { files }) => Some(self.contents.find(&place, files).await?),
            Some(_) => {
                let detail = "it was no table of Parquet files then".to_owned();
                return Err(Error::Changed { source_name: name.to_owned(), detail });
            }
        };
        let Some(found) = found else { return Ok(None) };
        let partitions = partitions(stored);
        let files = open::open(&place, partitions, &self.footers, found).await?;
        let columns = partitions::columns(partitions);
        let schema = open::merged(&place, &columns, &files)?;
        let table = ParquetTable {
            url: place.url()?,
            partitions: partitions.to_vec(),
            schema: table_schema(schema, columns),
            footers: Arc::clone(&self.footers),
            reads: Arc::clone(&self.reads),
            files,
            place,
        };
        let files = table.files.iter().map(|file| table.place.file(&file.found)).collect();
        Ok(Some(Table { files, provider: Arc::new(table) }))
    }

    async fn snapshot(&self, name: &str, stored: &Stored, by: KnownBy) -> Result<Option<Part>, Error> {
        let place = self.place(name, stored)?;
        let Some(found) = self.now(&place).await? else { return Ok(None) };
        Ok(Some(Part::Parquet { files: self.contents.parts(&place, found, by).await? }))
    }

    async fn write(&self, name: &str, stored: &Stored, new: NewRows<'_>) -> Result<(), Error> {
        let (place, partitions) = (self.place(name, stored)?, partitions(stored));
        let NewRows { batch_id, rows, keys } = new;
        match keys {
            None => append::append(&place, partitions, batch_id, rows).await,
            Some(keys) => {
                let batch = (batch_id, self.clock.now());
                upsert::upsert(&place, partitions, &self.footers, batch, keys, rows).await
            }
        }
    }

    async fn maintain(&self, name: &str, stored: &Stored, what: Maintenance) -> Result<Maintained, Error> {
        let place = self.place(name, stored)?;
        match what {
            Maintenance::Compact => compact::compact(&place, &self.footers, self.clock.now()).await,
            Maintenance::Vacuum { keep } => vacuum::vacuum(&place, keep, self.clock.now()).await,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
