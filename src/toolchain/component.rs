//! A core module becomes a component. The encoder is the one that all component tools share; it runs here and never in
//! a gateway: what a gateway loads, and takes the digest of, is exactly what was built.

use wit_component::metadata::Bindgen;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::{Error, Folder, sections};

/// The world that every plugin implements.
pub const WIT: &str = include_str!("../../wit/transform.wit");
const WORLD: &str = "transform-plugin";

/// The component of a core module. One that does not say what it implements is taken to implement our world.
pub fn encode(folder: &Folder, module: &[u8]) -> Result<Vec<u8>, Error> {
    encoded(module).map_err(|reason| Error::Unusable {
        tool: folder.language.to_string(),
        folder: folder.path.clone(),
        reason,
    })
}

fn encoded(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut module = module.to_vec();
    let says_its_world = sections::has_custom(&module, |name| name.starts_with("component-type"));
    if !says_its_world {
        embed_world(&mut module)?;
    }
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

fn embed_world(module: &mut Vec<u8>) -> Result<(), String> {
    let mut bindings = Bindgen::default();
    let package = bindings.resolve.push_source("transform.wit", WIT);
    let world = package.and_then(|package| bindings.resolve.select_world(&[package], Some(WORLD)));
    world
        .and_then(|world| embed_component_metadata(module, &bindings.resolve, world, StringEncoding::UTF8))
        .map_err(|error| format!("{error:#}"))
}
