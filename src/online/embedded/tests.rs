use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Bound;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;
use crate::online::conformance::{self, from_stream, lines, plain_view, soon, tombstones, values, write};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &TempDir) -> EmbeddedStore {
    EmbeddedStore::open(&folder.path().join("online.redb")).unwrap()
}

#[test]
fn it_keeps_the_contract_of_an_online_store() {
    let folders = RefCell::new(Vec::new());
    let make = || {
        let folder = folder();
        let store: Arc<dyn OnlineStore> = Arc::new(open(&folder));
        folders.borrow_mut().push(folder);
        store
    };
    conformance::check(&make, 24);
}

#[tokio::test]
async fn rows_are_there_after_the_store_was_closed() {
    let folder = folder();
    let view = plain_view("companies");
    write(&open(&folder), &view, &lines(&[(Some(1), 10, None, Some(7))])).await;
    assert_eq!(values(&open(&folder), &view, &[Some(1)]).await, [Some((10, Some(7)))]);
}

#[tokio::test]
async fn a_file_that_is_open_already_is_in_use() {
    let folder = folder();
    let store = open(&folder);
    let error = EmbeddedStore::open(&folder.path().join("online.redb")).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(store);
    open(&folder);
}

#[test]
fn a_file_that_is_not_a_store_is_refused() {
    let folder = folder();
    let path = folder.path().join("online.redb");
    std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(error, Error::DamagedFile { .. }), "{error}");

    let path = folder.path().join("other.redb");
    let other = Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("numbers")).unwrap();
    transaction.commit().unwrap();
    drop(other);
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(error.to_string().contains("it is a database, but not one of Lockstep"), "{error}");

    let error = EmbeddedStore::open(&folder.path().join("missing/online.redb")).unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = folder();
    let path = folder.path().join("online.redb");
    drop(open(&folder));
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { format: 3, known: 2, .. }), "{error}");
}

