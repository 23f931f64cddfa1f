//! Where the files of one table lie: a folder of this machine, or a part of a bucket. Both list, read and write alike,
//! so that nobody else has to know which it is.
//!
//! Paths within a table are relative to it and have slashes on every machine. Files and folders whose names begin with
//! a dot or an underscore are what other programs are writing or keep beside the data, and are left out; so are links
//! to folders, which could lead in a circle.
//!
//! # Why local files are not written through the object store
//! Its local store renames without waiting for the disk. A batch that was acknowledged must be there after a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::super::file::readable_by_others;
use super::super::object_stores::{bucket_and_path, failed};
use super::super::{Error, ObjectStores, TableFile};
use crate::catalog::Stored;

/// The folder of a table in which Lockstep keeps what it needs to know beside the data.
pub(super) const STATE_FOLDER: &str = "_lockstep";
/// Held, by the operating system, by whoever is adding to a local table; several gateways may share one.
const LOCK_FILE: &str = ".lockstep-append.lock";

/// Where the files of one source lie.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub source_name: String,
    store: Arc<dyn ObjectStore>,
    root: Root,
}

#[derive(Clone, Debug)]
enum Root {
    Local(PathBuf),
    /// The path has no slash at either end.
    Bucket {
        bucket: String,
        path: String,
    },
}

/// A file that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Relative to the table; the file's name where the table is one file.
    pub path: String,
    pub meta: ObjectMeta,
}

/// What is at a place.
#[derive(Debug)]
pub(super) enum Listing {
    OneFile(Found),
    /// In no order.
    Folder(Vec<Found>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    New,
    /// There was a file of that name, which stays as it is.
    WasThere,
}

impl Place {
    /// The place of a source, of which local paths are relative to `root`.
    pub(super) fn of(source_name: &str, stored: &Stored, root: &Path, buckets: &ObjectStores) -> Result<Self, Error> {
        let Stored::Parquet { path, .. } = stored else {
            let detail = format!("{stored} is no table of Parquet files");
            return Err(Error::Unreadable { source_name: source_name.to_owned(), detail });
        };
        let (store, root): (Arc<dyn ObjectStore>, Root) = match bucket_and_path(path) {
            Some((bucket, path)) => {
                let root = Root::Bucket { bucket: bucket.to_owned(), path: path.to_owned() };
                (buckets.bucket(source_name, bucket)?, root)
            }
            None => (Arc::new(LocalFileSystem::new()), Root::Local(root.join(path))),
        };
        Ok(Self { source_name: source_name.to_owned(), store, root })
    }

    pub(super) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The name of the store in a session of DataFusion's.
    pub(super) fn url(&self) -> Result<ObjectStoreUrl, Error> {
        match &self.root {
            Root::Local(_) => Ok(ObjectStoreUrl::local_filesystem()),
            Root::Bucket { bucket, .. } => {
                ObjectStoreUrl::parse(format!("s3://{bucket}")).map_err(|error| self.unreadable(error.to_string()))
            }
        }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self.root, Root::Local(_))
    }

    /// A path within the table, as people know it.
    pub(super) fn shown(&self, path: &str) -> String {
        match &self.root {
            Root::Local(root) => at(root, path).display().to_string(),
            Root::Bucket { bucket, path: root } => format!("s3://{bucket}/{}", joined(root, path)),
        }
    }

    /// As [`Place::shown`], of a file as its store knows it.
    pub(super) fn shown_location(&self, location: &Location) -> String {
        match &self.root {
            Root::Local(_) => match LocalFileSystem::new().path_to_filesystem(location) {
                Ok(path) => path.display().to_string(),
                Err(_) => location.to_string(),
            },
            Root::Bucket { bucket, .. } => format!("s3://{bucket}/{location}"),
        }
    }

    /// The path of a local file.
    pub(super) fn local(&self, path: &str) -> Option<PathBuf> {
        match &self.root {
            Root::Local(root) => Some(at(root, path)),
            Root::Bucket { .. } => None,
        }
    }

    pub(super) fn file(&self, found: &Found) -> TableFile {
        TableFile { shown: self.shown(&found.path), store: Arc::clone(&self.store), meta: found.meta.clone() }
    }

    pub(super) fn unreadable(&self, detail: impl Into<String>) -> Error {
        Error::Unreadable { source_name: self.source_name.clone(), detail: detail.into() }
    }

