//! Where a Delta table is, and how its log and files are reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::object_store::ObjectStore;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path as ObjectPath;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake::{DeltaTable, DeltaTableError, ensure_table_uri};
use futures::StreamExt;

use super::super::object_stores::bucket_and_path;
use super::super::{Error, ObjectStores};
use super::failure;
use super::files::{CarefulStore, ReadVersion};

pub(super) const LOG_FOLDER: &str = "_delta_log";

/// One table, named as its source is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub name: String,
    /// As the definition has it, for messages.
    pub path: String,
    root: Root,
}

#[derive(Clone, Debug)]
enum Root {
    /// A folder on this machine; it need not be there.
    Folder(PathBuf),
    /// A place in an object store, `s3://bucket/path`, and that store.
    Bucket { url: String, store: Arc<dyn ObjectStore> },
}

/// A table whose log was read, and what has to know so when something is committed to it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub table: DeltaTable,
    pub read_version: ReadVersion,
}

impl Place {
    pub(super) fn of(name: &str, project: &Path, path: &str, buckets: &ObjectStores) -> Result<Self, Error> {
        let root = match bucket_and_path(path) {
            None => Root::Folder(folder(name, project.join(path))?),
            Some((bucket, _)) => Root::Bucket { url: path.to_owned(), store: buckets.bucket(name, bucket)? },
        };
        Ok(Self { name: name.to_owned(), path: path.to_owned(), root })
    }

    /// The folder of a table on this machine.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.root {
            Root::Folder(folder) => Some(folder),
            Root::Bucket { .. } => None,
        }
    }

    /// The table, its log not read yet; `None` where there is no log. Files without a log are a mistake.
    pub(super) async fn find(&self) -> Result<Option<Loaded>, Error> {
        if self.folder().is_some_and(|folder| !folder.exists()) {
            return Ok(None);
        }
        let unloaded = self.unloaded().map_err(|error| failure::read(self, error))?;
        let store = unloaded.table.log_store().object_store(None);
        let log = LOG_FOLDER.into();
        if self.first(&*store, Some(&log)).await?.is_some() {
            return Ok(Some(unloaded));
        }
        let Some(file) = self.first(&*store, None).await? else { return Ok(None) };
        // The table may have been made since the first look; its log is there before any other file of it.
        if self.first(&*store, Some(&log)).await?.is_some() {
            return Ok(Some(unloaded));
        }
        Err(Error::Unreadable {
            source_name: self.name.clone(),
            detail: format!(
                "{} has files, such as {file}, but no {LOG_FOLDER}, so it is not a Delta table; plain Parquet files are \
                 a source of type parquet",
                self.path
            ),
        })
    }

    /// Any file under `prefix`.
    async fn first(&self, store: &dyn ObjectStore, prefix: Option<&ObjectPath>) -> Result<Option<ObjectPath>, Error> {
        let first = store.list(prefix).next().await.transpose();
        Ok(first.map_err(|error| failure::read(self, error.into()))?.map(|file| file.location))
    }

    /// The table, which need not be there. Makes the folder of one on this machine.
    pub(super) fn unloaded(&self) -> Result<Loaded, DeltaTableError> {
        let read_version = ReadVersion::default();
        let log_store = match &self.root {
            Root::Folder(folder) => {
                let text = folder.to_str().ok_or_else(|| {
                    DeltaTableError::InvalidTableLocation(format!("{} is not UTF-8", folder.display()))
                })?;
                let disk = LocalFileSystem::new();
                let store = CarefulStore::on_disk(disk, read_version.clone());
                log_store(Arc::new(store), ensure_table_uri(text)?.as_str())?
            }
            Root::Bucket { url, store } => {
                log_store(Arc::new(CarefulStore::remote(Arc::clone(store), read_version.clone())), url)?
            }
        };
        Ok(Loaded { table: DeltaTable::new(log_store), read_version })
    }
}

impl Loaded {
    /// Reads the log up to `version`, or all of it.
    pub(super) async fn load(&mut self, version: Option<u64>) -> Result<(), DeltaTableError> {
        match version {
            Some(version) => self.table.load_version(version).await?,
            None => self.table.load().await?,
        }
        if let Some(version) = self.table.version() {
            self.read_version.set(version);
        }
        Ok(())
    }
}

/// Paths in a log are percent-encoded, and its readers do not agree on what that makes of a folder with a % in its name.
fn folder(name: &str, folder: PathBuf) -> Result<PathBuf, Error> {
    match folder.to_str() {
        Some(text) if !text.contains('%') => Ok(folder),
        _ => Err(Error::Unreadable {
            source_name: name.to_owned(),
            detail: format!("{} cannot be the folder of a Delta table; use a name without %", folder.display()),
        }),
    }
}

fn log_store(store: Arc<dyn ObjectStore>, url: &str) -> Result<LogStoreRef, DeltaTableError> {
    let location = url.parse().map_err(|_| DeltaTableError::InvalidTableLocation(url.to_owned()))?;
    let config = StorageConfig::default();
    let table: Arc<dyn ObjectStore> = Arc::from(config.decorate_store(Arc::clone(&store), &location)?);
    Ok(default_logstore(table, store, &location, &config))
}