/// A file of format 1 kept schemas under the first bytes of their text's digest, and had no table of progress.
#[tokio::test]
async fn a_file_of_the_version_before_is_read_and_written_on() {
    let folder = folder();
    let view = plain_view("companies");
    let store = open(&folder);
    write(&store, &view, &lines(&[(Some(1), 10, None, Some(7)), (Some(2), 10, None, Some(8))])).await;
    let schema = RowSchema::of(&view);
    let former_id = u64::from_le_bytes(crate::catalog::Digest::of(schema.text().as_bytes()).prefix());
    store
        .shared
        .file
        .with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(TableDefinition::<&str, u64>::new("meta"))?.insert("format", 1)?;
            let mut schemas = transaction.open_table(SCHEMAS)?;
            schemas.remove(schema.id)?;
            schemas.insert(former_id, schema.text().as_str())?;
            drop(schemas);
            let mut table = transaction.open_table(rows_of("view:companies"))?;
            let rows: Vec<(Vec<u8>, Vec<u8>)> = table
                .iter()?
                .map(|entry| entry.map(|(key, row)| (key.value().to_vec(), row.value().to_vec())))
                .collect::<Result<_, _>>()?;
            for (key, mut row) in rows {
                row[2..10].copy_from_slice(&former_id.to_le_bytes());
                table.insert(key.as_slice(), row.as_slice())?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
        .unwrap();
    drop(store);

    let store = open(&folder);
    assert_eq!(values(&store, &view, &[Some(1), Some(2)]).await, [Some((10, Some(7))), Some((10, Some(8)))]);
    let done = write(&store, &view, &lines(&[(Some(1), 9, None, Some(1)), (Some(2), 11, None, Some(2))])).await;
    assert_eq!((done.written, done.older), (1, 1));
    assert_eq!(values(&store, &view, &[Some(1), Some(2)]).await, [Some((10, Some(7))), Some((11, Some(2)))]);
    assert_eq!(store.progress(&view, "clicks", 0, soon()).await.unwrap(), None);
    let health = store.health(soon()).await.unwrap();
    assert!(health.facts.contains(&("format".to_owned(), "2".to_owned())), "{health:?}");
}

#[tokio::test]
async fn progress_and_tombstones_are_there_after_the_store_was_closed() {
    let folder = folder();
    let view = plain_view("companies");
    let rows = from_stream(lines(&[(Some(1), 10, None, Some(7)), (Some(2), 10, None, Some(8))]), 3, &[5, 6]);
    write(&open(&folder), &view, &rows).await;
    write(&open(&folder), &view, &tombstones(&[(1, 12)])).await;
    let store = open(&folder);
    write(&store, &view, &lines(&[(Some(1), 11, None, Some(9))])).await;
    assert_eq!(values(&store, &view, &[Some(1), Some(2)]).await, [None, Some((10, Some(8)))]);
    assert_eq!(store.progress(&view, "clicks", 3, soon()).await.unwrap(), Some(6));
}

#[tokio::test]
async fn statistics_of_many_rows_are_sampled_from_all_over() {
    let folder = folder();
    let view = plain_view("companies");
    let store = open(&folder);
    let count = 2 * STATISTICS_ROWS_MAX as i64 + 500;
    let rows: Vec<_> = (0..count).map(|id| (Some(id), id, None, (id % 2 == 0).then_some(id))).collect();
    write(&store, &view, &lines(&rows)).await;
    let deleted: Vec<(i64, i64)> = (0..100).map(|id| (id, count)).collect();
    write(&store, &view, &tombstones(&deleted)).await;
    let statistics = store.statistics(&[Arc::clone(&view)], soon()).await.unwrap().remove(0);
    assert_eq!(statistics.keys, count as u64 - 100);
    assert!((6_000..=STATISTICS_ROWS_MAX).contains(&statistics.sampled), "{}", statistics.sampled);
    assert_eq!(statistics.oldest_event_time, Some(100));
    assert!(statistics.newest_event_time.unwrap() > count - 10);
}

#[tokio::test]
async fn a_damaged_row_is_reported_and_replaced_by_the_next_one() {
    let folder = folder();
    let view = plain_view("companies");
    let store = open(&folder);
    write(&store, &view, &lines(&[(Some(1), 10, None, Some(7)), (Some(2), 10, None, Some(8))])).await;
    store
        .shared
        .file
        .with(|database| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(rows_of("view:companies"))?;
            let key = table.iter()?.next().unwrap()?.0.value().to_vec();
            table.insert(key.as_slice(), b"damaged".as_slice())?;
            drop(table);
            Ok(transaction.commit()?)
        })
        .unwrap();
    assert_eq!(values(&store, &view, &[Some(2)]).await, [Some((10, Some(8)))]);
    let keys = KeyBatch::encode(&view.join_keys, &lines(&[(Some(1), 0, None, None)]).keys, 1);
    let error = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    write(&store, &view, &lines(&[(Some(1), 3, None, Some(9))])).await;
    assert_eq!(values(&store, &view, &[Some(1)]).await, [Some((3, Some(9)))]);
}

/// A disk on which only so many more writes succeed.
#[derive(Debug)]
struct FillingDisk {
    file: FileBackend,
    writes_left: Arc<AtomicU64>,
}

