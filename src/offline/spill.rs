//! What a scan puts aside on disk when the rows that it sorts or groups do not fit into its memory.
//!
//! # Why not DataFusion's own temporary files
//! They have names, so a process that is killed leaves them behind, and their folder is made for every scan whether it
//! puts something aside or not. These have none: the operating system takes them back when the last one who uses them is
//! gone, however it goes. And what goes wrong is told in the words of `lockstep.yaml`.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, stream};

use super::Error;
use crate::document::size_text;
use crate::limits::SCAN_SPILL_READ_BYTES;
use crate::space::Space;

/// The files of one scan.
#[derive(Debug)]
pub(super) struct SpillFiles(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source_name: String,
    folder: PathBuf,
    bytes_max: u64,
    /// Bytes in all files that are there now.
    bytes: AtomicU64,
}

/// A file without a name.
#[derive(Debug)]
struct Nameless {
    file: Arc<File>,
    bytes: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

struct Writer {
    file: Arc<File>,
    bytes: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl SpillFiles {
    pub(super) fn new(source_name: &str, space: &Space) -> Self {
        Self(Arc::new(Shared {
            source_name: source_name.to_owned(),
            folder: space.spill.clone(),
            bytes_max: space.spill_bytes_max,
            bytes: AtomicU64::new(0),
        }))
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _description: &str) -> Result<Arc<dyn SpillFile>> {
        let shared = Arc::clone(&self.0);
        let create = || {
            std::fs::create_dir_all(&shared.folder)?;
            tempfile::tempfile_in(&shared.folder)
        };
        let file = Arc::new(create().map_err(|error| shared.failed(&error))?);
        Ok(Arc::new(Nameless { file, bytes: Arc::default(), shared }))
    }
}

impl Shared {
    fn no_room(&self, detail: String) -> Error {
        Error::NoRoom { source_name: self.source_name.clone(), detail }
    }

    /// As an error that finds its way through DataFusion and Arrow.
    fn failed(&self, error: &io::Error) -> io::Error {
        let folder = self.folder.display();
        io::Error::other(self.no_room(format!(
            "its rows do not fit into memory, and putting them aside in {folder} failed ({error}); free some space there, \
             or name another folder with spill under offline_store in lockstep.yaml"
        )))
    }
}

impl SpillFile for Nameless {
    fn size(&self) -> Option<u64> {
        Some(self.bytes.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let (file, shared) = (Arc::clone(&self.file), Arc::clone(&self.shared));
        let chunks = stream::try_unfold(0_u64, move |position| {
            let (file, shared) = (Arc::clone(&file), Arc::clone(&shared));
            async move {
                let read = tokio::task::spawn_blocking(move || read_at(&file, position)).await;
                let read = read.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
                let bytes = read.map_err(|error| shared.failed(&error))?;
                let next = position + bytes.len() as u64;
                Ok::<_, DataFusionError>((!bytes.is_empty()).then_some((bytes, next)))
            }
        });
        Ok(Box::pin(chunks))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let (file, bytes) = (Arc::clone(&self.file), Arc::clone(&self.bytes));
        Ok(Box::new(Writer { file, bytes, shared: Arc::clone(&self.shared) }))
    }
}

/// Nothing where the file ends.
fn read_at(file: &File, position: u64) -> io::Result<Bytes> {
    let mut chunk = vec![0; SCAN_SPILL_READ_BYTES];
    let read = file.read_at(&mut chunk, position)?;
    chunk.truncate(read);
    Ok(chunk.into())
}

impl Drop for Nameless {
    fn drop(&mut self) {
        self.shared.bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Write for Writer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.shared.bytes.load(Ordering::Relaxed) + buffer.len() as u64 > self.shared.bytes_max {
            let most = size_text(self.shared.bytes_max);
            return Err(io::Error::other(self.shared.no_room(format!(
                "its rows do not fit into memory, and more than {most} would be put aside; raise memory or spill_max \
                 under offline_store in lockstep.yaml"
            ))));
        }
        let written = (&*self.file).write(buffer).map_err(|error| self.shared.failed(&error))?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        self.shared.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What stands at the root of `error` if rows could not be put aside.
pub(super) fn failure(error: &DataFusionError) -> Option<Error> {
    let mut causes = std::iter::successors(Some(error as &(dyn StdError + 'static)), |error| (**error).source());
    causes.find_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Error>().cloned())
}
