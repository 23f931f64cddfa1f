//! What kind of failure an error is, and the one table that turns it into an HTTP status, a gRPC code and an exit code.
//!
//! Every module has its own `Error` beside the code that raises it. All of them answer `kind()`; the edges (the wires,
//! the command line) read only that, so that the same mistake gets the same answer everywhere.

use std::error::Error as StdError;
use std::fmt::Write;

/// The closed set of ways in which something can fail, seen from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's input is wrong; sending it again will not help.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// The thing exists already, or is in a state that does not allow this.
    Conflict,
    /// A limit on size or count was passed.
    TooLarge,
    /// A plugin trapped, ran out of fuel, memory or time, or returned something it did not promise.
    PluginFault,
    /// A bounded resource is used up for now; later may work.
    Exhausted,
    /// The deadline passed.
    Late,
    /// A backend cannot be reached or is shutting down; later may work.
    Unavailable,
    /// Stored bytes are damaged, or an invariant of ours does not hold.
    Internal,
}

impl ErrorKind {
    /// `(HTTP status, gRPC code number, exit code)`.
    ///
    /// A fault of a plugin is 424 and not 500, because Feast's clients send a request again on 500–504 and a
    /// deterministic fault would only fail four times.
    pub const fn codes(self) -> (u16, i32, u8) {
        match self {
            Self::Invalid => (422, 3, 2),
            Self::NotFound => (404, 5, 3),
            Self::Conflict => (409, 9, 4),
            Self::TooLarge => (413, 11, 5),
            Self::PluginFault => (424, 13, 6),
            Self::Exhausted => (429, 8, 7),
            Self::Late => (504, 4, 8),
            Self::Unavailable => (503, 14, 9),
            Self::Internal => (500, 13, 10),
        }
    }

    /// The word that stands in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::PluginFault => "plugin_fault",
            Self::Exhausted => "exhausted",
            Self::Late => "late",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// What a caller may read of an error. What went wrong inside is for the log.
pub fn public(kind: ErrorKind, error: &(dyn StdError + 'static)) -> String {
    match kind {
        ErrorKind::Internal => "something went wrong inside the gateway; its log says what".to_owned(),
        _ => chain(error),
    }
}

/// The text of an error and of everything that caused it, in one line.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
