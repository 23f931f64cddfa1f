//! The JSON that comes and goes, as types: what serde reads and writes is what `/openapi.json` describes.
//!
//! Bodies allow unknown fields, as Feast's server does; its clients send some that mean nothing here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits::ARROW_COLUMNS_MAX;

/// Columns of a body by name, in the order in which they came, not yet read.
#[derive(Debug)]
pub struct Columns<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// What a client asks of the online store.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct FeaturesRequest<'a> {
    /// Join keys and request fields by name, one value per row; all of the same length.
    #[serde(borrow)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub entities: Option<Columns<'a>>,
    /// The features, as `view:feature`.
    pub features: Option<Vec<String>>,
    /// The feature service; it wins over `features`. On a route that names the service, neither is read.
    pub feature_service: Option<String>,
    /// Whether columns are named `view__feature`.
    pub full_feature_names: Option<bool>,
    /// Whether the answer lists the views that were read.
    pub include_feature_view_version_metadata: Option<bool>,
    /// The time that is asked about: RFC 3339, or epoch microseconds; now, if left out. Feast does not know it.
    #[serde(borrow)]
    #[schemars(with = "Option<Instant>")]
    pub as_of: Option<&'a RawValue>,
    /// The fingerprint of the schema that the caller trained on, from the metadata of a training set: an answer with
    /// another schema is refused. The header `lockstep-schema-fingerprint` does the same.
    #[serde(borrow, default)]
    pub schema_fingerprint: Option<Cow<'a, str>>,
    /// Whether what can be known is answered while a part of the store cannot be reached; its other cells are null, and
    /// their status says so. Feast does not know it.
    pub partial: Option<bool>,
}

/// A time as RFC 3339 text or as a number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what `values::json_instant` reads")]
pub enum Instant {
    Text(String),
    Number(i64),
}

/// Rows for the views that read a push source.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PushRequest<'a> {
    pub push_source_name: Option<String>,
    /// The columns of the source by name, one value per row.
    #[serde(borrow)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub df: Option<Columns<'a>>,
    /// Where the rows go; `online`, if left out.
    pub to: Option<PushDestination>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PushDestination {
    Online,
    Offline,
    OnlineAndOffline,
}

/// Rows for one feature view's online table.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WriteRequest<'a> {
    pub feature_view_name: Option<String>,
    /// Join keys, features and the times of the source, by name; one value per row.
    #[serde(borrow)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub df: Option<Columns<'a>>,
}

/// Rows for one feature view's online table, by hand.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SetRequest<'a> {
    /// Join keys, features and, if they differ from row to row, the times of the source, by name; one value per row. A
    /// feature that is left out is null.
    #[serde(borrow)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub columns: Option<Columns<'a>>,
}

/// What a set did, as `flow::online::Set` is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::online` writes")]
pub struct RowsSet {
    /// The views that got the rows, derived ones included.
    pub views: Vec<String>,
    pub rows: u64,
    pub rows_written: u64,
    /// Rows of which the store has a newer version; they are not written.
    pub rows_older: u64,
    /// Rows that are not as the view expects and went to a side table; left out where there are none.
    #[serde(default)]
    pub rows_quarantined: u64,
}

/// What a delete did, as `flow::online::Deleted` is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::online` writes")]
pub struct RowDeleted {
    /// `deleted`; `absent`, there was no row; `already_null`, the feature had no value; `older`, the row is newer and
    /// stays.
    pub outcome: String,
    /// The views concerned, derived ones included.
    pub views: Vec<String>,
    /// Event time of the row that was found.
    pub event_time: Option<String>,
}

