//! An entity is a hash, a feature is a field: what the layouts `feast` and `hash` share.
//!
//! All views of the same entities stand in one hash, so a question about ten of them is one command for each entity. A
//! [`Format`] says how keys, fields and values are written and who is newer; here is when they are read and written.
//!
//! # What such a hash cannot promise
//! It expires as a whole. And its entity decides which server of a cluster it is on, so there is no place beside the
//! rows for the progress of a stream: that is kept apart, and advanced by a second command after the rows. It is never
//! ahead of them on one server, but a cluster that loses two servers may keep the one and lose the other. The layout
//! `packed` has neither limit.

mod progress;
mod read;
mod scan;
mod statistics;
mod take;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::ArrayRef;
use async_trait::async_trait;

use super::columns::{ColumnBuilder, SourceColumn};
use super::link::{Link, Primary};
use super::schemas::Schemas;
use super::script::Script;
use super::settings::Expiry;
use super::whole::{Mark, WholeRows};
use super::{Page, Rows};
use crate::batch::{FeatureRows, KeyColumns, StoredRows};
use crate::clock::Deadline;
use crate::online::packed::RowSchema;
use crate::online::{Error, OnlineView, Read, ViewStatistics, Written};
use progress::Progress;
use write::Manner;

/// A layout of hashes.
#[derive(Debug)]
pub(super) struct FieldRows {
    format: Box<dyn Format>,
    expire: Expiry,
    progress: Progress,
    schemas: Schemas,
    views: RwLock<HashMap<String, Arc<ViewFields>>>,
}

/// How one view lies in hashes.
#[derive(Debug)]
pub(super) struct ViewFields {
    pub view: Arc<OnlineView>,
    pub keys: Box<dyn Keys>,
    /// The field that says that there is a row, and when it became true.
    pub row_field: Vec<u8>,
    /// The field of each feature, in the view's order.
    pub features: Vec<Vec<u8>>,
    pub schema: Arc<RowSchema>,
}

/// How the keys of one view's hashes are written.
pub(super) trait Keys: fmt::Debug + Send + Sync {
    /// The Redis key of one of our encoded keys. None where the layout can have no such key.
    fn write(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Appends the join keys of a Redis key; false where it is not the key of an entity of the view.
    fn read(&self, redis_key: &[u8], columns: &mut KeyColumns) -> bool;

    /// What tells the view's entities from others; views with the same stand in one hash.
    fn entity(&self) -> Vec<u8>;
}

/// What a hash says of one view's row.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Absent,
    Present {
        event_time: i64,
        /// What the row was written with; none where every field may be read as what the view says now.
        schema: Option<Arc<RowSchema>>,
    },
}

/// What a layout of hashes is.
pub(super) trait Format: fmt::Debug + Send + Sync {
    fn view(&self, view: &Arc<OnlineView>) -> Result<ViewFields, Error>;

    /// A pattern for `SCAN` that the keys of all views match; others may match it too.
    fn pattern(&self) -> Vec<u8>;

    /// Whether two views of the same entities would be in each other's way, and how.
    fn clash(&self, one: &ViewFields, other: &ViewFields) -> Option<String>;

    /// The schema that has to be known before a row with this row field is read.
    fn schema_of(&self, row: &[u8]) -> Option<u64>;

    /// What there is of a view, from its row field and whether any of the asked features has a field.
    fn found(
        &self,
        fields: &ViewFields,
        row: Option<&[u8]>,
        has_values: bool,
        schemas: &Schemas,
    ) -> Result<Found, String>;

    /// What a row says of itself, from its row field; none where that is no row's, or one of other join keys.
    fn mark(&self, fields: &ViewFields, row: Option<&[u8]>) -> Option<Mark>;

