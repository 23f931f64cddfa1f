//! Plugins are compiled in a process of their own, the real program, which may take so much and no more.

use std::path::PathBuf;
use std::time::Duration;

use lockstep::catalog::Digest;
use lockstep::error::ErrorKind;
use lockstep::transform::{Child, Compiler, Confinement, Error, Settings, Transforms};
use tempfile::TempDir;

use crate::world::built_plugins;

fn child() -> Child {
    Child::of(PathBuf::from(env!("CARGO_BIN_EXE_lockstep")))
}

fn component() -> Vec<u8> {
    std::fs::read(built_plugins().join("haversine.wasm")).expect("a built plugin")
}

/// A stage that compiles so, with its cache in this folder.
fn stage(folder: &TempDir, compiler: Compiler) -> Transforms {
    let cache = Some(folder.path().join("cache"));
    Transforms::start(Settings { cache, compiler, instances_max: 4, ..Settings::default() }).expect("a stage")
}

fn refused(child: Child) -> Error {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = stage(&folder, Compiler::InChild(child)).load("haversine", &component());
    let files = std::fs::read_dir(folder.path().join("cache")).expect("the cache's folder").count();
    assert_eq!(files, 0, "nothing is left behind");
    refused.expect_err("it cannot be compiled")
}

#[test]
fn what_a_child_compiles_is_what_this_process_would_compile() {
    let folder = tempfile::tempdir().expect("a folder");
    let compiled = stage(&folder, Compiler::InChild(child()));
    let (digest, signature) = compiled.load("haversine", &component()).expect("compiled");
    assert_eq!((digest, signature.name.as_str()), (Digest::of(&component()), "haversine"));
    // The cache takes it for its own: the same engine, the same settings.
    let again = stage(&folder, Compiler::InProcess);
    again.load("haversine", &component()).expect("out of the cache");
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((load(&again.stats().compiled), load(&again.stats().cache_hits)), (0, 1));
}

#[test]
fn a_child_that_takes_too_long_is_ended() {
    let error = refused(Child { time_max: Duration::from_millis(1), ..child() });
    assert_eq!(error.to_string(), "plugin haversine cannot be compiled: it took more than 1 ms");
    assert_eq!(error.kind(), ErrorKind::PluginFault);
}

#[test]
fn a_child_that_wants_too_much_memory_dies_alone() {
    let confinement = Confinement { memory_bytes_max: 8 << 20, ..child().confinement };
    let error = refused(Child { confinement, ..child() });
    assert!(matches!(error, Error::NotCompiled { .. }), "{error:?}");
    assert_eq!(error.to_string(), "plugin haversine cannot be compiled: that takes more than 8388608 bytes of memory");
}

#[test]
fn what_a_child_says_against_a_component_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = stage(&folder, Compiler::InChild(child()));
    let whole = component();
    let error = stage.load("haversine", &whole[..whole.len() / 2]).expect_err("half a component");
    assert!(matches!(&error, Error::NotAComponent { plugin, .. } if plugin == "haversine"), "{error:?}");
    assert!(!error.to_string().contains("component.wasm"), "{error}");
}

#[test]
fn a_program_that_is_no_compiler_is_told_apart_from_a_bad_plugin() {
    let error = refused(Child::of(PathBuf::from("/bin/false")));
    assert!(matches!(error, Error::NotCompiled { .. }), "{error:?}");
    assert!(error.to_string().contains("exit status: 1"), "{error}");
    // It says that it is done, and has done nothing.
    assert_eq!(refused(Child::of(PathBuf::from("/bin/true"))).kind(), ErrorKind::Unavailable);
    assert_eq!(refused(Child::of(PathBuf::from("/nowhere/lockstep"))).kind(), ErrorKind::Unavailable);
}
