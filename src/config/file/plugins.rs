//! The sections of `lockstep.yaml` about plugins: where they are, whom they are trusted of, what they may use.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum PluginsFile {
    /// A folder.
    Folder(String),
    Places(PlacesFile),
}

/// One of `folder`, `url` and `oci`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PlacesFile {
    /// A folder with plugins.
    pub folder: Option<String>,
    /// An address below which the files of such a folder are, such as `https://plugins.example.com/team`.
    pub url: Option<String>,
    /// A registry of images and a path in it, such as `ghcr.io/team/plugins`; each plugin is a repository below it.
    pub oci: Option<String>,
    /// Plugins that are somewhere else, or that are wanted in a certain version, by name.
    #[serde(default)]
    pub from: BTreeMap<String, ChosenFile>,
}

/// Where one plugin is, and in which version it is wanted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ChosenFile {
    pub folder: Option<String>,
    pub url: Option<String>,
    pub oci: Option<String>,
    /// The newest where it is not said.
    pub version: Option<String>,
}

/// How to reach a host that has plugins.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LoginFile {
    pub username: Option<String>,
    /// Best as `${NAME}`, from the environment.
    pub password: Option<String>,
    /// A file with the password alone.
    pub password_file: Option<String>,
    /// Whether it may be asked without encryption, by http://. This machine always may.
    #[serde(default)]
    pub allow_http: bool,
}

/// What one plugin may use; where a key is left out, what its tests found it to need, or what all plugins may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PluginLimitsFile {
    /// Memory of one instance, in MiB.
    pub memory_mib: Option<u64>,
    /// Fuel, in instructions, of one call.
    pub fuel_per_call: Option<u64>,
    /// Fuel that each row of a call adds.
    pub fuel_per_row: Option<u64>,
    /// Wall-clock time of one call, such as `50ms`.
    pub call_time: Option<String>,
    /// The largest answer to one call, in MiB.
    pub output_mib: Option<u64>,
    /// Whether each call gets an instance of its own; where left out, plugins in Rust and C have that.
    pub instances: Option<InstancesFile>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum InstancesFile {
    /// One for each call: nothing can be remembered.
    Fresh,
    /// Used again, which saves some microseconds a call; a sample of calls is run again on a fresh one and compared.
    Warm,
}

impl Default for PluginsFile {
    fn default() -> Self {
        Self::Folder("plugins".to_owned())
    }
}
