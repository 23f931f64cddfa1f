//! Tables as batches in memory, for tests and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use datafusion::datasource::MemTable;

use super::merge::Merged;
use super::tables::{NewRows, Table, Tables};
use super::{Error, KnownBy, Maintained, Maintenance, Part};
use crate::catalog::Stored;

/// Tables as batches in memory, by the name of their source. They take the place of every other kind of table.
#[derive(Debug, Default)]
pub struct MemoryTables {
    tables: Mutex<BTreeMap<String, Batches>>,
}

#[derive(Debug, Default)]
struct Batches {
    batches: Vec<RecordBatch>,
    /// The ids of what was written.
    written: BTreeSet<String>,
}

impl MemoryTables {
    /// Puts rows behind those that `source` has.
    pub fn put(&self, source: &str, rows: RecordBatch) {
        self.tables().entry(source.to_owned()).or_default().batches.push(rows);
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<String, Batches>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
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
impl Tables for MemoryTables {
    fn keeps(&self, _: &Stored) -> bool {
        true
    }

    async fn open(&self, name: &str, _: &Stored, part: Option<&Part>) -> Result<Option<Table>, Error> {
        let was = match part {
            None => usize::MAX,
            Some(Part::Memory { batches }) => usize::try_from(*batches).unwrap_or(usize::MAX),
            Some(_) => {
                let detail = "it was not in memory then".to_owned();
                return Err(Error::Changed { source_name: name.to_owned(), detail });
            }
        };
        let tables = self.tables();
        let Some(Batches { batches, .. }) = tables.get(name) else { return Ok(None) };
        let unreadable = |detail: String| Error::Unreadable { source_name: name.to_owned(), detail };
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
        Ok(Some(Table { provider: Arc::new(provider), files: Vec::new() }))
    }

    async fn snapshot(&self, name: &str, _: &Stored, _: KnownBy) -> Result<Option<Part>, Error> {
        let tables = self.tables();
        Ok(tables.get(name).map(|table| Part::Memory { batches: table.batches.len() as u64 }))
    }

    async fn write(&self, name: &str, _: &Stored, new: NewRows<'_>) -> Result<(), Error> {
        let failed = |error: ArrowError| Error::Write { source_name: name.to_owned(), detail: error.to_string() };
        let mut tables = self.tables();
        let table = tables.entry(name.to_owned()).or_default();
        if table.written.contains(new.batch_id) {
            return Ok(());
        }
        if let Some(keys) = new.keys {
            let replaced = key_rows(new.rows, keys).map_err(failed)?;
            let replaced: BTreeSet<_> = replaced.iter().map(|row| row.owned()).collect();
            let others = |batch: &RecordBatch| {
                let here = key_rows(batch, keys)?;
                let stays: BooleanArray = here.iter().map(|row| Some(!replaced.contains(&row.owned()))).collect();
                filter_record_batch(batch, &stays)
            };
            table.batches = table.batches.iter().map(others).collect::<Result<_, _>>().map_err(failed)?;
        }
        table.written.insert(new.batch_id.to_owned());
        table.batches.push(new.rows.clone());
        Ok(())
    }

    async fn maintain(&self, name: &str, _: &Stored, what: Maintenance) -> Result<Maintained, Error> {
        let mut tables = self.tables();
        let table = tables.entry(name.to_owned()).or_default();
        let (files_before, bytes) = (table.batches.len() as u64, table.batches.iter().map(memory_of).sum());
        if what == Maintenance::Compact {
            table.batches.retain(|batch| batch.num_rows() > 0);
        }
        let files_after = table.batches.len() as u64;
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
    use super::super::{StoredSources, conformance};
    use super::*;

    #[tokio::test]
    async fn tables_in_memory_keep_the_contract() {
        let tables = Arc::new(MemoryTables::default());
        let store = Arc::new(StoredSources::new(vec![Arc::clone(&tables) as Arc<dyn Tables>]));
        let define = Arc::clone(&store);
        conformance::run(&conformance::Subject {
            store,
            stored: |name| Stored::parquet(name.to_owned()),
            widens: true,
            keeps_past: true,
            put: Box::new(move |source, rows| tables.put(&source.name, rows)),
            define: Box::new(move |sources| define.define(sources)),
        })
        .await;
    }
}
