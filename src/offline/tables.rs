//! What one kind of stored table (Parquet files, Delta, PostgreSQL) must be able to do. [`super::StoredSources`] is made
//! of these: it knows which kind a source is of, lets queries run over all of them, and keeps the port's promises.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use object_store::{ObjectMeta, ObjectStore};

use super::{Error, KnownBy, Maintained, Maintenance, Part};
use crate::catalog::Stored;

/// One kind of stored table. `name` is the source's, for errors; `stored` is always of the store's own kind.
#[async_trait]
pub trait Tables: fmt::Debug + Send + Sync {
    /// Whether a table is of the kind that it keeps.
    fn keeps(&self, stored: &Stored) -> bool;

    /// The table as it is now, or as it was when `part` was taken of it. `None` where there is no table (yet).
    ///
    /// The provider filters and projects as much as it can, answers rows in the order of the table where it has one
    /// (see [`Stored::keeps_order`]), and never answers another version in the middle of a scan.
    async fn open(&self, name: &str, stored: &Stored, part: Option<&Part>) -> Result<Option<Table>, Error>;

    /// What exactly `open` would read now, so that it can be read again; `None` where there is no table (yet). It may
    /// have to look at all of the table's bytes, so no ordinary scan asks for it.
    async fn snapshot(&self, name: &str, stored: &Stored, files: KnownBy) -> Result<Option<Part>, Error>;

    /// Adds rows, whole or not at all. Makes the table if there is none.
    async fn write(&self, name: &str, stored: &Stored, new: NewRows<'_>) -> Result<(), Error>;

    /// Makes the table smaller or quicker to read; its rows stay the same.
    async fn maintain(&self, name: &str, stored: &Stored, what: Maintenance) -> Result<Maintained, Error>;
}

/// Rows for a stored table.
#[derive(Clone, Copy, Debug)]
pub struct NewRows<'a> {
    /// The same id again changes nothing.
    pub batch_id: &'a str,
    pub rows: &'a RecordBatch,
    /// Columns, the event time's among them. A row takes the place of one that is there and has its values in them.
    pub keys: Option<&'a [String]>,
}

/// The rows of one stored table.
#[derive(Debug)]
pub struct Table {
    pub provider: Arc<dyn TableProvider>,
    /// The Parquet files it reads, to find the damaged one among them.
    pub files: Vec<TableFile>,
}

/// One Parquet file of a table.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// Its path as people know it.
    pub shown: String,
    pub store: Arc<dyn ObjectStore>,
    pub meta: ObjectMeta,
}
