//! Limits of what callers have computed beside features, and of what is logged of what they were served.

use std::time::Duration;

/// Rows of an exchange through a transform that are computed at once: two frames, so that answers of the first rows leave
/// while the last ones of a large batch still wait.
pub const TRANSFORM_PIECE_ROWS: usize = 16_384;
/// Time for such a piece whose caller names no deadline: two frames of a plugin that takes all the time it may.
pub const TRANSFORM_PIECE_DEADLINE: Duration = Duration::from_secs(10);
/// Plugins with parameters that callers may bind beside those of derived views, while the gateway runs. Each keeps its
/// parameters (1 MiB at most) and perhaps an instance.
pub const CALLER_BINDINGS_MAX: usize = 128;

/// Served requests that wait to be written to the request log; what comes beyond them is not logged, and counted.
pub const REQUEST_LOG_QUEUE_MAX: usize = 4_096;
/// Bytes of their columns.
pub const REQUEST_LOG_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Rows and bytes of one file of the log: large enough to compress and to join to a history at once.
pub const REQUEST_LOG_FILE_ROWS: usize = 65_536;
pub const REQUEST_LOG_FILE_BYTES: usize = 64 << 20;
/// Questions whose requests are collected at a time, each for a file of its own.
pub const REQUEST_LOG_QUESTIONS_MAX: usize = 16;
/// After this time the requests of a question go to their file, however few they are; what a crash loses.
pub const REQUEST_LOG_FLUSH_EVERY: Duration = Duration::from_secs(60);
/// Files of a log, so that looking for the oldest one stays quick.
pub const REQUEST_LOG_FILES_MAX: usize = 10_000;
/// The smallest bound on a log's folder, in bytes: one file of any size fits.
pub const REQUEST_LOG_BYTES_MIN: u64 = 64 << 20;
/// Differing cells that a replay lists; all of them are counted.
pub const REPLAY_CELLS_MAX: usize = 100;
