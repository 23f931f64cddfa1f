//! The online store in memory: the contract in its plainest form, for tests and for comparing other stores with.
//!
//! Keeps the Arrow rows as they came and shares no code with the packed row, so that the two cannot be wrong together.
//! Everything is lost when the process ends.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::interleave;
use async_trait::async_trait;

use super::scan::present_rows;
use super::{ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written};
use crate::batch::{FeatureRows, KeyBatch, KeyColumns, StoredRows, key_values, timestamps};
use crate::catalog::Field;
use crate::clock::Deadline;
use crate::limits::ONLINE_SCAN_ROWS;

/// The newest row of each key of each view.
#[derive(Debug, Default)]
pub struct MemoryStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    views: BTreeMap<String, Table>,
    /// The last offset by (view, stream, partition).
    progress: BTreeMap<(String, Arc<str>, u32), u64>,
}

type Table = BTreeMap<Vec<u8>, Row>;

#[derive(Clone, Debug)]
struct Row {
    batch: Arc<Batch>,
    row: usize,
}

/// A batch as it was written, and the view it was written under.
#[derive(Debug)]
struct Batch {
    view: Arc<OnlineView>,
    rows: FeatureRows,
}

#[async_trait]
impl OnlineStore for MemoryStore {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        if deadline.has_passed() {
            return Err(Error::Late);
        }
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = Table::new();
        Ok(reads.iter().map(|read| answer(held.views.get(&read.view.name).unwrap_or(&empty), read)).collect())
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        if deadline.has_passed() {
            return Err(Error::Late);
        }
        check(view, rows)?;
        let keys = KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows());
        let batch = Arc::new(Batch { view: Arc::clone(view), rows: rows.clone() });
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = &rows.origin
            && let Some(last) = origin.offsets.last()
        {
            let partition = (view.name.clone(), Arc::clone(&origin.stream), origin.partition);
            let progress = held.progress.entry(partition).or_default();
            *progress = (*progress).max(*last);
        }
        let table = held.views.entry(view.name.clone()).or_default();
        let mut done = Written::default();
        for row in 0..keys.rows() {
            if keys.is_null(row) {
                done.without_key += 1;
                continue;
            }
            let new = Row { batch: Arc::clone(&batch), row };
            match table.get(keys.get(row)).filter(|stored| stored.describes_entities_of(view)) {
                Some(stored) if stored.is_newer_than(&new) => done.older += 1,
                _ => {
                    table.insert(keys.get(row).to_vec(), new);
                    done.written += 1;
                }
            }
        }
        Ok(done)
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        _deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(held.progress.get(&(view.name.clone(), stream.into(), partition)).copied())
    }

    async fn health(&self, _deadline: Deadline) -> Result<Health, Error> {
        let warnings = vec!["everything is lost when the gateway ends; for trials and tests only".to_owned()];
        Ok(Health { store: "in memory".to_owned(), facts: Vec::new(), warnings })
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], _deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = Table::new();
        Ok(views.iter().map(|view| statistics(view, held.views.get(&view.name).unwrap_or(&empty))).collect())
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(table) = held.views.get(&view.name) else { return Ok(RowPage::default()) };
        if deadline.has_passed() {
            return Err(Error::Late);
        }
        page(view, table, cursor)
    }

    fn watch(&self, _views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        if let Some(listener) = listener.upgrade() {
            listener.watching();
        }
    }
}

fn page(view: &Arc<OnlineView>, table: &Table, cursor: Option<&Cursor>) -> Result<RowPage, Error> {
    let after = cursor.map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.0.clone()));
    let (mut keys, mut created_time, mut last) = (KeyColumns::new(&view.join_keys), Vec::new(), None);
    for (key, row) in table.range((after, Bound::Unbounded)).take(ONLINE_SCAN_ROWS) {
        last = Some(Cursor(key.clone()));
        let mut values = Vec::new();
        // A key of other join keys is nobody's.
        if key_values(&view.join_keys, key, &mut values) && keys.push(&values) {
            created_time.push(Some(row.moment().1).filter(|created| *created != i64::MIN));
        }
    }
    let (keys, rows) = (keys.finish(), created_time.len());
    let entities = KeyBatch::encode(&view.join_keys, &keys, rows);
    let columns: Vec<usize> = (0..view.features.len()).collect();
    let stored = answer(table, &Read { view, keys: &entities, columns: &columns });
    Ok(RowPage { rows: vec![present_rows(&view.name, &keys, &stored, created_time)?], next: last })
}

