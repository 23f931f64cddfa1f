//! What was applied: versions with their definitions, plugin bytes by digest, how far each sync has come, and what ran.

use crate::error::ErrorKind;

/// The registry of one project, in SQLite.
#[derive(Debug)]
pub struct Registry {}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the registry failed while {doing}: {detail}")]
    Store { doing: &'static str, detail: String },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { .. } => ErrorKind::Unavailable,
        }
    }
}
