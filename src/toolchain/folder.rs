//! The folder of one plugin, and the `plugin.yaml` that says what is in it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::catalog::snake_case_mistake;
use crate::document::{Document, Shape, schema_of};

use super::{Error, Language};

pub const FILE_NAME: &str = "plugin.yaml";

/// The folder of one plugin: its source, in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub path: PathBuf,
    /// The plugin's name, which is also the component's: `<name>.wasm`.
    pub name: String,
    pub language: Language,
}

/// What a plugin folder holds: read by `lockstep plugin build`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PluginFile {
    /// The plugin's name, in snake_case: the same that `describe` gives.
    name: String,
    /// The language it is written in.
    language: Language,
}

static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::new(schema()));

fn schema() -> Value {
    schema_of::<PluginFile>("urn:lockstep:schema:plugin:1", "plugin.yaml: what a plugin folder holds")
}

impl Folder {
    /// Reads the `plugin.yaml` in `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = path.join(FILE_NAME);
        if !file.is_file() {
            return Err(Error::NoPlugin(path.to_owned()));
        }
        let text = std::fs::read_to_string(&file).map_err(Error::read(&file))?;
        let shown = file.display().to_string();
        let document = Document::parse(&shown, &text).map_err(Error::Mistakes)?;
        let PluginFile { name, language } = document.read(&SHAPE).map_err(Error::Mistakes)?;
        match snake_case_mistake(&name) {
            None => Ok(Self { path: path.to_owned(), name, language }),
            Some(reason) => Err(Error::BadName { name, reason }),
        }
    }

    /// Where `build` puts the component unless it is told otherwise.
    pub fn component_path(&self) -> PathBuf {
        self.path.join(format!("{}.wasm", self.name))
    }
}
