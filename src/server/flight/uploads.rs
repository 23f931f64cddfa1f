//! Label frames that were uploaded and wait for their training set to be fetched: bounded in number, bytes and time.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::RecordBatch;
use tokio::time::Instant;
use tonic::Status;

use super::command::Training;
use super::status::refused;
use crate::error::ErrorKind;
use crate::limits::{UPLOAD_KEPT, UPLOADS_BYTES_MAX, UPLOADS_MAX};

/// A label frame, and what to make of it.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) training: Training,
    pub(super) labels: RecordBatch,
    pub(super) room: Room,
}

#[derive(Debug, Default)]
pub(super) struct Uploads {
    kept: Mutex<HashMap<String, Upload>>,
    /// Bytes of all frames, those that are still arriving included.
    bytes: Arc<AtomicU64>,
}

/// The bytes that one frame takes of the room for all of them; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    bytes: u64,
    of_all: Arc<AtomicU64>,
}

impl Uploads {
    /// Room for a frame that is about to arrive.
    pub(super) fn room(&self) -> Room {
        Room { bytes: 0, of_all: Arc::clone(&self.bytes) }
    }

    /// Keeps a frame until it is taken or its time is over, and names it.
    pub(super) fn keep(self: &Arc<Self>, upload: Upload) -> Result<String, Status> {
        let id = new_id();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= UPLOADS_MAX {
            let why = format!("{UPLOADS_MAX} uploaded label frames wait to be fetched; fetch one, or try again later");
            return Err(refused(ErrorKind::Exhausted, &why));
        }
        kept.insert(id.clone(), upload);
        drop(tokio::spawn(forget(Arc::downgrade(self), id.clone(), Instant::now() + UPLOAD_KEPT)));
        Ok(id)
    }

    /// Hands a frame out, once.
    pub(super) fn take(&self, id: &str) -> Result<Upload, Status> {
        let taken = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        match taken {
            Some(upload) => Ok(upload),
            None => {
                let why = format!(
                    "there is no upload {id}; a training set is fetched once, within {} seconds, from the gateway that got the labels",
                    UPLOAD_KEPT.as_secs()
                );
                Err(refused(ErrorKind::NotFound, &why))
            }
        }
    }
}

impl Room {
    /// Takes as much room as a frame of `bytes` needs.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Status> {
        let more = bytes.saturating_sub(self.bytes);
        self.bytes += more;
        if self.of_all.fetch_add(more, Ordering::Relaxed) + more > UPLOADS_BYTES_MAX {
            return Err(refused(ErrorKind::Exhausted, "there is no room for more label frames now; try again later"));
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Drops an upload that nobody has taken in time.
async fn forget(uploads: Weak<Uploads>, id: String, at: Instant) {
    tokio::time::sleep_until(at).await;
    if let Some(uploads) = uploads.upgrade() {
        uploads.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// A name that nobody can guess: keyed hashes whose keys come from the operating system.
fn new_id() -> String {
    static UPLOADS: AtomicU64 = AtomicU64::new(0);
    let number = UPLOADS.fetch_add(1, Ordering::Relaxed);
    let mut id = String::with_capacity(32);
    for _ in 0..2 {
        let _ = write!(id, "{:016x}", RandomState::new().hash_one(number));
    }
    id
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;
    use crate::catalog::Selection;
    use crate::flow::train::Options;

    fn upload(uploads: &Uploads) -> Upload {
        let selection = Selection::Service { name: "tips".to_owned(), full_feature_names: None };
        let training = Training { selection, time_column: None, options: Options::default(), labels: None };
        let labels = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Upload { training, labels, room: uploads.room() }
    }

    #[tokio::test]
    async fn an_upload_is_handed_out_once() {
        let uploads = Arc::new(Uploads::default());
        let id = uploads.keep(upload(&uploads)).unwrap();
        assert!(uploads.take(&id).is_ok());
        assert_eq!(uploads.take(&id).unwrap_err().code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn an_upload_that_nobody_fetches_is_forgotten() {
        let uploads = Arc::new(Uploads::default());
        let id = uploads.keep(upload(&uploads)).unwrap();
        forget(Arc::downgrade(&uploads), id.clone(), Instant::now()).await;
        assert_eq!(uploads.take(&id).unwrap_err().code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn uploads_are_bounded_in_number_and_bytes() {
        let uploads = Arc::new(Uploads::default());
        let ids: Vec<_> = (0..UPLOADS_MAX).map(|_| uploads.keep(upload(&uploads)).unwrap()).collect();
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), UPLOADS_MAX);
        assert_eq!(uploads.keep(upload(&uploads)).unwrap_err().code(), tonic::Code::ResourceExhausted);

        let mut room = uploads.room();
        room.grow_to(UPLOADS_BYTES_MAX).unwrap();
        assert!(uploads.room().grow_to(1).is_err());
        drop(room);
        assert!(uploads.room().grow_to(1).is_ok());
    }
}
