//! The hot cache: rows that are asked for over and over stay in this process for a moment, in front of any online store.
//!
//! [`CachedStore`] keeps packed rows (see [`packed`](super::packed)), whole, by view and key; and, if wanted, that there
//! is no row. A question is looked up key by key; what is not there is asked of the inner store in one call for all
//! views, whole rows, and of the callers who miss one key at the same time one asks ([`flight`]). Serving applies event
//! time, ttl and `as_of` behind it, so it answers the same with and without.
//!
//! # What it promises
//! No answer holds a row that was replaced more than `max_age` before the read began, whatever becomes of the change
//! feed. Where the feed works, and for writes through this store, the old row is gone as soon as the change is told.
//! While the feed is down there is no cache: everything is asked of the inner store.
//!
//! # Races
//! An entry bears the moment at which the read that fetched it *began*: the row was the newest at some time after it.
//! A read uses an entry only if its own beginning is at most `max_age` later. What is left is a read that begins before a
//! change is told and ends after it: it must not put the old row back. So every key belongs to a stripe with a version,
//! an invalidation moves the version on and removes the entry under the stripe's lock, and a fetched row is put in,
//! under the same lock, only if the version is still the one from before its read. Who waits for the read of another
//! joins only one that began in the version it finds itself. Forgetting everything (the feed is lost or back, a large
//! write, another definition of the view) moves an era on instead; entries bear theirs, and those of an older one are
//! never used, so it does not matter when their memory is freed.
//!
//! # Why moka and not dashmap
//! A cache needs what a map does not have: a bound by weight with an eviction that keeps what is asked often (TinyLFU),
//! and a time to live that frees what nobody asks for. moka's own single flight (`get_with`) is not used: it runs one
//! closure for one key, and here one call fetches many keys of several views.

mod flight;
mod read;
mod view;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

use self::read::Reach;
use self::view::CachedView;
pub use self::view::ViewCounts;
use super::{ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written};
use crate::batch::{FeatureRows, KeyBatch, StoredRows};
use crate::clock::{Deadline, Steady};
use crate::limits::HOT_CACHE_WRITE_KEYS_MAX;

/// How the rows of one view are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Rows at most. One that is longer than `HOT_CACHE_ROW_BYTES` counts as several.
    pub rows: u64,
    /// How old an answer may be where nothing tells of changes.
    pub max_age: Duration,
    /// Whether it is also kept that there is no row.
    pub absent: bool,
}

/// `inner`, with the rows of some views kept in this process.
#[derive(Debug)]
pub struct CachedStore {
    inner: Arc<dyn OnlineStore>,
    kept: Arc<Kept>,
    clock: Steady,
}

/// What the change feed and the readers share.
#[derive(Debug)]
struct Kept {
    watching: AtomicBool,
    views: HashMap<String, CachedView>,
}

impl CachedStore {
    /// Keeps rows of `views` and watches the inner store for their changes. Must be called in a runtime, as
    /// [`OnlineStore::watch`] must.
    pub fn new(inner: Arc<dyn OnlineStore>, views: &[(Arc<OnlineView>, Keeping)], clock: Steady) -> Self {
        let cached = views.iter().map(|(view, keeping)| (view.name.clone(), CachedView::new(view, *keeping)));
        let kept = Arc::new(Kept { watching: AtomicBool::new(false), views: cached.collect() });
        let listener: Weak<dyn ChangeListener> = Arc::downgrade(&kept) as _;
        let watched: Vec<Arc<OnlineView>> = views.iter().map(|(view, _)| Arc::clone(view)).collect();
        inner.watch(&watched, listener);
        Self { inner, kept, clock }
    }

    /// What is counted of each view, by name.
    pub fn counts(&self) -> Vec<(&str, ViewCounts)> {
        let mut counts: Vec<_> = self.kept.views.iter().map(|(name, view)| (name.as_str(), view.counts())).collect();
        counts.sort_unstable_by_key(|(name, _)| *name);
        counts
    }
}

impl Kept {
    fn forget(&self) {
        for view in self.views.values() {
            view.forget();
        }
    }
}

impl ChangeListener for Kept {
    fn watching(&self) {
        // First: what is fetched from now on is of the new era.
        self.forget();
        self.watching.store(true, Ordering::Release);
    }

    fn lost(&self) {
        self.watching.store(false, Ordering::Release);
        self.forget();
    }

    fn changed(&self, view: &str, key: &[u8]) {
        if let Some(view) = self.views.get(view) {
            view.invalidate(key);
        }
    }
}

#[async_trait]
impl OnlineStore for CachedStore {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.read_through(reads, Reach::All, deadline).await
    }

    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.read_through(reads, Reach::Some, deadline).await
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        let Some(cached) = self.kept.views.get(&view.name) else { return self.inner.write(view, rows, deadline).await };
        // Told before, for readers that need not see the old row any more, and after, however it ends: whoever asks this
        // process after its write finds what was written.
        let _told = Told::before(cached, view, rows);
        self.inner.write(view, rows, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
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

/// A write of ours: its keys are invalid when it begins and when it ends, also when its caller goes away.
struct Told<'a> {
    view: &'a CachedView,
    keys: Option<KeyBatch>,
}

impl<'a> Told<'a> {
    fn before(cached: &'a CachedView, view: &OnlineView, rows: &FeatureRows) -> Self {
        let few = rows.rows() <= HOT_CACHE_WRITE_KEYS_MAX;
        let keys = few.then(|| KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows()));
        let told = Self { view: cached, keys };
        told.tell();
        told
    }

    fn tell(&self) {
        match &self.keys {
            Some(keys) => keys.iter().for_each(|key| self.view.invalidate(key)),
            None => self.view.forget(),
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}
