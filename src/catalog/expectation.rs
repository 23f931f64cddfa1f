//! What rows of a feature view are expected to be, and what happens to those that are not.

use std::fmt;
use std::time::Duration;

use crate::document::duration_text;

/// One expectation of a feature view.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub check: Check,
    pub on_failure: OnFailure,
}

/// What is expected. The first three are about each row by itself, the others about all rows of a run together.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    NotNull {
        feature: String,
    },
    /// Both ends inclusive; a null is in every range, NaN in none.
    Range {
        feature: String,
        low: Option<Literal>,
        high: Option<Literal>,
    },
    /// A null is in every set.
    InSet {
        feature: String,
        values: Vec<Literal>,
    },
    NullRatio {
        feature: String,
        at_most: f64,
    },
    /// No two values of the feature are the same, nulls aside; without a feature, no two rows share keys and event time.
    Unique {
        feature: Option<String>,
    },
    Variance {
        feature: String,
        above: f64,
    },
    /// The part of the values that lies more than three times the distance of the quartiles outside of them.
    OutlierRatio {
        feature: String,
        at_most: f64,
    },
    /// The newest row is not older than this.
    Freshness {
        at_most: Duration,
    },
}

/// A value in a definition, in the type of its feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Bool(bool),
    /// A whole number, the microseconds of a timestamp or the days of a date.
    Whole(i64),
    Float(f64),
    Text(String),
}

/// What happens when an expectation does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is said, counted, and the rows go on.
    #[default]
    Warn,
    /// The rows go to a side table with the reason; the others go on. They are no rows of the view then: neither serving
    /// nor training has them.
    Quarantine,
    /// Nothing is written.
    Fail,
}

impl Expectation {
    /// The name under which metrics and reports have it: `fare.range`, or `freshness` where it is about no feature. Two
    /// expectations of a view never share it.
    pub fn name(&self) -> String {
        match self.check.feature() {
            Some(feature) => format!("{feature}.{}", self.check.kind()),
            None => self.check.kind().to_owned(),
        }
    }
}

impl Check {
    /// The feature that it is about.
    pub fn feature(&self) -> Option<&str> {
        match self {
            Self::NotNull { feature }
            | Self::Range { feature, .. }
            | Self::InSet { feature, .. }
            | Self::NullRatio { feature, .. }
            | Self::Variance { feature, .. }
            | Self::OutlierRatio { feature, .. } => Some(feature),
            Self::Unique { feature } => feature.as_deref(),
            Self::Freshness { .. } => None,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotNull { .. } => "not_null",
            Self::Range { .. } => "range",
            Self::InSet { .. } => "in_set",
            Self::NullRatio { .. } => "null_ratio",
            Self::Unique { .. } => "unique",
            Self::Variance { .. } => "variance",
            Self::OutlierRatio { .. } => "outlier_ratio",
            Self::Freshness { .. } => "freshness",
        }
    }

    /// Whether it can be said of one row without seeing another.
    pub fn is_of_rows(&self) -> bool {
        matches!(self, Self::NotNull { .. } | Self::Range { .. } | Self::InSet { .. })
    }
}

impl OnFailure {
    pub fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Quarantine => "quarantine",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Check {
    /// What is expected, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNull { feature } => write!(f, "{feature} is not null"),
            Self::Range { feature, low: Some(low), high: Some(high) } => {
                write!(f, "{feature} is between {low} and {high}")
            }
            Self::Range { feature, low: Some(low), high: None } => write!(f, "{feature} is {low} at least"),
            Self::Range { feature, low: None, high: Some(high) } => write!(f, "{feature} is {high} at most"),
            Self::Range { feature, low: None, high: None } => write!(f, "{feature} is a number"),
            Self::InSet { feature, values } => {
                let shown: Vec<String> = values.iter().take(SET_SHOWN_MAX).map(ToString::to_string).collect();
                let more = if values.len() > SET_SHOWN_MAX { ", …" } else { "" };
                write!(f, "{feature} is one of {}{more}", shown.join(", "))
            }
            Self::NullRatio { feature, at_most } => write!(f, "{at_most} of {feature} is null at the most"),
            Self::Unique { feature: Some(feature) } => write!(f, "no value of {feature} comes twice"),
            Self::Unique { feature: None } => write!(f, "no two rows share keys and event time"),
            Self::Variance { feature, above } => write!(f, "the variance of {feature} is above {above}"),
            Self::OutlierRatio { feature, at_most } => {
                write!(f, "{at_most} of {feature} lies far outside of the quartiles at the most")
            }
            Self::Freshness { at_most } => write!(f, "the newest row is {} old at the most", duration_text(*at_most)),
        }
    }
}

/// Values of a set that a sentence repeats.
const SET_SHOWN_MAX: usize = 10;

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}
