//! Which database, and how to log in there: plain data, complete, checked by `config`.

use std::time::Duration;

use crate::secret::Secret;
use crate::tls::Tls;

/// One PostgreSQL database.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What sources call it.
    pub name: String,
    /// A name or a number; or the folder of the server's socket, which begins with `/`.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    /// None for connections that are not encrypted.
    pub tls: Option<Tls>,
    /// Connections at once.
    pub connections: usize,
    /// Time for a connection to be made, login included; and for one to become free.
    pub connect_timeout: Duration,
    /// Time for one statement.
    pub statement_timeout: Duration,
}

impl Settings {
    /// A socket in the file system cannot be listened to, and PostgreSQL does not encrypt it.
    pub(super) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The database as errors name it.
    pub(super) fn place(&self) -> String {
        format!("PostgreSQL database {} ({}:{}/{})", self.name, self.host, self.port, self.database)
    }
}
