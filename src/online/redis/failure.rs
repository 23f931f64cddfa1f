//! What a broken connection or an error reply of Redis means, and the sentence it becomes.

use redis::{RedisError, ServerError};

use super::settings::Address;
use crate::online::Error;

/// Why one command has no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// The caller's deadline passed; whether the command ran is not known.
    Late,
    /// No connection, or none any more; whether the command ran is not known.
    Unreachable { server: Address, detail: String },
    /// A replica was asked to write.
    ReadOnly { server: Address },
    /// `maxmemory` is reached and nothing may be evicted.
    OutOfMemory { server: Address },
    /// A script runs there and does not end.
    Busy { server: Address },
    /// The server reads its data from disk.
    Loading { server: Address },
    /// Too few replicas are there for a write (`min-replicas-to-write`).
    TooFewReplicas { server: Address },
    /// The cluster does not serve the key's slot now.
    ClusterDown { server: Address, detail: String },
    /// Wrong username or password, or none.
    LoginRefused { server: Address, detail: String },
    /// The user may not run this command or touch this key.
    NotAllowed { server: Address, detail: String },
    /// The key holds another type of value.
    WrongType { server: Address },
    /// The server does not know the script; `Link::run` sends its text then.
    NoScript,
    /// Every other error reply.
    Refused { server: Address, code: String, detail: String },
}

impl Failure {
    /// What an error reply of `server` means.
    pub fn of_reply(server: &Address, error: &ServerError) -> Self {
        let server = server.clone();
        let detail = error.details().unwrap_or_default().to_owned();
        match error.code() {
            "READONLY" => Self::ReadOnly { server },
            "OOM" => Self::OutOfMemory { server },
            "BUSY" => Self::Busy { server },
            "LOADING" => Self::Loading { server },
            "NOREPLICAS" => Self::TooFewReplicas { server },
            "CLUSTERDOWN" | "MASTERDOWN" => Self::ClusterDown { server, detail },
            "NOAUTH" | "WRONGPASS" => Self::LoginRefused { server, detail },
            "NOPERM" => Self::NotAllowed { server, detail },
            "WRONGTYPE" => Self::WrongType { server },
            "NOSCRIPT" => Self::NoScript,
            // A script that fails says why in its text; these two come from the commands it calls.
            "ERR" if detail.contains("-OOM ") || detail.starts_with("OOM ") => Self::OutOfMemory { server },
            "ERR" if detail.contains("WRONGTYPE ") => Self::WrongType { server },
            code => Self::Refused { server, code: code.to_owned(), detail },
        }
    }

    /// What ended a connection to `server`, or kept it from being made.
    pub fn of_connection(server: &Address, error: &RedisError) -> Self {
        let detail = error.detail().unwrap_or_default().to_owned();
        match error.code() {
            Some("WRONGPASS" | "NOAUTH") => Self::LoginRefused { server: server.clone(), detail },
            Some("NOPERM") => Self::NotAllowed { server: server.clone(), detail },
            Some("LOADING") => Self::Loading { server: server.clone() },
            _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
                Self::LoginRefused { server: server.clone(), detail }
            }
            _ => Self::Unreachable { server: server.clone(), detail: crate::error::chain(error) },
        }
    }

    /// The sentence for whoever asked; `doing` is such as "reading features".
    pub fn into_error(self, doing: &'static str) -> Error {
        let text = |server: Address| server.to_string();
        match self {
            Self::Late => Error::Late,
            Self::Unreachable { server, detail } => Error::Unreachable { server: text(server), detail },
            Self::ReadOnly { server } => Error::ReadOnly { server: text(server) },
            Self::OutOfMemory { server } => Error::OutOfMemory { server: text(server) },
            Self::Busy { server } => Error::Busy { server: text(server) },
            Self::Loading { server } => Error::Loading { server: text(server) },
            Self::TooFewReplicas { server } => Error::TooFewReplicas { server: text(server) },
            Self::ClusterDown { server, detail } => Error::ClusterDown { server: text(server), detail },
            Self::LoginRefused { server, detail } => Error::LoginRefused { server: text(server), detail },
            Self::NotAllowed { server, detail } => Error::NotAllowed { server: text(server), detail },
            Self::WrongType { server } => Error::WrongType { server: text(server), doing },
            Self::NoScript => Error::Store { doing, detail: "Redis forgot the script at once, twice".to_owned() },
            Self::Refused { server, code, detail } => {
                Error::Store { doing, detail: format!("{server} answered {code} {detail}").trim_end().to_owned() }
            }
        }
    }
}
