//! Synthetic projects: values that are known by their place alone, so that every answer can be checked.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use lockstep::batch::timestamps;
use lockstep::clock::{Clock, Micros};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::report::root;
use crate::{Result, SEED};

pub const JOIN_KEY: &str = "customer_id";
pub const SECOND: Micros = 1_000_000;
pub const DAY: Micros = 86_400 * SECOND;
/// How much a Zipf distribution prefers its first keys, as YCSB has it.
pub const ZIPF_EXPONENT: f64 = 0.99;
/// Rows that are made and written at a time.
pub const BATCH_ROWS: u64 = 1 << 16;
/// One value in so many is null.
const NULL_ONE_IN: u64 = 64;

/// What each project is called.
pub const PROJECT: &str = "synthetic";

/// A project in a temporary folder on the disk that the build uses.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
    definitions: String,
    /// The time before which everything happened.
    pub now: Micros,
}

impl Project {
    /// The `online_store` in a file of the project's own, in YAML.
    pub const EMBEDDED: &str = "{type: embedded, path: .lockstep/online.redb}";

    /// With a store of its own, in a file.
    pub fn new() -> Result<Self> {
        Self::on(Self::EMBEDDED)
    }

    /// With this `online_store`, in YAML.
    pub fn on(store: &str) -> Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for name in ["features", "data"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let plugins = root().join("plugins/built");
        let config = format!(
            "project: {PROJECT}\nplugins: {}\nonline_store: {store}\n\
             listen: {{http: '127.0.0.1:0', flight: '127.0.0.1:0', admin: '127.0.0.1:0'}}\n",
            plugins.display()
        );
        fs::write(folder.path().join("lockstep.yaml"), config)?;
        let definitions =
            format!("entities:\n  - {{name: customer, join_keys: [{{name: {JOIN_KEY}, type: int64}}]}}\n");
        Ok(Self { folder, definitions, now: Clock::default().now() })
    }

    /// The same definitions and data on another `online_store`, in YAML.
    pub fn twin(&self, store: &str) -> Result<Self> {
        let twin = Self { definitions: self.definitions.clone(), now: self.now, ..Self::on(store)? };
        for file in fs::read_dir(self.folder().join("data"))? {
            let file = file?;
            fs::copy(file.path(), twin.folder().join("data").join(file.file_name()))?;
        }
        twin.write_definitions()?;
        Ok(twin)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self, file: &str) -> PathBuf {
        self.folder().join("data").join(file)
    }

    /// Sources and feature views of these names; view `n` has the features `f_<from>` to `f_<to>` of `features(n)`.
    pub fn define_views(&mut self, views: &[(String, Range<usize>)], ttl: &str) {
        self.define_views_of(views, ttl, "float64");
    }

    /// The same with features of another type.
    pub fn define_views_of(&mut self, views: &[(String, Range<usize>)], ttl: &str, dtype: &str) {
        let text = &mut self.definitions;
        text.push_str("sources:\n");
        for (view, _) in views {
            let path = format!("data/{view}.parquet");
            let _ = writeln!(text, "  - {{name: {view}_rows, type: parquet, path: {path}, event_time: event_time}}");
        }
        text.push_str("feature_views:\n");
        for (view, features) in views {
            let _ =
                writeln!(text, "  - name: {view}\n    entities: [customer]\n    source: {view}_rows\n    ttl: {ttl}");
            text.push_str("    features:\n");
            for feature in features.clone() {
                let _ = writeln!(text, "      - {{name: f_{feature}, type: {dtype}}}");
            }
        }
    }

    /// More of the definition file, in YAML.
    pub fn define(&mut self, text: &str) {
        self.definitions.push_str(text);
    }

    /// A further line of `lockstep.yaml`.
    pub fn configure(&self, line: &str) -> Result<()> {
        let path = self.folder().join("lockstep.yaml");
        let config = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{config}{line}\n"))?)
    }

    pub fn write_definitions(&self) -> Result<()> {
        Ok(fs::write(self.folder().join("features/synthetic.yaml"), &self.definitions)?)
    }
}

/// The value of a feature of an entity in its row number `row`: null one time in 64, else in [0, 100) with all digits.
pub fn value(entity: i64, feature: usize, row: u64) -> Option<f64> {
    let hash = scatter(scatter(scatter(SEED ^ entity as u64) ^ feature as u64) ^ row);
    (!hash.is_multiple_of(NULL_ONE_IN)).then(|| (hash >> 11) as f64 / (1_u64 << 53) as f64 * 100.0)
}

/// Random numbers, the same ones every time.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(stream: u64) -> Self {
        Self(scatter(SEED ^ stream))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number in [0, 1).
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        scatter(self.0)
    }
}

/// Draws a few keys most of the time.
#[derive(Debug)]
pub struct Zipf {
    /// The probability that a key's rank is at most the position.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Of the keys 0 to `bound`, that not included.
    pub fn below(bound: u64) -> Self {
        let weights = (1..=bound).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT));
        let total: f64 = weights.clone().sum();
        let cumulative = weights.scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        });
        Self { cumulative: cumulative.collect() }
    }

    pub fn draw(&self, random: &mut Random) -> u64 {
        let fraction = random.fraction();
        let rank = self.cumulative.partition_point(|sum| *sum < fraction) as u64;
        // The keys that are drawn most are not neighbours.
        scatter(rank) % self.cumulative.len() as u64
    }
}

/// SplitMix64.
pub fn scatter(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Rows of a view: the join key, the event time, and the features.
pub fn rows(
    entities: &[i64],
    event_time: Vec<Option<Micros>>,
    features: Range<usize>,
    row: impl Fn(usize) -> u64,
) -> Result<RecordBatch> {
    let column = |feature: usize| -> ArrayRef {
        let values = entities.iter().enumerate().map(|(position, entity)| value(*entity, feature, row(position)));
        Arc::new(Float64Array::from_iter(values))
    };
    rows_of(entities, event_time, features.map(|feature| (feature, column(feature))))
}

/// Rows of a view with these features, by number.
pub fn rows_of(
    entities: &[i64],
    event_time: Vec<Option<Micros>>,
    features: impl Iterator<Item = (usize, ArrayRef)>,
) -> Result<RecordBatch> {
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        (JOIN_KEY.to_owned(), Arc::new(Int64Array::from(entities.to_vec())), true),
        ("event_time".to_owned(), Arc::new(timestamps(event_time)), true),
    ];
    columns.extend(features.map(|(feature, column)| (format!("f_{feature}"), column, true)));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

pub fn write_parquet(path: &Path, rows: &RecordBatch) -> Result<()> {
    write_parquet_batches(path, std::iter::once(Ok(rows.clone())))
}

/// The same for more rows than should be in memory at once. There is at least one batch.
pub fn write_parquet_batches(path: &Path, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<()> {
    let mut batches = batches.peekable();
    let schema = match batches.peek() {
        Some(Ok(first)) => first.schema(),
        _ => return Err(batches.next().and_then(Result::err).unwrap_or_else(|| "there are no rows".into())),
    };
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(fs::File::create(path)?, schema, Some(properties))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}
