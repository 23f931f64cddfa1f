//! A store in memory that fails, hangs or cannot reach some keys when a test says so, and counts what it is asked.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::buffer::BooleanBuffer;
use async_trait::async_trait;

use super::memory::MemoryStore;
use super::{ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written};
use crate::batch::{FeatureRows, StoredRows, null_where_not, timestamps};
use crate::clock::Deadline;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    /// Every call is an error at once.
    Fails,
    /// No call ends, not even at its deadline.
    Hangs,
    /// Every call is refused for what the caller asks.
    Refuses,
    /// Writes find no room.
    IsFull,
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub inner: MemoryStore,
    fault: AtomicU8,
    /// Reads of the views with one of these names cannot be answered; see [`OnlineStore::read_reachable`].
    lost_views: Mutex<Vec<String>>,
    pub calls: AtomicUsize,
}

impl FaultyStore {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::default(),
            fault: AtomicU8::new(Fault::None as u8),
            lost_views: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    }

    pub fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Of these views every second key, beginning with the first asked one, is out of reach.
    pub fn lose(&self, views: &[&str]) {
        *self.lost_views.lock().unwrap_or_else(PoisonError::into_inner) =
            views.iter().map(|view| (*view).to_owned()).collect();
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn call(&self, writes: bool) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let is = |fault: Fault| self.fault.load(Ordering::SeqCst) == fault as u8;
        match () {
            () if is(Fault::Fails) => Err(Error::Store { doing: "testing", detail: "connection reset".to_owned() }),
            () if is(Fault::Hangs) => std::future::pending().await,
            () if is(Fault::Refuses) => {
                Err(Error::Unstorable { view: "sample".to_owned(), detail: "it is wrong".to_owned() })
            }
            () if is(Fault::IsFull) && writes => Err(Error::Full { detail: "no room".to_owned() }),
            () => Ok(()),
        }
    }

    fn loses(&self, view: &str) -> bool {
        self.lost_views.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|lost| lost == view)
    }
}

#[async_trait]
impl OnlineStore for FaultyStore {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.call(false).await?;
        if reads.iter().any(|read| self.loses(&read.view.name)) {
            return Err(Error::Store { doing: "testing", detail: "a node is down".to_owned() });
        }
        self.inner.read(reads, deadline).await
    }

    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        if let Err(error) = self.call(false).await {
            return if matches!(error, Error::Store { .. }) {
                Ok(reads.iter().map(Read::unreachable).collect())
            } else {
                Err(error)
            };
        }
        let mut answers = self.inner.read(reads, deadline).await?;
        for (read, rows) in reads.iter().zip(&mut answers).filter(|(read, _)| self.loses(&read.view.name)) {
            let lost = BooleanBuffer::collect_bool(read.keys.rows(), |row| row % 2 == 0);
            let known = &rows.present & &!&lost;
            rows.columns = rows.columns.iter().map(|column| null_where_not(column, &known)).collect();
            rows.event_time =
                timestamps((0..known.len()).map(|row| known.value(row).then(|| rows.event_time.value(row))).collect());
            (rows.present, rows.unreachable) = (known, Some(lost));
        }
        Ok(answers)
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        self.call(true).await?;
        self.inner.write(view, rows, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        self.call(false).await?;
        self.inner.progress(view, stream, partition, deadline).await
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.inner.health(deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.inner.statistics(views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        self.inner.scan(view, cursor, deadline).await
    }

    fn watch(&self, views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        self.inner.watch(views, listener);
    }
}
