//! What statistics say, in the shape in which commands and wires print it.

use chrono::{DateTime, NaiveDate, SecondsFormat};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::catalog::Field;

/// How a number was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Method {
    /// Every value was looked at.
    #[serde(rename = "exact")]
    Exact,
    /// Estimated from a HyperLogLog of 2¹⁴ registers: a standard error of 0.81 %.
    #[serde(rename = "hyperloglog")]
    HyperLogLog,
    /// Estimated from a sketch in the manner of KLL; `rank_error` bounds how far an answer is off.
    #[serde(rename = "kll_sketch")]
    Sketch,
}

/// One column. What a type does not have is left out: text has no mean, a list no values to count.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ColumnStatistics {
    pub column: String,
    #[serde(rename = "type")]
    pub dtype: String,
    /// Rows, nulls included.
    pub count: u64,
    pub nulls: u64,
    /// Nulls as a part of the rows; null where there are no rows.
    pub null_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_method: Option<Method>,
    /// Floats that are not a number. Nothing below is made of them, nor of infinite ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub nans: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub infinities: u64,
    /// Of bools, the part that is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The standard deviation of a sample: divided by one less than the count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantiles_method: Option<Method>,
    /// The rank of a quantile, and the count of a bin, is wrong by no more than this part of the rows; 0 if exact.
    pub rank_error: f64,
    /// The most frequent values, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopValue>,
    /// By how much a count in `top` can be too small; 0 if all values were counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub top_count_error: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// Characters of texts, bytes of bytes, items of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Spread>,
    /// Euclidean norms of embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norms: Option<Spread>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct QuantileShown {
    /// The part of the values that lies below.
    pub below: f64,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TopValue {
    /// Long texts are cut; bytes are base64.
    pub value: Value,
    pub count: u64,
}

/// Bins of one width between the least and the largest value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Histogram {
    pub method: Method,
    pub bins: Vec<HistogramBin>,
}

/// `to` belongs to the last bin only.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct HistogramBin {
    pub from: Value,
    pub to: Value,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Spread {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    pub std: Option<f64>,
    pub median: Option<f64>,
}

impl ColumnStatistics {
    pub(super) fn new(field: &Field, count: u64, nulls: u64) -> Self {
        Self {
            column: field.name.clone(),
            dtype: field.dtype.to_string(),
            count,
            nulls,
            null_ratio: (count > 0).then(|| nulls as f64 / count as f64),
            distinct: None,
            distinct_method: None,
            nans: 0,
            infinities: 0,
            mean: None,
            std: None,
            min: None,
            max: None,
            median: None,
            quantiles: Vec::new(),
            quantiles_method: None,
            rank_error: 0.0,
            top: Vec::new(),
            top_count_error: 0,
            histogram: None,
            lengths: None,
            norms: None,
        }
    }
}

pub(super) fn top((value, count): (Value, u64)) -> TopValue {
    TopValue { value, count }
}

/// A float; where JSON has no number for it, as text.
pub(super) fn number(value: f64) -> Value {
    match value {
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value if value.is_nan() => json!("NaN"),
        value => json!(value),
    }
}

/// Microseconds since the epoch, in RFC 3339.
pub(super) fn time(micros: i64) -> Value {
    match DateTime::from_timestamp_micros(micros) {
        Some(time) => json!(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        None => json!(micros),
    }
}

/// Days since the epoch, as `2016-12-31`.
pub(super) fn date(days: i64) -> Value {
    match i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days) {
        Some(date) => json!(date.to_string()),
        None => json!(days),
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
