//! What goes wrong between us and PostgreSQL, and what it means to a reader and to a writer.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::SqlState;

use crate::document::duration_text;
use crate::offline::Error;

use super::settings::Settings;

/// A failed attempt; its text names the database and no source.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// There is no connection, or none any more. What was under way is undone, except perhaps a commit.
    Lost,
    /// The server lets nobody in under this name, password or database.
    NotLetIn,
    /// All connections are in use, or a lock is held by somebody else.
    Busy,
    /// The server did not like the statement.
    Refused,
    /// A table or column is not there.
    Missing,
    /// Another writer was in the way; the same again may work.
    Raced,
    /// The server's disk or memory is full.
    Full,
    /// The server wrote nothing, for a reason of its own.
    Failed,
}

impl Failure {
    pub fn of(settings: &Settings, error: &tokio_postgres::Error) -> Self {
        let at = settings.place();
        let Some(refused) = error.as_db_error() else {
            return Self { kind: Kind::Lost, detail: format!("{at}: {}", chain(error)) };
        };
        let code = refused.code();
        let mut detail = match *code == SqlState::QUERY_CANCELED {
            true => {
                let limit = duration_text(settings.statement_timeout);
                format!("{at}: {} (statement_timeout is {limit})", refused.message())
            }
            false => format!("{at}: {}", refused.message()),
        };
        if let Some(more) = refused.detail() {
            detail.push_str(": ");
            detail.push_str(more.trim_end_matches('.'));
        }
        Self { kind: kind(code), detail }
    }

    pub fn lost(settings: &Settings, detail: &str) -> Self {
        Self { kind: Kind::Lost, detail: format!("{}: {detail}", settings.place()) }
    }

    pub fn late(settings: &Settings) -> Self {
        let limit = duration_text(settings.connect_timeout);
        Self::lost(settings, &format!("no connection within {limit} (connect_timeout)"))
    }

    pub fn silent(settings: &Settings) -> Self {
        let limit = duration_text(settings.statement_timeout);
        Self::lost(settings, &format!("no answer within {limit} (statement_timeout)"))
    }

    /// All connections stayed in use for as long as may be waited.
    pub fn none_free(settings: &Settings) -> Self {
        let detail = format!(
            "{}: all {} connections of this gateway are in use; each table that is being read takes one: raise \
             connections in lockstep.yaml",
            settings.place(),
            settings.connections
        );
        Self { kind: Kind::Busy, detail }
    }

    pub fn file(settings: &Settings, path: &std::path::Path, error: &io::Error) -> Self {
        Self::lost(settings, &format!("{} cannot be read: {error}", path.display()))
    }

    /// Whether the connection is gone.
    pub fn is_lost(&self) -> bool {
        self.kind == Kind::Lost
    }

    /// Whether the same again may work.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Lost | Kind::Raced)
    }

    /// What it means to one who reads the source.
    pub fn reading(self, source: &str) -> Error {
        let (source_name, detail) = (source.to_owned(), self.detail);
        match self.kind {
            Kind::Lost | Kind::NotLetIn | Kind::Busy | Kind::Raced | Kind::Full => {
                Error::Unreachable { source_name, detail }
            }
            Kind::Missing => Error::Changed { source_name, detail },
            Kind::Refused | Kind::Failed => Error::Unreadable { source_name, detail },
        }
    }

    /// What it means to one who writes to the source.
    pub fn writing(self, source: &str) -> Error {
        let (source_name, detail) = (source.to_owned(), self.detail);
        match self.kind {
            Kind::Lost | Kind::NotLetIn | Kind::Busy => Error::Unreachable { source_name, detail },
            Kind::Refused | Kind::Missing => Error::NotWritable { source_name, detail },
            Kind::Full => Error::NoRoom { source_name, detail },
            Kind::Raced | Kind::Failed => Error::Write { source_name, detail },
        }
    }
}

/// By the class of the code: PostgreSQL's appendix A.
fn kind(code: &SqlState) -> Kind {
    let lost = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    let raced = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
    match code {
        code if lost.contains(code) || *code == SqlState::TOO_MANY_CONNECTIONS => Kind::Lost,
        code if raced.contains(code) => Kind::Raced,
        code if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED => Kind::Busy,
        code if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) => Kind::Missing,
        code => match &code.code()[..2] {
            "08" => Kind::Lost,
            // A wrong password or user; a database that is not there.
            "28" | "3D" => Kind::NotLetIn,
            "53" => Kind::Full,
            // Wrong values, broken constraints, missing rights, read-only servers, objects in a wrong state.
            "22" | "23" | "25" | "2B" | "3F" | "42" | "44" | "55" => Kind::Refused,
            _ => Kind::Failed,
        },
    }
}

/// The error and what is behind it, once each.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let more = behind.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = behind.source();
    }
    text
}