/// How the online store is, as `flow::online::StoreHealth` is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::online` writes")]
pub struct StoreHealth {
    /// What the store is and where.
    pub store: String,
    pub facts: BTreeMap<String, String>,
    /// What may lose or refuse data as the store is set up, with the setting that would change it.
    pub warnings: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::online` writes")]
pub struct StoreStatistics {
    pub views: Vec<StoredView>,
}

/// What the online store holds of one view, as `flow::online::StoredView` is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::online` writes")]
pub struct StoredView {
    pub view: String,
    pub keys: u64,
    /// Keys whose rows were looked at; everything below is of these.
    pub sampled: u64,
    /// Bytes that the store keeps of a row, its key included.
    pub bytes_per_key: Option<f64>,
    /// The same bytes, over the values that are not null.
    pub bytes_per_value: Option<f64>,
    pub oldest_event_time: Option<String>,
    pub newest_event_time: Option<String>,
    /// By feature, in the view's order.
    pub coverage: Vec<Coverage>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::online` writes")]
pub struct Coverage {
    pub feature: String,
    /// Rows that have a value.
    pub values: u64,
    /// The same as a part of the sampled rows.
    pub share: Option<f64>,
}

/// The runs of sync, newest first, and the schedules that are run, as `flow::sync` writes them. Times are RFC 3339.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::sync` writes")]
pub struct SyncList {
    pub runs: Vec<SyncRunShown>,
    pub schedules: Vec<SyncScheduleShown>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::sync` writes")]
pub struct SyncRunShown {
    pub view: String,
    /// `full`, `range` or `incremental`.
    pub range: String,
    /// The event times that were asked for; null from the beginning.
    pub from: Option<String>,
    pub until: Option<String>,
    pub started_at: String,
    pub seconds: f64,
    /// `finished`; `stopped`, the same sync goes on with it; or `failed`.
    pub outcome: String,
    pub failure: Option<String>,
    pub rows_read: u64,
    /// Rows that are the newest of their key.
    pub rows_latest: u64,
    pub rows_written: u64,
    /// Rows that the online store had in a newer version.
    pub rows_older: u64,
    pub rows_without_key: u64,
    /// Rows from after the gateway's clock, which were left out.
    pub rows_in_future: u64,
    pub rows_failed: u64,
    /// Rows that went to a side table because they are not as the view expects.
    pub rows_quarantined: u64,
    /// Of the rows read, those that an interrupted run had read.
    pub rows_reused: u64,
    /// Rows that were read once more to find the place at which the interrupted run had stopped.
    pub rows_read_again: u64,
    pub bytes_written: u64,
    /// Bytes that were put aside on disk.
    pub bytes_spooled: u64,
    pub newest_event_time: Option<String>,
    pub nulls: Vec<SyncNulls>,
    /// What came of each expectation of the view.
    #[schemars(with = "Vec<crate::quality::Verdict>")]
    pub expectations: Vec<serde_json::Value>,
    /// What the source consisted of: files, versions, queries.
    pub snapshot: Option<serde_json::Value>,
}

/// Of the rows that count, those without a value of one feature.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::sync` writes")]
pub struct SyncNulls {
    pub feature: String,
    pub rows: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `flow::sync` writes")]
pub struct SyncScheduleShown {
    pub view: String,
    pub next_at: String,
    /// Runs in a row that failed, and why the last one did.
    pub failures: u32,
    pub failure: Option<String>,
}

/// What to bring from the offline to the online store.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MaterializeRequest {
    /// The first event time, RFC 3339; UTC without a zone. Not read by the incremental route.
    pub start_ts: Option<String>,
    /// The last event time.
    pub end_ts: Option<String>,
    /// The views; all that are kept online, if left out.
    pub feature_views: Option<Vec<String>>,
    /// Takes everything up to now instead of a range.
    #[serde(default)]
    pub disable_event_timestamp: bool,
    /// The version of the one view in `feature_views`, such as `v2`.
    pub version: Option<String>,
}

/// The answer of `/get-online-features`, as [`super::answer::feast`] writes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "describes what `answer::feast` writes"))]
pub struct OnlineAnswer {
    pub metadata: OnlineMetadata,
    /// One per name of `metadata.feature_names`: the join keys as they came, then the features as they were asked for.
    pub results: Vec<OnlineColumn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "describes what `answer::feast` writes"))]
pub struct OnlineMetadata {
    pub feature_names: Vec<String>,
    pub feature_view_metadata: Option<Vec<ViewMetadata>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "describes what `answer::feast` writes"))]
pub struct ViewMetadata {
    /// Without its version.
    pub name: String,
    /// Left out for the first.
    pub version: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "describes what `answer::feast` writes"))]
