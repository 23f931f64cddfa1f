//! A project's folder: `lockstep.yaml`, checked, and the texts of its definition files.
//!
//! The only place that reads the environment, and the only one that knows the default paths and ports. What leaves here
//! is complete: nobody behind it fills in a default or looks at a variable.

mod check;
mod environment;
mod file;
mod object_stores;
mod plugins;
mod postgres;
mod redis;
mod request_log;
mod section;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

pub use environment::{LogSettings, ToolFolders, log_settings, program, this_is_the_program, tool_folders, user};
pub use redis::prefix_mistake;

use crate::catalog::DefinitionFile;
use crate::document::{Document, Mistakes, Shape, schema_of};
use crate::error::ErrorKind;
use crate::limits;
use crate::offline::Bucket;
use crate::offline::postgres::Settings as PostgresSettings;
use crate::online::redis::Settings as RedisSettings;
use crate::pit::Space;
use crate::plugins::Settings as PluginSettings;
use crate::request_log::Settings as RequestLogSettings;
use crate::transform::{OnImpure, PluginLimits};

/// The file that makes a folder a project.
pub const FILE_NAME: &str = "lockstep.yaml";
/// The file that pins plugins by their digests, beside it.
pub const LOCK_FILE_NAME: &str = "plugins.lock";
/// The folder of the definition files.
pub const DEFINITIONS_FOLDER: &str = "features";

/// How one project runs. All paths are absolute or begin with `folder`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The project's folder; the paths of sources are relative to it.
    pub folder: PathBuf,
    pub project: String,
    /// The SQLite file of the registry.
    pub registry: PathBuf,
    pub online_store: OnlineStore,
    pub hot_cache: HotCache,
    /// How to reach each bucket that a source's path names.
    pub object_stores: BTreeMap<String, Bucket>,
    /// What one training set may take of memory and disk to join labels to histories.
    pub join_space: Space,
    /// The PostgreSQL databases, by name.
    pub postgres: BTreeMap<String, PostgresSettings>,
    /// Where the plugins are, and whom they are trusted of.
    pub plugins: PluginSettings,
    /// What single plugins may use, by name.
    pub plugin_limits: HashMap<String, PluginLimits>,
    /// The folder for plugins that were fetched or compiled.
    pub cache: PathBuf,
    pub audit: Audit,
    pub listen: Listen,
    /// For a request whose caller names no deadline.
    pub serve_deadline: Duration,
    pub sync: Sync,
    /// What is logged of the requests that a gateway serves; nothing without it.
    pub request_log: Option<RequestLogSettings>,
}

/// How plugins are watched for purity while they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// One in so many calls of warm instances is compared; 0 compares none.
    pub compare_one_in: u32,
    pub on_impure: OnImpure,
}

/// How offline rows are brought online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Whether a running gateway syncs the views that have a schedule.
    pub schedules: bool,
    pub memory_bytes: usize,
    pub checkpoint_every: Duration,
    /// The folder for rows that are put aside.
    pub spool: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OnlineStore {
    Embedded { path: PathBuf },
    Memory,
    Redis(Box<RedisSettings>),
}

/// The views whose rows are kept in the gateway, by name. Whether there are such views is for the definitions to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HotCache {
    pub views: BTreeMap<String, HotView>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotView {
    pub rows: u64,
    pub max_age: Duration,
    pub absent: bool,
}

/// The addresses to listen on; loopback all of them. Port 0 takes a free port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub http: SocketAddr,
    pub flight: SocketAddr,
    pub admin: SocketAddr,
}

impl Listen {
    pub fn all_mut(&mut self) -> [&mut SocketAddr; 3] {
        [&mut self.http, &mut self.flight, &mut self.admin]
    }
}

/// Why a project's files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no project in {folder}: it has no {FILE_NAME}; run lockstep init there, or name the folder")]
    NoProject { folder: PathBuf },
    #[error("there are no definitions in {folder}: write features/<name>.yaml")]
    NoDefinitions { folder: PathBuf },
    #[error("{folder} has more than {max} definition files; join some of them")]
    TooManyFiles { folder: PathBuf, max: usize },
    #[error("{path} cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is larger than {max} bytes; split it")]
    TooLarge { path: PathBuf, max: usize },
    #[error("{path} is not UTF-8 text")]
    NotText { path: PathBuf },
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProject { .. } | Self::NoDefinitions { .. } => ErrorKind::NotFound,
            Self::TooManyFiles { .. } | Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::NotText { .. } => ErrorKind::Invalid,
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Unreadable { .. } => ErrorKind::Unavailable,
            Self::Mistakes(mistakes) => mistakes.kind(),
        }
    }
}

/// Reads `lockstep.yaml` of the project in `folder`.
pub fn read(folder: &Path) -> Result<Config, Error> {
    let path = folder.join(FILE_NAME);
    if !path.exists() {
        return Err(Error::NoProject { folder: folder.to_owned() });
    }
    Ok(parse(folder, &read_text(&path)?, &|name| std::env::var(name).ok())?)
}

/// Reads the text of a `lockstep.yaml`, with variables from `environment`.
pub fn parse(folder: &Path, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
    let mut document = Document::parse(FILE_NAME, text)?;
    document.replace_texts(&|text| environment::expand(text, environment))?;
    let file = document.read(&Shape::new(schema()))?;
    check::config(folder, &document, file)
}

/// The texts of `features/*.yaml` and `features/*.yml`, by name. Their paths are relative to the project's folder.
pub fn definition_files(folder: &Path) -> Result<Vec<DefinitionFile>, Error> {
    let definitions = folder.join(DEFINITIONS_FOLDER);
    let unreadable = |source| Error::Unreadable { path: definitions.clone(), source };
    let mut names = Vec::new();
    if definitions.exists() {
        for entry in std::fs::read_dir(&definitions).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if let Some(name) = path.file_name().and_then(|name| name.to_str())
                && is_yaml
                && !name.starts_with('.')
            {
                names.push(name.to_owned());
            }
            if names.len() > limits::DEFINITION_FILES_MAX {
                return Err(Error::TooManyFiles { folder: definitions, max: limits::DEFINITION_FILES_MAX });
            }
        }
    }
    if names.is_empty() {
        return Err(Error::NoDefinitions { folder: folder.to_owned() });
    }
    names.sort();
    let read = |name: String| {
        let text = read_text(&definitions.join(&name))?;
        Ok(DefinitionFile { path: format!("{DEFINITIONS_FOLDER}/{name}"), text })
    };
    names.into_iter().map(read).collect()
}

/// The JSON Schema of `lockstep.yaml`.
pub fn schema() -> Value {
    schema_of::<file::ConfigFile>("urn:lockstep:schema:config:1", "lockstep.yaml: how a Lockstep project runs")
}

fn read_text(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let max = limits::DEFINITION_FILE_BYTES_MAX;
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(Error::TooLarge { path: path.to_owned(), max });
    }
    String::from_utf8(bytes).map_err(|_| Error::NotText { path: path.to_owned() })
}

#[cfg(test)]
mod tests;
