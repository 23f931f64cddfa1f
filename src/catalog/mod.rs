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
mod expectation;
mod signature;
mod split;
mod versioned;

mod deprecation;
mod recorded;

mod alias;
mod build;
mod definitions;
mod file;
mod hash;
mod names;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use alias::{Alias, JoinKeyColumns, column_of};
pub use build::{Bind, Columns, PluginUse, UNREADABLE, Warning, build};
pub use definitions::{DefinitionFile, Definitions};
pub use deprecation::{Day, Defined, Deprecation};
pub use dtype::{DType, Scalar};
pub use expectation::{Check, Expectation, Literal, OnFailure};
pub use file::schema;
pub use names::snake_case_mistake;
pub use reach::Reach;
pub use recorded::{RecordedFeature, ServiceRef, ServiceVersion};
pub use signature::{Digest, NullPolicy, Parameter, ParameterSpec, Signature, TimeUse, Transform};
pub use split::Split;
pub use versioned::{defined_name, latest_of, split_version, versioned_name};

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
    /// One row for each value, in another source; made into one row for each entity and event time.
    Long(Box<Long>),
    /// Rows that callers push; also appended to a table, so that training sees them.
    Push { into: Stored },
}

/// How a source in the long format says whose value it is, of what, and where the value stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Long {
    /// The source with the values.
    pub source: String,
    /// A column, and what stands in it in the rows that count; all rows without it.
    pub entity_type: Option<(String, String)>,
    /// The column that says whose value it is.
    pub entity: String,
    /// What that column is called here.
    pub join_key: String,
    /// The column with the name of the feature.
    pub name_column: String,
    /// The column with the values of all types that `value_columns` does not name.
    pub value_column: Option<String>,
    /// The columns with the values of certain types.
    pub value_columns: Vec<(DType, String)>,
}

impl Long {
    /// The column with the values of features of a type.
    pub fn value_column_of(&self, dtype: DType) -> Option<&str> {
        let own = self.value_columns.iter().find(|(of, _)| *of == dtype).map(|(_, column)| column);
        own.or(self.value_column.as_ref()).map(String::as_str)
    }

    /// Every column that is read besides the times.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let entity_type = self.entity_type.iter().map(|(column, _)| column);
        let values = self.value_column.iter().chain(self.value_columns.iter().map(|(_, column)| column));
        [&self.entity, &self.name_column].into_iter().chain(entity_type).chain(values).map(String::as_str)
    }
}

impl std::fmt::Display for Long {
    /// The definition, as JSON in its own words, the same in every version: snapshots of the source carry it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut definition = serde_json::json!({
            "source": self.source,
            "entity": {"column": self.entity, "join_key": self.join_key},
            "name_column": self.name_column,
        });
        if let Some((column, value)) = &self.entity_type {
            definition["entity_type"] = serde_json::json!({"column": column, "value": value});
        }
        if let Some(column) = &self.value_column {
            definition["value_column"] = column.as_str().into();
        }
        if !self.value_columns.is_empty() {
            let columns = self.value_columns.iter().map(|(dtype, column)| (dtype.to_string(), column.as_str()));
            definition["value_columns"] = serde_json::Value::from_iter(columns);
        }
        write!(f, "{definition}")
    }
}

/// A table that some store keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// A Parquet file, or a folder of them.
    Parquet {
        /// Relative to the project's folder, or `s3://bucket/path`.
        path: String,
        /// The columns that stand in the names of the folders, `day=2026-01-31/`, in the order of the folders.
        partitions: Vec<Partition>,
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

/// A column of a table whose values stand in the names of folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub field: Field,
    /// The column of times whose day, in UTC, it is; so that files can be left out by time.
    pub day_of: Option<String>,
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
            Self::Sql { .. } | Self::Long(_) => None,
        }
    }

    /// The kind as definitions name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored(stored) => stored.name(),
            Self::Sql { .. } => "sql",
            Self::Long(_) => "long",
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

    /// Whether its rows have an order, so that of two that tie on their times the later one is known. Files have one;
    /// the rows of a table are a set.
    pub fn keeps_order(&self) -> bool {
        match self {
            Self::Parquet { .. } => true,
            Self::Delta { .. } | Self::Postgres { .. } => false,
        }
    }
}

impl std::fmt::Display for Stored {
    /// Where the rows are, in words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parquet { path, partitions } => {
                write!(f, "parquet {path}")?;
                let mut between = " by ";
                for partition in partitions {
                    write!(f, "{between}{}", partition.field.name)?;
                    between = ", ";
                }
                Ok(())
            }
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
    /// With its version, if it is not the first: `company_stats@v2`.
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
    /// How often a running gateway syncs the view.
    pub sync_every: Option<Duration>,
    /// What its rows are expected to be.
    pub expectations: Vec<Expectation>,
    /// The source that takes the rows that are quarantined; a folder of the gateway's own without it.
    pub quarantine: Option<String>,
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
    /// With its version, if it is not the first: `company_recency@v2`.
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

/// A feature of a view (or of an alias of one), as a service or a caller names it: `view:feature`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureRef {
    pub view: String,
    pub feature: String,
}

/// Which features a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// All features of a service, as it is now or as it was: `tip_model_v1@3` (see [`ServiceRef`]).
    /// `full_feature_names` overrides what the service says.
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
    /// A part of the callers gets the answers of another service.
    pub split: Option<Split>,
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
    /// What its authors want to be rid of.
    pub deprecations: BTreeMap<Defined, Deprecation>,
    /// The lists that services have had, by service, as the registry recorded them; not a part of what is defined.
    pub service_versions: BTreeMap<String, Vec<ServiceVersion>>,
    /// The other names under which services read views.
    pub aliases: BTreeMap<String, Alias>,
    /// The views whose rows do not go to the request log: those that say so, and those whose source does.
    pub sensitive: BTreeSet<String>,
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
            deprecations: BTreeMap::new(),
            service_versions: BTreeMap::new(),
            aliases: BTreeMap::new(),
            sensitive: BTreeSet::new(),
        }
    }

    /// The view that a question names: as it is defined, with `@v1` for the first version, or with `@latest`.
    pub fn view(&self, name: &str) -> Option<&View> {
        let Some(plain) = latest_of(name) else { return self.views.get(defined_name(name)) };
        let versions = self.views.values().filter(|view| split_version(view.name()).0 == plain);
        versions.max_by_key(|view| split_version(view.name()).1)
    }

    pub fn feature_view(&self, name: &str) -> Option<&Arc<FeatureView>> {
        match self.view(name)? {
            View::Feature(view) => Some(view),
            View::Derived(_) => None,
        }
    }

    /// Whether the rows of a source have an order, as [`Stored::keeps_order`] says it of a table. Those of a query have
    /// one only where it can read no table without.
    pub fn keeps_order(&self, source: &Source) -> bool {
        match source.kind.stored() {
            Some(stored) => stored.keeps_order(),
            None => self.sources.values().filter_map(|source| source.kind.stored()).all(Stored::keeps_order),
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
