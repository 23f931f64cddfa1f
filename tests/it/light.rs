//! A gateway without sockets and without a folder: definitions out of a text, stores in memory, a clock that stands
//! still. And short ways to write rows and to ask.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray, new_null_array,
};
use arrow::datatypes::{Field as ArrowField, Schema};
use lockstep::batch::timestamps;
use lockstep::cast;
use lockstep::catalog::{Catalog, DefinitionFile, Definitions, FeatureRef, PluginUse, Selection, Transform, build};
use lockstep::clock::{Clock, Deadline, Micros};
use lockstep::error::chain;
use lockstep::flow;
use lockstep::flow::ingest::{Ingested, PushTo, ingest};
use lockstep::flow::serve::{Answer, Status, WhenUnreachable, prepare, serve};
use lockstep::flow::sync::{Range, Synced, sync};
use lockstep::flow::train::{Labels, Options, train};
use lockstep::gateway::{Applied, Gateway, Swaps, Syncing};
use lockstep::metrics::Metrics;
use lockstep::offline::{self, MemoryTables, StoredSources};
use lockstep::online::{self, OnlineStore};
use lockstep::pit::Space;
use lockstep::registry::Registry;
use lockstep::transform::{Settings, Transforms};

use crate::world::built_plugins;

/// Where the clock of a light gateway stands: 2023-11-14T22:13:20Z.
pub const NOW: Micros = 1_700_000_000_000_000;
pub const SECOND: Micros = 1_000_000;
pub const HOUR: Micros = 3_600 * SECOND;
pub const DAY: Micros = 24 * HOUR;

/// A gateway, and the offline store behind it, which tests fill.
pub struct Light {
    pub gateway: Gateway,
    pub history: History,
    /// Where syncs put aside what they have read.
    pub spool: tempfile::TempDir,
}

/// Where a light gateway keeps the histories of its sources.
#[derive(Clone)]
pub enum History {
    Memory(Arc<StoredSources>, Arc<MemoryTables>),
    /// Sources of the kind `parquet` have a folder each.
    Files(Arc<StoredSources>, Arc<tempfile::TempDir>),
}

/// The plugins, compiled once for all tests of the process.
pub fn stage() -> Arc<Transforms> {
    static STAGE: LazyLock<Arc<Transforms>> =
        LazyLock::new(|| Arc::new(Transforms::start(Settings::default()).expect("a transform stage")));
    Arc::clone(&STAGE)
}

/// The catalog of one definition file.
pub fn catalog(stage: &Transforms, definitions: &str) -> Catalog {
    let bind = |plugin: &PluginUse| -> Result<Arc<Transform>, String> {
        let path = built_plugins().join(format!("{}.wasm", plugin.plugin));
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (digest, _) = stage.load(&plugin.plugin, &bytes).map_err(|error| chain(&error))?;
        let bound = stage.bind(&plugin.plugin, digest, &plugin.parameters, plugin.outputs.as_deref());
        bound.map_err(|error| chain(&error))
    };
    let file = DefinitionFile { path: "features/features.yaml".to_owned(), text: definitions.to_owned() };
    let built = Definitions::parse("test", &[file]).and_then(|parsed| build(&parsed, &bind, &|_| None));
    built.unwrap_or_else(|mistakes| panic!("{mistakes}\n{definitions}")).0
}

impl History {
    pub fn in_memory() -> Self {
        let tables = Arc::new(MemoryTables::default());
        Self::Memory(Arc::new(StoredSources::new(vec![Arc::clone(&tables) as _])), tables)
    }

    pub fn in_files() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::Files(Arc::new(StoredSources::of_files(folder.path().to_owned())), Arc::new(folder))
    }

    pub fn store(&self) -> &Arc<StoredSources> {
        let (Self::Memory(store, _) | Self::Files(store, _)) = self;
        store
    }

    /// Rows behind those that the source has. In files the source's path must be its name.
    pub fn put(&self, source: &str, rows: &RecordBatch) {
        match self {
            Self::Memory(_, tables) => tables.put(source, rows.clone()),
            Self::Files(_, folder) => {
                let folder = folder.path().join(source);
                fs::create_dir_all(&folder).expect("a folder");
                let number = fs::read_dir(&folder).expect("the folder").count();
                write_rows(&folder.join(format!("{number:06}.parquet")), rows);
            }
        }
    }
}

impl Light {
    pub async fn of(definitions: &str) -> Self {
        let online = Arc::new(online::memory::MemoryStore::default());
        Self::over(stage(), definitions, online, History::in_memory()).await
    }

