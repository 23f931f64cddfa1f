//! The online store in Redis, in one of three layouts.
//!
//! [`Link`] knows servers and connections and nothing of features; a layout ([`Rows`]) knows which keys a view's rows
//! have and what their bytes mean, and nothing of servers. The store puts the two together.

mod columns;
mod failure;
mod feast;
mod fields;
mod glob;
mod hash;
mod link;
mod script;
mod settings;

#[cfg(test)]
#[path = "../../../tests/servers/redis.rs"]
pub(crate) mod servers;

use std::fmt;
use std::sync::{Arc, Weak};

use arrow::array::ArrayRef;
use async_trait::async_trait;

pub use settings::{Address, Expiry, Login, Mode, Secret, Server, Settings, Tls, TlsClient};

use super::{ChangeListener, Error, Health, OnlineStore, OnlineView, Read, ViewStatistics, Written};
use crate::batch::{FeatureRows, StoredRows};
use crate::clock::Deadline;
use link::{Link, Primary};

/// The newest rows of one project, in Redis.
#[derive(Debug)]
pub struct RedisStore {
    link: Link,
    rows: Box<dyn Rows>,
}

impl RedisStore {
    fn with(settings: &Settings, rows: Box<dyn Rows>) -> Result<Self, Error> {
        Ok(Self { link: Link::new(settings.server.clone())?, rows })
    }
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
        let version = self.link.call(vec![redis::cmd("INFO")], deadline).await.remove(0);
        version.map_err(|failure| failure.into_error("asking for its health"))?;
        Ok(Health { store: "Redis".to_owned(), ..Health::default() })
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.rows.statistics(&self.link, views, deadline).await
    }

    fn watch(&self, _views: &[Arc<OnlineView>], _listener: Weak<dyn ChangeListener>) {}
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
}

/// A step on the way through all keys of one server.
#[derive(Debug)]
struct Page {
    /// Positions in the asked views, and join keys in each view's order; no view without keys.
    keys: Vec<(usize, Vec<ArrayRef>)>,
    /// Where the next page begins; none after the last one.
    next: Option<u64>,
}
