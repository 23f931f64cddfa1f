//! Which Redis, how to log in there, and how rows are kept in it: plain data, complete, checked by `config`.
//!
//! Passwords are [`Secret`]s, so that no log line and no error can show one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::secret::Secret;
pub use crate::tls::{Tls, TlsClient};

/// A Redis store of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub server: Server,
    pub layout: Layout,
    /// The project whose rows these are; the store's marker names it.
    pub project: String,
    /// Begins every key, so that projects can share a database.
    pub prefix: String,
    /// Other programs may have keys in the database.
    pub shared: bool,
    pub expire: Expiry,
}

/// How rows lie in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One value per row; what Lockstep reads fastest.
    Packed,
    /// One hash per entity and one JSON value per feature; what other programs read and write.
    Hash,
    /// As Feast itself does it.
    Feast {
        /// The project's name in Feast.
        project: String,
        /// 2 or 3.
        key_version: u8,
    },
}

/// Where Redis is and how it is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub mode: Mode,
    /// The server; or the sentinels; or some nodes of the cluster. Never empty.
    pub addresses: Vec<Address>,
    pub login: Login,
    pub database: u32,
    pub tls: Option<Tls>,
    /// Connections to each node.
    pub connections: usize,
    /// Time for a connection to be made, login included.
    pub connect_timeout: Duration,
    /// Time for the answer to what was sent at once; a request's own deadline is usually shorter.
    pub response_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// One server.
    Standalone,
    /// A primary with replicas; the sentinels know which server is the primary.
    Sentinel { master: String, login: Login },
    /// Many primaries, each with a part of the keys.
    Cluster,
}

/// Host and port as they stand in errors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub host: Arc<str>,
    pub port: u16,
}

/// Nothing for a server that asks for nothing; a password alone for the default user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// How long rows are kept after they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// For every view that has none of its own; none where rows stay.
    pub all: Option<Duration>,
    pub views: BTreeMap<String, Duration>,
}

impl Address {
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(to, "[{}]:{}", self.host, self.port),
            false => write!(to, "{}:{}", self.host, self.port),
        }
    }
}

impl Expiry {
    /// How long rows of `view` are kept; none where they stay.
    pub fn of(&self, view: &str) -> Option<Duration> {
        self.views.get(view).copied().or(self.all)
    }
}
