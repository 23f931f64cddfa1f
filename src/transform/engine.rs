//! The engine: how plugins are compiled and where their memories lie, and the thread that counts time for them.

use std::num::NonZeroUsize;
use std::thread;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::{PLUGIN_MEMORY_BYTES_CEILING, PLUGIN_TABLE_ELEMENTS_MAX};

use super::limits::EPOCH;
use super::{Error, Settings};

/// Core modules, memories and tables that the parts of one component may have between them. Python's is CPython and its
/// libraries, linked when it starts: 38 of them.
const MODULES_PER_COMPONENT: u32 = 64;
const TABLES_PER_COMPONENT: u32 = 4;
/// Room for the tables that describe an instance; Python's needs a few hundred KiB.
const INSTANCE_BYTES_MAX: usize = 4 << 20;
/// A guest's stack. The point at which it overflows is not part of a transform's meaning: it is a fault.
const STACK_BYTES_MAX: usize = 512 << 10;
const BACKTRACE_FRAMES_MAX: usize = 20;
/// What is put back by writing, when an instance ends, instead of being given back to the kernel: the whole memory of a
/// small plugin that had a frame of some rows. A page that is given back costs a fault in the next instance, and telling
/// the other processors of it; for one row that was two thirds of a fresh instance.
const MEMORY_BYTES_KEPT: usize = 512 << 10;
const TABLE_BYTES_KEPT: usize = 64 << 10;

/// An engine with nothing in it that could make two runs differ: NaNs are canonical, relaxed SIMD and threads are off.
pub fn start(settings: &Settings) -> Result<Engine, Error> {
    let mut pool = PoolingAllocationConfig::new();
    // While one instance is compared with a fresh one, both are alive.
    let instances = settings.instances_max.saturating_mul(2);
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(MODULES_PER_COMPONENT))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_PER_COMPONENT))
        .max_core_instances_per_component(MODULES_PER_COMPONENT)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memory_size(PLUGIN_MEMORY_BYTES_CEILING)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .table_elements(PLUGIN_TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(MEMORY_BYTES_KEPT)
        .table_keep_resident(TABLE_BYTES_KEPT);

    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).map_err(|error| Error::Engine(format!("{error:#}")))?;
    count_epochs(&engine)?;
    Ok(engine)
}

/// An engine that only compiles: what it makes runs on the others, and it reserves no memory for instances.
pub fn compiler() -> Result<Engine, Error> {
    Engine::new(&config()).map_err(|error| Error::Engine(format!("{error:#}")))
}

/// Everything that compiled code depends on.
fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX));
    config
}

/// The thread ends with the engine.
fn count_epochs(engine: &Engine) -> Result<(), Error> {
    let engine = engine.weak();
    let count = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(EPOCH);
        }
    };
    let thread = thread::Builder::new().name("plugin-epochs".to_owned()).spawn(count);
    thread.map(drop).map_err(|error| Error::Engine(format!("no thread to count time: {error}")))
}
