//! The embedded online store: packed rows in one local file, so that a fresh machine needs no server.
//!
//! One redb table per view (`view:<name>`, encoded key → packed row), one of schemas (id → the columns of the rows
//! that carry the id) and one of progress ((view, stream, partition) → last offset). Every write call is one transaction, on disk when the call returns: after a crash or a kill
//! each batch is there whole or not at all. The file belongs to one process at a time.
//!
//! # Why one thread writes
//! redb lets in one writer at a time. Were that another thread each time, most pages of its cache would be freed by
//! another thread than the one that made them, and the allocator would keep several times the cache in half-empty pieces.
//!
//! # Why every commit is written in two phases
//! redb can commit with one flush to disk and check the whole file after a crash, or with two and be open at once. A
//! gateway should serve again within seconds however large its file is, and writes come in large batches.

mod file;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::thread;

use async_trait::async_trait;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    TableError, WriteTransaction,
};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use self::file::{DatabaseFile, FORMAT, Failure};
use super::packed::{Header, NO_CREATED_TIME, RowEncoder, RowSchema, RowsDecoder, Tally, Version};
use super::scan::present_rows;
use super::{ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written};
use crate::batch::{FeatureRows, KeyBatch, KeyColumns, StoredRows, key_values};
use crate::clock::Deadline;
use crate::limits::{EMBEDDED_INLINE_KEYS_MAX, ONLINE_SCAN_ROWS, STATISTICS_ROWS_MAX};

/// The columns of the rows that carry the id.
const SCHEMAS: TableDefinition<'_, u64, &str> = TableDefinition::new("schemas");
/// The last offset by view, stream and partition.
const PROGRESS: TableDefinition<'_, (&str, &str, u32), u64> = TableDefinition::new("progress");
/// A view's table has this before its name, so that no view can be called `schemas`.
const VIEW_PREFIX: &str = "view:";
/// Keys between two looks at the deadline.
const KEYS_PER_LOOK: usize = 1_024;

/// An online store in a local file.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// Writers wait here, where they hold no thread, and not in redb, which lets in one at a time too.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// To the thread that writes, which ends with the last of these.
    writer: Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Shared {
    file: DatabaseFile,
    /// Schemas read from the file; there are as many as its views ever had.
    schemas: RwLock<HashMap<u64, Arc<RowSchema>>>,
}

/// A question that does not borrow from the caller.
#[derive(Debug)]
struct OwnedRead {
    view: Arc<OnlineView>,
    keys: KeyBatch,
    columns: Vec<usize>,
}

