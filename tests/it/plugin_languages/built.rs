//! Components from source, kept between runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use lockstep::config::tool_folders;
use lockstep::toolchain::{self, Folder, Language};
use sha2::{Digest as _, Sha256};

use crate::world::built_plugins;

/// What a build depends on beside the plugin: versions of the tools, and how they are called.
const TOOLCHAIN: [&str; 6] = [
    include_str!("../../../src/toolchain/python.rs"),
    include_str!("../../../src/toolchain/js.rs"),
    include_str!("../../../src/toolchain/c.rs"),
    include_str!("../../../src/toolchain/stage.rs"),
    include_str!("../../../src/toolchain/sections.rs"),
    include_str!("../../../wit/transform.wit"),
];

type Component = Arc<Vec<u8>>;

/// The component of a plugin of this repository in this language, built if there is none of these sources.
pub fn built(language: Language, plugin: &str) -> Component {
    static BUILT: LazyLock<Mutex<HashMap<String, Arc<OnceLock<Component>>>>> = LazyLock::new(Mutex::default);
    let name = format!("{plugin}-{language}");
    // Two tests that want the same one wait for each other, and not for others.
    let place = Arc::clone(BUILT.lock().unwrap().entry(name.clone()).or_default());
    let component = place.get_or_init(|| {
        let path = match plugin {
            "impure" | "arithmetic" => format!("plugins/{plugin}/{language}"),
            _ => format!("plugins/taxi/{language}/{plugin}"),
        };
        let folder = Folder::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        Arc::new(kept(&name, &folder))
    });
    Arc::clone(component)
}

/// The component of the Rust plugin.
pub fn in_rust(plugin: &str) -> Vec<u8> {
    fs::read(built_plugins().join(format!("{plugin}.wasm"))).unwrap()
}

/// Where compiled components are kept.
pub fn compiled() -> PathBuf {
    cache().join("compiled")
}

fn cache() -> PathBuf {
    tool_folders().cache.join("plugin-languages")
}

/// The component of a plugin's folder, built unless one of the same sources is kept under this name.
pub fn kept(name: &str, folder: &Folder) -> Vec<u8> {
    let mut hash = Sha256::new();
    TOOLCHAIN.iter().for_each(|text| hash.update(text));
    for part in ["src", "sdk/lockstep_plugin", "sdk/lockstep.h"] {
        add(&mut hash, &folder.path.join(part));
    }
    let file = cache().join(format!("{name}-{}.wasm", hex::encode(&hash.finalize()[..8])));
    if let Ok(component) = fs::read(&file) {
        return component;
    }
    let component = toolchain::build(folder, &tool_folders()).unwrap_or_else(|error| panic!("{error}"));
    fs::create_dir_all(cache()).unwrap();
    for old in fs::read_dir(cache()).unwrap().map(|entry| entry.unwrap().path()) {
        let is_older = old.file_name().is_some_and(|old| old.to_string_lossy().starts_with(&format!("{name}-")));
        if is_older {
            // Another run may have done so.
            fs::remove_file(old).ok();
        }
    }
    // Whole or not at all: another run may read it at the same time.
    let temporary = tempfile::NamedTempFile::new_in(cache()).unwrap();
    fs::write(temporary.path(), &component).unwrap();
    temporary.persist(file).unwrap();
    component
}

/// The name and content of a file, or of all files in a folder in the order of their names; nothing if it is not there.
fn add(hash: &mut Sha256, path: &Path) {
    if let Ok(folder) = fs::read_dir(path) {
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().filter(|path| !path.ends_with("__pycache__")).for_each(|path| add(hash, path));
    } else if let Ok(text) = fs::read(path) {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(text);
    }
}
