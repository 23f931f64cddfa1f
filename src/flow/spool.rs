//! Rows put aside on disk by whoever keeps the newest row of each key and has no room for all of them, or must be able
//! to go on after an interruption: a folder of Arrow files, and one small file that says what they are.
//!
//! Keys are cut into partitions. Every file has the rows of some stretch of the input, partition by partition; the newest
//! rows of one partition are found by going through its rows in all files, in order. What does not stand in
//! `checkpoint.json` is not there: files are flushed to disk before it is replaced, and it is replaced whole.
//!
//! A folder belongs to whoever holds the lock of its lock file, which the operating system lets go of when its owner
//! dies. So a folder that can be locked is one that was left.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::limits::SYNC_PARTITIONS;
use crate::pit::Newest;

const LOCK_FILE: &str = "lock";
const CHECKPOINT_FILE: &str = "checkpoint.json";
/// Of the files and of what stands in the checkpoint; what another version left is removed.
const FORMAT: u32 = 1;

/// A folder that is ours.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    /// Holds the lock.
    _lock: File,
    pieces: Vec<Piece>,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    file: String,
    rows: u64,
    bytes: u64,
    /// The partitions that have rows in it, in the order of its batches; one batch each.
    partitions: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<T> {
    format: u32,
    pieces: Vec<Piece>,
    state: T,
}

/// The rows of all partitions, to be read from anywhere. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    folder: Arc<Path>,
    pieces: Arc<[Piece]>,
}

impl Spool {
    /// A new, empty folder under `root` for something of this name.
    pub fn begin(root: &Path, name: &str) -> Result<Self, Error> {
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-{number}", std::process::id());
        let (hidden, folder) = (root.join(format!(".{name}@{id}")), root.join(format!("{name}@{id}")));
        let begin = || -> io::Result<File> {
            // What a dead process with our number left behind.
            remove_folder(&hidden)?;
            remove_folder(&folder)?;
            fs::create_dir_all(&hidden)?;
            // Locked before anybody can find it.
            let lock = File::create(hidden.join(LOCK_FILE))?;
            lock.lock()?;
            fs::rename(&hidden, &folder)?;
            Ok(lock)
        };
        let lock = begin().map_err(|error| failed(&folder, &error))?;
        Ok(Self { folder, _lock: lock, pieces: Vec::new() })
    }

    /// What was left of something of this name, each with its last checkpoint; what cannot be gone on with is removed.
    pub fn left<T: DeserializeOwned>(root: &Path, name: &str) -> Result<Vec<(Self, T)>, Error> {
        let at_root = |error: io::Error| failed(root, &error);
        let entries = match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at_root)?,
        };
        let mut left = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at_root)?;
            let file_name = entry.file_name();
            let is_ours = file_name.to_str().and_then(|file| file.split_once('@')).is_some_and(|(of, _)| of == name);
            if is_ours && let Some(found) = take_over(&entry.path()).map_err(|error| failed(&entry.path(), &error))? {
                left.push(found);
            }
        }
        Ok(left)
    }

    /// Puts the rows of the keys from number `from` on aside; they are part of the spool once the next checkpoint is kept.
    pub fn add(&mut self, newest: &Newest, from: usize) -> Result<(), Error> {
        let file = format!("{:06}.arrow", self.pieces.len());
        let path = self.folder.join(&file);
        let piece = write_piece(&path, file, newest, from).map_err(|error| failed(&path, &error))?;
        self.pieces.extend(piece);
        Ok(())
    }

    /// From now on this is what is found after an interruption.
    pub fn keep<T: Serialize>(&self, state: &T) -> Result<(), Error> {
        let (new, path) = (self.folder.join("checkpoint.new"), self.folder.join(CHECKPOINT_FILE));
        let kept = Kept { format: FORMAT, pieces: self.pieces.clone(), state };
        let keep = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&kept)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        keep().map_err(|error| failed(&path, &error))
    }

    pub fn pieces(&self) -> Pieces {
        Pieces { folder: self.folder.as_path().into(), pieces: self.pieces.clone().into() }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    /// There is nothing left to do.
    pub fn remove(self) -> Result<(), Error> {
        remove_folder(&self.folder).map_err(|error| failed(&self.folder, &error))
    }
}

