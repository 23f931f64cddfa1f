//! The shape of `lockstep.yaml`. Its comments are what an editor shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one project runs. Relative paths are relative to the folder of this file; `${NAME}` in a value stands for the
/// environment variable NAME, and `$$` for a dollar sign.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    /// The name of the project, in snake_case.
    pub project: String,
    /// Where applied versions are recorded.
    #[serde(default)]
    pub registry: RegistryFile,
    /// Where the newest feature values are kept for serving.
    #[serde(default)]
    pub online_store: OnlineStoreFile,
    /// Where the history of the features is read from.
    #[serde(default)]
    pub offline_store: OfflineStoreFile,
    /// The folder with the plugins (`<name>.wasm`).
    #[serde(default = "plugins")]
    pub plugins: String,
    /// The folder for compiled plugins. It can be deleted at any time.
    #[serde(default = "cache")]
    pub cache: String,
    /// The addresses to listen on.
    #[serde(default)]
    pub listen: ListenFile,
    /// How requests are answered.
    #[serde(default)]
    pub serve: ServeFile,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryFile {
    /// The SQLite file of the registry.
    #[serde(default = "registry")]
    pub path: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum OnlineStoreFile {
    /// A store inside of the gateway, in one file.
    Embedded {
        /// The store's file.
        #[serde(default = "online")]
        path: String,
    },
    /// A store that is empty after every start; for trials and tests.
    Memory {},
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum OfflineStoreFile {
    /// Parquet files in the project's folder.
    Parquet {},
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenFile {
    /// Feast's REST routes and the `/v1` routes.
    #[serde(default = "http")]
    pub http: String,
    /// Arrow Flight.
    #[serde(default = "flight")]
    pub flight: String,
    /// Health and metrics.
    #[serde(default = "admin")]
    pub admin: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServeFile {
    /// How long a request may take whose caller names no deadline, such as `5s` or `250ms`.
    #[serde(default = "deadline")]
    pub deadline: String,
}

impl Default for RegistryFile {
    fn default() -> Self {
        Self { path: registry() }
    }
}

impl Default for OnlineStoreFile {
    fn default() -> Self {
        Self::Embedded { path: online() }
    }
}

impl Default for OfflineStoreFile {
    fn default() -> Self {
        Self::Parquet {}
    }
}

impl Default for ListenFile {
    fn default() -> Self {
        Self { http: http(), flight: flight(), admin: admin() }
    }
}

impl Default for ServeFile {
    fn default() -> Self {
        Self { deadline: deadline() }
    }
}

fn registry() -> String {
    ".lockstep/registry.db".to_owned()
}

fn online() -> String {
    ".lockstep/online.db".to_owned()
}

fn plugins() -> String {
    "plugins".to_owned()
}

fn cache() -> String {
    ".lockstep/cache".to_owned()
}

fn http() -> String {
    "127.0.0.1:6566".to_owned()
}

fn flight() -> String {
    "127.0.0.1:8815".to_owned()
}

fn admin() -> String {
    "127.0.0.1:6567".to_owned()
}

fn deadline() -> String {
    crate::document::duration_text(crate::limits::SERVE_DEADLINE)
}