    pub(super) fn write_failed(&self, detail: impl Into<String>) -> Error {
        Error::Write { source_name: self.source_name.clone(), detail: detail.into() }
    }

    fn request_failed(&self, path: &str, error: &object_store::Error) -> Error {
        failed(&self.source_name, &self.shown(path), error)
    }

    /// Everything that could be data. `None` where there is nothing at all.
    pub(super) async fn list(&self) -> Result<Option<Listing>, Error> {
        match &self.root {
            Root::Local(root) => {
                let root = root.clone();
                let listed = off_the_async_threads(move || walk(&root)).await;
                listed.map_err(|error| self.unreadable(format!("{}: {error}", self.shown(""))))
            }
            Root::Bucket { path, .. } => self.list_bucket(path).await,
        }
    }

    async fn list_bucket(&self, root: &str) -> Result<Option<Listing>, Error> {
        if root.ends_with(".parquet")
            && let Some(one) = self.head("").await?
        {
            return Ok(Some(Listing::OneFile(one)));
        }
        let mut files = Vec::new();
        let mut listed = self.store.list(Some(&self.location("")?));
        while let Some(meta) = listed.try_next().await.map_err(|error| self.request_failed("", &error))? {
            let Some(path) = relative(root, meta.location.as_ref()) else { continue };
            let is_hidden = path.split('/').any(|part| part.starts_with(['.', '_']));
            if !is_hidden && path.ends_with(".parquet") {
                files.push(Found { path: path.to_owned(), meta });
            }
        }
        Ok((!files.is_empty()).then_some(Listing::Folder(files)))
    }

    /// One file; `None` where it is not there.
    pub(super) async fn head(&self, path: &str) -> Result<Option<Found>, Error> {
        let named = |meta: ObjectMeta| {
            let name = if path.is_empty() { meta.location.filename().unwrap_or_default() } else { path };
            Found { path: name.to_owned(), meta: meta.clone() }
        };
        match &self.root {
            Root::Local(root) => {
                let file = at(root, path);
                match off_the_async_threads(move || meta_of(&file)).await {
                    Ok(meta) => Ok(Some(named(meta))),
                    Err(error) if is_absent(&error) => Ok(None),
                    Err(error) => Err(self.unreadable(format!("file {}: {error}", self.shown(path)))),
                }
            }
            Root::Bucket { .. } => match self.store.head(&self.location(path)?).await {
                Ok(meta) => Ok(Some(named(meta))),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.request_failed(path, &error)),
            },
        }
    }

    /// The bytes of a file; `None` where it is not there.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>, Error> {
        match &self.root {
            Root::Local(root) => {
                let file = at(root, path);
                match off_the_async_threads(move || fs::read(&file)).await {
                    Ok(bytes) => Ok(Some(bytes.into())),
                    Err(error) if is_absent(&error) => Ok(None),
                    Err(error) => Err(self.unreadable(format!("file {}: {error}", self.shown(path)))),
                }
            }
            Root::Bucket { .. } => {
                let location = self.location(path)?;
                let read = async { self.store.get(&location).await?.bytes().await };
                match read.await {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(self.request_failed(path, &error)),
                }
            }
        }
    }

    /// The names of the files in the state's folder.
    pub(super) async fn state_files(&self) -> Result<Vec<String>, Error> {
        match &self.root {
            Root::Local(root) => {
                let folder = at(root, STATE_FOLDER);
                let listed = off_the_async_threads(move || match fs::read_dir(&folder) {
                    Err(error) if is_absent(&error) => Ok(Vec::new()),
                    Err(error) => Err(error),
                    Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
                });
                listed.await.map_err(|error| self.unreadable(format!("{}: {error}", self.shown(STATE_FOLDER))))
            }
            Root::Bucket { .. } => {
                let listed = self.store.list(Some(&self.location(STATE_FOLDER)?));
                let names = listed.map_ok(|meta| meta.location.filename().unwrap_or_default().to_owned());
                names.try_collect().await.map_err(|error| self.request_failed("", &error))
            }
        }
    }

    /// Writes a whole file, unless there is one of that name. It is seen by others when all of it is there, and durable
    /// when this returns.
    pub(super) async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, Error> {
        match &self.root {
            Root::Local(root) => {
                let (root, file) = (root.clone(), at(root, path));
                let written = off_the_async_threads(move || create_durably(&root, &file, &bytes)).await;
                written.map_err(|error| self.write_failed(format!("file {}: {error}", self.shown(path))))
            }
            Root::Bucket { .. } => {
                let location = self.location(path)?;
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                match self.store.put_opts(&location, bytes.into(), options).await {
                    Ok(_) => Ok(Created::New),
                    Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                        Ok(Created::WasThere)
                    }
                    Err(error) => Err(self.request_failed(path, &error)),
                }
            }
        }
    }

    /// Removes a file; one that is not there is as good.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Error> {
        match &self.root {
            Root::Local(root) => {
                let file = at(root, path);
                match off_the_async_threads(move || fs::remove_file(&file)).await {
                    Err(error) if !is_absent(&error) => {
                        Err(self.write_failed(format!("file {}: {error}", self.shown(path))))
                    }
                    _ => Ok(()),
                }
            }
            Root::Bucket { .. } => match self.store.delete(&self.location(path)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.request_failed(path, &error)),
            },
        }
    }

    /// Keeps others from adding to a local table until it is dropped. In a bucket nobody can be kept out, and nobody
    /// has to be (see [`super::names`]).
    pub(super) async fn lock(&self) -> Result<Option<File>, Error> {
        let Root::Local(root) = &self.root else { return Ok(None) };
        let folder = root.clone();
        let locked = off_the_async_threads(move || {
            fs::create_dir_all(&folder)?;
            let lock = File::create(folder.join(LOCK_FILE))?;
            lock.lock()?;
            Ok(lock)
        });
        locked.await.map(Some).map_err(|error| self.write_failed(format!("folder {}: {error}", root.display())))
    }

    fn location(&self, path: &str) -> Result<Location, Error> {
        let Root::Bucket { path: root, .. } = &self.root else {
            return Err(self.unreadable("a local table is not in a bucket"));
        };
        Location::parse(joined(root, path)).map_err(|error| self.unreadable(error.to_string()))
    }
}