impl EmbeddedStore {
    /// Opens the file at `path`, or makes it; its folder must be there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::over(DatabaseFile::open(path)?)
    }

    fn over(file: DatabaseFile) -> Result<Self, Error> {
        let (writer, jobs) = channel::<Job>();
        let thread = thread::Builder::new().name("embedded-writer".to_owned()).spawn(move || {
            for job in jobs {
                // One that panics has no answer; the next one is not to blame.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        });
        thread.map_err(|error| Error::Store { doing: "starting its writer", detail: error.to_string() })?;
        Ok(Self { shared: Arc::new(Shared { file, schemas: RwLock::default() }), turn: Arc::default(), writer })
    }

    /// Asks on a thread that may wait for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        deadline: Deadline,
        question: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        finish(spawn_blocking(move || question(&shared)), deadline).await
    }
}

#[async_trait]
impl OnlineStore for EmbeddedStore {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        let keys: usize = reads.iter().map(|read| read.keys.rows()).sum();
        if keys <= EMBEDDED_INLINE_KEYS_MAX && !self.shared.file.is_busy() {
            return self.shared.read(reads, deadline);
        }
        let shared = Arc::clone(&self.shared);
        let owned: Vec<OwnedRead> = reads.iter().map(OwnedRead::of).collect();
        let task = spawn_blocking(move || {
            let reads: Vec<Read<'_>> = owned.iter().map(OwnedRead::borrow).collect();
            shared.read(&reads, deadline)
        });
        finish(task, deadline).await
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        let turn = timeout_at(deadline.instant().into(), Arc::clone(&self.turn).lock_owned());
        let turn = turn.await.map_err(|_| Error::Late)?;
        let (shared, view, rows) = (Arc::clone(&self.shared), Arc::clone(view), rows.clone());
        let (answer, answered) = oneshot::channel();
        let job = move || {
            let written = shared.write(&view, &rows, deadline);
            // Who has the answer may close the store and open its file again.
            drop(shared);
            // Nobody may wait for it any more.
            let _ = answer.send(written);
            // Only now the next writer's turn comes.
            drop(turn);
        };
        // Without a writer there is no answer, which `finish` says.
        let _ = self.writer.send(Box::new(job));
        finish(answered, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        let (view, stream) = (Arc::clone(view), stream.to_owned());
        self.ask(deadline, move |shared| shared.progress(&view.name, &stream, partition)).await
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.ask(deadline, Shared::health).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        let views = views.to_vec();
        self.ask(deadline, move |shared| shared.statistics(&views, deadline)).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        let (view, cursor) = (Arc::clone(view), cursor.cloned());
        self.ask(deadline, move |shared| shared.scan(&view, cursor.as_ref(), deadline)).await
    }

    fn watch(&self, _views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        if let Some(listener) = listener.upgrade() {
            listener.watching();
        }
    }
}

/// The answer of `task`, if it comes before the deadline.
async fn finish<T, E: Display>(
    task: impl Future<Output = Result<Result<T, Error>, E>>,
    deadline: Deadline,
) -> Result<T, Error> {
    match timeout_at(deadline.instant().into(), task).await {
        Err(_) => Err(Error::Late),
        Ok(Ok(result)) => result,
        Ok(Err(stopped)) => Err(Error::Store { doing: "working in a thread of its own", detail: stopped.to_string() }),
    }
}

impl OwnedRead {
    fn of(read: &Read<'_>) -> Self {
        Self { view: Arc::clone(read.view), keys: read.keys.clone(), columns: read.columns.to_vec() }
    }

    fn borrow(&self) -> Read<'_> {
        Read { view: &self.view, keys: &self.keys, columns: &self.columns }
    }
}