impl Pieces {
    /// Rows of all partitions; some keys may have several.
    pub fn rows(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }

    /// The newest row of each key of some partitions. `push` adds a batch, as when it was read first.
    pub fn partitions(
        &self,
        partitions: Range<usize>,
        push: impl Fn(&mut Newest, RecordBatch) -> Result<(), ArrowError>,
    ) -> Result<Newest, Error> {
        let mut newest = Newest::default();
        for piece in self.pieces.iter() {
            let path = self.folder.join(&piece.file);
            for (position, _) in
                piece.partitions.iter().enumerate().filter(|(_, found)| partitions.contains(&(**found as usize)))
            {
                let batch = read_batch(&path, position).map_err(|error| failed(&path, &error))?;
                push(&mut newest, batch).map_err(|error| failed(&path, &error))?;
            }
        }
        Ok(newest)
    }
}

/// None where somebody else has the folder.
fn take_over<T: DeserializeOwned>(folder: &Path) -> io::Result<Option<(Spool, T)>> {
    let lock = match File::create(folder.join(LOCK_FILE)) {
        // Removed by another one in this moment.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(None),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let kept =
        fs::read(folder.join(CHECKPOINT_FILE)).ok().and_then(|text| serde_json::from_slice::<Kept<T>>(&text).ok());
    match kept {
        Some(Kept { format: FORMAT, pieces, state }) => {
            Ok(Some((Spool { folder: folder.to_owned(), _lock: lock, pieces }, state)))
        }
        _ => remove_folder(folder).map(|()| None),
    }
}

/// None where there are no rows to write.
fn write_piece(path: &Path, file: String, newest: &Newest, from: usize) -> Result<Option<Piece>, ArrowError> {
    let mut by_partition: Vec<Vec<usize>> = vec![Vec::new(); SYNC_PARTITIONS];
    for number in from..newest.len() {
        by_partition[partition_of(newest.key(number))].push(number);
    }
    let mut filled = (0_u32..).zip(&by_partition).filter(|(_, numbers)| !numbers.is_empty()).peekable();
    let Some((_, first)) = filled.peek() else { return Ok(None) };
    let schema = newest.rows_of(&first[..1])?.schema();
    let mut writer = FileWriter::try_new(BufWriter::new(File::create(path)?), &schema)?;
    let mut partitions = Vec::new();
    for (partition, numbers) in filled {
        writer.write(&newest.rows_of(numbers)?)?;
        partitions.push(partition);
    }
    writer.finish()?;
    let written = writer.into_inner()?.into_inner().map_err(|error| error.into_error())?;
    written.sync_all()?;
    let rows = newest.len().saturating_sub(from) as u64;
    Ok(Some(Piece { file, rows, bytes: written.metadata()?.len(), partitions }))
}

fn read_batch(path: &Path, position: usize) -> Result<RecordBatch, ArrowError> {
    let mut reader = FileReader::try_new(BufReader::new(File::open(path)?), None)?;
    reader.set_index(position)?;
    let missing = || ArrowError::IpcError(format!("it has no batch {position}"));
    reader.next().ok_or_else(missing)?
}

fn partition_of(key: &[u8]) -> usize {
    let hash = stable_hash(key);
    ((hash ^ (hash >> 32)) % SYNC_PARTITIONS as u64) as usize
}

/// The same in every process: rows of a key that were put aside before and after an interruption must meet. FNV-1a,
/// <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(super) fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Spool { path: path.to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    use super::*;
    use crate::batch::{KeyBatch, record_batch, timestamps};
    use crate::catalog::{DType, Field, Scalar};
    use crate::pit::Ties;

    fn fields() -> [Field; 3] {
        [
            Field::new("id", DType::One(Scalar::Int64)),
            Field::new("name", DType::One(Scalar::String)),
            Field::new("at", DType::TIMESTAMP),
        ]
    }

    fn push(newest: &mut Newest, batch: RecordBatch) -> Result<(), ArrowError> {
        let keys = KeyBatch::encode(&fields()[..1], &batch.columns()[..1], batch.num_rows());
        let at = batch.column(2).as_primitive::<TimestampMicrosecondType>().clone();
        newest.push(batch, &keys, &at, &timestamps(vec![None; at.len()]), &Ties::LaterRow)
    }

    /// Rows of `ids` at one moment, with a name each that says both.
    fn rows(ids: std::ops::Range<i64>, at: i64) -> Newest {
        let count = ids.clone().count();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(StringArray::from_iter_values(ids.map(|id| format!("{id} at {at}")))),
            Arc::new(timestamps(vec![Some(at); count])),
        ];
        let mut newest = Newest::default();
        push(&mut newest, record_batch(&fields(), columns, count)).unwrap();
        newest
    }

    fn all(pieces: &Pieces) -> BTreeMap<i64, String> {
        let mut found = BTreeMap::new();
        for partition in 0..SYNC_PARTITIONS {
            let newest = pieces.partitions(partition..partition + 1, push).unwrap();
            if newest.is_empty() {
                continue;
            }
            let rows = newest.rows(0, newest.len()).unwrap();
            let (ids, names) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_string::<i32>());
            for row in 0..rows.num_rows() {
                let before = found.insert(ids.value(row), names.value(row).to_owned());
                assert_eq!(before, None, "a key is in one partition");
            }
        }
        found
    }

    #[test]
    fn of_all_that_is_put_aside_the_newest_row_of_each_key_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(folder.path(), "rides").unwrap();
        spool.add(&rows(0..3_000, 5), 0).unwrap();
        spool.add(&rows(1_000..4_000, 4), 0).unwrap();
        spool.add(&rows(2_000..2_500, 6), 400).unwrap();
        spool.add(&Newest::default(), 0).unwrap();
        let found = all(&spool.pieces());
        assert_eq!(found.len(), 4_000);
        assert_eq!((found[&0].as_str(), found[&2_399].as_str()), ("0 at 5", "2399 at 5"));
        assert_eq!((found[&2_400].as_str(), found[&3_500].as_str()), ("2400 at 6", "3500 at 4"));
        assert!(spool.bytes() > 6_100 * 16);
        assert_eq!(spool.pieces().rows(), 6_100);
        spool.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_left_is_found_as_it_was_at_the_last_checkpoint_and_by_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(folder.path(), "rides").unwrap();
        spool.add(&rows(0..100, 1), 0).unwrap();
        spool.keep(&7_u64).unwrap();
        spool.add(&rows(100..200, 1), 0).unwrap();
        assert!(Spool::left::<u64>(folder.path(), "rides").unwrap().is_empty(), "it is in use");
        drop(spool);
        assert!(Spool::left::<u64>(folder.path(), "ride").unwrap().is_empty(), "it is of something else");
        let left = Spool::left::<u64>(folder.path(), "rides").unwrap();
        let [(found, 7)] = left.as_slice() else { panic!("{left:?}") };
        assert_eq!(all(&found.pieces()).len(), 100);
        assert!(Spool::left::<u64>(folder.path(), "rides").unwrap().is_empty(), "it is in use again");
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Spool::left::<u64>(&folder.path().join("missing"), "rides").unwrap().is_empty());
        drop(Spool::begin(folder.path(), "rides").unwrap());
        let damaged = Spool::begin(folder.path(), "rides").unwrap();
        damaged.keep(&7_u64).unwrap();
        fs::write(damaged.folder.join(CHECKPOINT_FILE), "{\"format\": 1, \"pieces\": [").unwrap();
        drop(damaged);
        let other = Spool::begin(folder.path(), "rides").unwrap();
        other.keep(&"the state of another version").unwrap();
        drop(other);
        assert!(Spool::left::<u64>(folder.path(), "rides").unwrap().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(folder.path(), "rides").unwrap();
        spool.add(&rows(0..1_000, 1), 0).unwrap();
        fs::write(spool.folder.join("000000.arrow"), "ARROW1 and then nothing").unwrap();
        let error =
            (0..SYNC_PARTITIONS).find_map(|partition| spool.pieces().partitions(partition..partition + 1, push).err());
        assert!(error.unwrap().to_string().contains("000000.arrow"));
    }
}
