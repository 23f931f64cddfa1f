//! The bounds of plugins on their way from a team to a gateway: built, tested, fetched, compiled, kept
//! (docs/plugin-testing.md, docs/plugin-shipping.md).

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
/// The longest call that a project may allow one plugin: long enough for a slow one in a batch, and a tenth of the time
/// that a sync gives one write.
pub const PLUGIN_CALL_TIME_CEILING: Duration = Duration::from_secs(30);
/// Bytes of a file with a private key.
pub const PLUGIN_KEY_FILE_BYTES_MAX: usize = 16 << 10;
/// Linear memory of one instance of a plugin that brings an interpreter (Python, JavaScript), which takes some tens of
/// MiB before it begins.
pub const PLUGIN_LARGE_MEMORY_BYTES_MAX: usize = 256 << 20;
/// How many times the fuel of others such a plugin has: its interpreter burns 90 times as much for a number, and a
/// billion units for a text of 64 KiB.
pub const PLUGIN_LARGE_FUEL_TIMES: u64 = 32;
/// The most that a project may allow one plugin. Address space for it is reserved for every instance.
pub const PLUGIN_MEMORY_BYTES_CEILING: usize = 1 << 30;
/// The least that it may allow: one page, below which nothing starts.
pub const PLUGIN_MEMORY_BYTES_FLOOR: usize = 64 << 10;

/// Rows of one golden case of a plugin.
pub const GOLDEN_ROWS_MAX: usize = 100_000;
/// Golden cases of one plugin, and bytes of one of them: all are run again whenever a gateway loads the plugin.
pub const GOLDEN_CASES_MAX: usize = 1_000;
pub const GOLDEN_CASE_BYTES_MAX: usize = 8 << 20;

/// Different rows that a plugin is tried with: each of them is a call of its own on a fresh instance, 1 ms in Python.
pub const CONFORMANCE_ROWS_MAX: usize = 1_024;
/// Wall-clock time of one application in a check of a plugin; each call in it has its own, shorter bound.
pub const CONFORMANCE_CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// The least of both parts of a fuel budget that is made from what was measured.
pub const FUEL_BUDGET_MIN: u64 = 1_000_000;

/// Bytes of the names of functions that a built plugin keeps: enough for a trap's message in Rust and C, where a
/// language runtime has megabytes of them.
pub const PLUGIN_NAMES_BYTES_MAX: usize = 64 << 10;
