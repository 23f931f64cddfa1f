//! The transform stage: named columns in, new columns out, computed by WASM plugins.
//!
//! Knows nothing of stores, flows or wires; takes a batch and gives a batch. Serving, sync, ingest and training all
//! pass through [`Transforms::apply`]; there is no second way to run a plugin, so a feature cannot differ between them.
//! This is the only folder that names wasmtime.
//!
//! Reading order: `call.rs` (one application, from rows to rows), `pool.rs` and `instance.rs` (where a guest comes
//! from), `limits.rs` (what it may use), `plugin.rs` and `bind.rs` (how it got there), `frame/` (the bytes).
//!
//! # Why no import is accepted
//! A plugin that could read a clock, a file or a random number would give the same row different features on different
//! days. So there is nothing to call: a component that imports a function is refused when it is loaded. What a warm
//! instance could still do is remember; a sample of calls is run again on a fresh instance and compared byte by byte.

mod anatomy;
mod bind;
mod cache;
mod call;
pub mod conformance;
mod engine;
mod error;
pub mod frame;
mod instance;
mod limits;
mod plugin;
mod pool;
mod probe;
mod refusals;
mod signature;
mod stats;
#[cfg(test)]
mod tests;
mod wit;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, RecordBatch};
use wasmtime::Engine;

use crate::catalog::{Digest, Parameter, Signature, Transform};
use crate::clock::Deadline;
use crate::limits::{
    PLUGIN_CALL_TIME_MAX, PLUGIN_CALLS_PER_INSTANCE_MAX, PLUGIN_COMPARE_ONE_IN, PLUGIN_FUEL_PER_CALL,
    PLUGIN_FUEL_PER_ROW, PLUGIN_INSTANCES_MAX, PLUGIN_MEMORY_BYTES_MAX,
};

use self::instance::{Slot, Slots};
use self::plugin::Plugin;
use self::pool::Pool;

pub use self::anatomy::Anatomy;
pub use self::error::{Error, Fault, FaultKind};
pub use self::refusals::CODE_NULL_INPUT;
pub use self::signature::input_fields;
pub use self::stats::Stats;

/// How the stage runs its plugins. The defaults are those of `limits.rs`; tests make some of them small.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where compiled plugins are kept, by digest; `None` compiles at every start.
    pub cache: Option<PathBuf>,
    pub reuse: Reuse,
    pub calls_per_instance_max: u32,
    pub instances_max: u32,
    pub memory_bytes_max: usize,
    pub fuel_per_call: u64,
    pub fuel_per_row: u64,
    /// Wall-clock time of one call, whatever the deadline.
    pub call_time_max: Duration,
    /// One in so many calls of warm instances is run again on a fresh one and compared; 0 compares none.
    pub compare_one_in: u32,
}

/// Whether an instance is used for more than one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Small plugins (Rust, C) get a fresh instance for each call, which costs some microseconds and leaves nothing to
    /// remember in; large ones (Python, JavaScript), where it would cost a millisecond, are kept warm.
    #[default]
    BySize,
    Always,
    Never,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache: None,
            reuse: Reuse::default(),
            calls_per_instance_max: PLUGIN_CALLS_PER_INSTANCE_MAX,
            instances_max: PLUGIN_INSTANCES_MAX,
            memory_bytes_max: PLUGIN_MEMORY_BYTES_MAX,
            fuel_per_call: PLUGIN_FUEL_PER_CALL,
            fuel_per_row: PLUGIN_FUEL_PER_ROW,
            call_time_max: PLUGIN_CALL_TIME_MAX,
            compare_one_in: PLUGIN_COMPARE_ONE_IN,
        }
    }
}

/// The loaded plugins and their instances.
pub struct Transforms {
    engine: Engine,
    settings: Settings,
    stats: Stats,
    slots: Arc<Slots>,
    plugins: Mutex<HashMap<Digest, Arc<Plugin>>>,
    /// By the transform's digest. Read in every call and written when a transform is bound, so it is swapped whole.
    pools: ArcSwap<HashMap<Digest, Arc<Pool>, BuildHasherDefault<DigestHasher>>>,
}

