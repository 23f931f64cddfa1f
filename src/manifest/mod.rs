//! The manifest of a training set: what exactly it was made of, and the hashes of what came out. It stands beside the set,
//! as JSON, and is enough to make the set again and compare.
//!
//! Knows nothing of files or stores: what it says of sources is their [`Snapshot`], which the stores read again.

mod content;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use content::{Content, Group, Hasher, Unhashable, Watch, watched};

use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::flow::train::MadeOf;
use crate::offline::{Part, Snapshot};

/// Changes when a reader of the old form would misunderstand the new one.
pub const FORMAT: u32 = 1;

/// What a training set was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The version of Lockstep that made the set.
    pub lockstep: String,
    pub service: String,
    /// The columns with features, as `view:feature`, in order.
    pub features: Vec<String>,
    pub definitions: DefinitionsUsed,
    /// The digest of the transform behind each derived view.
    pub transforms: BTreeMap<String, String>,
    /// The state of each source that was read.
    pub sources: Vec<SourceUsed>,
    pub labels: LabelsUsed,
    pub options: OptionsUsed,
    /// The set's columns, with Arrow's names of their types.
    pub columns: Vec<(String, String)>,
    pub content: Content,
    /// The state of the table that the set was written to, where it was not a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Part>,
}

/// The definitions that were applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionsUsed {
    /// The version's number in the registry.
    pub version: u64,
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceUsed {
    pub name: String,
    pub state: Snapshot,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelsUsed {
    /// The file they came from, as it was named.
    pub file: String,
    pub time_column: String,
    pub content: Content,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionsUsed {
    pub digest_column: bool,
    /// In microseconds since 1970, UTC.
    pub known_at: Option<Micros>,
    /// The column of the labels that said so for each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_at_column: Option<String>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this is not the manifest of a training set: {0}")]
    NotOne(String),
    #[error("the manifest has format {is}; this version of Lockstep reads format {FORMAT}")]
    OtherFormat { is: u64 },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Manifest {
    /// Of a set that was made of the labels in `file`.
    pub fn new(
        service: &str,
        made_of: &MadeOf,
        file: &str,
        labels: Content,
        options: OptionsUsed,
        columns: Vec<(String, String)>,
        content: Content,
    ) -> Self {
        let sources =
            made_of.sources.iter().map(|(name, state)| SourceUsed { name: name.clone(), state: state.clone() });
        Self {
            format: FORMAT,
            lockstep: env!("CARGO_PKG_VERSION").to_owned(),
            service: service.to_owned(),
            features: made_of.features.iter().map(|(view, feature)| format!("{view}:{feature}")).collect(),
            definitions: DefinitionsUsed { version: made_of.version, hash: made_of.catalog.to_string() },
            transforms: made_of.digests.iter().cloned().collect(),
            sources: sources.collect(),
            labels: LabelsUsed { file: file.to_owned(), time_column: made_of.time_column.clone(), content: labels },
            options,
            columns,
            content,
            table: None,
        }
    }

    pub fn parse(text: &str) -> Result<Self, Error> {
        let not_one = |error: serde_json::Error| Error::NotOne(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(not_one)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => Err(Error::OtherFormat { is: format }),
            _ => serde_json::from_value(value).map_err(not_one),
        }
    }

    /// As it stands in a file.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|error| unreachable!("{error}"));
        text.push('\n');
        text
    }
}