pub struct OnlineColumn {
    pub values: Vec<serde_json::Value>,
    /// `PRESENT`, `NULL_VALUE`, `NOT_FOUND` or `OUTSIDE_MAX_AGE`, by row; `INVALID` where the answer is partial.
    pub statuses: Vec<String>,
    /// When each value became true; the epoch for join keys, derived features and what was not found.
    pub event_timestamps: Vec<String>,
}

/// The answer of the `/v1` look-ups, as [`super::answer::readable`] writes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "describes what `answer::readable` writes"))]
pub struct ReadableAnswer {
    /// The service that was asked for, if one was.
    pub service: Option<String>,
    /// The number of the service's list that is answered; `service@number` asks for it whatever comes later.
    pub service_version: Option<u32>,
    /// The applied version of the definitions.
    pub version: u64,
    /// The time that was asked about.
    pub as_of: String,
    /// One object per row: what came with the question, then the features.
    pub features: Vec<serde_json::Map<String, serde_json::Value>>,
    /// By feature and row; only features of which some value is not simply there. As Feast's, but `UNAVAILABLE` where
    /// the answer is partial.
    pub statuses: Option<BTreeMap<String, Vec<String>>>,
    /// By stored view and row: when what was found became true.
    pub event_times: Option<BTreeMap<String, Vec<Option<String>>>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct EntityList {
    pub entities: Vec<EntityShown>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct EntityShown {
    pub name: String,
    pub join_keys: Vec<FieldShown>,
    pub description: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct FieldShown {
    pub name: String,
    #[serde(rename = "type")]
    pub dtype: String,
    /// Of the feature itself; its view may be deprecated as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<DeprecationShown>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ViewList {
    pub feature_views: Vec<ViewShown>,
}

/// A feature view (`kind: feature`) or a derived view (`kind: derived`).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ViewShown {
    Feature {
        name: String,
        entities: Vec<String>,
        join_keys: Vec<FieldShown>,
        source: SourceShown,
        /// How old a value may be and still be served; null for ever.
        ttl_seconds: Option<f64>,
        online: bool,
        features: Vec<FieldShown>,
        description: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        deprecated: Option<DeprecationShown>,
    },
    Derived {
        name: String,
        transform: TransformShown,
        /// Where it is computed: `request` or `sync`.
        placement: &'static str,
        freeze_at_event_time: bool,
        inputs: Vec<InputShown>,
        features: Vec<FieldShown>,
        description: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        deprecated: Option<DeprecationShown>,
    },
}

/// Since when something is going away, until when it is promised to stay, and what to use in its place.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeprecationShown {
    pub since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_after: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceShown {
    pub name: String,
    /// `parquet`, `sql` or `push`.
    pub kind: &'static str,
    pub event_time: String,
    pub created_time: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct TransformShown {
    pub plugin: String,
    pub version: String,
    /// SHA-256 over the plugin's bytes, its parameters and its signature.
    pub digest: String,
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub parameters: BTreeMap<String, crate::catalog::Parameter>,
}

/// One input column of a transform, and where it comes from: `view:feature` or `request:field`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InputShown {
    pub name: String,
    #[serde(rename = "type")]
    pub dtype: String,
    pub from: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceList {
    pub feature_services: Vec<ServiceShown>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceShown {
    pub name: String,
    /// The number of this list, if it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The numbers of all lists that the service has had and that can be asked for as `name@number`.
    pub versions: Vec<u32>,
    /// As `view:feature`.
    pub features: Vec<String>,
    pub full_feature_names: bool,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<DeprecationShown>,
    /// What a question must bring along; only where one service is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<NeededShown>>,
    /// Why the service cannot be asked online, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_servable: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct NeededShown {
    pub name: String,
    #[serde(rename = "type")]
    pub dtype: String,
    /// `join_key` or `request`.
    pub kind: &'static str,
    pub required: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Columns<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ColumnsVisitor)
    }
}

struct ColumnsVisitor;

/// A name that borrows where JSON wrote it without escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for ColumnsVisitor {
    type Value = Columns<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns, each an array of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns<'de>, A::Error> {
        let mut columns: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some((Name(name), values)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if columns.len() == ARROW_COLUMNS_MAX {
                return Err(A::Error::custom(format_args!("more than {ARROW_COLUMNS_MAX} columns")));
            }
            columns.push((name, values));
        }
        Ok(Columns(columns))
    }
}
