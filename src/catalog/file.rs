//! The shape of a definition file (`features/*.yaml`). Its comments are what an editor shows.
//!
//! Types, spans of time and references stay text here; `build` reads them, because it can say where they stand.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::document::schema_of;

/// The definitions of a project, or a part of them: all files of the project are read together, in any order.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefinitionsFile {
    /// What features describe.
    #[serde(default)]
    pub entities: Vec<EntityFile>,
    /// Where rows come from.
    #[serde(default)]
    pub sources: Vec<SourceFile>,
    /// Features that are columns of a source.
    #[serde(default)]
    pub feature_views: Vec<FeatureViewFile>,
    /// Features that a plugin computes from other features and from request fields.
    #[serde(default)]
    pub derived_views: Vec<DerivedViewFile>,
    /// The lists of features that models read.
    #[serde(default)]
    pub feature_services: Vec<FeatureServiceFile>,
}

/// What a feature describes, such as a company.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityFile {
    /// In snake_case.
    pub name: String,
    /// The columns that identify one.
    #[schemars(length(min = 1))]
    pub join_keys: Vec<JoinKeyFile>,
    #[serde(default)]
    pub description: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinKeyFile {
    /// The column, in sources, requests and label rows alike.
    pub name: String,
    /// bool, int32, int64, string, bytes, timestamp or date.
    #[serde(rename = "type")]
    pub dtype: String,
}

/// Where rows come from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum SourceFile {
    /// A Parquet file, or a folder of them.
    Parquet {
        /// In snake_case; the table's name in SQL sources.
        name: String,
        /// Relative to the project's folder.
        path: String,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written; of rows with the same event time the later one counts.
        #[serde(default)]
        created_time: Option<String>,
        #[serde(default)]
        description: String,
    },
    /// A table or view of a PostgreSQL database.
    Postgres {
        /// In snake_case; the table's name in SQL sources.
        name: String,
        /// The name of the database under `postgres` in lockstep.yaml.
        connection: String,
        /// `schema.table`, or `table` in the schema `public`; as the database writes it, capitals and all.
        table: String,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written; of rows with the same event time the later one counts.
        #[serde(default)]
        created_time: Option<String>,
        #[serde(default)]
        description: String,
    },
    /// A query over the other sources, which are tables under their names.
    Sql {
        /// In snake_case.
        name: String,
        /// One SELECT.
        query: String,
        /// The column of the result that says when a row became true.
        event_time: String,
        /// The column of the result that says when a row was written.
        #[serde(default)]
        created_time: Option<String>,
        #[serde(default)]
        description: String,
    },
    /// Rows that callers push. They are online at once and kept in a table, so that training sees them.
    Push {
        /// In snake_case; what callers push to.
        name: String,
        /// The folder for the pushed rows as Parquet files, relative to the project's folder.
        #[serde(default)]
        path: Option<String>,
        /// The PostgreSQL table for the pushed rows, in place of a path. It is made if it is not there.
        #[serde(default)]
        postgres: Option<PostgresTableFile>,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written.
        #[serde(default)]
        created_time: Option<String>,
        #[serde(default)]
        description: String,
    },
}

/// Which table of which PostgreSQL database.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PostgresTableFile {
    /// The name of the database under `postgres` in lockstep.yaml.
    pub connection: String,
    /// `schema.table`, or `table` in the schema `public`; as the database writes it, capitals and all.
    pub table: String,
}

/// Features that are columns of one source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureViewFile {
    /// In snake_case.
    pub name: String,
    /// What the features describe; a row is identified by the join keys of all of them.
    pub entities: Vec<String>,
    /// The source with the columns.
    pub source: String,
    /// How old a value may be and still be served, such as 30d; without it a value is served for ever.
    #[serde(default)]
    pub ttl: Option<String>,
    /// Whether the features are kept online; without that they are for training only.
    #[serde(default = "yes")]
    pub online: bool,
    /// How often the view is meant to be synced, such as 1h; only compared with `ttl`.
    #[serde(default)]
    pub sync_every: Option<String>,
    #[schemars(length(min = 1))]
    pub features: Vec<FeatureFile>,
    #[serde(default)]
    pub description: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureFile {
    /// The column of the source, in snake_case.
    pub name: String,
    /// bool, int32, int64, float32, float64, string, bytes, timestamp, date, list<…> of one of them, or
    /// list<float32, 384> for an embedding.
    #[serde(rename = "type")]
    pub dtype: String,
    #[serde(default)]
    pub description: String,
}

