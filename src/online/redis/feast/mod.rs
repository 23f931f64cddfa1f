//! The layout `feast`: bytes exactly as Feast's own Redis store writes and reads them, so that both can use one Redis.
//!
//! An entity's hash has the key of [`key`], the fields of [`field`] and the values of [`value`]. What Feast does not
//! keep, this layout cannot keep either: created times, which transform computed a row, its place in a stream,
//! tombstones. Of two rows the one with the later event time stays, and of two with the same the one that was there
//! first, as in Feast. A row from before 1970 is replaced by any other, as in Feast.

mod field;
mod key;
mod value;

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
use crate::online::packed::RowSchema;
use crate::online::{Error, OnlineView};
use key::KeyShape;
pub use key::KeyVersion;

#[derive(Debug)]
struct Feast {
    project: String,
    version: KeyVersion,
    script: Script,
}

/// The rows of a project of Feast's. `prefix` begins the keys that Feast does not know, such as the progress of streams.
pub(super) fn rows(project: &str, version: KeyVersion, prefix: &str, expire: Expiry) -> FieldRows {
    let format = Feast { project: project.to_owned(), version, script: Script::new(include_str!("write.lua")) };
    FieldRows::new(Box::new(format), "feast", prefix, expire)
}

impl Format for Feast {
    fn view(&self, view: &Arc<OnlineView>) -> Result<ViewFields, Error> {
        let unstorable = |detail: String| Error::Unstorable { view: view.name.clone(), detail };
        let shape = KeyShape::of(view, &self.project, self.version).map_err(unstorable)?;
        for feature in &view.features {
            value::check(feature.dtype).map_err(|detail| unstorable(format!("feature {} {detail}", feature.name)))?;
        }
        let features = view.features.iter().map(|feature| field::feature_field(&view.name, &feature.name).to_vec());
        let features: Vec<Vec<u8>> = features.collect();
        for (position, one) in features.iter().enumerate() {
            if let Some(other) = features[..position].iter().position(|other| one == other) {
                let (one, other) = (&view.features[position].name, &view.features[other].name);
                return Err(unstorable(same_field(&format!("feature {one}"), &format!("feature {other}"))));
            }
        }
        Ok(ViewFields {
            view: Arc::clone(view),
            keys: Box::new(shape),
            row_field: field::timestamp_field(&view.name).into_bytes(),
            features,
            schema: Arc::new(RowSchema::of(view)),
        })
    }

    fn pattern(&self) -> Vec<u8> {
        [b"*".as_slice(), &glob::escaped(self.project.as_bytes())].concat()
    }

    fn clash(&self, one: &ViewFields, other: &ViewFields) -> Option<String> {
        if one.row_field == other.row_field {
            return Some(format!("Feast would call it and {} by one name; rename one", other.view.name));
        }
        let (ours, theirs) = one.features.iter().enumerate().find_map(|(ours, field)| {
            let theirs = other.features.iter().position(|other| other == field)?;
            Some((&one.view.features[ours].name, &other.view.features[theirs].name))
        })?;
        Some(same_field(&format!("feature {ours}"), &format!("feature {theirs} of {}", other.view.name)))
    }

    fn schema_of(&self, _row: &[u8]) -> Option<u64> {
        None
    }

    fn found(
        &self,
        _fields: &ViewFields,
        row: Option<&[u8]>,
        _has_values: bool,
        _schemas: &Schemas,
    ) -> Result<Found, String> {
        let Some(row) = row else { return Ok(Found::Absent) };
        match value::read_time(row) {
            Some(event_time) => Ok(Found::Present { event_time, schema: None }),
            None => Err("is not a time in microseconds".to_owned()),
        }
    }

    fn mark(&self, _fields: &ViewFields, row: Option<&[u8]>) -> Option<Mark> {
        Some(Mark { event_time: Some(value::read_time(row?)?), ..Mark::default() })
    }

    fn read_value(&self, value: &[u8], column: &mut ColumnBuilder<'_>) -> Result<(), String> {
        value::read(value, column)
    }

    fn is_null(&self, value: &[u8]) -> bool {
        value::is_null(value)
    }

    fn write_value(&self, column: &SourceColumn<'_>, row: usize, value: &mut Vec<u8>) -> Result<(), String> {
        value::write(column, row, value)
    }

    fn script(&self) -> &Script {
        &self.script
    }

    /// The stored row of a tie stays always.
    fn script_for_newer(&self) -> &Script {
        &self.script
    }

    fn shared_arguments(&self, _fields: &ViewFields) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn push_row(&self, _fields: &ViewFields, rows: &FeatureRows, row: usize, arguments: &mut Vec<Vec<u8>>) {
        let mut time = Vec::new();
        value::write_time(rows.event_time.value(row), &mut time);
        arguments.push(time);
    }

    fn keeps_schemas(&self) -> bool {
        false
    }
}

/// Two names with one hash. Feast would give the one's value for the other.
fn same_field(one: &str, other: &str) -> String {
    format!("{one} and {other} have the same field in Feast's hashes (a collision of 32 bits); rename one")
}
