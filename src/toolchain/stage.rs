//! A copy of a plugin to build in, for languages whose components are a snapshot of an interpreter that has read them.
//!
//! The copy has only what belongs into the component: the sources and the SDK, and the module that the tool begins with.
//! So the tool sees the same paths whatever the plugin's folder is called, and nothing of ours is left in that folder.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Error, Folder, component};

/// Where the sources of a plugin are, and where its copy of the SDK is.
pub const SOURCES: &str = "src";
pub const SDK: &str = "sdk";
const PACKAGE: &str = "sdk/lockstep_plugin";
/// The interface that the component implements.
pub const WIT: &str = "transform.wit";
pub const COMPONENT: &str = "component.wasm";

/// A folder with `src/`, `sdk/`, the interface, and the module that the tool begins with: a file of this name and text.
pub fn stage(folder: &Folder, entry: &str, text: &str) -> Result<TempDir, Error> {
    let stage = tempfile::tempdir().map_err(Error::write(Path::new("a temporary folder")))?;
    for part in [SOURCES, PACKAGE] {
        copy(&folder.path.join(part), &stage.path().join(part))?;
    }
    for (name, text) in [(entry, text), (WIT, component::WIT)] {
        let path = stage.path().join(name);
        fs::write(&path, text).map_err(Error::write(&path))?;
    }
    Ok(stage)
}

/// What the tool made.
pub fn component(stage: &TempDir) -> Result<Vec<u8>, Error> {
    let path = stage.path().join(COMPONENT);
    fs::read(&path).map_err(Error::read(&path))
}

/// The plugin's own source, which must be there: an import that finds nothing says less.
pub fn check_source(folder: &Folder, tool: &str, extension: &str) -> Result<(), Error> {
    let source = PathBuf::from(SOURCES).join(format!("{}.{extension}", folder.name));
    match folder.path.join(&source).is_file() {
        true => Ok(()),
        false => {
            let reason = format!("there is no {}, which declares the transform", source.display());
            Err(Error::Unusable { tool: tool.to_owned(), folder: folder.path.clone(), reason })
        }
    }
}

/// A failure in the plugin's words: what the tool printed after `start` and before the first of `ends`, where its own
/// insides begin.
pub fn plugins_words(error: Error, start: &str, ends: &[&str]) -> Error {
    match error {
        Error::Failed { tool, folder, output } => {
            let said = output.split_once(start).map_or(output.as_str(), |(_, said)| said);
            let end = ends.iter().filter_map(|end| said.find(end)).min().unwrap_or(said.len());
            Error::Failed { tool, folder, output: said[..end].trim().to_owned() }
        }
        other => other,
    }
}

/// Copies a folder. What an interpreter keeps beside its sources stays where it is.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::write(to))?;
    for entry in fs::read_dir(from).map_err(Error::read(from))? {
        let entry = entry.map_err(Error::read(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if name == "__pycache__" {
            continue;
        }
        match path.is_dir() {
            true => copy(&path, &to.join(name))?,
            false => fs::copy(&path, to.join(name)).map(drop).map_err(Error::read(&path))?,
        }
    }
    Ok(())
}
