//! Delta Lake tables: folders of Parquet files with a log that says which of them are the table.
//!
//! Everything that a commit says happens at once or not at all, so a reader sees whole batches, other programs
//! (Spark, Python) may write to the same table at the same time, and every version that was not vacuumed can be read
//! again. [`read`] opens a version, [`write`] adds to the newest one, [`whole`] makes a table of rows that do not fit into
//! memory, [`maintain`] makes the table smaller or quicker.
//!
//! # Order
//! A Delta table is a set of rows: [`Stored::keeps_order`] says no. Rows still come in one order for each version, by when
//! their file was written, then by its path, then as they stand in it; so every scan of a version answers the same. Which
//! of two rows counts that tie does not depend on it, because a compaction may change it (see [`crate::pit::Ties`]).
//!
//! # Why not the crate's own ways throughout
//! Three things it leaves open matter here. It does not wait until files are on the disk ([`files`] does); it lets two
//! compactions of the same files both land, which doubles rows (also there); and it casts what it is given to the
//! table's types, where [`columns`] refuses what would change a value.

mod place;
mod files;
mod failure;
mod features;
mod read;
mod scan;
mod columns;
mod write;
mod upsert;
mod whole;
mod maintain;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;

use self::place::Place;
pub use self::whole::{DeltaWriter, WholeTable};
use super::tables::{NewRows, Table, Tables};
use super::{Error, KnownBy, Maintained, Maintenance, ObjectStores, Part};
use crate::catalog::{Stored, TableVersion};

/// Delta tables under the project's folder and in object stores.
pub struct DeltaTables {
    /// What the paths of sources are relative to.
    root: PathBuf,
    buckets: Arc<ObjectStores>,
}

impl DeltaTables {
    pub fn new(root: PathBuf, buckets: Arc<ObjectStores>) -> Self {
        Self { root, buckets }
    }

    /// The table that `stored` names, and the version at which its definition stops.
    fn place(&self, name: &str, stored: &Stored) -> Result<(Place, Option<TableVersion>), Error> {
        match stored {
            Stored::Delta { path, as_of } => Ok((Place::of(name, &self.root, path, &self.buckets)?, *as_of)),
            Stored::Parquet { .. } | Stored::Postgres { .. } => Err(Error::Unreadable {
                source_name: name.to_owned(),
                detail: format!("{stored} is not a Delta table"),
            }),
        }
    }

    /// The table that `stored` names, to write to.
    fn newest(&self, name: &str, stored: &Stored) -> Result<Place, Error> {
        match self.place(name, stored)? {
            (place, None) => Ok(place),
            (_, Some(version)) => Err(Error::NotWritable {
                source_name: name.to_owned(),
                detail: format!("it is read as of {version}; define a source without that to write to the table"),
            }),
        }
    }
}

impl fmt::Debug for DeltaTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaTables").field("root", &self.root).finish_non_exhaustive()
    }
}

#[async_trait]
impl Tables for DeltaTables {
    fn keeps(&self, stored: &Stored) -> bool {
        matches!(stored, Stored::Delta { .. })
    }

    async fn open(&self, name: &str, stored: &Stored, part: Option<&Part>) -> Result<Option<Table>, Error> {
        let (place, as_of) = self.place(name, stored)?;
        Ok(read::open(&place, as_of, part).await?.map(|(table, _)| table))
    }

    async fn snapshot(&self, name: &str, stored: &Stored, _: KnownBy) -> Result<Option<Part>, Error> {
        let (place, as_of) = self.place(name, stored)?;
        Ok(read::open(&place, as_of, None).await?.map(|(_, part)| part))
    }

    async fn write(&self, name: &str, stored: &Stored, new: NewRows<'_>) -> Result<(), Error> {
        let place = self.newest(name, stored)?;
        let (batch_id, rows, keys) = (new.batch_id.to_owned(), new.rows.clone(), new.keys.map(<[String]>::to_vec));
        off_the_async_threads(name, async move {
            match keys {
                None => write::append(&place, &batch_id, &rows).await,
                Some(keys) => upsert::upsert(&place, &batch_id, &keys, &rows).await,
            }
        })
        .await
    }

    async fn maintain(&self, name: &str, stored: &Stored, what: Maintenance) -> Result<Maintained, Error> {
        let place = self.newest(name, stored)?;
        off_the_async_threads(name, async move {
            match what {
                Maintenance::Compact => maintain::compact(&place).await,
                Maintenance::Vacuum { keep } => maintain::vacuum(&place, keep).await,
            }
        })
        .await
    }
}

/// Encoding a batch and rewriting files take long; and what panics in there fails this one write.
async fn off_the_async_threads<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work))
        .await
        .unwrap_or_else(|stopped| Err(Error::Write { source_name: name.to_owned(), detail: stopped.to_string() }))
}

#[cfg(test)]
mod tests;
