//! The default store: Parquet files under the project's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;

use super::append::append;
use super::engine::{self, Opened, Table, Tables};
use super::files;
use super::sql::reading_order;
use super::table::ParquetTable;
use super::{Error, OfflineStore, Rows, Scan};
use crate::catalog::{Source, SourceKind};

/// Sources as files and folders of Parquet.
///
/// Files are looked up at each scan, so what was added since the last one is read, and a file that another source lacks
/// troubles nobody who does not read it.
#[derive(Debug)]
pub struct ParquetStore {
    /// What the paths of sources are relative to.
    root: PathBuf,
    /// What the sql sources may read.
    sources: ArcSwap<BTreeMap<String, Source>>,
}

impl ParquetStore {
    pub fn new(root: PathBuf) -> Self {
        Self { root, sources: ArcSwap::default() }
    }

    /// From now on sql sources see these sources; scans under way go on with what they began with. To be called with
    /// each version of the definitions, also with those that are only being checked.
    pub fn define(&self, sources: BTreeMap<String, Source>) {
        self.sources.store(Arc::new(sources));
    }

    async fn open(&self, source: &Source) -> Result<Option<Opened>, Error> {
        let order = reading_order(source, &self.sources.load())?;
        let (root, stored) = (self.root.clone(), order.clone());
        let find = move || stored.iter().filter_map(|source| table(&root, source).transpose()).collect();
        let tables: Result<Tables, Error> = tokio::task::spawn_blocking(find)
            .await
            .map_err(|stopped| Error::Unreadable { source_name: source.name.clone(), detail: stopped.to_string() })?;
        engine::open(order, tables?).await
    }
}

#[async_trait]
impl OfflineStore for ParquetStore {
    async fn schema(&self, source: &Source) -> Result<SchemaRef, Error> {
        let opened = self.open(source).await?;
        Ok(opened.map_or_else(|| Arc::new(Schema::empty()), |opened| opened.schema()))
    }

    async fn scan(&self, source: &Source, scan: &Scan) -> Result<Rows, Error> {
        match self.open(source).await? {
            Some(opened) => opened.scan(scan).await,
            None => Ok(engine::no_rows()),
        }
    }

    async fn append(&self, source: &Source, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
        let SourceKind::Push { path } = &source.kind else {
            return Err(Error::not_a_push_source(source));
        };
        let (name, folder) = (source.name.clone(), self.root.join(path));
        let (batch_id, rows) = (batch_id.to_owned(), rows.clone());
        let write = move || append(&name, &folder, &batch_id, &rows);
        tokio::task::spawn_blocking(write).await.unwrap_or_else(|stopped| {
            Err(Error::Write { source_name: source.name.clone(), detail: stopped.to_string() })
        })
    }
}

/// The rows of a stored source, under its name; nothing for a sql source.
fn table(root: &Path, source: &Source) -> Result<Option<(String, Option<Table>)>, Error> {
    let (path, may_be_empty) = match &source.kind {
        SourceKind::Parquet { path } => (root.join(path), false),
        SourceKind::Push { path } => (root.join(path), true),
        SourceKind::Sql { .. } => return Ok(None),
    };
    let table = match files::open(&source.name, &path)? {
        Some(files) => {
            let table = ParquetTable::new(files);
            Some(Table { files: table.paths(), provider: Arc::new(table) })
        }
        None if may_be_empty => None,
        None => return Err(Error::NoFile { source_name: source.name.clone(), path: path.display().to_string() }),
    };
    Ok(Some((source.name.clone(), table)))
}

#[cfg(test)]
mod tests;
