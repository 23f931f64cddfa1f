//! The shape of `lockstep.yaml`. Its comments are what an editor shows.

mod audit;
mod plugins;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::audit::{AuditFile, OnImpureFile};
pub(super) use self::plugins::{ChosenFile, InstancesFile, LoginFile, PluginLimitsFile, PluginsFile};
use super::request_log::RequestLogFile;

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
    /// Rows that are kept in the gateway for a moment, in front of the online store.
    #[serde(default)]
    pub hot_cache: HotCacheFile,
    /// Where the history of the features is read from.
    #[serde(default)]
    pub offline_store: OfflineStoreFile,
    /// How to reach the buckets that sources name in `s3://bucket/path`, by the bucket's name.
    #[serde(default)]
    pub object_stores: BTreeMap<String, BucketFile>,
    /// PostgreSQL databases whose tables are sources, by the name that sources call them.
    #[serde(default)]
    pub postgres: BTreeMap<String, PostgresFile>,
    /// Where the plugins are: a folder with `<name>.wasm`, an address, or a registry of images.
    #[serde(default)]
    pub plugins: PluginsFile,
    /// How to reach the hosts that have plugins, by host and port.
    #[serde(default)]
    pub plugin_logins: BTreeMap<String, LoginFile>,
    /// The keys that sign plugins of this project, as `lockstep plugin key show` prints them, by a name of your choice.
    #[serde(default)]
    pub plugin_keys: BTreeMap<String, String>,
    /// Whether plugins are refused that none of these keys has signed.
    #[serde(default)]
    pub require_signature: bool,
    /// What single plugins may use, by name. A running gateway reads this section again when it is told to.
    #[serde(default)]
    pub plugin_limits: BTreeMap<String, PluginLimitsFile>,
    /// The folder for plugins that were fetched or compiled. It can be deleted at any time.
    #[serde(default = "cache")]
    pub cache: String,
    /// How plugins are watched for purity while they run.
    #[serde(default)]
    pub audit: AuditFile,
    /// The addresses to listen on.
    #[serde(default)]
    pub listen: ListenFile,
    /// How requests are answered.
    #[serde(default)]
    pub serve: ServeFile,
    /// How offline rows are brought online.
    #[serde(default)]
    pub sync: SyncFile,
    /// A log of served requests, for `lockstep replay`; there is none where this is not written.
    pub request_log: Option<RequestLogFile>,
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
// One is made when the file is read, and dropped at once.
#[allow(clippy::large_enum_variant)]
pub(super) enum OnlineStoreFile {
    /// A store inside of the gateway, in one file.
    Embedded {
        /// The store's file.
        #[serde(default = "online")]
        path: String,
    },
    /// A store that is empty after every start; for trials and tests.
    Memory {},
    /// Redis: one server, a primary with sentinels, or a cluster.
    Redis {
        /// Host and port of the server; or of the sentinels; or of some nodes of the cluster.
        #[schemars(length(min = 1))]
        addresses: Vec<String>,
        #[serde(default)]
        mode: RedisModeFile,
        /// The name by which the sentinels know the primary.
        master: Option<String>,
        username: Option<String>,
        /// Best as `${NAME}`, from the environment.
        password: Option<String>,
        /// A file with the password alone.
        password_file: Option<String>,
        /// What the sentinels want to know, if that is something else than nothing.
        sentinel_username: Option<String>,
        sentinel_password: Option<String>,
        /// The number of the database. A cluster has 0 only.
        #[serde(default)]
        database: u32,
        /// Encrypts the connections; `{}` trusts the system's authorities.
        tls: Option<TlsFile>,
        #[serde(default)]
        layout: RedisLayoutFile,
        /// Begins every key, so that projects can share a database.
        #[serde(default)]
        prefix: String,
        /// Other programs may have keys in the database.
        #[serde(default)]
        shared: bool,
        /// Connections to each server; as many as the machine has cores where it is not said.
        connections: Option<u32>,
        #[serde(default = "connect_timeout")]
        connect_timeout: String,
        #[serde(default = "response_timeout")]
        response_timeout: String,
        /// How long rows are kept after they were written, such as `30d`; they stay where it is not said.
        expire_after: Option<String>,
        /// What is different for one view.
        #[serde(default)]
        views: BTreeMap<String, RedisViewFile>,
        /// What the layout feast wants to know.
        feast: Option<RedisFeastFile>,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RedisModeFile {
    #[default]
    Standalone,
    Sentinel,
    Cluster,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RedisLayoutFile {
    #[default]
    Packed,
    Hash,
    Feast,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    /// A PEM file with the authorities that vouch for the servers, in place of the system's.
    pub ca: Option<String>,
    /// A PEM file with our certificate, for servers that want to know their clients.
    pub certificate: Option<String>,
    /// A PEM file with the certificate's private key.
    pub key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisViewFile {
    /// How long rows of this view are kept after they were written.
    pub expire_after: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisFeastFile {
    /// The name of the project in Feast; ours where it is not said.
    pub project: Option<String>,
    /// Feast's `entity_key_serialization_version`: 2 or 3.
    #[serde(default = "key_version")]
    pub key_version: u8,
    /// Feast's `key_ttl_seconds`, as a span of time such as `30d`.
    pub key_ttl: Option<String>,
}

/// Which views' rows are kept, and how. Views that are not named are always read from the store.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HotCacheFile {
    /// By the name of a feature view, or of a derived view that is computed at sync.
    #[serde(default)]
    pub views: BTreeMap<String, HotViewFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HotViewFile {
    /// How many rows are kept at most; a row of more than 4 KiB counts as several.
    #[serde(default = "hot_rows")]
    pub rows: u64,
    /// How old a row may be where nothing tells the gateway that it has changed, such as `1s`.
    #[serde(default = "hot_age")]
    pub max_age: String,
    /// Whether it is also kept that an entity has no row.
    #[serde(default = "yes")]
    pub absent: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfflineStoreFile {
    /// Where sources of no other type are: Parquet files in the project's folder.
    #[serde(rename = "type", default)]
    pub kind: OfflineKindFile,
    /// Memory that one training set may take to join labels to histories, and what each sql or long source may take to
    /// sort and group its rows, such as `4GiB`. What does not fit goes to disk.
    #[serde(default = "join_memory")]
    pub memory: String,
    /// The folder for what does not fit. Its files have no names, and go with whoever wrote them.
    #[serde(default = "spill")]
    pub spill: String,
    /// What one training set, and one scan of a source, may write there.
    #[serde(default = "spill_max")]
    pub spill_max: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OfflineKindFile {
    #[default]
    Parquet,
}

/// A bucket of Amazon S3 or of a store that speaks its protocol.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketFile {
    /// Such as https://minio.example.com:9000; Amazon's own where it is not said.
    pub endpoint: Option<String>,
    #[serde(default = "bucket_region")]
    pub region: String,
    /// Who reads and writes; without it requests are not signed, as public buckets allow.
    pub access_key_id: Option<String>,
    /// Best as `${NAME}`, from the environment.
    pub secret_access_key: Option<String>,
    /// A file with the secret access key alone.
    pub secret_access_key_file: Option<String>,
    /// Whether the endpoint may be http://, without encryption.
    #[serde(default)]
    pub allow_http: bool,
    /// Time for one request, such as `30s`; a request that failed is made again within twice that.
    #[serde(default = "bucket_timeout")]
    pub timeout: String,
}

/// One PostgreSQL database and how to log in there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PostgresFile {
    /// A name or a number; or the folder of the server's socket, which begins with `/`.
    pub host: String,
    #[serde(default = "postgres_port")]
    pub port: u16,
    pub database: String,
    pub user: String,
    /// Best as `${NAME}`, from the environment.
    pub password: Option<String>,
    /// A file with the password alone.
    pub password_file: Option<String>,
    /// Connections are encrypted and the server's certificate is checked, by the system's authorities where no `ca` is
    /// named; `off` for a server that cannot do that. A socket in the file system is never encrypted.
    #[serde(default)]
    pub tls: PostgresTlsFile,
    /// Connections of one gateway to the database; each table that is being read takes one.
    #[serde(default = "postgres_connections")]
    pub connections: u32,
    /// Time for a connection to be made, and for one to become free.
    #[serde(default = "postgres_connect_timeout")]
    pub connect_timeout: String,
    /// Time that one statement may take: reading a table is one, however long its reader takes.
    #[serde(default = "postgres_statement_timeout")]
    pub statement_timeout: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum PostgresTlsFile {
    Off(OffFile),
    On(TlsFile),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OffFile {
    Off,
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

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncFile {
    /// Whether a running gateway syncs the views that say `sync_every`.
    #[serde(default)]
    pub schedules: SchedulesFile,
    /// Memory, in MiB, for the rows of one sync; rows beyond it are put aside in the spool.
    #[serde(default = "sync_memory")]
    pub memory_mib: u64,
    /// After how much work a sync makes durable what it has done, such as `10s`.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: String,
    /// The folder for rows that are put aside. While no sync runs it can be deleted; then none goes on where it was.
    #[serde(default = "spool")]
    pub spool: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SchedulesFile {
    #[default]
    On,
    Off,
}

impl Default for SyncFile {
    fn default() -> Self {
        Self {
            schedules: SchedulesFile::On,
            memory_mib: sync_memory(),
            checkpoint_every: checkpoint_every(),
            spool: spool(),
        }
    }
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
        Self { kind: OfflineKindFile::Parquet, memory: join_memory(), spill: spill(), spill_max: spill_max() }
    }
}

impl Default for PostgresTlsFile {
    fn default() -> Self {
        Self::On(TlsFile::default())
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

fn join_memory() -> String {
    crate::document::size_text(crate::limits::PIT_MEMORY_BYTES as u64)
}

fn spill() -> String {
    ".lockstep/spill".to_owned()
}

fn spill_max() -> String {
    crate::document::size_text(crate::limits::PIT_SPILL_BYTES_MAX)
}

fn hot_rows() -> u64 {
    crate::limits::HOT_CACHE_ROWS
}

fn hot_age() -> String {
    crate::document::duration_text(crate::limits::HOT_CACHE_AGE)
}

fn yes() -> bool {
    true
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

fn postgres_port() -> u16 {
    5432
}

fn postgres_connections() -> u32 {
    crate::limits::POSTGRES_CONNECTIONS
}

fn postgres_connect_timeout() -> String {
    crate::document::duration_text(crate::limits::POSTGRES_CONNECT_TIMEOUT)
}

fn postgres_statement_timeout() -> String {
    crate::document::duration_text(crate::limits::POSTGRES_STATEMENT_TIMEOUT)
}

fn connect_timeout() -> String {
    crate::document::duration_text(crate::limits::REDIS_CONNECT_TIMEOUT)
}

fn response_timeout() -> String {
    crate::document::duration_text(crate::limits::REDIS_RESPONSE_TIMEOUT)
}

/// What stores other than Amazon's take without looking at it.
fn bucket_region() -> String {
    "us-east-1".to_owned()
}

fn bucket_timeout() -> String {
    crate::document::duration_text(crate::limits::OBJECT_STORE_TIMEOUT)
}

/// What Feast writes since 0.50.
fn key_version() -> u8 {
    3
}

fn sync_memory() -> u64 {
    (crate::limits::SYNC_MEMORY_BYTES >> 20) as u64
}

fn checkpoint_every() -> String {
    crate::document::duration_text(crate::limits::SYNC_CHECKPOINT_EVERY)
}

fn spool() -> String {
    ".lockstep/sync".to_owned()
}

fn deadline() -> String {
    crate::document::duration_text(crate::limits::SERVE_DEADLINE)
}