impl Shared {
    /// All questions are answered from one state of the store.
    fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            reads.iter().map(|read| self.read_view(&transaction, read, deadline)).collect()
        })
    }

    fn read_view(&self, stored: &ReadTransaction, read: &Read<'_>, deadline: Deadline) -> Result<StoredRows, Failure> {
        let mut decoder = RowsDecoder::new(read.view, read.columns, read.keys.rows());
        let table = match stored.open_table(rows_of(&table_name(read.view))) {
            Ok(table) => Some(table),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        for (row, key) in read.keys.iter().enumerate() {
            look_at(deadline, row)?;
            let found = match &table {
                Some(table) if !read.keys.is_null(row) => table.get(key)?,
                _ => None,
            };
            let Some(found) = found else {
                decoder.push_absent();
                continue;
            };
            if let Some(id) = decoder.unknown_schema(found.value())? {
                let schema = self.schema(&stored.open_table(SCHEMAS)?, id)?;
                let unknown = || Error::Damaged {
                    view: read.view.name.clone(),
                    detail: format!("its schema {id:016x} is not in the store"),
                };
                decoder.learn(&schema.ok_or_else(unknown)?);
            }
            decoder.push(found.value())?;
        }
        if deadline.has_passed() { Err(Error::Late.into()) } else { Ok(decoder.finish()?) }
    }

    /// The schema with this id, from memory or from the file.
    fn schema(
        &self,
        table: &impl ReadableTable<u64, &'static str>,
        id: u64,
    ) -> Result<Option<Arc<RowSchema>>, Failure> {
        let known = self.schemas.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(text) = table.get(id)? else { return Ok(None) };
        let Some(schema) = RowSchema::kept(id, text.value()).map(Arc::new) else { return Ok(None) };
        self.schemas.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&schema));
        Ok(Some(schema))
    }

    fn write(&self, view: &OnlineView, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        let schema = RowSchema::of(view);
        let keys = KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows());
        // Rows that share a key stand together, in source order; and keys in key order find each other's pages warm.
        let mut order: Vec<usize> = (0..keys.rows()).filter(|&row| !keys.is_null(row)).collect();
        order.sort_by(|&one, &other| keys.get(one).cmp(keys.get(other)));
        let without_key = (keys.rows() - order.len()) as u64;
        let batch = WriteBatch { view, schema: &schema, rows, keys: &keys, order: &order, deadline };
        let written = self.file.with(|database| self.write_batch(database, &batch))?;
        Ok(Written { without_key, ..written })
    }

    fn write_batch(&self, database: &Database, batch: &WriteBatch<'_>) -> Result<Written, Failure> {
        let encoder = RowEncoder::new(batch.view, batch.schema, batch.rows)?;
        look_at(batch.deadline, 0)?;
        if batch.order.is_empty() && batch.rows.origin.is_none() {
            return Ok(Written::default());
        }
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let name = table_name(batch.view);
        let written = {
            let mut schemas = transaction.open_table(SCHEMAS)?;
            keep_schema(&mut schemas, batch)?;
            let mut table = transaction.open_table(rows_of(&name))?;
            self.write_rows(&mut table, &schemas, encoder, batch)?
        };
        // A transaction that is dropped leaves the file as it was.
        if batch.deadline.has_passed() {
            return Err(Error::Late.into());
        }
        let is_further = keep_progress(&transaction, batch)?;
        if written.written > 0 || is_further {
            transaction.commit()?;
        }
        Ok(written)
    }

    /// Of the rows of each key, stored ones included, the newest stays.
    fn write_rows(
        &self,
        table: &mut Table<'_, &'static [u8], &'static [u8]>,
        schemas: &Table<'_, u64, &'static str>,
        mut encoder: RowEncoder<'_>,
        batch: &WriteBatch<'_>,
    ) -> Result<Written, Failure> {
        let mut done = Written::default();
        let same_key = |one: &usize, other: &usize| batch.keys.get(*one) == batch.keys.get(*other);
        for (count, group) in batch.order.chunk_by(same_key).enumerate() {
            look_at(batch.deadline, count)?;
            let key = batch.keys.get(group[0]);
            let mut newest = match table.get(key)? {
                Some(stored) => self.stored_version(schemas, stored.value(), batch)?,
                None => None,
            };
            let mut winner = None;
            for &row in group {
                let version = encoder.version(row);
                if newest.is_some_and(|newest| newest.stays_before(&version)) {
                    done.older += 1;
                } else {
                    done.written += 1;
                    newest = Some(version);
                    winner = Some(row);
                }
            }
            if let Some(row) = winner {
                table.insert(key, encoder.encode(row)?)?;
            }
        }
        Ok(done)
    }

    /// How new the stored row is. None for a row of other entities, and for a damaged one: both are replaced.
    fn stored_version(
        &self,
        schemas: &Table<'_, u64, &'static str>,
        stored: &[u8],
        batch: &WriteBatch<'_>,
    ) -> Result<Option<Version>, Failure> {
        let Ok(header) = Header::read(stored) else { return Ok(None) };
        let describes_entities = header.schema_id == batch.schema.id
            || self.schema(schemas, header.schema_id)?.is_some_and(|schema| schema.describes_entities_of(batch.view));
        Ok(describes_entities.then_some(header.version))
    }
}