/// Features that a plugin computes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DerivedViewFile {
    /// In snake_case; feature views and derived views share their names.
    pub name: String,
    /// The file in the plugins' folder, without `.wasm`.
    pub plugin: String,
    /// Values of the plugin's parameters.
    #[serde(default)]
    #[schemars(schema_with = "parameters")]
    pub parameters: BTreeMap<String, Value>,
    /// The plugin's feature inputs: from input to `view:feature`.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// The plugin's request inputs: from input to the field that comes with the request. An input that is not here
    /// takes the field of its own name.
    #[serde(default)]
    pub request: BTreeMap<String, String>,
    /// Where the features are computed. The values are the same.
    #[serde(default)]
    pub placement: PlacementFile,
    /// The plugin's `as_of` is the event time of the row that the view reads, in place of the time asked about.
    #[serde(default)]
    pub freeze_at_event_time: bool,
    /// Which outputs of the plugin become features; without it all of them do.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub features: Option<Vec<OutputFile>>,
    #[serde(default)]
    pub description: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PlacementFile {
    /// When a request is answered.
    #[default]
    Request,
    /// When rows are synced or pushed; the results are kept online.
    Sync,
}

/// An output of the plugin: its name, or `{output: …, name: …}` to name the feature otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum OutputFile {
    Same(String),
    Renamed(RenamedFile),
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenamedFile {
    /// The plugin's output.
    pub output: String,
    /// The feature, in snake_case.
    pub name: String,
}

/// The features that one model reads.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureServiceFile {
    /// In snake_case, with a version by custom: `tip_model_v1`.
    pub name: String,
    /// Whether the columns are named `view__feature`.
    #[serde(default)]
    pub full_feature_names: bool,
    /// In the order of the answer; `view` for all features of a view, `view:feature` for one.
    #[schemars(length(min = 1))]
    pub features: Vec<String>,
    #[serde(default)]
    pub description: String,
}

impl SourceFile {
    pub fn name(&self) -> &str {
        match self {
            Self::Parquet { name, .. }
            | Self::Postgres { name, .. }
            | Self::Sql { name, .. }
            | Self::Push { name, .. } => name,
        }
    }

    pub fn event_time(&self) -> &str {
        match self {
            Self::Parquet { event_time, .. }
            | Self::Postgres { event_time, .. }
            | Self::Sql { event_time, .. }
            | Self::Push { event_time, .. } => event_time,
        }
    }

    pub fn created_time(&self) -> Option<&str> {
        match self {
            Self::Parquet { created_time, .. }
            | Self::Postgres { created_time, .. }
            | Self::Sql { created_time, .. }
            | Self::Push { created_time, .. } => created_time.as_deref(),
        }
    }

    pub fn description(&self) -> &str {
        match self {
            Self::Parquet { description, .. }
            | Self::Postgres { description, .. }
            | Self::Sql { description, .. }
            | Self::Push { description, .. } => description,
        }
    }
}

impl OutputFile {
    pub fn output(&self) -> &str {
        match self {
            Self::Same(name) => name,
            Self::Renamed(renamed) => &renamed.output,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Same(name) => name,
            Self::Renamed(renamed) => &renamed.name,
        }
    }
}

/// The JSON Schema of a definition file.
pub fn schema() -> Value {
    schema_of::<DefinitionsFile>("urn:lockstep:schema:features:1", "features/*.yaml: what a Lockstep project defines")
}

fn yes() -> bool {
    true
}

fn parameters(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": { "type": ["null", "boolean", "integer", "number", "string"] }
    })
}
