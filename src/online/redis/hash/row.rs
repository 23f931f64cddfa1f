//! The field `_row:<view>`: when a row became true and what wrote it.

use std::borrow::Cow;
use std::fmt::Write;

use arrow::array::Array;
use serde::Deserialize;

use super::super::fields::ViewFields;
use super::super::whole::Mark;
use crate::batch::FeatureRows;
use crate::online::OnlineView;

/// What a reader needs of it.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    pub event_time_us: i64,
    #[serde(borrow)]
    keys: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow)]
    digest: Option<Cow<'a, str>>,
    #[serde(default)]
    deleted: bool,
    created_time_us: Option<i64>,
    partition: Option<u32>,
    offset: Option<u64>,
}

impl<'a> Row<'a> {
    /// An error is the end of a sentence about the field.
    pub fn parse(text: &'a [u8]) -> Result<Self, String> {
        let row: Self = serde_json::from_slice(text).map_err(|error| format!("cannot be read: {error}"))?;
        match &row.schema {
            Some(schema) if row.schema_id().is_none() => Err(format!("names a schema {schema:?}, which is no id")),
            _ => Ok(row),
        }
    }

    pub fn schema_id(&self) -> Option<u64> {
        self.schema.as_ref().and_then(|text| u64::from_str_radix(text, 16).ok())
    }

    /// Whether the row describes what the view describes now, by today's transform, and is not a tombstone.
    pub fn is_of_today(&self, view: &OnlineView) -> bool {
        let digest = view.digest.map(|digest| hex::encode(digest.prefix()));
        // Whoever names neither schema nor digest is another program, which computes its features itself.
        let is_foreign = self.schema.is_none() && self.digest.is_none();
        !self.deleted
            && self.keys.as_ref().is_none_or(|keys| *keys == keys_of(view))
            && (is_foreign || self.digest.as_deref() == digest.as_deref())
    }

    /// None where the row describes other entities than the view.
    pub fn mark(&self, view: &OnlineView) -> Option<Mark> {
        self.keys.as_ref().is_none_or(|keys| *keys == keys_of(view)).then_some(Mark {
            event_time: Some(self.event_time_us),
            created_time: self.created_time_us,
            position: self.partition.zip(self.offset),
            deleted: self.deleted,
        })
    }

    /// What the script gets of a row in front of its values.
    pub fn push(fields: &ViewFields, rows: &FeatureRows, row: usize, arguments: &mut Vec<Vec<u8>>) {
        let event_time = rows.event_time.value(row).to_string();
        let created = &rows.created_time;
        let created_time = if created.is_valid(row) { created.value(row).to_string() } else { String::new() };
        let origin = rows.origin.as_ref();
        let partition = origin.map_or(String::new(), |origin| origin.partition.to_string());
        let offset = origin.map_or(String::new(), |origin| origin.offsets[row].to_string());

        let mut text = format!("{{\"event_time_us\":{event_time}");
        let mut member = |name: &str, value: &str, quote: &str| {
            if !value.is_empty() {
                write!(text, ",\"{name}\":{quote}{value}{quote}").expect("writing to memory does not fail");
            }
        };
        // None of these has a character that JSON escapes: names are snake_case, types and digests plain.
        member("created_time_us", &created_time, "");
        member("keys", &keys_of(&fields.view), "\"");
        member("schema", &format!("{:016x}", fields.schema.id), "\"");
        member("digest", &fields.view.digest.map_or(String::new(), |digest| hex::encode(digest.prefix())), "\"");
        member("deleted", if rows.is_deleted(row) { "true" } else { "" }, "");
        member("partition", &partition, "");
        member("offset", &offset, "");
        text.push('}');
        arguments.extend([event_time, created_time, partition, offset, text].map(String::into_bytes));
    }
}

/// Names and types of the join keys, in the view's order: `driver_id int64, customer_id string`.
pub(super) fn keys_of(view: &OnlineView) -> String {
    let keys: Vec<String> = view.join_keys.iter().map(|field| format!("{} {}", field.name, field.dtype)).collect();
    keys.join(", ")
}
