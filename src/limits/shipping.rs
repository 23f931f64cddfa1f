//! The bounds of plugins on their way from a team to a gateway: fetched, compiled, kept (docs/plugin-shipping.md).

use std::time::Duration;

/// Time, processor time and memory of the process that compiles one plugin: the largest we know, of JavaScript, takes 11 s
/// on two processors. The compiler is not made for plugins that mean harm.
pub const PLUGIN_COMPILE_TIME_MAX: Duration = Duration::from_secs(120);
pub const PLUGIN_COMPILE_CPU_TIME_MAX: Duration = Duration::from_secs(240);
pub const PLUGIN_COMPILE_MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Bytes of one compiled plugin; JavaScript's have 43 MB.
pub const PLUGIN_COMPILED_BYTES_MAX: u64 = 128 << 20;
/// Bytes of all compiled plugins in the cache; those that were not used for longest go first.
pub const PLUGIN_CACHE_BYTES_MAX: u64 = 2 << 30;
/// Bytes of what a compiling process says when it fails.
pub const PLUGIN_COMPILE_WORDS_MAX: u64 = 16 << 10;
/// Time to fetch a plugin, or to publish one, and to reach the place at all.
pub const PLUGIN_PLACE_TIMEOUT: Duration = Duration::from_secs(120);
pub const PLUGIN_PLACE_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of what travels beside a component: golden cases, the report of its tests, its signature, the list of versions.
pub const PLUGIN_GOLDENS_BYTES_MAX: usize = 16 << 20;
pub const PLUGIN_REPORT_BYTES_MAX: usize = 4 << 20;
pub const PLUGIN_SIGNATURE_BYTES_MAX: usize = 4 << 10;
pub const PLUGIN_VERSIONS_BYTES_MAX: usize = 1 << 20;
/// Versions of one plugin in a registry of images that are looked through for the newest.
pub const PLUGIN_VERSIONS_MAX: usize = 10_000;
/// The longest call that a project may allow one plugin: long enough for a slow one in a batch, and a tenth of the time that a sync gives one write.
pub const PLUGIN_CALL_TIME_CEILING: Duration = Duration::from_secs(30);
/// Bytes of a file with a private key.
pub const PLUGIN_KEY_FILE_BYTES_MAX: usize = 16 << 10;
