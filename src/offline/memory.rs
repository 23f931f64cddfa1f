//! Sources as batches in memory, for tests and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::datasource::MemTable;

use super::engine::{self, Opened, Table, Tables};
use super::merge::Merged;
use super::sql::reading_order;
use super::{Error, OfflineStore, Rows, Scan};
use crate::catalog::{Source, SourceKind};

/// Sources as batches in memory. Scans work as they do over files.
#[derive(Debug, Default)]
pub struct MemoryStore {
    stored: Mutex<BTreeMap<String, Batches>>,
    /// What the sql sources may read.
    sources: ArcSwap<BTreeMap<String, Source>>,
}

#[derive(Debug, Default)]
struct Batches {
    batches: Vec<RecordBatch>,
    appended: BTreeSet<String>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on sql sources see these sources.
    pub fn define(&self, sources: BTreeMap<String, Source>) {
        self.sources.store(Arc::new(sources));
    }

    /// Puts rows behind those that `source` has, whatever kind of source it is.
    pub fn put(&self, source: &str, rows: RecordBatch) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.entry(source.to_owned()).or_default().batches.push(rows);
    }

    async fn open(&self, source: &Source) -> Result<Option<Opened>, Error> {
        let order = reading_order(source, &self.sources.load())?;
        let stored = order.iter().filter(|source| !matches!(source.kind, SourceKind::Sql { .. }));
        let tables: Result<Tables, Error> =
            stored.map(|source| Ok((source.name.clone(), self.table(source)?))).collect();
        engine::open(order, tables?).await
    }

    fn table(&self, source: &Source) -> Result<Option<Table>, Error> {
        let unreadable = |detail: String| Error::Unreadable { source_name: source.name.clone(), detail };
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Batches { batches, .. }) = stored.get(&source.name) else {
            return match source.kind {
                SourceKind::Push { .. } => Ok(None),
                _ => Err(Error::NoFile { source_name: source.name.clone(), path: "(in memory)".to_owned() }),
            };
        };
        let mut merged = Merged::default();
        for batch in batches {
            merged.add(&batch.schema()).map_err(|conflict| {
                unreadable(format!("column {} is {} and {}", conflict.column, conflict.before, conflict.now))
            })?;
        }
        let schema = merged.schema();
        let conformed: Result<Vec<_>, _> = batches.iter().map(|batch| conform(batch, &schema)).collect();
        let conformed = conformed.map_err(|error| unreadable(error.to_string()))?;
        let provider = MemTable::try_new(schema, vec![conformed]).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(Table { provider: Arc::new(provider), files: Vec::new() }))
    }
}

/// The batch with all columns of `schema`, nulls in those that it does not have.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |field: &arrow::datatypes::FieldRef| match batch.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns: Result<Vec<ArrayRef>, ArrowError> = schema.fields().iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)
}

#[async_trait]
impl OfflineStore for MemoryStore {
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
        if !matches!(source.kind, SourceKind::Push { .. }) {
            return Err(Error::not_a_push_source(source));
        }
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = stored.entry(source.name.clone()).or_default();
        if stored.appended.insert(batch_id.to_owned()) {
            stored.batches.push(rows.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_memory_store_keeps_the_contract() {
        let store = Arc::new(MemoryStore::new());
        let (put, define) = (Arc::clone(&store), Arc::clone(&store));
        super::super::conformance::run(&super::super::conformance::Subject {
            store,
            put: Box::new(move |source, rows| put.put(&source.name, rows)),
            define: Box::new(move |sources| define.define(sources)),
        })
        .await;
    }
}
