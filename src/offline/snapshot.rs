//! What a source consisted of at one moment: enough to read the very same rows again, or to know that they are gone.
//! Training sets carry it in their manifest, and a sync that goes on after a crash reads what it had begun to read.

use serde::{Deserialize, Serialize};

use super::Error;

/// A source and everything that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The stored tables, by the name of their source.
    pub parts: Vec<(String, Part)>,
    /// The queries, by the name of their source.
    pub queries: Vec<(String, String)>,
}

/// A stored table at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// A push source to which nothing was pushed.
    Nothing,
    Parquet {
        files: Vec<FilePart>,
    },
    Delta {
        version: u64,
    },
    /// PostgreSQL has no past: this says what was there, and cannot bring it back.
    Postgres {
        /// The database's own name of the snapshot.
        transaction: String,
    },
    /// Batches in memory, so many of them.
    Memory {
        batches: u64,
    },
}

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    /// Relative to the table's own path.
    pub path: String,
    pub bytes: u64,
    /// SHA-256 of the content in hex; of a file in an object store, what the store calls its ETag, with `etag:` before it.
    /// By its state, a local file has such a tag too: of its inode, its size and the time of its last change.
    pub content: String,
}

/// By what a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// What it holds, on whatever machine. Every local file is read for it.
    Content,
    /// What the file system says of it; good on this machine for as long as nobody copies the file.
    State,
}

impl Snapshot {
    /// What was there of the stored source `name`.
    pub(super) fn part(&self, name: &str) -> Result<&Part, Error> {
        let part = self.parts.iter().find(|(source, _)| source == name).map(|(_, part)| part);
        part.ok_or_else(|| Error::Changed {
            source_name: name.to_owned(),
            detail: "it was not read when this was recorded".to_owned(),
        })
    }
}
