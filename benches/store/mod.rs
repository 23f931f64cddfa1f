//! Where the features of a benchmark are kept: a Redis of its own, the gateway's file, or a PostgreSQL to read them from.

mod cluster;
mod postgres_server;
mod redis_server;

pub use cluster::Cluster;
pub use postgres_server::PostgresServer;
pub use redis_server::{RedisServer, free_port};

use crate::Result;
use crate::measure::pin;
use crate::synthetic::Project;

/// The store of one project.
#[derive(Debug)]
pub enum Store {
    Embedded,
    Redis(RedisServer),
}

impl Store {
    /// Its `online_store`, in YAML.
    pub fn yaml(&self) -> String {
        match self {
            Self::Embedded => Project::EMBEDDED.to_owned(),
            Self::Redis(server) => server.yaml("packed"),
        }
    }

    /// The process whose CPU time stands beside the gateway's.
    pub fn pids(&self) -> Vec<u32> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Redis(server) => vec![server.pid()],
        }
    }

    pub fn pin(&self, cpus: &str) -> Result<()> {
        self.pids().into_iter().try_for_each(|pid| pin(pid, cpus))
    }

    pub fn describe(&self) -> Result<String> {
        match self {
            Self::Embedded => Ok("embedded store".to_owned()),
            Self::Redis(server) => Ok(format!("Redis {}, layout packed", server.version()?)),
        }
    }
}
