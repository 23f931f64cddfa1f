//! A loaded plugin: checked, compiled, described.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use crate::catalog::{Digest, Signature};
use crate::limits::{COMPONENT_BYTES_MAX, PLUGIN_FRESH_MEMORY_BYTES_MAX};

use super::audit::Audit;
use super::instance::{Instance, Instantiable};
use super::limits::{Budget, Limits, Usage};
use super::wit::Descriptor;
use super::{Error, OnImpure, Transforms, cache, compile, signature, stats};

/// A core module begins with its version 1, a component with its own version and layer.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const WEB_ASSEMBLY: &[u8] = b"\0asm";

/// A plugin whose bytes are compiled and whose signature is known; instances are made of it.
pub struct Plugin {
    pub name: String,
    pub component: Digest,
    pub signature: Signature,
    pub instantiable: Arc<Instantiable>,
    /// Its bytes, where snapshots of bound instances are made of them.
    pub bytes: Option<Box<[u8]>>,
    pub audit: Arc<Audit>,
    /// It was caught being impure: whatever it is, it gets fresh instances now.
    quarantined: AtomicBool,
    /// Whether it starts with so much memory that it brings an interpreter.
    pub is_large: bool,
    /// What a call may use; replaced while calls run, which end under those that they began with.
    pub limits: ArcSwap<Limits>,
}

impl Plugin {
    /// Whether instances are used again.
    pub fn is_warm(&self) -> bool {
        self.limits.load().is_warm && !self.quarantined.load(Ordering::Relaxed)
    }

    /// A warm instance answered otherwise than a fresh one.
    pub fn caught(&self, on_impure: OnImpure) {
        self.audit.caught(self.component, on_impure);
        self.quarantined.store(self.audit.is_quarantined(&self.component), Ordering::Relaxed);
    }
}

/// Checks, compiles and describes a component.
pub fn load(stage: &Transforms, name: &str, digest: Digest, bytes: &[u8]) -> Result<Plugin, Error> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        let (bytes, max) = (bytes.len(), COMPONENT_BYTES_MAX);
        return Err(Error::ComponentTooLarge { plugin: name.to_owned(), bytes, max });
    }
    if !bytes.starts_with(WEB_ASSEMBLY) {
        let detail = "the file is no WebAssembly".to_owned();
        return Err(Error::NotAComponent { plugin: name.to_owned(), detail });
    }
    if bytes.starts_with(CORE_MODULE) {
        let detail =
            "it is a core module; `lockstep plugin build` makes a component of it (or `wasm-tools component new`)";
        return Err(Error::NotAComponent { plugin: name.to_owned(), detail: detail.to_owned() });
    }
    let not_a_component =
        |error: wasmtime::Error| Error::NotAComponent { plugin: name.to_owned(), detail: format!("{error:#}") };

    let component = ready(stage, name, digest, || Ok(bytes))?;
    refuse_imports(&stage.engine, &component, name)?;
    let linker = Linker::<Usage>::new(&stage.engine);
    let instantiable = linker.instantiate_pre(&component).and_then(Instantiable::new).map_err(not_a_component)?;
    let instantiable = Arc::new(instantiable);
    let memory_bytes = initial_memory_bytes(&component);
    let is_large = memory_bytes.is_none_or(|bytes| bytes > PLUGIN_FRESH_MEMORY_BYTES_MAX as u64);
    let limits = stage.limits_of(name, digest, is_large);

    // A plugin that says different things on different days cannot be relied on: ask one instance twice, and another.
    let mut first = start(stage, name, &instantiable, &limits)?;
    let bind = first.check_bind(Budget::without_rows(&limits));
    bind.map_err(|fault| Error::Fault { plugin: name.to_owned(), fault })?;
    let described = describe(name, &mut first, &limits)?;
    let again = describe(name, &mut first, &limits)?;
    drop(first);
    if again != described || describe(name, &mut start(stage, name, &instantiable, &limits)?, &limits)? != described {
        let detail = "it describes itself differently when asked again".to_owned();
        return Err(Error::LyingSignature { plugin: name.to_owned(), detail });
    }
    let signature =
        signature::check(&described).map_err(|detail| Error::BadSignature { plugin: name.to_owned(), detail })?;
    let audit = stage.audits.of(name);
    let quarantined = AtomicBool::new(audit.is_quarantined(&digest));
    let bytes = (stage.settings.snapshots && !limits.is_warm && !is_large).then(|| bytes.into());
    let (name, component, limits) = (name.to_owned(), digest, ArcSwap::from_pointee(limits));
    Ok(Plugin { name, component, signature, instantiable, bytes, audit, quarantined, is_large, limits })
}

fn start(stage: &Transforms, name: &str, of: &Arc<Instantiable>, limits: &Limits) -> Result<Instance, Error> {
    let slot = stage.slot()?;
    Instance::start(stage, of, slot, limits).map_err(|fault| Error::Fault { plugin: name.to_owned(), fault })
}

fn describe(name: &str, instance: &mut Instance, limits: &Limits) -> Result<Descriptor, Error> {
    let described = instance.describe(Budget::without_rows(limits));
    described.map_err(|fault| Error::Fault { plugin: name.to_owned(), fault })
}

/// What the cache has under `digest`, or what `bytes` gives, compiled and put there.
pub fn ready<Bytes: AsRef<[u8]>>(
    stage: &Transforms,
    name: &str,
    digest: Digest,
    bytes: impl FnOnce() -> Result<Bytes, Error>,
) -> Result<Component, Error> {
    let folder = stage.settings.cache.as_deref();
    if let Some(component) = folder.and_then(|folder| cache::find(folder, &stage.engine, digest)) {
        stats::add(&stage.stats.cache_hits, 1);
        return Ok(component);
    }
    let (component, compiled) = compiled_anew(stage, name, bytes()?.as_ref())?;
    if let Some(folder) = folder {
        cache::keep(folder, &stage.engine, digest, &compiled, stage.settings.cache_bytes_max);
    }
    Ok(component)
}

/// Compiled and not put anywhere; and the code, for who wants to.
pub fn compiled_anew(stage: &Transforms, name: &str, bytes: &[u8]) -> Result<(Component, Vec<u8>), Error> {
    let compiled = compile::compile(&stage.engine, &stage.settings, name, bytes)?;
    stats::add(&stage.stats.compiled, 1);
    // SAFETY: these bytes come from our own compiler, through nothing but this process and files of its own.
    let component = unsafe { Component::deserialize(&stage.engine, &compiled) };
    let component =
        component.map_err(|error| Error::NotCompiled { plugin: name.to_owned(), detail: format!("{error:#}") })?;
    Ok((component, compiled))
}

/// A transform computes from its columns alone. Interfaces that only name types may be imported, they do nothing.
fn refuse_imports(engine: &Engine, component: &Component, plugin: &str) -> Result<(), Error> {
    let component_type = component.component_type();
    for (name, import) in component_type.imports(engine) {
        let forbidden = match import.ty {
            ComponentItem::ComponentInstance(instance) => {
                let mut exports = instance.exports(engine);
                exports
                    .find(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
                    .map(|(item, _)| format!("{name}#{item}"))
            }
            ComponentItem::Type(_) => None,
            _ => Some(name.to_owned()),
        };
        if let Some(import) = forbidden {
            return Err(Error::ForbiddenImport { plugin: plugin.to_owned(), import });
        }
    }
    Ok(())
}

fn initial_memory_bytes(component: &Component) -> Option<u64> {
    const PAGE_BYTES: u64 = 64 << 10;
    let required = component.resources_required()?;
    Some(required.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE_BYTES))
}
