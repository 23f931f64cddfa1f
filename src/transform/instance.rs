//! One instance of a plugin, and the bound on how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::Store;
use wasmtime::component::{self, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower, TypedFunc};

use crate::limits::{DESCRIPTOR_STRING_BYTES_MAX, PLUGIN_MEMORY_GROWTH_BYTES_MAX};

use super::error::Fault;
use super::limits::{Budget, Limits, Usage};
use super::refusals::clipped;
use super::wit::{Applied, ApplyError, BindError, Binding, Bound, Descriptor};
use super::{Settings, Transforms, stats};

/// The one interface of a plugin, see `wit/transform.wit`.
const INTERFACE: &str = "lockstep:transform/transform@0.1.0";

/// A component of which instances can be made, and where its functions are.
pub struct Instantiable {
    pre: InstancePre<Usage>,
    describe: ComponentExportIndex,
    bind: ComponentExportIndex,
    apply: ComponentExportIndex,
}

/// An instance. It is used by one call at a time, and dropped for good after a fault.
pub struct Instance {
    store: Store<Usage>,
    component: Arc<Instantiable>,
    guest: component::Instance,
    /// The one function that every instance is there for. To find one is to compare its type, name by name; the others
    /// are found when they are called.
    apply: TypedFunc<(&'static [u8],), (Result<Applied, ApplyError>,)>,
    calls: u32,
    /// Memory once it was bound, against which growth is measured.
    memory_bytes_bound: usize,
    _slot: Slot,
}

/// How many instances may be alive.
#[derive(Debug)]
pub struct Slots {
    taken: AtomicU32,
    max: u32,
}

/// The right to be alive; given back when dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Slots {
    pub fn new(max: u32) -> Self {
        Self { taken: AtomicU32::new(0), max }
    }

    pub fn take(self: &Arc<Self>) -> Option<Slot> {
        let taken = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < self.max).then_some(taken + 1));
        taken.ok().map(|_| Slot(Arc::clone(self)))
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where one instance lives.
pub fn store(stage: &Transforms, limits: &Limits) -> Store<Usage> {
    let mut store = Store::new(&stage.engine, Usage::new(limits));
    store.limiter(|usage| usage);
    store
}

impl Instantiable {
    /// Fails for a component without one of the functions.
    pub fn new(pre: InstancePre<Usage>) -> wasmtime::Result<Self> {
        let component = pre.component();
        let missing = |name: &str| wasmtime::Error::msg(format!("it does not export {name}"));
        let interface = component.get_export_index(None, INTERFACE).ok_or_else(|| missing(INTERFACE))?;
        let function = |name: &str| {
            component.get_export_index(Some(&interface), name).ok_or_else(|| missing(&format!("{INTERFACE}#{name}")))
        };
        let (describe, bind, apply) = (function("describe")?, function("bind")?, function("apply")?);
        Ok(Self { pre, describe, bind, apply })
    }
}

impl Instance {
    pub fn start(
        stage: &Transforms,
        component: &Arc<Instantiable>,
        slot: Slot,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let budget = Budget::without_rows(limits);
        let mut store = store(stage, limits);
        budget.grant(&mut store)?;
        let guest = component.pre.instantiate(&mut store).map_err(|error| budget.verdict(&error, store.data()))?;
        let apply = guest.get_typed_func(&mut store, component.apply);
        let apply = apply.map_err(|error| budget.verdict(&error, store.data()))?;
        stats::add(&stage.stats.instances_created, 1);
        let component = Arc::clone(component);
        Ok(Self { store, guest, component, apply, calls: 0, memory_bytes_bound: 0, _slot: slot })
    }

    /// Whether `bind` has the type that it is called with. The other two are looked at when an instance starts and when
    /// it describes itself, which it does when its plugin is loaded; only this one would be found wrong later.
    pub fn check_bind(&mut self, budget: Budget) -> Result<(), Fault> {
        let bind =
            self.guest.get_typed_func::<(&Binding,), (Result<Bound, BindError>,)>(&mut self.store, self.component.bind);
        bind.map(drop).map_err(|error| budget.verdict(&error, self.store.data()))
    }

    pub fn describe(&mut self, budget: Budget) -> Result<Descriptor, Fault> {
        budget.grant(&mut self.store)?;
        let described = self.call::<_, (Descriptor,)>(self.component.describe, ());
        described.map(|(descriptor,)| descriptor).map_err(|error| budget.verdict(&error, self.store.data()))
    }

    pub fn bind(&mut self, binding: &Binding, budget: Budget) -> Result<Result<Bound, BindError>, Fault> {
        budget.grant(&mut self.store)?;
        let bound = self.call::<_, (Result<Bound, BindError>,)>(self.component.bind, (binding,));
        self.memory_bytes_bound = self.store.data().memory_bytes;
        bound.map(|(bound,)| bound).map_err(|error| budget.verdict(&error, self.store.data()))
    }

    /// One call, and the fuel that it burned.
    pub fn apply(&mut self, frame: &[u8], budget: Budget) -> Result<(Applied, u64), Fault> {
        budget.grant(&mut self.store)?;
        self.calls += 1;
        let answer = self.apply.call(&mut self.store, (frame,)).map(|(answer,)| answer);
        let fuel = budget.fuel - self.store.get_fuel().unwrap_or(0);
        match answer {
            Ok(Ok(applied)) if applied.frame.len() > budget.output_bytes_max => {
                Err(Fault::OutputTooLarge { max: budget.output_bytes_max })
            }
            Ok(Ok(applied)) => Ok((applied, fuel)),
            Ok(Err(ApplyError::BadFrame(reason))) => {
                let reason = clipped(&reason, DESCRIPTOR_STRING_BYTES_MAX);
                Err(Fault::Refused(format!("it does not take our frame: {reason}")))
            }
            Ok(Err(ApplyError::Failed(reason))) => Err(Fault::Refused(clipped(&reason, DESCRIPTOR_STRING_BYTES_MAX))),
            Err(error) => Err(budget.verdict(&error, self.store.data())),
        }
    }

    fn call<Params, Return>(&mut self, function: ComponentExportIndex, params: Params) -> wasmtime::Result<Return>
    where
        Params: ComponentNamedList + Lower,
        Return: ComponentNamedList + Lift + 'static,
    {
        let function = self.guest.get_typed_func::<Params, Return>(&mut self.store, function)?;
        function.call(&mut self.store, params)
    }

    /// The most memory that it had so far.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    /// What is left of the fuel that was last granted.
    pub fn fuel_left(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }

    /// Whether it has served long enough, or holds more memory than a guest that cleans up after itself.
    pub fn is_worn(&self, settings: &Settings) -> bool {
        let memory_bytes_max =
            (2 * self.memory_bytes_bound).max(self.memory_bytes_bound + PLUGIN_MEMORY_GROWTH_BYTES_MAX);
        self.calls >= settings.calls_per_instance_max || self.store.data().memory_bytes > memory_bytes_max
    }
}
