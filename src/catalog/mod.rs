//! What a project defines: entities, sources, feature views, derived views and feature services.
//!
//! A [`Catalog`] is an immutable snapshot in which every name resolves and every type fits; it is built whole from the
//! definition files (or from what the registry recorded of them) or refused with every mistake at once. Nothing here
//! does IO: the bytes of the files and the signatures of the plugins are handed in.
//!
//! # Why not a graph of references
//! Everything is named and looked up by name in ordered maps, so a snapshot prints, compares and hashes the same way
//! every time.

mod dtype;
mod signature;

mod build;
mod definitions;
mod file;
mod hash;
mod names;
mod reach;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use build::{Bind, Columns, PluginUse, UNREADABLE, Warning, build};
pub use definitions::{DefinitionFile, Definitions};
pub use dtype::{DType, Scalar};
pub use file::schema;
pub use names::snake_case_mistake;
pub use reach::Reach;
pub use signature::{Digest, NullPolicy, Parameter, ParameterSpec, Signature, TimeUse, Transform};

use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};

use crate::clock::Micros;

/// A named, typed column: a feature, a join key, a request field or a column of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    pub name: String,
    pub dtype: DType,
    pub nullable: bool,
}

impl Field {
    pub fn new(name: impl Into<String>, dtype: DType) -> Self {
        Self { name: name.into(), dtype, nullable: true }
    }

    pub fn arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.dtype.arrow(), self.nullable)
    }
}

/// The Arrow schema of `fields`, in order.
pub fn arrow_schema(fields: &[Field]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(Field::arrow).collect::<Vec<_>>()))
}

/// What a feature describes, and the columns that identify one.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    pub name: String,
    pub join_keys: Vec<Field>,
    pub description: String,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    /// The column that says when a row became true.
    pub event_time: String,
    /// The column that says when a row was written.
    pub created_time: Option<String>,
    pub description: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// Rows that stand somewhere already.
    Stored(Stored),
    /// A query over the other sources, which are tables under their names.
    Sql { query: String },
    /// Rows that callers push; also appended to a table, so that training sees them.
    Push { into: Stored },
}

/// A table that some store keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// A Parquet file, or a folder of them.
    Parquet {
        /// Relative to the project's folder, or `s3://bucket/path`.
        path: String,
        /// The columns that stand in the names of the folders, `day=2026-01-31/`; typed, in the order of the folders.
        partitions: Vec<Field>,
    },
    /// A Delta table.
    Delta {
        /// Relative to the project's folder, or `s3://bucket/path`.
        path: String,
        /// Read as it was then; as it is now without it.
        as_of: Option<TableVersion>,
    },
    /// A table of a PostgreSQL database.
    Postgres {
        /// The name that `lockstep.yaml` gives the database under `postgres`.
        connection: String,
        schema: String,
        table: String,
    },
}

/// A moment in the life of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableVersion {
    Number(u64),
    Time(Micros),
}

impl SourceKind {
    /// The table itself, of every kind but a query.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Stored(stored) | Self::Push { into: stored } => Some(stored),
            Self::Sql { .. } => None,
        }
    }

    /// The kind as definitions name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored(stored) => stored.name(),
            Self::Sql { .. } => "sql",
            Self::Push { .. } => "push",
        }
    }
}

impl Stored {
    /// Parquet files without partitions.
    pub fn parquet(path: impl Into<String>) -> Self {
        Self::Parquet { path: path.into(), partitions: Vec::new() }
    }

    /// The kind as definitions name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet { .. } => "parquet",
            Self::Delta { .. } => "delta",
            Self::Postgres { .. } => "postgres",
        }
    }
}

impl std::fmt::Display for Stored {
    /// Where the rows are, in words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parquet { path, .. } => write!(f, "parquet {path}"),
            Self::Delta { path, as_of: None } => write!(f, "delta {path}"),
            Self::Delta { path, as_of: Some(version) } => write!(f, "delta {path} as of {version}"),
            Self::Postgres { connection, schema, table } => write!(f, "postgres {connection}: {schema}.{table}"),
        }
    }
}

impl std::fmt::Display for TableVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "version {number}"),
            Self::Time(time) => match chrono::DateTime::from_timestamp_micros(*time) {
                Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.fZ")),
                None => write!(f, "{time} µs"),
            },
        }
    }
}

