//! Memory and disk that one piece of work may take, as a project says it: a point-in-time join, or the sorting and
//! grouping behind one scan.

use std::path::PathBuf;

use crate::limits::{PIT_MEMORY_BYTES, PIT_SPILL_BYTES_MAX};

/// What one piece of work may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Memory of one join, all its views together; or of what one scan sorts and groups.
    pub memory_bytes: usize,
    /// The folder for what does not fit; made when it is needed.
    pub spill: PathBuf,
    /// Bytes that one of them may write there.
    pub spill_bytes_max: u64,
}

impl Default for Space {
    fn default() -> Self {
        Self {
            memory_bytes: PIT_MEMORY_BYTES,
            spill: tempfile::env::temp_dir().join("lockstep-spill"),
            spill_bytes_max: PIT_SPILL_BYTES_MAX,
        }
    }
}
