//! The transform stage: named columns in, new columns out, computed by WASM plugins.
//!
//! Knows nothing of stores, flows or wires; takes a batch and gives a batch. Serving, sync, ingest and training all
//! pass through [`Transforms::apply`]; there is no second way to run a plugin, so a feature cannot differ between them.
//! This is the only folder that names wasmtime.
//!
//! Reading order: `call.rs` (one application, from rows to rows), `pool.rs` and `instance.rs` (where a guest comes
//! from), `limits.rs` (what it may use), `plugin.rs`, `bind.rs` and `snapshot.rs` (how it got there), `frame/` (the
//! bytes).
//!
//! # Why no import is accepted
//! A plugin that could read a clock, a file or a random number would give the same row different features on different
//! days. So there is nothing to call: a component that imports a function is refused when it is loaded. What a warm
//! instance could still do is remember; a sample of calls is run again on a fresh instance and compared byte by byte.

mod anatomy;
mod audit;
mod bind;
mod cache;
mod call;
mod compile;
pub mod conformance;
mod engine;
mod error;
pub mod frame;
mod instance;
mod limits;
mod plugin;
mod pool;
pub mod probe;
mod refusals;
mod signature;
mod snapshot;
mod stats;
#[cfg(test)]
mod tests;
mod wit;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, RecordBatch};
use wasmtime::Engine;

use crate::catalog::{Digest, Parameter, Signature, Transform};
use crate::clock::Deadline;
use crate::limits::{
    PLUGIN_CACHE_BYTES_MAX, PLUGIN_CALL_TIME_MAX, PLUGIN_CALLS_PER_INSTANCE_MAX, PLUGIN_COMPARE_ONE_IN,
    PLUGIN_FUEL_PER_CALL, PLUGIN_FUEL_PER_ROW, PLUGIN_INSTANCES_MAX, PLUGIN_MEMORY_BYTES_MAX,
};

use self::audit::Audits;
use self::conformance::FuelBudget;
use self::instance::{Slot, Slots};
use self::plugin::Plugin;
use self::pool::Pool;

pub use self::anatomy::Anatomy;
pub use self::audit::{Audited, OnImpure};
pub use self::compile::{Child, Compiler, Confinement, compile_confined};
pub use self::error::{Error, Fault, FaultKind};
pub use self::limits::{Limits, PluginLimits};
pub use self::refusals::CODE_NULL_INPUT;
pub use self::signature::input_fields;
pub use self::stats::Stats;

/// How the stage runs its plugins. The defaults are those of `limits.rs`; tests make some of them small.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where compiled plugins are kept, by digest; `None` compiles at every start.
    pub cache: Option<PathBuf>,
    /// Bytes of all compiled plugins there.
    pub cache_bytes_max: u64,
    pub compiler: Compiler,
    pub reuse: Reuse,
    /// Whether a fresh instance begins where the first one was bound, in place of being bound itself; for those who ask
    /// for few rows often, because a transform is compiled three times for it.
    pub snapshots: bool,
    pub calls_per_instance_max: u32,
    pub instances_max: u32,
    pub memory_bytes_max: usize,
    pub fuel_per_call: u64,
    pub fuel_per_row: u64,
    /// Wall-clock time of one call, whatever the deadline.
    pub call_time_max: Duration,
    /// One in so many calls of warm instances is run again on a fresh one and compared; 0 compares none.
    pub compare_one_in: u32,
    /// What becomes of a plugin whose answers differ then.
    pub on_impure: OnImpure,
}

/// Whether an instance is used for more than one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Small plugins (Rust, C) get a fresh instance for each call, which costs some microseconds and leaves nothing to
    /// remember in; large ones (Python, JavaScript), where it would cost milliseconds, are kept warm.
    #[default]
    BySize,
    Always,
    Never,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache: None,
            cache_bytes_max: PLUGIN_CACHE_BYTES_MAX,
            compiler: Compiler::default(),
            reuse: Reuse::default(),
            snapshots: false,
            calls_per_instance_max: PLUGIN_CALLS_PER_INSTANCE_MAX,
            instances_max: PLUGIN_INSTANCES_MAX,
            memory_bytes_max: PLUGIN_MEMORY_BYTES_MAX,
            fuel_per_call: PLUGIN_FUEL_PER_CALL,
            fuel_per_row: PLUGIN_FUEL_PER_ROW,
            call_time_max: PLUGIN_CALL_TIME_MAX,
            compare_one_in: PLUGIN_COMPARE_ONE_IN,
            on_impure: OnImpure::default(),
        }
    }
}

