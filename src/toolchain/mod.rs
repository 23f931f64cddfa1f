//! From a plugin's source to a component: the folder that an author works in, and the toolchains that build it.
//!
//! A plugin folder has a `plugin.yaml` with its name and language. [`build`] runs the language's own tools, wraps what
//! they made as a component, drops what only a debugger reads, and gives the bytes back; whether a gateway would run
//! them is the loader's verdict and not ours. [`templates`] writes a new folder. Called by the command line alone.
//!
//! # Why not a container with all compilers
//! Authors have their language's tools already, or one command away, and a build that works offline and in an editor
//! is worth more than one that works everywhere. So we look for the tool; where it is missing, the error is the command
//! that installs it.

mod c;
mod component;
mod folder;
mod rust;
mod sections;
pub mod templates;
mod tool;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::ToolFolders;
use crate::document::Mistakes;
use crate::error::ErrorKind;
use crate::limits::COMPONENT_BYTES_MAX;

pub use folder::Folder;

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Rust,
    C,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::Rust, Self::C];

    /// As it is written in `plugin.yaml` and after `--lang`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a language's tools made.
#[derive(Clone, Debug)]
pub enum Made {
    /// A core module; its custom section `component-type` says what it implements.
    CoreModule(Vec<u8>),
    Component(Vec<u8>),
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is no plugin folder: it has no {}; `lockstep plugin new NAME` makes one", .0.display(), folder::FILE_NAME)]
    NoPlugin(PathBuf),
    #[error("{0}")]
    Mistakes(Mistakes),
    #[error("{wanted} is needed to build a plugin in {language}, and is missing; install it with: {install}")]
    Missing { language: Language, wanted: String, install: String },
    #[error("{tool} could not build {}:\n{output}", .folder.display())]
    Failed { tool: String, folder: PathBuf, output: String },
    #[error("{tool} made no component of {}: {reason}", .folder.display())]
    Unusable { tool: String, folder: PathBuf, reason: String },
    #[error("the component has {bytes} bytes, at most {max} are loaded")]
    TooLarge { bytes: usize, max: usize },
    #[error("a plugin cannot be called {name:?}: {reason}")]
    BadName { name: String, reason: String },
    #[error("{} exists already; nothing was written", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be {action}", .path.display())]
    File {
        path: PathBuf,
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPlugin(_) => ErrorKind::NotFound,
            Self::Mistakes(_) | Self::Failed { .. } | Self::Unusable { .. } | Self::BadName { .. } => {
                ErrorKind::Invalid
            }
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Exists(_) => ErrorKind::Conflict,
            Self::Missing { .. } | Self::File { .. } => ErrorKind::Unavailable,
        }
    }

    fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, action: "read", source }
    }

    fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, action: "written", source }
    }
}

/// Builds the plugin in `folder` and gives its component: the same bytes for the same source and tools.
pub fn build(folder: &Folder, tools: &ToolFolders) -> Result<Vec<u8>, Error> {
    let made = match folder.language {
        Language::Rust => rust::make(folder, tools)?,
        Language::C => c::make(folder)?,
    };
    let component = match made {
        Made::CoreModule(module) => component::encode(folder, &sections::strip(&module))?,
        Made::Component(component) => sections::strip(&component),
    };
    match component.len() {
        0..=COMPONENT_BYTES_MAX => Ok(component),
        bytes => Err(Error::TooLarge { bytes, max: COMPONENT_BYTES_MAX }),
    }
}