fn joined(root: &str, path: &str) -> String {
    match (root, path) {
        ("", path) => path.to_owned(),
        (root, "") => root.to_owned(),
        // A table that is one file is found by its own name too.
        (root, path) if is_named(root, path) => root.to_owned(),
        (root, path) => format!("{root}/{path}"),
    }
}

/// Whether `root` is a file called `name`.
fn is_named(root: &str, name: &str) -> bool {
    name.ends_with(".parquet") && !name.contains('/') && root.rsplit('/').next() == Some(name)
}

fn at(root: &Path, path: &str) -> PathBuf {
    let is_the_file = root.file_name().is_some_and(|name| name == path) && !root.is_dir();
    if path.is_empty() || is_the_file { root.to_owned() } else { root.join(path) }
}

fn relative<'a>(root: &str, location: &'a str) -> Option<&'a str> {
    if root.is_empty() { Some(location) } else { location.strip_prefix(root)?.strip_prefix('/') }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) async fn off_the_async_threads<T: Send + 'static>(
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

fn walk(root: &Path) -> io::Result<Option<Listing>> {
    let metadata = match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if metadata.is_file() {
        let path = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Some(Listing::OneFile(Found { path, meta: meta_of(root)? })));
    }
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, above)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(['.', '_']) {
                continue;
            }
            let relative = if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push((path, relative));
            } else if name.ends_with(".parquet") && path.is_file() {
                files.push(Found { path: relative, meta: meta_of(&path)? });
            }
        }
    }
    Ok((!files.is_empty()).then_some(Listing::Folder(files)))
}

fn meta_of(path: &Path) -> io::Result<ObjectMeta> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(ObjectMeta {
        location: Location::from_absolute_path(std::path::absolute(path)?).map_err(io::Error::other)?,
        last_modified: metadata.modified()?.into(),
        size: metadata.len(),
        e_tag: None,
        version: None,
    })
}

fn create_durably(root: &Path, path: &Path, bytes: &[u8]) -> io::Result<Created> {
    if path.exists() {
        return Ok(Created::WasThere);
    }
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder)?;
    // The dot keeps a scan from reading the file before it is whole.
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".lockstep-").suffix(".writing");
    readable_by_others(&mut temporary);
    let mut temporary = temporary.tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    match temporary.persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::WasThere),
        persisted => persisted?,
    };
    // The names of the file and of the folders on the way to it have to last too.
    let above = root.parent().filter(|above| *above != Path::new(""));
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)).chain(above) {
        File::open(folder)?.sync_all()?;
    }
    Ok(Created::New)
}