/// The loaded plugins and their instances.
pub struct Transforms {
    engine: Engine,
    settings: Settings,
    stats: Stats,
    audits: Audits,
    slots: Arc<Slots>,
    plugins: Mutex<HashMap<Digest, Arc<Plugin>>>,
    allowed: Mutex<Allowed>,
    /// By the transform's digest. Read in every call and written when a transform is bound, so it is swapped whole.
    pools: ArcSwap<HashMap<Digest, Arc<Pool>, BuildHasherDefault<DigestHasher>>>,
}

/// What plugins may use, beside what the settings say of all of them.
#[derive(Debug, Default)]
struct Allowed {
    by_plugin: HashMap<String, PluginLimits>,
    measured: HashMap<Digest, FuelBudget>,
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
            audits: Audits::default(),
            slots: Arc::new(Slots::new(settings.instances_max)),
            plugins: Mutex::default(),
            allowed: Mutex::default(),
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
        // Held, so that `drop_unused` does not take away what is handed out here.
        let _plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let (digest, bound) = (bound.transform.digest, Arc::new(bound));
        if let Some(known) = self.pools.load().get(&digest) {
            return Ok(Arc::clone(&known.transform));
        }
        self.pools.rcu(|pools| {
            let mut pools = HashMap::clone(pools);
            pools.insert(digest, Arc::clone(&bound));
            pools
        });
        Ok(Arc::clone(&bound.transform))
    }

    /// Drops every transform that nobody holds any more (no catalog, no plan, no call under way) with its instances, and
    /// every plugin that no transform is of. A plugin that is loaded and not bound yet is of no transform: this is for
    /// who loads them, when he is done. Where a plugin is being loaded, nothing is dropped before the next time.
    pub fn drop_unused(&self) {
        let Ok(mut plugins) = self.plugins.try_lock() else { return };
        let is_unused = |pool: &Pool| Arc::strong_count(&pool.transform) == 1;
        if self.pools.load().values().any(|pool| is_unused(pool)) {
            self.pools.rcu(|pools| {
                let used = pools.iter().filter(|(_, pool)| !is_unused(pool));
                used.map(|(digest, pool)| (*digest, Arc::clone(pool))).collect::<HashMap<_, _, _>>()
            });
        }
        plugins.retain(|_, plugin| Arc::strong_count(plugin) > 1);
    }

    /// The transforms that can be called, and the plugins that they are of.
    pub fn loaded(&self) -> (usize, usize) {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        (self.pools.load().len(), plugins.len())
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

    /// Replaces what single plugins may use, by their names; from their next calls on.
    pub fn set_limits(&self, by_plugin: HashMap<String, PluginLimits>) {
        self.allowed().by_plugin = by_plugin;
        self.renew_limits();
    }

    /// What the tests of a component found it to need.
    pub fn set_fuel_budget(&self, component: Digest, measured: FuelBudget) {
        self.allowed().measured.insert(component, measured);
        self.renew_limits();
    }

    /// What a plugin of this name may use, or could if it were loaded as a small one.
    pub fn limits(&self, plugin: &str, component: Digest) -> Limits {
        let loaded = self.plugins.lock().unwrap_or_else(PoisonError::into_inner).get(&component).cloned();
        self.limits_of(plugin, component, loaded.is_some_and(|loaded| loaded.is_large))
    }

    /// Whether instances of a loaded component are used for more than one call.
    pub fn keeps_warm(&self, component: Digest) -> bool {
        self.plugins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&component)
            .is_some_and(|plugin| plugin.is_warm())
    }

    /// What compiled code depends on beside its component: the version of wasmtime, its settings, the machine.
    pub fn engine_hash(&self) -> String {
        cache::engine_hash(&self.engine)
    }

    fn limits_of(&self, plugin: &str, component: Digest, is_large: bool) -> Limits {
        let allowed = self.allowed();
        let own = allowed.by_plugin.get(plugin).copied().unwrap_or_default();
        Limits::of(&self.settings, is_large, own, allowed.measured.get(&component).copied())
    }

    fn renew_limits(&self) {
        let plugins: Vec<Arc<Plugin>> =
            self.plugins.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for plugin in plugins {
            plugin.limits.store(Arc::new(self.limits_of(&plugin.name, plugin.component, plugin.is_large)));
        }
        // An instance that nothing will use again would keep its slot.
        self.pools.load().values().filter(|pool| !pool.is_warm()).for_each(|pool| while pool.drop_one_idle() {});
    }

    fn allowed(&self) -> MutexGuard<'_, Allowed> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What the audit of purity has found out, by plugin.
    pub fn audited(&self) -> Vec<Audited> {
        self.audits.found()
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
