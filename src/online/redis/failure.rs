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
    Unreachable { server: Address, outage: Outage, detail: String },
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
    /// The key's slot is another server's now; `Link::call` follows.
    Moved { slot: u16, to: Address },
    /// The key is another server's already, though the slot is not yet; `Link::call` follows.
    Ask { to: Address },
    /// Some keys of a command are here and some are on their way; `Link::call` waits.
    TryAgain { server: Address },
    /// What the settings say does not fit what is there.
    Setup { detail: String },
    /// Every other error reply.
    Refused { server: Address, code: String, detail: String },
}

/// How a connection is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// It was there and ended: the command may work on another one.
    Broken,
    /// It cannot be made.
    Refused,
    /// It is there, but nobody answers on it.
    Silent,
}

impl Failure {
    pub fn unreachable(server: &Address, outage: Outage, detail: impl Into<String>) -> Self {
        Self::Unreachable { server: server.clone(), outage, detail: detail.into() }
    }

    /// What an error reply of `server` means.
    pub fn of_reply(server: &Address, error: &ServerError) -> Self {
        let detail = error.details().unwrap_or_default().to_owned();
        if let Some(redirect) = Self::of_redirect(server, error.code(), &detail) {
            return redirect;
        }
        let server = server.clone();
        match error.code() {
            "TRYAGAIN" => Self::TryAgain { server },
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
            // Before Redis 7, the error of a command that a script calls stands in the text of the script's own.
            "ERR" if detail.contains("-OOM ") => Self::OutOfMemory { server },
            "ERR" if detail.contains("-READONLY ") => Self::ReadOnly { server },
            "ERR" if detail.contains("WRONGTYPE ") => Self::WrongType { server },
            code => Self::Refused { server, code: code.to_owned(), detail },
        }
    }

    /// `MOVED 3999 127.0.0.1:6381`; a server without a name for the other one leaves the host out.
    fn of_redirect(server: &Address, code: &str, detail: &str) -> Option<Self> {
        let mut words = detail.split_ascii_whitespace();
        let (slot, address) = match code {
            "MOVED" | "ASK" => (words.next()?.parse().ok()?, words.next()?),
            _ => return None,
        };
        let (host, port) = address.rsplit_once(':')?;
        let host = if host.is_empty() { &server.host } else { host };
        let to = Address::new(host, port.parse().ok()?);
        Some(if code == "ASK" { Self::Ask { to } } else { Self::Moved { slot, to } })
    }

    /// What ended a connection to `server` or kept it from being made.
    pub fn of_connection(server: &Address, outage: Outage, error: &RedisError) -> Self {
        let detail = error.detail().unwrap_or_default().to_owned();
        match error.code() {
            Some("WRONGPASS" | "NOAUTH") => Self::LoginRefused { server: server.clone(), detail },
            Some("NOPERM") => Self::NotAllowed { server: server.clone(), detail },
            Some("LOADING") => Self::Loading { server: server.clone() },
            _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
                Self::LoginRefused { server: server.clone(), detail }
            }
            _ => Self::unreachable(server, outage, error.to_string()),
        }
    }

    /// The sentence for whoever asked; `doing` is such as "reading features".
    pub fn into_error(self, doing: &'static str) -> Error {
        let text = |server: Address| server.to_string();
        match self {
            Self::Late => Error::Late,
            Self::Unreachable { server, detail, .. } => Error::Unreachable { server: text(server), detail },
            Self::ReadOnly { server } => Error::ReadOnly { server: text(server) },
            Self::OutOfMemory { server } => Error::OutOfMemory { server: text(server) },
            Self::Busy { server } => Error::Busy { server: text(server) },
            Self::Loading { server } => Error::Loading { server: text(server) },
            Self::TooFewReplicas { server } => Error::TooFewReplicas { server: text(server) },
            Self::ClusterDown { server, detail } => Error::ClusterDown { server: text(server), detail },
            Self::LoginRefused { server, detail } => Error::LoginRefused { server: text(server), detail },
            Self::NotAllowed { server, detail } => Error::NotAllowed { server: text(server), detail },
            Self::WrongType { server } => Error::WrongType { server: text(server), doing },
            Self::Moved { to, .. } | Self::Ask { to } => {
                let detail = "keys are sent from server to server; is this a cluster? then write mode: cluster";
                Error::ClusterDown { server: text(to), detail: detail.to_owned() }
            }
            Self::TryAgain { server } => {
                Error::ClusterDown { server: text(server), detail: "the keys are being moved; ask again".to_owned() }
            }
            Self::Setup { detail } => Error::Setup { detail },
            Self::NoScript => Error::Store { doing, detail: "Redis forgot the script at once, twice".to_owned() },
            Self::Refused { server, code, detail } => {
                Error::Store { doing, detail: format!("{server} answered {code} {detail}").trim_end().to_owned() }
            }
        }
    }
}