fn statistics(view: &OnlineView, table: &Table) -> ViewStatistics {
    let rows: Vec<(&Vec<u8>, &Row)> = table
        .iter()
        .filter(|(_, row)| row.describes_entities_of(view) && !row.batch.rows.is_deleted(row.row))
        .collect();
    let times = || rows.iter().map(|(_, row)| row.moment().0);
    let values = |feature: &Field| {
        let has = |row: &&Row| row.column(feature).is_some_and(|column| column.is_valid(row.row));
        (feature.name.clone(), rows.iter().map(|(_, row)| *row).filter(has).count() as u64)
    };
    let bytes = |(key, row): &(&Vec<u8>, &Row)| {
        let columns = row.batch.rows.features.iter();
        key.len()
            + columns
                .map(|column| column.slice(row.row, 1).to_data().get_slice_memory_size().unwrap_or(0))
                .sum::<usize>()
    };
    ViewStatistics {
        view: view.name.clone(),
        keys: rows.len() as u64,
        sampled: rows.len() as u64,
        bytes: rows.iter().map(bytes).sum::<usize>() as u64,
        oldest_event_time: times().min(),
        newest_event_time: times().max(),
        values: view.features.iter().map(values).collect(),
    }
}

impl Row {
    fn is_newer_than(&self, other: &Self) -> bool {
        match (self.moment().cmp(&other.moment()), self.position(), other.position()) {
            (Ordering::Equal, Some(ours), Some(theirs)) => ours > theirs,
            (order, _, _) => order == Ordering::Greater,
        }
    }

    /// Partition and offset.
    fn position(&self) -> Option<(u32, u64)> {
        let origin = self.batch.rows.origin.as_ref()?;
        Some((origin.partition, origin.offsets[self.row]))
    }

    fn moment(&self) -> (i64, i64) {
        let rows = &self.batch.rows;
        let created = if rows.created_time.is_valid(self.row) { rows.created_time.value(self.row) } else { i64::MIN };
        (rows.event_time.value(self.row), created)
    }

    fn describes_entities_of(&self, view: &OnlineView) -> bool {
        let (then, now) = (&self.batch.view.join_keys, &view.join_keys);
        then.len() == now.len() && then.iter().zip(now).all(|(then, now)| is_same(then, now))
    }

    fn column(&self, field: &Field) -> Option<&ArrayRef> {
        let position = self.batch.view.features.iter().position(|feature| is_same(feature, field))?;
        Some(&self.batch.rows.features[position])
    }
}

fn is_same(one: &Field, other: &Field) -> bool {
    one.name == other.name && one.dtype == other.dtype
}

fn check(view: &OnlineView, rows: &FeatureRows) -> Result<(), Error> {
    let unstorable = |detail: String| Error::Unstorable { view: view.name.clone(), detail };
    if rows.event_time.null_count() > 0 {
        return Err(unstorable("a row has no event time".to_owned()));
    }
    if rows.features.len() != view.features.len() {
        return Err(unstorable(format!("they have {} features, not {}", rows.features.len(), view.features.len())));
    }
    for (field, array) in view.features.iter().zip(&rows.features) {
        if array.data_type() != &field.dtype.arrow() {
            return Err(unstorable(format!("feature {} is {}, not {}", field.name, array.data_type(), field.dtype)));
        }
    }
    Ok(())
}

fn answer(table: &Table, read: &Read<'_>) -> StoredRows {
    let keys = read.keys;
    let is_of_today = |stored: &&Row| {
        let batch = &stored.batch;
        stored.describes_entities_of(read.view)
            && batch.view.digest == read.view.digest
            && !batch.rows.is_deleted(stored.row)
    };
    let find = |row: usize| table.get(keys.get(row)).filter(is_of_today);
    let found: Vec<Option<&Row>> =
        (0..keys.rows()).map(|row| if keys.is_null(row) { None } else { find(row) }).collect();
    StoredRows {
        present: BooleanBuffer::collect_bool(found.len(), |row| found[row].is_some()),
        event_time: timestamps(found.iter().map(|row| row.map(|row| row.moment().0)).collect()),
        columns: read.columns.iter().map(|&feature| column(&read.view.features[feature], &found)).collect(),
        unreachable: None,
    }
}

fn column(field: &Field, found: &[Option<&Row>]) -> ArrayRef {
    let null = new_null_array(&field.dtype.arrow(), 1);
    if found.is_empty() {
        return null.slice(0, 0);
    }
    // The null stands at (0, 0); the value of the row at position i at (i + 1, its place in its batch).
    let values = found.iter().map(|row| row.and_then(|row| row.column(field).map(|column| (column, row.row))));
    let values: Vec<Option<(&ArrayRef, usize)>> = values.collect();
    let mut arrays: Vec<&dyn Array> = vec![&null];
    let mut places = Vec::with_capacity(values.len());
    for value in values {
        match value {
            None => places.push((0, 0)),
            Some((column, row)) => {
                places.push((arrays.len(), row));
                arrays.push(column);
            }
        }
    }
    interleave(&arrays, &places).expect("the columns have the type of the field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::online::conformance;

    #[test]
    fn it_keeps_the_contract_of_an_online_store() {
        conformance::check(&|| Arc::new(MemoryStore::default()), 256);
    }
}
