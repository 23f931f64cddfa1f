//! Writing: one call of a script for each slot and batch, which decides row by row who is newer.

use std::sync::Arc;

use redis::Value;

use super::super::columns::{SourceColumn, source_columns};
use super::super::link::{Link, slot_of_key};
use super::super::script::ScriptCall;
use super::{FieldRows, ViewFields};
use crate::batch::{FeatureRows, KeyBatch};
use crate::clock::Deadline;
use crate::limits::{REDIS_SCRIPT_BYTES, REDIS_SCRIPT_ROWS, STORED_ROW_BYTES_MAX};
use crate::online::{Error, OnlineView, Written};

/// Why rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// They are what happened now: the later arrival of a tie wins, and a stream has come so far.
    InOrder,
    /// They come from another place of the store: see [`super::Rows::write_newer`].
    IfNewer,
}

impl FieldRows {
    pub(super) async fn keep(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        manner: Manner,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        if deadline.has_passed() {
            return Err(Error::Late);
        }
        let fields = self.fields(view)?;
        let columns = source_columns(view, rows)?;
        let (placed, without_key) = place(link, &fields, rows)?;
        // Everything is written down before anything is sent: a batch that does not fit changes nothing.
        let calls = self.calls(link, &fields, rows, &columns, placed)?;
        if self.format.keeps_schemas() && !calls.is_empty() {
            self.schemas.keep(link, view, &fields.schema, deadline).await?;
        }
        let mut done = Written { without_key, ..Written::default() };
        let script = match manner {
            Manner::InOrder => self.format.script(),
            Manner::IfNewer => self.format.script_for_newer(),
        };
        let asked: Vec<u64> = calls.iter().map(|call| call.keys.len() as u64).collect();
        for (asked, answer) in asked.into_iter().zip(link.run(script, calls, deadline).await) {
            let written = match answer.map_err(|failure| failure.into_error("writing features"))? {
                Value::Int(written) => u64::try_from(written).unwrap_or(0).min(asked),
                _ => 0,
            };
            done.written += written;
            done.older += asked - written;
        }
        if let (Some(origin), Manner::InOrder) = (&rows.origin, manner) {
            self.progress.advance(link, view, origin, deadline).await?;
        }
        Ok(done)
    }

    /// The calls that write these rows; rows of one key stay in order.
    fn calls(
        &self,
        link: &Link,
        fields: &ViewFields,
        rows: &FeatureRows,
        columns: &[SourceColumn<'_>],
        mut placed: Vec<Placed>,
    ) -> Result<Vec<ScriptCall>, Error> {
        if link.is_cluster() {
            placed.sort_by_key(|row| row.slot);
        }
        let view = &fields.view.name;
        let mut calls: Vec<ScriptCall> = Vec::new();
        let (mut last_slot, mut bytes) = (None, 0);
        for Placed { row, slot, key } in placed {
            let fits = |call: &ScriptCall| call.keys.len() < REDIS_SCRIPT_ROWS && bytes < REDIS_SCRIPT_BYTES;
            let is_next = last_slot == Some(slot) && calls.last().is_some_and(fits);
            if !is_next {
                calls.push(ScriptCall { keys: Vec::new(), arguments: self.shared_arguments(fields) });
                (last_slot, bytes) = (Some(slot), 0);
            }
            let call = calls.last_mut().expect("a call was just added");
            let start = call.arguments.len();
            call.keys.push(key);
            call.arguments.push(if rows.is_deleted(row) { b"d".to_vec() } else { b"w".to_vec() });
            self.format.push_row(fields, rows, row, &mut call.arguments);
            if !rows.is_deleted(row) {
                for column in columns {
                    let mut value = Vec::new();
                    let written = self.format.write_value(column, row, &mut value);
                    written.map_err(|detail| Error::Unstorable { view: view.clone(), detail })?;
                    call.arguments.push(value);
                }
            }
            let row_bytes: usize = call.arguments[start..].iter().map(Vec::len).sum();
            if row_bytes > STORED_ROW_BYTES_MAX {
                let detail = format!("a row of it is longer than {STORED_ROW_BYTES_MAX} bytes");
                return Err(Error::TooLarge { view: view.clone(), detail });
            }
            bytes += row_bytes;
        }
        Ok(calls)
    }

    /// What every row of a call shares.
    fn shared_arguments(&self, fields: &ViewFields) -> Vec<Vec<u8>> {
        let seconds = self.expire.of(&fields.view.name).map_or(0, |time| time.as_secs().max(1));
        let mut arguments = self.format.shared_arguments(fields);
        arguments.push(fields.row_field.clone());
        arguments.push(seconds.to_string().into_bytes());
        arguments.push(fields.features.len().to_string().into_bytes());
        arguments.extend(fields.features.iter().cloned());
        arguments
    }
}

/// A row that has a key, and where it goes.
#[derive(Debug)]
struct Placed {
    row: usize,
    /// Of a cluster; one for all where there is none.
    slot: u16,
    key: Vec<u8>,
}

/// The rows that have a key, in order, and how many have none.
fn place(link: &Link, fields: &ViewFields, rows: &FeatureRows) -> Result<(Vec<Placed>, u64), Error> {
    let keys = KeyBatch::encode(&fields.view.join_keys, &rows.keys, rows.rows());
    let mut placed = Vec::with_capacity(keys.rows());
    for row in (0..keys.rows()).filter(|&row| !keys.is_null(row)) {
        let Some(key) = fields.keys.write(keys.get(row)) else {
            let detail = "a time among the join keys has a fraction of a second, and Feast has keys of whole seconds";
            return Err(Error::Unstorable { view: fields.view.name.clone(), detail: detail.to_owned() });
        };
        let slot = if link.is_cluster() { slot_of_key(&key) } else { 0 };
        placed.push(Placed { row, slot, key });
    }
    let without_key = (keys.rows() - placed.len()) as u64;
    Ok((placed, without_key))
}