/// Features of one entity set from one source.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureView {
    pub name: String,
    pub entities: Vec<String>,
    /// The join keys of the entities, in order, without repetition. Empty for a view without entities.
    pub join_keys: Vec<Field>,
    pub source: String,
    pub features: Vec<Field>,
    /// How old a value may be and still be served; `None` for ever.
    pub ttl: Option<Duration>,
    /// Whether the view is kept in the online store.
    pub online: bool,
    /// How often the view is meant to be synced; only compared with `ttl` so far.
    pub sync_every: Option<Duration>,
    pub description: String,
}

/// Where a derived view is computed. An operations choice: the values do not change with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Request,
    Sync,
}

/// Where one input column of a transform comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum InputSource {
    /// A feature of a feature view or of another derived view.
    Feature { view: String, feature: String },
    /// A field that comes with the request (or, in training, with the label row).
    Request { field: String },
}

/// One input of a derived view, in the transform's column order (`as_of` is not among them).
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The column as the plugin's signature names and types it.
    pub column: Field,
    pub from: InputSource,
}

/// Features that a transform computes from features of other views and from request fields.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedView {
    pub name: String,
    pub transform: Arc<Transform>,
    pub inputs: Vec<Input>,
    pub placement: Placement,
    /// `as_of` is the event time of the row that the view reads, in serving and in training alike.
    pub freeze_at_event_time: bool,
    /// The outputs of the transform under the names this view gives them, in the transform's output order.
    pub features: Vec<Field>,
    pub description: String,
}

/// A feature view or a derived view, by its name.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    Feature(Arc<FeatureView>),
    Derived(Arc<DerivedView>),
}

/// A feature of a view, as a service or a caller names it: `view:feature`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureRef {
    pub view: String,
    pub feature: String,
}

/// Which features a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// All features of a service. `full_feature_names` overrides what the service says.
    Service { name: String, full_feature_names: Option<bool> },
    /// The named features, in this order.
    Features { refs: Vec<FeatureRef>, full_feature_names: bool },
}

/// The named list of features that one model reads.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureService {
    pub name: String,
    pub features: Vec<FeatureRef>,
    /// Columns are named `view__feature`, because two short names would be equal or because the author wants it.
    pub full_feature_names: bool,
    pub description: String,
}

/// The snapshot: everything one project defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    pub project: String,
    pub entities: BTreeMap<String, Entity>,
    pub sources: BTreeMap<String, Source>,
    pub views: BTreeMap<String, View>,
    pub services: BTreeMap<String, FeatureService>,
    /// What the authors say of single features; a feature without a description is not here.
    pub feature_descriptions: BTreeMap<FeatureRef, String>,
}

impl View {
    pub fn name(&self) -> &str {
        match self {
            Self::Feature(view) => &view.name,
            Self::Derived(view) => &view.name,
        }
    }

    pub fn features(&self) -> &[Field] {
        match self {
            Self::Feature(view) => &view.features,
            Self::Derived(view) => &view.features,
        }
    }
}

impl Catalog {
    /// A project that defines nothing.
    pub fn empty(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            entities: BTreeMap::new(),
            sources: BTreeMap::new(),
            views: BTreeMap::new(),
            services: BTreeMap::new(),
            feature_descriptions: BTreeMap::new(),
        }
    }

    pub fn feature_view(&self, name: &str) -> Option<&Arc<FeatureView>> {
        match self.views.get(name)? {
            View::Feature(view) => Some(view),
            View::Derived(_) => None,
        }
    }

    pub fn derived_views(&self) -> impl Iterator<Item = &Arc<DerivedView>> {
        self.views.values().filter_map(|view| match view {
            View::Derived(view) => Some(view),
            View::Feature(_) => None,
        })
    }
}

impl FeatureRef {
    pub fn new(view: &str, feature: &str) -> Self {
        Self { view: view.to_owned(), feature: feature.to_owned() }
    }

    /// The name of the result column.
    pub fn column(&self, full_feature_names: bool) -> String {
        if full_feature_names { format!("{}__{}", self.view, self.feature) } else { self.feature.clone() }
    }
}

impl std::fmt::Display for FeatureRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.view, self.feature)
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
