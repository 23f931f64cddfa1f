//! What every file of a Delta table goes through on its way to the disk or the bucket. Two things are seen to:
//!
//! - A file on this machine is durable before the next one is written, so a commit that survives a crash of the machine
//!   finds its files there.
//! - A commit that takes files out of the table is refused when another commit has done so in between. The crate itself
//!   looks only for changes of rows, and a compaction changes none; two at once would both keep the rows.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use futures::stream::BoxStream;
use serde::Deserialize;

/// A version in the name of a commit's file has so many digits.
const VERSION_DIGITS: usize = 20;

/// The version that an operation on the table began with.
#[derive(Clone, Debug)]
pub(super) struct ReadVersion(Arc<AtomicU64>);

impl Default for ReadVersion {
    /// Before a log was read nothing can be removed.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl ReadVersion {
    pub(super) fn set(&self, version: u64) {
        self.0.store(version, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Another commit took away files that this one takes away too.
#[derive(Debug, thiserror::Error)]
#[error("version {version} of the table removed file {path} meanwhile")]
pub(super) struct Overtaken {
    version: u64,
    path: String,
}

/// The root of a file system or of a bucket.
#[derive(Clone, Debug)]
pub(super) struct CarefulStore {
    inner: Arc<dyn ObjectStore>,
    disk: Option<Arc<LocalFileSystem>>,
    read_version: ReadVersion,
}

impl CarefulStore {
    pub(super) fn on_disk(disk: LocalFileSystem, read_version: ReadVersion) -> Self {
        let disk = Arc::new(disk);
        Self { inner: Arc::clone(&disk) as Arc<dyn ObjectStore>, disk: Some(disk), read_version }
    }

    pub(super) fn remote(store: Arc<dyn ObjectStore>, read_version: ReadVersion) -> Self {
        Self { inner: store, disk: None, read_version }
    }

    /// Fails if what the commit of `version` removes was removed by one that it has not seen.
    async fn check_commit(&self, location: &Path, version: u64, payload: &PutPayload) -> Result<()> {
        let mine: BTreeSet<String> = removed(&Bytes::from(payload.clone())).into_iter().collect();
        let first = self.read_version.get().saturating_add(1);
        if mine.is_empty() {
            return Ok(());
        }
        for version in first..version {
            let entry = with_version(location, version);
            let theirs = removed(&self.inner.get(&entry).await?.bytes().await?);
            if let Some(path) = theirs.into_iter().find(|path| mine.contains(path)) {
                return Err(Error::Generic { store: "Delta", source: Box::new(Overtaken { version, path }) });
            }
        }
        Ok(())
    }

    async fn make_durable(&self, location: &Path) -> Result<()> {
        match &self.disk {
            Some(disk) => make_durable(disk.path_to_filesystem(location)?).await,
            None => Ok(()),
        }
    }
}

/// The file and its name survive a crash of the machine once this returns; so do the two folders above it, which may be
/// new.
pub(super) async fn make_durable(path: PathBuf) -> Result<()> {
    let sync = move || {
        let folders = path.ancestors().skip(1).take(2).filter(|folder| !folder.as_os_str().is_empty());
        std::iter::once(path.as_path()).chain(folders).try_for_each(|path| File::open(path)?.sync_all())
    };
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "disk", source };
    match tokio::task::spawn_blocking(sync).await {
        Ok(synced) => synced.map_err(|error| failed(Box::new(error))),
        Err(stopped) => Err(failed(Box::new(stopped))),
    }
}

/// The version that is committed by writing the file at `location`, if it is one of a log.
fn committed_version(location: &Path) -> Option<u64> {
    let name = location.filename()?.strip_suffix(".json")?;
    let in_log = location.parts().rev().nth(1).is_some_and(|folder| folder.as_ref() == "_delta_log");
    let all_digits = name.len() == VERSION_DIGITS && name.bytes().all(|digit| digit.is_ascii_digit());
    if in_log && all_digits { name.parse().ok() } else { None }
}

fn with_version(location: &Path, version: u64) -> Path {
    let folder: Vec<_> = location.parts().collect();
    let folder = Path::from_iter(folder[..folder.len().saturating_sub(1)].iter().cloned());
    folder.join(format!("{version:0VERSION_DIGITS$}.json"))
}

/// The files that a commit takes out of the table. What cannot be read is left to the crate, which reads it too.
fn removed(commit: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Action {
        remove: Option<Remove>,
    }
    #[derive(Deserialize)]
    struct Remove {
        path: String,
    }
    let lines = commit.split(|byte| *byte == b'\n').filter(|line| line.starts_with(br#"{"remove""#));
    lines
        .filter_map(|line| serde_json::from_slice::<Action>(line).ok())
        .filter_map(|action| action.remove)
        .map(|remove| remove.path)
        .collect()
}

/// A file that is sent in parts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    store: CarefulStore,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        self.store.make_durable(&self.location).await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

impl fmt::Display for CarefulStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for CarefulStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if let (PutMode::Create, Some(version)) = (&options.mode, committed_version(location)) {
            self.check_commit(location, version, &payload).await?;
        }
        let done = self.inner.put_opts(location, payload, options).await?;
        self.make_durable(location).await?;
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { inner, store: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.make_durable(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.make_durable(to).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_a_numbered_file_of_a_log() {
        let version = |path: &str| committed_version(&Path::from(path));
        assert_eq!(version("a/b/_delta_log/00000000000000000012.json"), Some(12));
        assert_eq!(version("a/b/00000000000000000012.json"), None);
        assert_eq!(version("a/_delta_log/0012.json"), None);
        assert_eq!(version("a/_delta_log/00000000000000000012.checkpoint.parquet"), None);
        let other = with_version(&Path::from("a/_delta_log/00000000000000000012.json"), 3);
        assert_eq!(other.as_ref(), "a/_delta_log/00000000000000000003.json");
    }

    #[test]
    fn the_files_that_a_commit_removes_are_found() {
        let commit = br#"{"commitInfo":{"operation":"remove"}}
{"remove":{"path":"x.parquet","dataChange":false}}
{"add":{"path":"y.parquet"}}
{"remove":{"path":"day=1/z.parquet"}}"#;
        assert_eq!(removed(commit), ["x.parquet", "day=1/z.parquet"]);
    }
}
