//! The online store in Redis, in one of three layouts.
//!
//! [`Link`] knows servers and connections and nothing of features; a layout ([`Rows`]) knows which keys a view's rows
//! have and what their bytes mean, and nothing of servers. The store puts the two together.

mod columns;
mod copy;
mod failure;
mod feast;
mod fields;
mod glob;
mod hash;
mod health;
mod key;
mod link;
mod marker;
mod packed;
mod pages;
mod schemas;
mod script;
mod settings;
mod tracking;
mod whole;

#[cfg(test)]
#[path = "../../../tests/servers/redis.rs"]
pub(crate) mod servers;

use std::fmt;
use std::sync::{Arc, Weak};

use arrow::array::ArrayRef;
use async_trait::async_trait;

pub use copy::{Copied, CopiedView, Copying, copy};
pub use settings::{Address, Expiry, Layout, Login, Mode, Secret, Server, Settings, Tls, TlsClient};

use super::{ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written};
use crate::batch::{FeatureRows, StoredRows};
use crate::clock::{Clock, Deadline};
use link::{Link, Primary};
use whole::WholeRows;

/// The newest rows of one project, in Redis.
#[derive(Debug)]
pub struct RedisStore {
    link: Arc<Link>,
    rows: Arc<dyn Rows>,
}

impl RedisStore {
    /// Connects, and refuses a database that is not the project's.
    pub async fn connect(settings: &Settings, deadline: Deadline) -> Result<Self, Error> {
        let store = Self::with(settings, rows(settings))?;
        marker::check(&store.link, settings, deadline).await?;
        Ok(store)
    }

    /// Connects to nothing yet.
    fn with(settings: &Settings, rows: Box<dyn Rows>) -> Result<Self, Error> {
        Ok(Self { link: Arc::new(Link::new(settings.server.clone())?), rows: rows.into() })
    }
}

/// The layout that the settings name.
fn rows(settings: &Settings) -> Box<dyn Rows> {
    match &settings.layout {
        Layout::Packed => Box::new(packed::Packed::new(settings)),
        Layout::Hash => Box::new(hash::rows(&settings.prefix, settings.expire.clone(), Clock::default())),
        Layout::Feast { project, key_version } => {
            let version = match key_version {
                2 => feast::KeyVersion::Two,
                _ => feast::KeyVersion::Three,
            };
            Box::new(feast::rows(project, version, &settings.prefix, settings.expire.clone()))
        }
    }
}

/// Whether a store of these settings can hold these views together; asks no server. An error names the view, what is in
/// the way and what to do.
pub fn check(settings: &Settings, views: &[Arc<OnlineView>]) -> Result<(), Error> {
    for named in settings.expire.views.keys() {
        if !views.iter().any(|view| view.name == *named) {
            let known: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let detail = format!("online_store.views names {named}, which is no stored view; those are: {known}");
            return Err(Error::Setup { detail });
        }
    }
    rows(settings).check(views)
}

#[async_trait]
impl OnlineStore for RedisStore {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.rows.read(&self.link, reads, deadline).await
    }

    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.rows.read_reachable(&self.link, reads, deadline).await
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        self.rows.write(&self.link, view, rows, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        self.rows.progress(&self.link, view, stream, partition, deadline).await
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        health::health(&self.link, deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.rows.statistics(&self.link, views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        pages::page(&self.link, &*self.rows, view, cursor, deadline).await
    }

    fn watch(&self, views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        tokio::spawn(tracking::watch(Arc::clone(&self.link), Arc::clone(&self.rows), views.to_vec(), listener));
    }
}

/// A layout: how the rows of views lie in Redis. The methods keep the contract of [`super::OnlineStore`].
#[async_trait]
trait Rows: fmt::Debug + Send + Sync {
    /// Whether the layout can hold these views together; an error names the view and what is in the way.
    fn check(&self, views: &[Arc<OnlineView>]) -> Result<(), Error>;

    async fn read(&self, link: &Link, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error>;

    /// As `read`; but rows whose server does not answer are `unreachable`, and the others are answered.
    async fn read_reachable(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error>;

    async fn write(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error>;

    /// As `write`; but of rows that tie the stored one stays, unless it was written with other features or by another
    /// transform, and no progress is noted.
    async fn write_newer(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error>;

    /// All that there is of the rows under these join keys, tombstones too, as far as the layout has room for it.
    async fn take(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        keys: &[ArrayRef],
        deadline: Deadline,
    ) -> Result<WholeRows, Error>;

    async fn progress(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error>;

    async fn statistics(
        &self,
        link: &Link,
        views: &[Arc<OnlineView>],
        deadline: Deadline,
    ) -> Result<Vec<ViewStatistics>, Error>;

    /// One page of the keys of one server under which rows of `views` may lie; `read` tells whether there is one. The
    /// first page is at cursor 0. A key may come twice, and one whose slot moves meanwhile not at all.
    async fn scan(
        &self,
        primary: &Primary,
        views: &[Arc<OnlineView>],
        cursor: u64,
        deadline: Deadline,
    ) -> Result<Page, Error>;

    /// What the keys of the views' rows begin with, none the beginning of another; nothing for all keys there are.
    fn key_prefixes(&self, views: &[Arc<OnlineView>]) -> Vec<Vec<u8>>;

    /// View and entity key of the row under a key with one of these prefixes; none where the key does not tell.
    fn row_of<'k>(&self, key: &'k [u8]) -> Option<(&'k str, &'k [u8])>;
}

/// A step on the way through all keys of one server.
#[derive(Debug)]
struct Page {
    /// Positions in the asked views, and join keys in each view's order; no view without keys.
    pub keys: Vec<(usize, Vec<ArrayRef>)>,
    /// Keys of the server that look like those of rows, and how many of them are of none of the asked views.
    pub scanned: u64,
    pub of_no_view: u64,
    /// Where the next page begins; none after the last one.
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests;
