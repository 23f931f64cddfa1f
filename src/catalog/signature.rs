//! What a plugin says of itself, and what a transform is: a plugin with its parameters filled in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{DType, Field};

/// SHA-256, shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 12 hex digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// The first 8 bytes, for stored rows.
    pub fn prefix(&self) -> [u8; 8] {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&self.0[..8]);
        prefix
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// One value of a plugin's parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
}

/// A parameter that a plugin declares.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    pub name: String,
    pub dtype: DType,
    pub required: bool,
    pub default: Parameter,
    pub doc: String,
}

/// Whether a plugin receives the column `as_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUse {
    None,
    AsOf,
}

/// What happens to a row with a null among its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullPolicy {
    /// The host nulls every output of a row with a null input.
    Propagate,
    /// The plugin decides.
    Handle,
}

/// The plugin's `describe`, checked: names are snake_case and unique, types are types of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    pub name: String,
    pub version: semver::Version,
    pub doc: String,
    /// Columns that come from features of other views, in the plugin's order.
    pub features: Vec<Field>,
    /// Columns that come with the request, in the plugin's order.
    pub request: Vec<Field>,
    pub outputs: Vec<Field>,
    pub parameters: Vec<ParameterSpec>,
    pub time: TimeUse,
    pub nulls: NullPolicy,
    pub frame_version: u32,
}

/// A plugin, pinned by its bytes, with parameters: one pure function from columns to columns.
///
/// Input columns come in the order `[as_of, if time is as-of] ++ features ++ request`; outputs in `outputs`' order.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    pub plugin: String,
    pub component: Digest,
    pub parameters: Vec<(String, Parameter)>,
    pub signature: Signature,
    /// The output columns this binding computes, as the plugin's `bind` confirmed them.
    pub outputs: Vec<Field>,
    /// SHA-256 over component bytes, canonical parameters and signature.
    pub digest: Digest,
}