    /// Reads the value of a field. An error says what is wrong with it, as the end of a sentence about the value.
    fn read_value(&self, value: &[u8], column: &mut ColumnBuilder<'_>) -> Result<(), String>;

    /// Whether a stored value stands for a null.
    fn is_null(&self, value: &[u8]) -> bool;

    /// Appends the value of a row. An error is the end of a sentence about the rows.
    fn write_value(&self, column: &SourceColumn<'_>, row: usize, value: &mut Vec<u8>) -> Result<(), String>;

    /// Decides row by row who is newer, writes, and answers how many rows were written.
    ///
    /// `KEYS` are the hashes of the rows, in order. `ARGV` begins with [`Format::shared_arguments`]; then the row field,
    /// the seconds until the hash expires (0: never), the number of features and their fields. Then for each row: `w`
    /// or, for a tombstone, `d`; what [`Format::push_row`] says; and the values, which a tombstone does not have.
    fn script(&self) -> &Script;

    /// As `script`; but of rows that tie the stored one stays, as [`Rows::write_newer`] says.
    fn script_for_newer(&self) -> &Script;

    fn shared_arguments(&self, fields: &ViewFields) -> Vec<Vec<u8>>;

    /// What the script gets of a row in front of its values.
    fn push_row(&self, fields: &ViewFields, rows: &FeatureRows, row: usize, arguments: &mut Vec<Vec<u8>>);

    /// Whether rows name the schema that they were written with.
    fn keeps_schemas(&self) -> bool;
}

impl FieldRows {
    /// `prefix` begins the keys that are ours and not the layout's.
    pub fn new(format: Box<dyn Format>, layout: &str, prefix: &str, expire: Expiry) -> Self {
        Self {
            format,
            expire,
            progress: Progress::new(prefix, layout),
            schemas: Schemas::new(prefix),
            views: RwLock::default(),
        }
    }

    /// The names of a view's keys and fields, made once.
    fn fields(&self, view: &Arc<OnlineView>) -> Result<Arc<ViewFields>, Error> {
        let known = self.views.read().unwrap_or_else(PoisonError::into_inner).get(&view.name).cloned();
        if let Some(known) = known
            && (Arc::ptr_eq(&known.view, view) || known.view == *view)
        {
            return Ok(known);
        }
        let fields = Arc::new(self.format.view(view)?);
        self.views.write().unwrap_or_else(PoisonError::into_inner).insert(view.name.clone(), Arc::clone(&fields));
        Ok(fields)
    }
}

#[async_trait]
impl Rows for FieldRows {
    fn check(&self, views: &[Arc<OnlineView>]) -> Result<(), Error> {
        let fields = views.iter().map(|view| self.fields(view)).collect::<Result<Vec<_>, Error>>()?;
        for (position, one) in fields.iter().enumerate() {
            for other in &fields[..position] {
                if one.keys.entity() != other.keys.entity() {
                    continue;
                }
                let (new, old) = (&one.view.name, &other.view.name);
                if self.expire.of(new) != self.expire.of(old) {
                    let detail = format!(
                        "it stands in one hash with {old}, which expires as a whole; give both the same expire_after"
                    );
                    return Err(Error::Unstorable { view: new.clone(), detail });
                }
                if let Some(detail) = self.format.clash(one, other) {
                    return Err(Error::Unstorable { view: new.clone(), detail });
                }
            }
        }
        Ok(())
    }

    async fn read(&self, link: &Link, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        self.answer(link, reads, deadline, read::Missing::Refused).await
    }

    async fn read_reachable(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        self.answer(link, reads, deadline, read::Missing::Unreachable).await
    }

    async fn write(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        self.keep(link, view, rows, Manner::InOrder, deadline).await
    }

    async fn write_newer(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        self.keep(link, view, rows, Manner::IfNewer, deadline).await
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
        self.progress.of(link, view, stream, partition, deadline).await
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

    /// All keys: they begin with what other programs like.
    fn key_prefixes(&self, _views: &[Arc<OnlineView>]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// A hash has rows of several views, so its key does not tell whose row has changed.
    fn row_of<'k>(&self, _key: &'k [u8]) -> Option<(&'k str, &'k [u8])> {
        None
    }
}
