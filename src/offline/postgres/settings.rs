//! Which database, and how to log in there: plain data, complete, checked by `config`.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

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

/// An encrypted connection. Files are PEM; they are read when a connection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who vouches for the server; the system's authorities where none is named.
    pub authority: Option<PathBuf>,
    /// What we show to a server that wants to know its clients.
    pub client: Option<TlsClient>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClient {
    pub certificate: PathBuf,
    pub key: PathBuf,
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
