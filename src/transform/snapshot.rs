//! A snapshot of a bound instance: the same component, whose memory and globals begin as `bind` left them.
//!
//! A gateway makes a fresh instance of a small plugin for every call. A transform of fifty columns hears and says a
//! hundred names when it is bound, and would again for every row that is asked for; so it is bound once, and every later
//! instance begins where that one stood. The code is the plugin's own, and so is every byte of its memory: such an
//! instance answers as one that was bound.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use futures::FutureExt;
use wasmtime::Store;
use wasmtime::component::{self, ComponentExportIndex, Lift, Linker, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::catalog::Digest;

use super::instance::Instantiable;
use super::limits::{Budget, Usage};
use super::plugin::{self, Plugin};
use super::wit::{Binding, Bound, TransformPlugin};
use super::{Error, Transforms, instance};

/// Instances of what comes back are bound as `bound` says; compiled, it is kept under the digest of the `transform`. The
/// error says why there can be none: not every form of a component can be rewritten.
pub fn take(
    stage: &Transforms,
    plugin: &Plugin,
    component: &[u8],
    transform: Digest,
    binding: &Binding,
    bound: &Bound,
) -> Result<Arc<Instantiable>, Error> {
    let refused = |detail| Error::NotCompiled { plugin: plugin.name.clone(), detail };
    let ready = plugin::ready(stage, &plugin.name, transform, || {
        // What rewrites components asserts what it has not foreseen; a plugin that finds such a place is a slower one.
        let taken = panic::catch_unwind(AssertUnwindSafe(|| rewritten(stage, plugin, component, binding, bound)));
        taken.unwrap_or_else(|_| Err("its form is not one that can be rewritten".to_owned())).map_err(refused)
    })?;
    let pre = Linker::new(&stage.engine).instantiate_pre(&ready).and_then(Instantiable::new);
    pre.map(Arc::new).map_err(|error| refused(format!("{error:#}")))
}

/// Binds an instance that tells of its memory, and writes the component anew with what it tells.
fn rewritten(
    stage: &Transforms,
    plugin: &Plugin,
    component: &[u8],
    binding: &Binding,
    bound: &Bound,
) -> Result<Vec<u8>, String> {
    let why = |error: wasmtime::Error| format!("{error:#}");
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    let (access, telling) = wizer.instrument_component(component).map_err(why)?;
    let (telling, _) = plugin::compiled_anew(stage, &plugin.name, &telling).map_err(|error| error.to_string())?;

    let limits = plugin.limits.load();
    let budget = Budget::without_rows(&limits);
    let _slot = stage.slot().map_err(|error: Error| error.to_string())?;
    let mut store = instance::store(stage, &limits);
    let grant = |store: &mut Store<Usage>| budget.grant(store).map_err(|fault| fault.to_string());
    grant(&mut store)?;
    let instance = Linker::new(&stage.engine).instantiate(&mut store, &telling).map_err(why)?;
    let guest = TransformPlugin::new(&mut store, &instance).map_err(why)?;
    let said = guest.lockstep_transform_transform().call_bind(&mut store, binding).map_err(why)?;
    if said.as_ref().ok() != Some(bound) {
        return Err("it binds itself otherwise the second time".to_owned());
    }
    grant(&mut store)?;
    let mut told = Told { store, instance, failed: None };
    let written = wizer.snapshot_component(&access, &mut told).now_or_never();
    match (told.failed, written) {
        (Some(error), _) => Err(why(error)),
        (None, Some(written)) => written.map_err(why),
        (None, None) => Err("reading its memory never ends".to_owned()),
    }
}

/// A bound instance, and the first error of reading it: the answers after one are empty, and nobody uses them.
struct Told {
    store: Store<Usage>,
    instance: component::Instance,
    failed: Option<wasmtime::Error>,
}

impl Told {
    fn call<R: Lift + 'static>(&mut self, interface: &str, function: &str) -> Option<R> {
        let called = self.try_call(interface, function);
        called.map_err(|error| self.failed.get_or_insert(error)).ok()
    }

    fn try_call<R: Lift + 'static>(&mut self, interface: &str, function: &str) -> wasmtime::Result<R> {
        let missing = || wasmtime::Error::msg(format!("there is no {interface}#{function}"));
        let mut find = |within: Option<&ComponentExportIndex>, name: &str| {
            self.instance.get_export_index(&mut self.store, within, name).ok_or_else(missing)
        };
        let interface = find(None, interface)?;
        let function = find(Some(&interface), function)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut self.store, function)?;
        Ok(function.call(&mut self.store, ())?.0)
    }
}

impl ComponentInstanceState for Told {
    async fn call_func_ret_list_u8(&mut self, interface: &str, function: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.call::<WasmList<u8>>(interface, function) {
            Some(bytes) => contents(bytes.as_le_slice(&self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.call(interface, function).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.call(interface, function).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.call::<f32>(interface, function).map_or(0, f32::to_bits)
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.call::<f64>(interface, function).map_or(0, f64::to_bits)
    }
}
