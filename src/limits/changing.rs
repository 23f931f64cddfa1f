//! The bounds of what changes in a running gateway: versions that come and go, and builds of plugins that are tried.

use std::time::Duration;

/// Between two looks of a running gateway for a version that was applied: one number out of a local file.
pub const SWAP_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a version that cannot be taken up is left alone unless somebody asks: compiling its plugins again takes seconds.
pub const SWAP_RETRY_PAUSE: Duration = Duration::from_secs(60);
/// Questions for a look at once that wait for one another.
pub const SWAP_QUESTIONS_MAX: usize = 16;
/// Earlier versions whose plugins stay compiled, so that going back is instant: the last one, and the one before should
/// that be no better. A version of 20 Python plugins takes about 1 GB.
pub const GENERATIONS_KEPT: usize = 2;
/// Calls that wait to be compared with another build of their plugin. A row of 50 columns is 400 B, so that a full queue
/// of calls with as many rows as are taken has about 13 MB.
pub const SHADOW_QUEUE_MAX: usize = 64;
/// Rows of one call that are compared.
pub const SHADOW_ROWS_MAX: usize = 512;
/// Time of one run of either build beside the requests.
pub const SHADOW_RUN_TIME_MAX: Duration = Duration::from_secs(1);
/// Cells that differ that are kept of one view, the last ones.
pub const SHADOW_EXAMPLES_MAX: usize = 20;
