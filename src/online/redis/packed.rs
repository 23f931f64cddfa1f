//! The packed layout: one string per row, with the bytes of `docs/packed-rows.md`, under the keys of [`super::key`].
//!
//! Reading is MGET and nothing else. Writing is one script, which compares and sets the rows of a bucket and moves its
//! watermark in one atomic step. What is deleted stays as a tombstone; what has an `expire_after` is gone that long
//! after it was last written.
//!
//! # How long tombstones stay
//! Where rows stay for ever so do tombstones: they are smaller than the rows that they replace, and without them an
//! older row would bring the entity back. Where rows expire, tombstones stay as long as rows do, and at least
//! [`REDIS_TOMBSTONES_KEPT`](crate::limits::REDIS_TOMBSTONES_KEPT).
//!
//! # Why progress is the least watermark of all buckets
//! A bucket's watermark moves in the script call that writes the last row that a batch has for the bucket, so it is
//! never ahead of the bucket's rows, also when a connection breaks between two calls, and a replica that takes over has
//! both or neither. Buckets without rows of a batch are moved on after all its rows are written: then the least
//! watermark is the end of the last batch that is whole. That lost rows are not passed over either is the work of
//! [`positions`].

mod positions;
mod read;
mod scan;
mod statistics;
mod take;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::ArrayRef;
use async_trait::async_trait;

use super::key;
use super::link::{Link, Primary};
use super::schemas::Schemas;
use super::script::Script;
use super::settings::Settings;
use super::whole::WholeRows;
use super::{Expiry, Page, Rows};
use crate::batch::{FeatureRows, StoredRows};
use crate::clock::Deadline;
use crate::online::{Error, OnlineView, Read, ViewStatistics, Written};
use positions::Positions;

/// The layout, and what this process has met of the store.
#[derive(Debug)]
pub(super) struct Packed {
    prefix: Arc<str>,
    expire: Expiry,
    write: Script,
    write_newer: Script,
    advance: Script,
    schemas: Schemas,
    positions: Positions,
}

impl Packed {
    pub fn new(settings: &Settings) -> Self {
        Self {
            prefix: settings.prefix.as_str().into(),
            expire: settings.expire.clone(),
            write: Script::new(concat!(
                "local keeps_ties = false\n",
                include_str!("packed/watermark.lua"),
                include_str!("packed/write.lua")
            )),
            write_newer: Script::new(concat!(
                "local keeps_ties = true\n",
                include_str!("packed/watermark.lua"),
                include_str!("packed/write.lua")
            )),
            advance: Script::new(concat!(include_str!("packed/watermark.lua"), include_str!("packed/advance.lua"))),
            schemas: Schemas::new(&settings.prefix),
            positions: Positions::default(),
        }
    }
}

#[async_trait]
impl Rows for Packed {
    /// Every view has keys of its own.
    fn check(&self, _views: &[Arc<OnlineView>]) -> Result<(), Error> {
        Ok(())
    }

    async fn read(&self, link: &Link, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.read_all(link, reads, deadline).await
    }

    async fn read_reachable(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        self.read_what_answers(link, reads, deadline).await
    }

    async fn write(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        self.write_batch(link, view, rows, deadline).await
    }

    async fn write_newer(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        self.write_newer_batch(link, view, rows, deadline).await
    }

    async fn take(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        keys: &[ArrayRef],
        deadline: Deadline,
    ) -> Result<WholeRows, Error> {
        self.take_all(link, view, keys, deadline).await
    }

    async fn progress(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        self.least_watermark(link, view, stream, partition, deadline).await
    }

    async fn statistics(
        &self,
        link: &Link,
        views: &[Arc<OnlineView>],
        deadline: Deadline,
    ) -> Result<Vec<ViewStatistics>, Error> {
        self.count(link, views, deadline).await
    }

    async fn scan(
        &self,
        primary: &Primary,
        views: &[Arc<OnlineView>],
        cursor: u64,
        deadline: Deadline,
    ) -> Result<Page, Error> {
        self.page(primary, views, cursor, deadline).await
    }

    fn key_prefixes(&self, views: &[Arc<OnlineView>]) -> Vec<Vec<u8>> {
        views.iter().map(|view| [&self.prefix, "f:", &view.name, ":"].concat().into_bytes()).collect()
    }

    fn row_of<'k>(&self, key: &'k [u8]) -> Option<(&'k str, &'k [u8])> {
        key::row_of(&self.prefix, key)
    }
}
