//! The default kind of table: Parquet files under the project's folder.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::append::append;
use super::files;
use super::table::ParquetTable;
use super::tables::{Table, Tables};
use super::{Error, Maintained, Maintenance, Part};
use crate::catalog::Stored;

/// Tables as files and folders of Parquet.
#[derive(Debug)]
pub struct ParquetTables {
    /// What the paths of sources are relative to.
    root: PathBuf,
}

impl ParquetTables {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, stored: &Stored) -> PathBuf {
        match stored {
            Stored::Parquet { path, .. } => self.root.join(path),
            Stored::Delta { .. } | Stored::Postgres { .. } => self.root.clone(),
        }
    }
}

#[async_trait]
impl Tables for ParquetTables {
    fn kind(&self) -> &'static str {
        "parquet"
    }

    async fn open(&self, name: &str, stored: &Stored, _part: Option<&Part>) -> Result<Option<Table>, Error> {
        let (source_name, path) = (name.to_owned(), self.path(stored));
        let found = tokio::task::spawn_blocking(move || files::open(&source_name, &path)).await;
        let found = found
            .map_err(|stopped| Error::Unreadable { source_name: name.to_owned(), detail: stopped.to_string() })??;
        Ok(found.map(|files| {
            let part = Part::Parquet { files: Vec::new() };
            let table = ParquetTable::new(files);
            Table { files: table.paths(), part, ordered: true, provider: Arc::new(table) }
        }))
    }

    async fn append(&self, name: &str, stored: &Stored, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
        let (source_name, folder) = (name.to_owned(), self.path(stored));
        let (batch_id, rows) = (batch_id.to_owned(), rows.clone());
        let write = move || append(&source_name, &folder, &batch_id, &rows);
        tokio::task::spawn_blocking(write)
            .await
            .unwrap_or_else(|stopped| Err(Error::Write { source_name: name.to_owned(), detail: stopped.to_string() }))
    }

    async fn upsert(&self, name: &str, _: &Stored, _: &str, _: &[String], _: &RecordBatch) -> Result<(), Error> {
        let detail = "Parquet files take new rows only".to_owned();
        Err(Error::NotWritable { source_name: name.to_owned(), detail })
    }

    async fn maintain(&self, name: &str, _: &Stored, _: Maintenance) -> Result<Maintained, Error> {
        Err(Error::NotWritable { source_name: name.to_owned(), detail: "Parquet files stay as they are".to_owned() })
    }
}

#[cfg(test)]
mod tests;
