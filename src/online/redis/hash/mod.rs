//! The layout `hash`: one JSON value per feature, for programs that read and write features with plain commands.
//!
//! An entity's hash has the key of [`key`]; a feature is the field of its own name, with the value of [`value`]. Of a
//! version of a view it is the name and the version, `avg_fare@v2`, so that versions share a hash and no field. The
//! field `_row:<view>` says when the view's row became true and what wrote it:
//!
//! | member | what |
//! |---|---|
//! | `event_time_us` | µs since 1970 UTC |
//! | `created_time_us` | the same; left out where there is none |
//! | `keys` | names and types of the join keys; a row of others describes something else and is not there |
//! | `schema` | which features the row was written with, see the packed row; a feature that it did not have is null |
//! | `digest` | first 8 bytes of the transform's digest; left out without a transform |
//! | `deleted` | `true` for a tombstone; left out otherwise |
//! | `partition`, `offset` | where in a stream the row stood; left out where it came from none |
//!
//! Another program needs to write `event_time_us` alone. A hash that has no `_row:<view>` at all was written by a
//! program that knows nothing of us: the view's row is there if one of the asked features is, and counts as of now,
//! because whoever put it there wanted it to be served. The next row that we write replaces it.

mod key;
mod row;
pub(super) mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::columns::{ColumnBuilder, SourceColumn};
use super::fields::{FieldRows, Format, Found, ViewFields};
use super::glob;
use super::schemas::Schemas;
use super::script::Script;
use super::settings::Expiry;
use super::whole::Mark;
use crate::batch::FeatureRows;
use crate::catalog::{split_version, versioned_name};
use crate::clock::Clock;
use crate::online::packed::RowSchema;
use crate::online::{Error, OnlineView};
use key::TextKeys;
use row::Row;

#[derive(Debug)]
struct Hash {
    prefix: String,
    clock: Clock,
    script: Script,
    script_for_newer: Script,
}

/// Rows as JSON, under keys that begin with `prefix`.
pub(super) fn rows(prefix: &str, expire: Expiry, clock: Clock) -> FieldRows {
    let format = Hash {
        prefix: prefix.to_owned(),
        clock,
        script: Script::new(concat!("local keeps_ties = false\n", include_str!("write.lua"))),
        script_for_newer: Script::new(concat!("local keeps_ties = true\n", include_str!("write.lua"))),
    };
    FieldRows::new(Box::new(format), "hash", prefix, expire)
}

/// The field of a feature.
fn field(view: &str, feature: &str) -> String {
    match split_version(view) {
        (_, 1) => feature.to_owned(),
        (_, version) => versioned_name(feature, version),
    }
}

impl Format for Hash {
    fn view(&self, view: &Arc<OnlineView>) -> Result<ViewFields, Error> {
        Ok(ViewFields {
            view: Arc::clone(view),
            keys: Box::new(TextKeys::of(view, &self.prefix)),
            row_field: format!("_row:{}", view.name).into_bytes(),
            features: view.features.iter().map(|feature| field(&view.name, &feature.name).into_bytes()).collect(),
            schema: Arc::new(RowSchema::of(view)),
        })
    }

    fn pattern(&self) -> Vec<u8> {
        [glob::escaped(self.prefix.as_bytes()).as_slice(), b"features:*"].concat()
    }

    fn clash(&self, one: &ViewFields, other: &ViewFields) -> Option<String> {
        let shared = one.features.iter().find(|name| other.features.contains(name))?;
        let (name, other) = (String::from_utf8_lossy(shared), &other.view.name);
        Some(format!("{other} has a feature {name} of the same entities too, and both would be one field; rename one"))
    }

    fn schema_of(&self, row: &[u8]) -> Option<u64> {
        Row::parse(row).ok()?.schema_id()
    }

    fn found(
        &self,
        fields: &ViewFields,
        row: Option<&[u8]>,
        has_values: bool,
        schemas: &Schemas,
    ) -> Result<Found, String> {
        let Some(row) = row else {
            return Ok(match has_values {
                true => Found::Present { event_time: self.clock.now(), schema: None },
                false => Found::Absent,
            });
        };
        let row = Row::parse(row)?;
        if !row.is_of_today(&fields.view) {
            return Ok(Found::Absent);
        }
        let schema = match row.schema_id() {
            None => None,
            Some(id) if id == fields.schema.id => None,
            Some(id) => match schemas.known().get(&id) {
                Some(schema) => Some(Arc::clone(schema)),
                None => return Err(format!("names the schema {id:016x}, which is not known")),
            },
        };
        Ok(Found::Present { event_time: row.event_time_us, schema })
    }

    fn mark(&self, fields: &ViewFields, row: Option<&[u8]>) -> Option<Mark> {
        match row {
            Some(row) => Row::parse(row).ok()?.mark(&fields.view),
            None => Some(Mark::default()),
        }
    }

    fn read_value(&self, value: &[u8], column: &mut ColumnBuilder<'_>) -> Result<(), String> {
        value::read(value, column)
    }

    fn is_null(&self, value: &[u8]) -> bool {
        value.trim_ascii() == b"null"
    }

    fn write_value(&self, column: &SourceColumn<'_>, row: usize, value: &mut Vec<u8>) -> Result<(), String> {
        value::write(column, row, value)
    }

    fn script(&self) -> &Script {
        &self.script
    }

    fn script_for_newer(&self) -> &Script {
        &self.script_for_newer
    }

    fn shared_arguments(&self, fields: &ViewFields) -> Vec<Vec<u8>> {
        vec![row::keys_of(&fields.view).into_bytes()]
    }

    fn push_row(&self, fields: &ViewFields, rows: &FeatureRows, row: usize, arguments: &mut Vec<Vec<u8>>) {
        Row::push(fields, rows, row, arguments);
    }

    fn keeps_schemas(&self) -> bool {
        true
    }
}
