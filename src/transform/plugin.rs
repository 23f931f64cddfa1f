//! A loaded plugin: checked, compiled, described.

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use crate::catalog::{Digest, Signature};
use crate::clock::Deadline;
use crate::limits::{COMPONENT_BYTES_MAX, PLUGIN_FRESH_MEMORY_BYTES_MAX};

use super::instance::Instance;
use super::limits::{Budget, Usage};
use super::wit::{Descriptor, TransformPluginPre};
use super::{Error, Reuse, Transforms, cache, signature, stats};

/// A core module begins with its version 1, a component with its own version and layer.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const WEB_ASSEMBLY: &[u8] = b"\0asm";

/// A plugin whose bytes are compiled and whose signature is known; instances are made of it.
pub struct Plugin {
    pub name: String,
    pub component: Digest,
    pub signature: Signature,
    pub pre: TransformPluginPre<Usage>,
    /// Whether instances are used again.
    pub warm: bool,
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

    let component = compile(stage, digest, bytes).map_err(not_a_component)?;
    refuse_imports(&stage.engine, &component, name)?;
    let linker = Linker::<Usage>::new(&stage.engine);
    let pre = linker.instantiate_pre(&component).and_then(TransformPluginPre::new).map_err(not_a_component)?;
    let memory_bytes = initial_memory_bytes(&component);
    let warm = match stage.settings.reuse {
        Reuse::Always => true,
        Reuse::Never => false,
        Reuse::BySize => memory_bytes.is_none_or(|bytes| bytes > PLUGIN_FRESH_MEMORY_BYTES_MAX as u64),
    };

    // A plugin that says different things on different days cannot be relied on: ask one instance twice, and another.
    let mut first = start(stage, name, &pre)?;
    let described = describe(stage, name, &mut first)?;
    let again = describe(stage, name, &mut first)?;
    drop(first);
    if again != described || describe(stage, name, &mut start(stage, name, &pre)?)? != described {
        let detail = "it describes itself differently when asked again".to_owned();
        return Err(Error::LyingSignature { plugin: name.to_owned(), detail });
    }
    let signature =
        signature::check(&described).map_err(|detail| Error::BadSignature { plugin: name.to_owned(), detail })?;
    Ok(Plugin { name: name.to_owned(), component: digest, signature, pre, warm })
}

fn start(stage: &Transforms, name: &str, pre: &TransformPluginPre<Usage>) -> Result<Instance, Error> {
    let slot = stage.slot()?;
    let budget = Budget::new(&stage.settings, 0, Deadline::after(stage.settings.call_time_max));
    Instance::start(stage, pre, slot, budget).map_err(|fault| Error::Fault { plugin: name.to_owned(), fault })
}

fn describe(stage: &Transforms, name: &str, instance: &mut Instance) -> Result<Descriptor, Error> {
    let budget = Budget::new(&stage.settings, 0, Deadline::after(stage.settings.call_time_max));
    instance.describe(budget).map_err(|fault| Error::Fault { plugin: name.to_owned(), fault })
}

/// From the cache, or compiled and put there.
fn compile(stage: &Transforms, digest: Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
    let folder = stage.settings.cache.as_deref();
    if let Some(component) = folder.and_then(|folder| cache::find(folder, &stage.engine, digest)) {
        stats::add(&stage.stats.cache_hits, 1);
        return Ok(component);
    }
    let component = Component::from_binary(&stage.engine, bytes)?;
    stats::add(&stage.stats.compiled, 1);
    if let Some(folder) = folder {
        cache::keep(folder, &stage.engine, digest, &component);
    }
    Ok(component)
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
