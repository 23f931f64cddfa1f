//! An online store that fails, stands still, loses sight of some rows or changes under a read when a test says so.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arrow::buffer::BooleanBuffer;
use async_trait::async_trait;
use lockstep::batch::{FeatureRows, StoredRows, null_where_not, timestamps};
use lockstep::clock::{Clock, Deadline, Micros};
use lockstep::online::memory::MemoryStore;
use lockstep::online::{
    ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    Nothing,
    /// Every call is an error at once.
    Fails,
    /// No call ends, not even at its deadline.
    Hangs,
    /// Rows of `area_stats` at even places of a question are out of reach.
    LosesEvenAreas,
}

/// Rows in memory behind a fault.
#[derive(Debug)]
pub struct Faulty {
    rows: MemoryStore,
    fault: AtomicU8,
    calls: AtomicUsize,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// What happens between a question and the look at the rows: time passes, and someone writes.
#[derive(Debug)]
pub struct Meanwhile {
    pub clock: Clock,
    pub now: Micros,
    pub view: Arc<OnlineView>,
    pub rows: FeatureRows,
}

impl Faulty {
    pub fn new() -> Arc<Self> {
        let fault = AtomicU8::new(Fault::Nothing as u8);
        Arc::new(Self { rows: MemoryStore::default(), fault, calls: AtomicUsize::new(0), meanwhile: Mutex::new(None) })
    }

    pub fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Happens once, in the next read before it looks at any row.
    pub fn at_the_next_read(&self, meanwhile: Meanwhile) {
        *self.meanwhile.lock().expect("no one panics with it") = Some(meanwhile);
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault.load(Ordering::SeqCst) == fault as u8
    }

    async fn call(&self) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.has(Fault::Hangs) {
            return std::future::pending().await;
        }
        if self.has(Fault::Fails) {
            return Err(Error::Store { doing: "reading a row", detail: "connection reset by peer".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl OnlineStore for Faulty {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.call().await?;
        if self.has(Fault::LosesEvenAreas) && reads.iter().any(|read| read.view.name == "area_stats") {
            return Err(Error::Store { doing: "reading a row", detail: "node 2 is down".to_owned() });
        }
        let meanwhile = self.meanwhile.lock().expect("no one panics with it").take();
        if let Some(Meanwhile { clock, now, view, rows }) = meanwhile {
            clock.set(now);
            self.rows.write(&view, &rows, deadline).await?;
        }
        self.rows.read(reads, deadline).await
    }

    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        if self.call().await.is_err() {
            return Ok(reads.iter().map(Read::unreachable).collect());
        }
        let mut answers = self.rows.read(reads, deadline).await?;
        for (read, rows) in reads.iter().zip(&mut answers) {
            if self.has(Fault::LosesEvenAreas) && read.view.name == "area_stats" {
                lose_even_rows(rows);
            }
        }
        Ok(answers)
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        self.call().await?;
        self.rows.write(view, rows, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        self.call().await?;
        self.rows.progress(view, stream, partition, deadline).await
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.rows.health(deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.rows.statistics(views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        self.rows.scan(view, cursor, deadline).await
    }

    fn watch(&self, views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        self.rows.watch(views, listener);
    }
}

fn lose_even_rows(rows: &mut StoredRows) {
    let lost = BooleanBuffer::collect_bool(rows.event_time.len(), |row| row % 2 == 0);
    let present = &rows.present & &!&lost;
    rows.columns = rows.columns.iter().map(|column| null_where_not(column, &present)).collect();
    let time = |row: usize| present.value(row).then(|| rows.event_time.value(row));
    rows.event_time = timestamps((0..lost.len()).map(time).collect());
    (rows.present, rows.unreachable) = (present, Some(lost));
}
