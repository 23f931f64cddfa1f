//! The shape of a definition file (`features/*.yaml`). Its comments are what an editor shows.
//!
//! Types, spans of time and references stay text here; `build` reads them, because it can say where they stand.

mod source;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::source::{PartitionFile, SourceFile};
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

/// Features that are columns of one source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureViewFile {
    /// In snake_case.
    pub name: String,
    /// Another version beside the others of the same name: 2 is called `name@v2`. The first is called by the name alone.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9999))]
    pub version: Option<u32>,
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
    /// How often a running gateway syncs the view, such as 1h.
    #[serde(default)]
    pub sync_every: Option<String>,
    #[schemars(length(min = 1))]
    pub features: Vec<FeatureFile>,
    /// What the rows are expected to be, and what happens when they are not.
    #[serde(default)]
    pub expectations: Vec<ExpectationFile>,
    /// The source that takes quarantined rows; without it they go to a folder under .lockstep/quarantine.
    #[serde(default)]
    pub quarantine: Option<String>,
    /// Whether requests that read it are kept out of the request log.
    #[serde(default)]
    pub sensitive: bool,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub deprecated: Option<DeprecatedFile>,
}

/// One thing that is expected: `{feature: fare, range: [0, 500], on_failure: quarantine}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectationFile {
    /// The feature that it is about; freshness, and unique rows, are about none.
    #[serde(default)]
    pub feature: Option<String>,
    /// No value is null.
    #[serde(default)]
    pub not_null: Option<bool>,
    /// Every value is between the two, both included. Times are text, such as '2016-01-01'.
    #[serde(default)]
    #[schemars(schema_with = "range")]
    pub range: Option<Vec<Value>>,
    /// Every value is this or more.
    #[serde(default)]
    #[schemars(schema_with = "bound")]
    pub at_least: Option<Value>,
    /// Every value is this or less.
    #[serde(default)]
    #[schemars(schema_with = "bound")]
    pub at_most: Option<Value>,
    /// Every value is one of these.
    #[serde(default)]
    #[schemars(schema_with = "set")]
    pub in_set: Option<Vec<Value>>,
    /// The part of the rows, from 0 to 1, that has no value is not larger.
    #[serde(default)]
    pub null_ratio_at_most: Option<f64>,
    /// No value comes twice; without a feature, no two rows share keys and event time.
    #[serde(default)]
    pub unique: Option<bool>,
    /// The variance of the values is larger.
    #[serde(default)]
    pub variance_above: Option<f64>,
    /// The part of the values that lies more than three times the distance of the quartiles outside of them is not larger.
    #[serde(default)]
    pub outlier_ratio_at_most: Option<f64>,
    /// The newest row is not older, such as 2h.
    #[serde(default)]
    pub freshness_at_most: Option<String>,
    /// What happens to rows that are not as expected, or to the run.
    #[serde(default)]
    pub on_failure: OnFailureFile,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnFailureFile {
    /// They go on, and it is said and counted.
    #[default]
    Warn,
    /// They go to a side table with the reason, the others go on; only for what is about each row by itself.
    Quarantine,
    /// Nothing is written.
    Fail,
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
    #[serde(default)]
    pub deprecated: Option<DeprecatedFile>,
}

/// Something that is going away.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeprecatedFile {
    /// The first day on which it is deprecated, such as 2026-11-01.
    pub since: String,
    /// The last day on which it is promised to be there, such as 2027-02-01.
    #[serde(default)]
    pub remove_after: Option<String>,
    /// What to use in its place: another view, `view:feature` or service.
    #[serde(default, rename = "use")]
    pub instead: Option<String>,
}

/// Features that a plugin computes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DerivedViewFile {
    /// In snake_case; feature views and derived views share their names.
    pub name: String,
    /// Another version beside the others of the same name: 2 is called `name@v2`. The first is called by the name alone.
    #[serde(default)]
    #[schemars(range(min = 1, max = 9999))]
    pub version: Option<u32>,
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
    /// Whether requests that it answers are kept out of the request log, for the sake of their request fields.
    #[serde(default)]
    pub sensitive: bool,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub deprecated: Option<DeprecatedFile>,
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
    #[serde(default)]
    pub deprecated: Option<DeprecatedFile>,
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
    pub features: Vec<ServiceFeatureFile>,
    /// Answers a part of the callers with another service, which takes the same and answers the same columns.
    #[serde(default)]
    pub split: Option<SplitFile>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub deprecated: Option<DeprecatedFile>,
}

/// Which part of the callers gets the answers of which other service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SplitFile {
    /// The join key or request field whose value in the first row of a request decides.
    pub by: String,
    /// The service that answers the part.
    pub other: String,
    /// Of the values, how many are in the part: above 0 and below 1.
    pub share: f64,
}

/// `view`, `view:feature`, or a view under another name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ServiceFeatureFile {
    Named(String),
    Aliased(AliasedViewFile),
}

/// A view under another name, with its join keys in other columns. Its columns are named `<as>__<feature>`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AliasedViewFile {
    pub view: String,
    /// The other name, in snake_case; the same one stands for the same in all services.
    #[serde(rename = "as")]
    pub alias: String,
    /// From join key to the column that has its values: in requests and label rows. A join key that is not here is in the
    /// column of its own name.
    #[serde(default)]
    pub join_keys: BTreeMap<String, String>,
    /// All features of the view if not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub features: Option<Vec<String>>,
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

    pub fn deprecated(&self) -> Option<&DeprecatedFile> {
        match self {
            Self::Same(_) => None,
            Self::Renamed(renamed) => renamed.deprecated.as_ref(),
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

fn bound(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["number", "string"] })
}

fn range(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": { "type": ["number", "string"] }
    })
}

fn set(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": { "type": ["boolean", "integer", "string"] },
        "minItems": 1
    })
}

fn parameters(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": { "type": ["null", "boolean", "integer", "number", "string"] }
    })
}