/// What operators ask.
impl Shared {
    fn progress(&self, view: &str, stream: &str, partition: u32) -> Result<Option<u64>, Error> {
        self.file.with(|database| match database.begin_read()?.open_table(PROGRESS) {
            Ok(table) => Ok(table.get((view, stream, partition))?.map(|offset| offset.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn health(&self) -> Result<Health, Error> {
        let path = self.file.path();
        self.file.with(|database| {
            database.begin_read()?;
            Ok(())
        })?;
        let unknown = |error: std::io::Error| Error::Store { doing: "looking at its file", detail: error.to_string() };
        let bytes = path.metadata().map_err(unknown)?.len();
        let facts =
            [("file", path.display().to_string()), ("bytes", bytes.to_string()), ("format", FORMAT.to_string())];
        let facts = facts.map(|(name, fact)| (name.to_owned(), fact)).to_vec();
        Ok(Health { store: "embedded, in a local file".to_owned(), facts, warnings: Vec::new() })
    }

    fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            views.iter().map(|view| self.view_statistics(&transaction, view, deadline)).collect()
        })
    }

    fn scan(&self, view: &Arc<OnlineView>, cursor: Option<&Cursor>, deadline: Deadline) -> Result<RowPage, Error> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(rows_of(&table_name(view))) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(RowPage::default()),
                Err(error) => return Err(error.into()),
            };
            let after = cursor.map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.0.as_slice()));
            let (mut keys, mut created_time, mut last) = (KeyColumns::new(&view.join_keys), Vec::new(), None);
            for entry in table.range::<&[u8]>((after, Bound::Unbounded))?.take(ONLINE_SCAN_ROWS) {
                let (key, row) = entry?;
                let (key, header) = (key.value(), Header::read(row.value()).ok());
                last = Some(Cursor(key.to_vec()));
                let mut values = Vec::new();
                // A key of other join keys is nobody's.
                if key_values(&view.join_keys, key, &mut values) && keys.push(&values) {
                    let created = header.map(|header| header.version.created_time);
                    created_time.push(created.filter(|created| *created != NO_CREATED_TIME));
                }
            }
            let (keys, rows) = (keys.finish(), created_time.len());
            let entities = KeyBatch::encode(&view.join_keys, &keys, rows);
            let columns: Vec<usize> = (0..view.features.len()).collect();
            let read = Read { view, keys: &entities, columns: &columns };
            let stored = self.read_view(&transaction, &read, deadline)?;
            Ok(RowPage { rows: vec![present_rows(&view.name, &keys, &stored, created_time)?], next: last })
        })
    }

    /// Goes through all rows of the view and looks into as many as the limit allows, evenly spread over the keys.
    fn view_statistics(
        &self,
        stored: &ReadTransaction,
        view: &OnlineView,
        deadline: Deadline,
    ) -> Result<ViewStatistics, Failure> {
        let mut tally = Tally::new(view);
        let table = match stored.open_table(rows_of(&table_name(view))) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(tally.finish(0)),
            Err(error) => return Err(error.into()),
        };
        let step = table.len()?.div_ceil(STATISTICS_ROWS_MAX).max(1);
        let mut keys = 0;
        for (count, entry) in table.iter()?.enumerate() {
            look_at(deadline, count)?;
            let (key, row) = entry?;
            let (key, row) = (key.value(), row.value());
            if let Some(id) = tally.unknown_schema(row)
                && let Some(schema) = self.schema(&stored.open_table(SCHEMAS)?, id)?
            {
                tally.learn(&schema);
            }
            if tally.counts(row) {
                if keys % step == 0 {
                    tally.add(row, (key.len() + row.len()) as u64);
                }
                keys += 1;
            }
        }
        Ok(tally.finish(keys))
    }
}

/// One call of `write`, ready to be done, and to be done again.
#[derive(Debug)]
struct WriteBatch<'a> {
    view: &'a OnlineView,
    schema: &'a RowSchema,
    rows: &'a FeatureRows,
    keys: &'a KeyBatch,
    /// The rows that have a key, by key and then in source order.
    order: &'a [usize],
    deadline: Deadline,
}

/// Keeps the schema of the rows to come. Two schemas with one id would be misread, so that is refused.
fn keep_schema(schemas: &mut Table<'_, u64, &'static str>, batch: &WriteBatch<'_>) -> Result<(), Failure> {
    let text = batch.schema.text();
    let kept = schemas.get(batch.schema.id)?.map(|kept| kept.value() == text);
    match kept {
        Some(true) => {}
        Some(false) => {
            let detail = "other columns have the same schema id; rename one feature".to_owned();
            return Err(Error::Unstorable { view: batch.view.name.clone(), detail }.into());
        }
        None => {
            schemas.insert(batch.schema.id, text.as_str())?;
        }
    }
    Ok(())
}

/// Notes how far the stream has come, in the transaction of its rows; false where that was known.
fn keep_progress(transaction: &WriteTransaction, batch: &WriteBatch<'_>) -> Result<bool, Failure> {
    let Some(origin) = &batch.rows.origin else { return Ok(false) };
    let Some(&last) = origin.offsets.last() else { return Ok(false) };
    let mut table = transaction.open_table(PROGRESS)?;
    let partition = (batch.view.name.as_str(), &*origin.stream, origin.partition);
    let is_further = table.get(partition)?.is_none_or(|offset| offset.value() < last);
    if is_further {
        table.insert(partition, last)?;
    }
    Ok(is_further)
}

fn look_at(deadline: Deadline, count: usize) -> Result<(), Error> {
    if count.is_multiple_of(KEYS_PER_LOOK) && deadline.has_passed() { Err(Error::Late) } else { Ok(()) }
}

fn table_name(view: &OnlineView) -> String {
    format!("{VIEW_PREFIX}{}", view.name)
}

fn rows_of(table_name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(table_name)
}
