//! The instances of one transform: warm ones wait for the next call, by thread; a fresh one is made where none waits.

use std::array;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;

use crate::catalog::{Transform, arrow_schema};

use super::frame::Column;
use super::instance::{Instance, Instantiable};
use super::limits::Limits;
use super::plugin::Plugin;
use super::wit::{Binding, Bound};
use super::{Error, Fault, Transforms, bind, stats};

/// Free lists; a thread always uses the same one, so that two rarely want the same lock.
const LISTS: usize = 16;

/// A transform, ready to be called.
pub struct Pool {
    pub transform: Arc<Transform>,
    pub inputs: Vec<Column>,
    pub outputs: Vec<Column>,
    pub schema: SchemaRef,
    plugin: Arc<Plugin>,
    binding: Binding,
    bound: Bound,
    /// Instances of it are bound when they start.
    snapshot: Option<Arc<Instantiable>>,
    idle: [Mutex<Vec<Instance>>; LISTS],
}

impl Pool {
    pub fn new(
        plugin: Arc<Plugin>,
        transform: Transform,
        binding: Binding,
        bound: Bound,
        snapshot: Option<Arc<Instantiable>>,
        inputs: Vec<Column>,
        outputs: Vec<Column>,
    ) -> Self {
        let schema = arrow_schema(&transform.outputs);
        let idle = array::from_fn(|_| Mutex::default());
        Self { transform: Arc::new(transform), inputs, outputs, schema, plugin, binding, bound, snapshot, idle }
    }

    pub fn name(&self) -> &str {
        &self.plugin.name
    }

    /// What the plugin may use now.
    pub fn limits(&self) -> Limits {
        **self.plugin.limits.load()
    }

    /// Whether instances are used again.
    pub fn is_warm(&self) -> bool {
        self.plugin.is_warm()
    }

    #[cfg(test)]
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The plugin that it is of.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// An instance that waits, else a fresh one.
    pub fn take(&self, stage: &Transforms) -> Result<Instance, Error> {
        if !self.is_warm() {
            return self.fresh(stage);
        }
        let own = own_list();
        let mut lists = (0..LISTS).map(|step| &self.idle[(own + step) % LISTS]);
        match lists.find_map(|list| list.lock().unwrap_or_else(PoisonError::into_inner).pop()) {
            Some(instance) => Ok(instance),
            None => self.fresh(stage),
        }
    }

    /// A new instance, bound as the first one was.
    pub fn fresh(&self, stage: &Transforms) -> Result<Instance, Error> {
        let at_fault = |fault| Error::Fault { plugin: self.name().to_owned(), fault };
        if let Some(snapshot) = &self.snapshot {
            return Instance::start(stage, snapshot, stage.slot()?, &self.limits()).map_err(at_fault);
        }
        let (instance, bound) = bind::start(stage, &self.plugin, &self.binding)?;
        match bound == self.bound {
            true => Ok(instance),
            false => Err(at_fault(Fault::Rebound)),
        }
    }

    /// After a call without a fault. An instance that had one is dropped instead.
    pub fn give_back(&self, stage: &Transforms, instance: Instance) {
        if !self.is_warm() {
            return;
        }
        if instance.is_worn(&stage.settings) {
            stats::add(&stage.stats.instances_recycled, 1);
            return;
        }
        self.idle[own_list()].lock().unwrap_or_else(PoisonError::into_inner).push(instance);
    }

    /// Drops one instance that waits, so that another transform can have its slot.
    pub fn drop_one_idle(&self) -> bool {
        let instance = self.idle.iter().find_map(|list| list.lock().unwrap_or_else(PoisonError::into_inner).pop());
        instance.is_some()
    }
}

fn own_list() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let own = THREADS.fetch_add(1, Ordering::Relaxed) % LISTS;
        OWN.set(Some(own));
        own
    })
}
