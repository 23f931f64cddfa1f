//! Tables in a local folder and in a bucket, so that what holds of one is shown to hold of the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use super::super::*;
use crate::batch::timestamps;
use crate::catalog::{DType, Field, Scalar, Source, SourceKind};
use crate::offline::s3::{ACCESS_KEY_ID, S3, SECRET_ACCESS_KEY};
use crate::offline::{Bucket, BucketLogin, OfflineStore, Read, Scan, StoredSources, write_parquet};
use crate::secret::Secret;

pub const DAY: i64 = 86_400_000_000;
const TIMEOUT: Duration = Duration::from_secs(20);

/// A store, and where its tables lie.
pub struct World {
    pub store: Arc<StoredSources>,
    pub reads: Arc<Reads>,
    pub clock: Clock,
    /// Begins the paths of sources.
    prefix: &'static str,
    /// The folder that these paths lead to.
    root: PathBuf,
    pub s3: Option<S3>,
    _folder: tempfile::TempDir,
}

impl World {
    pub fn local() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::of(ObjectStores::none(), "", folder.path().to_owned(), None, folder)
    }

    pub async fn bucket() -> Self {
        Self::bucket_within(TIMEOUT).await
    }

    /// One whose requests may take so long.
    pub async fn bucket_within(timeout: Duration) -> Self {
        let s3 = S3::start(&["lake"]).await;
        let bucket = Bucket { timeout, ..reached(&s3) };
        let buckets = ObjectStores::new(&[("lake".to_owned(), bucket)].into()).expect("a bucket");
        let folder = tempfile::tempdir().expect("a folder");
        Self::of(buckets, "s3://lake/", s3.bucket("lake"), Some(s3), folder)
    }

    /// One of each.
    pub async fn both() -> [Self; 2] {
        [Self::local(), Self::bucket().await]
    }

    fn of(
        buckets: ObjectStores,
        prefix: &'static str,
        root: PathBuf,
        s3: Option<S3>,
        folder: tempfile::TempDir,
    ) -> Self {
        let clock = Clock::held_at(Clock::default().now());
        let mut tables = ParquetTables::new(folder.path().to_owned(), Arc::new(buckets));
        tables.clock = clock.clone();
        let reads = tables.reads();
        let store = Arc::new(StoredSources::new(vec![Arc::new(tables)]));
        Self { store, reads, clock, prefix, root, s3, _folder: folder }
    }

    /// The source whose table is called `name`.
    pub fn source(&self, name: &str, partitions: &[Partition]) -> Source {
        let stored = Stored::Parquet { path: format!("{}{name}", self.prefix), partitions: partitions.to_vec() };
        let (event_time, kind) = ("t".to_owned(), SourceKind::Stored(stored));
        Source { name: name.to_owned(), kind, event_time, created_time: None, description: String::new() }
    }

    /// Where a file of a table lies.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file as another program would.
    pub fn put(&self, path: &str, rows: &RecordBatch) {
        write(&self.path(path), rows);
    }

    pub async fn read(&self, source: &Source, scan: &Scan) -> Result<Vec<i64>, Error> {
        let batches: Vec<RecordBatch> = self.store.scan(source, scan).await?.try_collect().await?;
        Ok(batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect())
    }

    /// Column `x` of all rows.
    pub async fn all(&self, source: &Source) -> Vec<i64> {
        self.read(source, &wanted()).await.expect("the scan works")
    }

    /// What scans of a source counted so far.
    pub fn counted(&self, source: &Source) -> Read {
        let counts = self.reads.counts();
        counts.into_iter().find(|(name, _)| *name == source.name).map(|(_, read)| read).unwrap_or_default()
    }

    /// The Parquet files of a table, by path.
    pub fn files(&self, table: &str) -> Vec<String> {
        fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    walk(root, &path, files);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    files.push(path.strip_prefix(root).expect("below it").display().to_string());
                }
            }
        }
        let (root, mut files) = (self.path(table), Vec::new());
        walk(&root, &root, &mut files);
        files.sort();
        files
    }
}

/// How to reach a bucket of this server.
pub fn reached(s3: &S3) -> Bucket {
    let secret_access_key = Secret::new(SECRET_ACCESS_KEY);
    let login = Some(BucketLogin { access_key_id: ACCESS_KEY_ID.to_owned(), secret_access_key });
    let region = "us-east-1".to_owned();
    Bucket { endpoint: Some(s3.endpoint()), region, login, allow_http: true, timeout: TIMEOUT }
}

pub fn write(path: &Path, rows: &RecordBatch) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
    write_parquet(path, &rows.schema(), std::slice::from_ref(rows), &[]).expect("the file can be written");
}

/// Rows `(x, k, t)`: `x` as given, `k` one of three texts, `t` in hours.
pub fn rows(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: Vec<i64> = values.into_iter().collect();
    let keys: StringArray = values.iter().map(|value| Some(format!("k{}", value % 3))).collect();
    let times = timestamps(values.iter().map(|value| Some(value * DAY / 24)).collect());
    RecordBatch::try_from_iter([
        ("x", Arc::new(Int64Array::from(values)) as Arc<dyn Array>),
        ("k", Arc::new(keys)),
        ("t", Arc::new(times)),
    ])
    .expect("columns of one length")
}

pub fn wanted() -> Scan {
    Scan::of(vec![Field::new("x", DType::One(Scalar::Int64))])
}

pub fn partition(name: &str, scalar: Scalar, day_of: Option<&str>) -> Partition {
    Partition { field: Field::new(name, DType::One(scalar)), day_of: day_of.map(str::to_owned) }
}