impl FillingDisk {
    fn take_room(&self) -> io::Result<()> {
        let take = |left: u64| left.checked_sub(1);
        match self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl StorageBackend for FillingDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.take_room()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take_room()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_leaves_the_store_in_service() {
    let folder = folder();
    let writes_left = Arc::new(AtomicU64::new(u64::MAX));
    let opener = {
        let writes_left = Arc::clone(&writes_left);
        Box::new(move |path: &Path| {
            let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
            let file = FileBackend::new(file.map_err(redb::StorageError::from)?)?;
            let backend = FillingDisk { file, writes_left: Arc::clone(&writes_left) };
            Database::builder().create_with_backend(backend)
        })
    };
    let store =
        EmbeddedStore::over(DatabaseFile::open_with(&folder.path().join("online.redb"), opener).unwrap()).unwrap();
    let view = plain_view("companies");
    let asked: Vec<Option<i64>> = (0..200).map(Some).collect();
    let batch = |time: i64| lines(&(0..200).map(|id| (Some(id), time, None, Some(time))).collect::<Vec<_>>());
    write(&store, &view, &batch(0)).await;

    let mut failures = 0;
    for time in 1..=40 {
        let (old, new) = (vec![Some((time - 1, Some(time - 1))); 200], vec![Some((time, Some(time))); 200]);
        writes_left.store(u64::try_from(time - 1).unwrap(), Ordering::SeqCst);
        let result = store.write(&view, &batch(time), soon()).await;
        writes_left.store(u64::MAX, Ordering::SeqCst);
        match result {
            Err(error) => {
                failures += 1;
                assert!(matches!(error, Error::Full { .. }), "{error}");
                let is = values(&store, &view, &asked).await;
                assert!(is == old || is == new, "a batch is there whole or not at all");
                write(&store, &view, &batch(time)).await;
            }
            Ok(done) => assert_eq!(done.written, 200),
        }
        assert_eq!(values(&store, &view, &asked).await, new);
    }
    assert!((3..40).contains(&failures), "the disk was full {failures} times of 40");
}

const KILL_TEST_FILE: &str = "LOCKSTEP_KILL_TEST_FILE";
const KILL_TEST_FIRST: &str = "LOCKSTEP_KILL_TEST_FIRST";
const ROWS_PER_BATCH: i64 = 40;

/// Batch `number`: rows of its own, and one row that every batch writes.
fn numbered_batch(number: i64) -> FeatureRows {
    let own = (0..ROWS_PER_BATCH).map(|row| (Some(number * ROWS_PER_BATCH + row), number, None, Some(number)));
    lines(&own.chain([(Some(-1), number, None, Some(number))]).collect::<Vec<_>>())
}

/// The process that is killed: writes batch after batch and says which one is acknowledged.
fn write_until_killed(path: &Path, first: i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = EmbeddedStore::open(path).unwrap();
    for number in first.. {
        let done = runtime.block_on(write(&store, &plain_view("companies"), &numbered_batch(number)));
        assert_eq!(done.written, ROWS_PER_BATCH as u64 + 1);
        println!("\nacknowledged {number}");
        io::stdout().flush().unwrap();
    }
}

/// Starts the writer, kills it some time after its `acknowledgements`th batch, and answers the last one it told of.
fn kill_a_writer(path: &Path, first: i64, acknowledgements: usize, spins: u32) -> i64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["every_acknowledged_batch_survives_a_kill", "--nocapture", "--test-threads=1"])
        .envs([(KILL_TEST_FILE, path.as_os_str()), (KILL_TEST_FIRST, first.to_string().as_ref())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told = told.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<i64>().ok());
    let last = told.by_ref().take(acknowledgements).last().expect("the writer acknowledges batches");
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    told.last().unwrap_or(last)
}

#[test]
fn every_acknowledged_batch_survives_a_kill() {
    if let Some(path) = std::env::var_os(KILL_TEST_FILE) {
        let first = std::env::var(KILL_TEST_FIRST).unwrap().parse().unwrap();
        return write_until_killed(Path::new(&path), first);
    }
    let folder = folder();
    let path = folder.path().join("online.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut random = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed_of_this_run());
    let mut first = 0;
    for _ in 0..8 {
        let (acknowledgements, spins) = (random.random_range(1..12), random.random_range(0..2_000_000));
        let last = kill_a_writer(&path, first, acknowledgements, spins);
        let store = EmbeddedStore::open(&path).unwrap();
        let read = |asked: &[Option<i64>]| runtime.block_on(values(&store, &plain_view("companies"), asked));
        let newest = read(&[Some(-1)])[0].expect("a batch was acknowledged").0;
        assert!(newest == last || newest == last + 1, "batch {last} was acknowledged, {newest} is there");
        let asked: Vec<Option<i64>> = (0..(newest + 2) * ROWS_PER_BATCH).map(Some).collect();
        for (id, row) in read(&asked).into_iter().enumerate() {
            let batch = id as i64 / ROWS_PER_BATCH;
            assert_eq!(row, (batch <= newest).then_some((batch, Some(batch))), "key {id} after batch {newest}");
        }
        first = newest + 1;
    }
}

/// Another moment of the kills in every run.
fn seed_of_this_run() -> [u8; 32] {
    crate::catalog::Digest::of(&crate::clock::Clock::default().now().to_le_bytes()).0
}
