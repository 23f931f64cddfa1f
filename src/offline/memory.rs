//! Sources as batches in memory, for tests and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use datafusion::datasource::MemTable;

use super::engine::{self, Opened, Tables};
use super::merge::Merged;
use super::sql::reading_order;
use super::tables::Table;
use super::{Error, Maintained, Maintenance, OfflineStore, Part, Rows, Scan, Snapshot};
use crate::catalog::{Source, SourceKind};
use crate::space::Space;

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

    async fn open(&self, source: &Source, at: Option<&Snapshot>) -> Result<Option<Opened>, Error> {
        let order = reading_order(source, &self.sources.load())?;
        let stored = order.iter().filter(|source| source.kind.stored().is_some());
        let tables: Result<Tables, Error> =
            stored.map(|source| Ok((source.name.clone(), self.table(source, at)?))).collect();
        engine::open(order, tables?, &Space::default()).await
    }

    fn table(&self, source: &Source, at: Option<&Snapshot>) -> Result<Option<Table>, Error> {
        let was = match at.map(|at| at.part(&source.name)).transpose()? {
            None => usize::MAX,
            Some(Part::Memory { batches }) => usize::try_from(*batches).unwrap_or(usize::MAX),
            Some(_) => return Ok(None),
        };
        let unreadable = |detail: String| Error::Unreadable { source_name: source.name.clone(), detail };
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Batches { batches, .. }) = stored.get(&source.name) else {
            return match source.kind {
                SourceKind::Push { .. } => Ok(None),
                SourceKind::Stored(_) | SourceKind::Sql { .. } | SourceKind::Long(_) => {
                    Err(Error::NoFile { source_name: source.name.clone(), path: "(in memory)".to_owned() })
                }
            };
        };
        let batches = &batches[..was.min(batches.len())];
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
        Ok(Some(Table { provider: Arc::new(provider), ordered: true, files: Vec::new() }))
    }

    fn part(&self, source: &Source) -> Result<Part, Error> {
        if self.table(source, None)?.is_none() {
            return Ok(Part::Nothing);
        }
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = stored.get(&source.name).map_or(0, |stored| stored.batches.len() as u64);
        Ok(Part::Memory { batches })
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
        let opened = self.open(source, None).await?;
        opened.map_or_else(|| Ok(Arc::new(Schema::empty())), |opened| opened.schema())
    }

    async fn scan(&self, source: &Source, scan: &Scan) -> Result<Rows, Error> {
        match self.open(source, scan.at.as_ref()).await? {
            Some(opened) => opened.scan(scan).await,
            None => Ok(engine::no_rows()),
        }
    }

    async fn snapshot(&self, source: &Source) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot { parts: Vec::new(), queries: Vec::new() };
        for read in reading_order(source, &self.sources.load())? {
            match &read.kind {
                SourceKind::Sql { query } => snapshot.queries.push((read.name.clone(), query.clone())),
                SourceKind::Long(long) => snapshot.queries.push((read.name.clone(), format!("{long:?}"))),
                SourceKind::Stored(_) | SourceKind::Push { .. } => {
                    snapshot.parts.push((read.name.clone(), self.part(&read)?));
                }
            }
        }
        Ok(snapshot)
    }

    async fn explain(&self, source: &Source, scan: &Scan) -> Result<String, Error> {
        match self.open(source, scan.at.as_ref()).await? {
            Some(opened) => opened.explain(scan).await,
            None => Ok("nothing was pushed yet, so nothing is read".to_owned()),
        }
    }

    async fn append(&self, source: &Source, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
        if source.kind.stored().is_none() {
            return Err(Error::is_a_query(source));
        }
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = stored.entry(source.name.clone()).or_default();
        if stored.appended.insert(batch_id.to_owned()) {
            stored.batches.push(rows.clone());
        }
        Ok(())
    }

    async fn upsert(&self, source: &Source, batch_id: &str, keys: &[String], rows: &RecordBatch) -> Result<(), Error> {
        if source.kind.stored().is_none() {
            return Err(Error::is_a_query(source));
        }
        let failed = |error: ArrowError| Error::Write { source_name: source.name.clone(), detail: error.to_string() };
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = stored.entry(source.name.clone()).or_default();
        let replaced = key_rows(rows, keys).map_err(failed)?;
        let replaced: BTreeSet<_> = replaced.iter().map(|row| row.owned()).collect();
        if !stored.appended.insert(batch_id.to_owned()) {
            return Ok(());
        }
        for batch in &mut stored.batches {
            let here = key_rows(batch, keys).map_err(failed)?;
            let stays: BooleanArray = here.iter().map(|row| Some(!replaced.contains(&row.owned()))).collect();
            *batch = filter_record_batch(batch, &stays).map_err(failed)?;
        }
        stored.batches.push(rows.clone());
        Ok(())
    }

    async fn maintain(&self, source: &Source, what: Maintenance) -> Result<Maintained, Error> {
        if source.kind.stored().is_none() {
            return Err(Error::is_a_query(source));
        }
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = stored.entry(source.name.clone()).or_default();
        let (files_before, bytes) = (stored.batches.len() as u64, stored.batches.iter().map(memory_of).sum());
        if what == Maintenance::Compact {
            stored.batches.retain(|batch| batch.num_rows() > 0);
        }
        let files_after = stored.batches.len() as u64;
        Ok(Maintained { files_before, files_after, bytes_before: bytes, bytes_after: bytes })
    }
}

fn memory_of(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64
}

/// The values of `keys`, one comparable row each.
fn key_rows(batch: &RecordBatch, keys: &[String]) -> Result<arrow::row::Rows, ArrowError> {
    let columns: Vec<ArrayRef> = keys
        .iter()
        .map(|key| {
            let column = batch.column_by_name(key).cloned();
            column.ok_or_else(|| ArrowError::SchemaError(format!("there is no column {key}")))
        })
        .collect::<Result<_, _>>()?;
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(fields)?.convert_columns(&columns)
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
            stored: |name| crate::catalog::Stored::parquet(name.to_owned()),
            ordered: true,
            widens: true,
            keeps_past: true,
            put: Box::new(move |source, rows| put.put(&source.name, rows)),
            define: Box::new(move |sources| define.define(sources)),
        })
        .await;
    }
}
