//! The harness over real guests: healthy ones pass, and each misbehaving one is found by the check that is there for it.

mod cases;
mod examined;
mod versions;

use super::*;
use crate::transform::{Reuse, Transforms};

/// A committed component.
fn component(plugin: &str) -> Vec<u8> {
    let built = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/built");
    let folder = std::env::var_os("LOCKSTEP_PLUGINS_DIR").map_or(built, std::path::PathBuf::from);
    let file = folder.join(format!("{plugin}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn stage() -> Transforms {
    Transforms::start(Settings { instances_max: 8, reuse: Reuse::Never, ..Settings::default() }).unwrap()
}

fn case(name: &str, text: &str) -> Case {
    try_case(name, text).unwrap()
}

fn try_case(name: &str, text: &str) -> Result<Case, Error> {
    Case::parse(name, text, &mut |file| Err(format!("there is no file {file}")))
}

/// The same bytes with some of them exchanged, all in one place or everywhere.
fn patched(component: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut patched = component.to_vec();
    let places: Vec<usize> =
        (0..component.len() - from.len()).filter(|at| component[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "what is patched is not there");
    places.into_iter().for_each(|at| patched[at..at + to.len()].copy_from_slice(to));
    patched
}
