//! Encrypted connections to servers, as the settings of a store say them.

use std::path::PathBuf;

/// An encrypted connection. Files are PEM; they are read when the store is opened or a connection made.
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