/// What one call gave: a batch with the transform's outputs, in order, and the rows that the plugin refused (their
/// outputs are null).
#[derive(Clone, Debug)]
pub struct Applied {
    pub rows: RecordBatch,
    pub errors: Vec<RowError>,
    /// All row errors, those beyond the bound of `errors` included.
    pub error_count: usize,
    pub fuel: u64,
}

/// A row that a plugin refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    pub row: usize,
    pub code: u32,
    pub message: String,
}

impl Transforms {
    /// Starts the stage: the engine, its pool, and the thread that counts milliseconds for deadlines.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            engine: engine::start(&settings)?,
            stats: Stats::default(),
            slots: Arc::new(Slots::new(settings.instances_max)),
            plugins: Mutex::default(),
            pools: ArcSwap::default(),
            settings,
        })
    }

    /// Checks, compiles (or takes from the cache) and describes a component. Loading the same bytes again is cheap.
    pub fn load(&self, plugin: &str, component: &[u8]) -> Result<(Digest, Signature), Error> {
        let digest = Digest::of(component);
        // Held while compiling: two callers with the same plugin compile it once, two with different ones in turn.
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = plugins.get(&digest) {
            return Ok((digest, loaded.signature.clone()));
        }
        let loaded = plugin::load(self, plugin, digest, component).inspect_err(|error| self.count_fault(error))?;
        let signature = loaded.signature.clone();
        plugins.insert(digest, Arc::new(loaded));
        Ok((digest, signature))
    }

    /// A loaded component with its parameters filled in. `outputs` selects some of its outputs; `None` takes all.
    pub fn bind(
        &self,
        plugin: &str,
        component: Digest,
        parameters: &[(String, Parameter)],
        outputs: Option<&[String]>,
    ) -> Result<Arc<Transform>, Error> {
        let loaded = self.plugins.lock().unwrap_or_else(PoisonError::into_inner).get(&component).cloned();
        let loaded = loaded.ok_or_else(|| Error::NotLoaded { plugin: plugin.to_owned(), component })?;
        let bound = bind::bind(self, &loaded, parameters, outputs).inspect_err(|error| self.count_fault(error))?;
        let transform = Arc::clone(&bound.transform);
        if !self.pools.load().contains_key(&transform.digest) {
            let bound = Arc::new(bound);
            self.pools.rcu(|pools| {
                let mut pools = HashMap::clone(pools);
                pools.entry(transform.digest).or_insert_with(|| Arc::clone(&bound));
                pools
            });
        }
        Ok(transform)
    }

    /// Applies a transform to any number of rows. `columns` are the transform's input columns, in its order and of its
    /// types. Computes on the calling thread.
    pub fn apply(
        &self,
        transform: &Transform,
        columns: &[ArrayRef],
        rows: usize,
        deadline: Deadline,
    ) -> Result<Applied, Error> {
        let pools = self.pools.load();
        let Some(pool) = pools.get(&transform.digest) else {
            return Err(Error::NotLoaded { plugin: transform.plugin.clone(), component: transform.component });
        };
        call::apply(self, pool, columns, rows, deadline).inspect_err(|error| self.count_fault(error))
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Plugin instances that are alive, in use or waiting.
    pub fn instances_alive(&self) -> u32 {
        self.slots.taken()
    }

    /// A place for one more instance; one that waits for another transform gives way.
    fn slot(&self) -> Result<Slot, Error> {
        let pools = self.pools.load();
        let made_room = || pools.values().any(|pool| pool.drop_one_idle()).then(|| self.slots.take()).flatten();
        self.slots.take().or_else(made_room).ok_or(Error::Exhausted { max: self.settings.instances_max })
    }

    fn count_fault(&self, error: &Error) {
        if let Error::Fault { fault, .. } = error {
            self.stats.count_fault(fault);
        }
    }
}

impl fmt::Debug for Transforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transforms")
            .field("settings", &self.settings)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// A digest is a hash already: its first bytes will do.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
