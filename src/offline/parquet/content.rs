//! What exactly the files of a table hold, so that a snapshot of them can be told from anything else: the SHA-256 of a
//! local file, the ETag of an object. A file is hashed once; it is known again by path, size and time.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use sha2::{Digest, Sha256};

use super::place::{Found, Place, off_the_async_threads};
use crate::limits;
use crate::offline::{Error, FilePart, KnownBy};

/// Before what the store, or the file system, says of a file.
const E_TAG: &str = "etag:";

/// The hashes of local files that were looked at.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: Mutex<HashMap<PathBuf, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    bytes: u64,
    modified: Option<SystemTime>,
    content: String,
}

impl Contents {
    /// What each of `files` is now, in their order.
    pub(super) async fn parts(
        self: &Arc<Self>,
        place: &Place,
        files: Vec<Found>,
        by: KnownBy,
    ) -> Result<Vec<FilePart>, Error> {
        let parts = stream::iter(files).map(|found| async move {
            let content = self.content(place, &found, by).await?;
            Ok(FilePart { path: found.path, bytes: found.meta.size, content })
        });
        parts.buffered(at_once(place)).try_collect().await
    }

    /// The files that `parts` were taken of, if they are still what they were.
    pub(super) async fn find(self: &Arc<Self>, place: &Place, parts: &[FilePart]) -> Result<Vec<Found>, Error> {
        let changed = |part: &FilePart, how: String| Error::Changed {
            source_name: place.source_name.clone(),
            detail: format!("file {} {how}", place.shown(&part.path)),
        };
        let files = stream::iter(parts.to_vec()).map(|part| async move {
            let Some(found) = place.head(&part.path).await? else {
                return Err(changed(&part, "is gone".to_owned()));
            };
            if found.meta.size != part.bytes {
                return Err(changed(&part, format!("has {} bytes, it had {}", found.meta.size, part.bytes)));
            }
            let by = if part.content.starts_with(E_TAG) { KnownBy::State } else { KnownBy::Content };
            let content = self.content(place, &found, by).await?;
            if content != part.content {
                return Err(changed(&part, format!("has other content: {content}, it was {}", part.content)));
            }
            Ok(Found { path: part.path, meta: found.meta })
        });
        files.buffered(at_once(place)).try_collect().await
    }

    async fn content(self: &Arc<Self>, place: &Place, found: &Found, by: KnownBy) -> Result<String, Error> {
        let Some(path) = place.local(&found.path).filter(|_| by == KnownBy::Content) else {
            // Some stores say ETags of single objects only.
            let asked = if found.meta.e_tag.is_none() { place.head(&found.path).await? } else { None };
            return Ok(e_tag(&asked.as_ref().unwrap_or(found).meta));
        };
        let contents = Arc::clone(self);
        let hashed = off_the_async_threads(move || contents.of_local(&path)).await;
        hashed.map_err(|error| place.unreadable(format!("file {}: {error}", place.shown(&found.path))))
    }

    /// Blocks.
    fn of_local(&self, path: &Path) -> io::Result<String> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let (bytes, modified) = (metadata.len(), metadata.modified().ok());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(known) = known.filter(|known| known.bytes == bytes && known.modified == modified) {
            return Ok(known.content);
        }
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        let content = hex::encode(hash.finalize());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= limits::FILE_HASHES_KEPT_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), Known { bytes, modified, content: content.clone() });
        Ok(content)
    }
}

fn e_tag(meta: &ObjectMeta) -> String {
    // A store without ETags says at least when.
    let e_tag = meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339());
    format!("{E_TAG}{}", e_tag.trim_matches('"'))
}

fn at_once(place: &Place) -> usize {
    if place.is_local() { available_parallelism().map_or(1, usize::from) } else { limits::FOOTERS_READ_AT_ONCE }
}