    pub async fn over(
        stage: Arc<Transforms>,
        definitions: &str,
        online: Arc<dyn OnlineStore>,
        history: History,
    ) -> Self {
        let catalog = catalog(&stage, definitions);
        history.store().define(catalog.sources.clone());
        let spool = tempfile::tempdir().expect("a temporary folder");
        let gateway = Gateway {
            applied: ArcSwap::from_pointee(Applied::new(catalog, 1)),
            online,
            offline: Arc::clone(history.store()) as _,
            transforms: stage,
            registry: Registry::in_memory().await.expect("a registry"),
            clock: Clock::held_at(NOW),
            metrics: Metrics::default(),
            join_space: Space::default(),
            serve_deadline: Duration::from_secs(5),
            syncing: Syncing::in_folder(spool.path().to_owned()),
            swaps: Swaps::default(),
            shadows: Arc::default(),
            request_log: Arc::default(),
        };
        Self { gateway, history, spool }
    }

    /// Other definitions from now on, over the same stores.
    pub fn apply(&self, definitions: &str) {
        let catalog = catalog(&self.gateway.transforms, definitions);
        self.history.store().define(catalog.sources.clone());
        let version = self.gateway.applied.load().version + 1;
        self.gateway.applied.store(Arc::new(Applied::new(catalog, version)));
    }

    pub fn put(&self, source: &str, rows: &RecordBatch) {
        self.history.put(source, rows);
    }

    pub async fn sync(&self, view: &str, range: Range) -> Result<Synced, flow::Error> {
        sync(&self.gateway, view, range, &|_| {}).await
    }

    pub async fn push(&self, source: &str, rows: &RecordBatch, to: PushTo) -> Result<Ingested, flow::Error> {
        ingest(&self.gateway, source, rows, to, soon()).await
    }

    /// Asks for `view:feature`s, under their full names. `rows` has the join keys and request fields by name.
    pub async fn serve(&self, features: &[&str], rows: &RecordBatch, as_of: Micros) -> Result<Answer, flow::Error> {
        self.serve_at(features, rows, Some(as_of)).await
    }

    /// The same, as of now where no time is given.
    pub async fn serve_at(
        &self,
        features: &[&str],
        rows: &RecordBatch,
        as_of: Option<Micros>,
    ) -> Result<Answer, flow::Error> {
        let prepared = prepare(&self.gateway, &selection(features))?;
        let inputs = prepared.plan.inputs.iter().map(|input| match rows.column_by_name(&input.field.name) {
            Some(column) => cast::exactly(column, input.field.dtype).expect("an input of its type"),
            None => new_null_array(&input.field.dtype.arrow(), rows.num_rows()),
        });
        let inputs = inputs.collect();
        serve(&self.gateway, prepared, inputs, rows.num_rows(), as_of, WhenUnreachable::Fail, soon()).await
    }

    pub async fn train(&self, features: &[&str], labels: &RecordBatch) -> Result<RecordBatch, flow::Error> {
        let labels = Labels::of(labels.clone(), None);
        train(&self.gateway, &selection(features), labels, Options::default()).await?.collect().await
    }
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub fn selection(features: &[&str]) -> Selection {
    let reference = |text: &&str| {
        let (view, feature) = text.split_once(':').expect("view:feature");
        FeatureRef::new(view, feature)
    };
    Selection::Features { refs: features.iter().map(reference).collect(), full_feature_names: true }
}

/// Columns under their names; all of them may be null.
pub fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields: Vec<ArrowField> =
        columns.iter().map(|(name, column)| ArrowField::new(*name, column.data_type().clone(), true)).collect();
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let columns = columns.iter().map(|(_, column)| Arc::clone(column)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).expect("columns of one length")
}

pub fn texts<T: AsRef<str>>(values: &[T]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

pub fn times(values: &[Micros]) -> ArrayRef {
    Arc::new(timestamps(values.iter().copied().map(Some).collect()))
}

/// One feature of an answer: its values, null where they are, and their states.
pub fn served_floats(answer: &Answer, feature: usize) -> Vec<Option<f64>> {
    answer.columns[feature].values.as_primitive::<arrow::datatypes::Float64Type>().iter().collect()
}

pub fn served_status(answer: &Answer, feature: usize) -> Vec<Status> {
    (0..answer.rows).map(|row| answer.columns[feature].status(row)).collect()
}

pub fn floats_of(rows: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    let column = rows.column_by_name(column).unwrap_or_else(|| panic!("no column {column} in {:?}", rows.schema_ref()));
    column.as_primitive::<arrow::datatypes::Float64Type>().iter().collect()
}

pub fn write_rows(path: &Path, rows: &RecordBatch) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    offline::write_parquet(path, rows.schema_ref(), std::slice::from_ref(rows), &[]).expect("written");
}
