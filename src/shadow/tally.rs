//! What comparing two builds of a plugin has brought to light.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};

use crate::cast::to_text;
use crate::error::chain;
use crate::limits::SHADOW_EXAMPLES_MAX;
use crate::transform;

/// What is known of one view's two builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub view: String,
    /// The build that answers, and the one beside it.
    pub old: String,
    pub new: String,
    pub share: f64,
    /// Live calls of the view since the shadow began.
    pub calls: u64,
    /// Of these, calls that were compared, and the rows in them.
    pub compared: u64,
    pub rows: u64,
    /// Calls that should have been compared while the thread that does it was busy.
    pub dropped: u64,
    /// Compared calls in which the new build failed.
    pub failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    pub old_cost: Cost,
    pub new_cost: Cost,
    pub features: Vec<FeatureFound>,
    /// The last cells that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// What the compared calls took in one build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub fuel: u64,
    pub nanoseconds: u64,
}

/// How one feature compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureFound {
    pub feature: String,
    /// Values that were compared, and those whose bits differ; a null differs from every value.
    pub values: u64,
    pub differ: u64,
    /// The largest difference between two numbers that differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_difference: Option<f64>,
}

/// A cell that differs, and what it was computed of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub feature: String,
    pub old: String,
    pub new: String,
    /// By column of the plugin.
    pub inputs: BTreeMap<String, String>,
}

/// What one build answered.
pub(super) struct Ran {
    pub outputs: RecordBatch,
    pub fuel: u64,
    pub took: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub calls: u64,
    pub rows: u64,
    pub failed: u64,
    pub last_failure: Option<String>,
    pub old_cost: Cost,
    pub new_cost: Cost,
    pub features: Vec<FeatureFound>,
    pub examples: VecDeque<Example>,
}

impl Cost {
    fn add(&mut self, ran: &Ran) {
        self.fuel += ran.fuel;
        self.nanoseconds += u64::try_from(ran.took.as_nanos()).unwrap_or(u64::MAX);
    }
}

impl Tally {
    pub fn of<'a>(features: impl Iterator<Item = &'a str>) -> Self {
        let feature =
            |name: &str| FeatureFound { feature: name.to_owned(), values: 0, differ: 0, largest_difference: None };
        Self { features: features.map(feature).collect(), ..Self::default() }
    }

    /// One call. `features` are, in the order of those here, their places among the outputs of both; `names` those of the
    /// `columns` that the old build was called with.
    pub fn add(
        &mut self,
        features: &[(String, usize, usize)],
        names: &[String],
        columns: &[ArrayRef],
        rows: usize,
        old: &Ran,
        new: Result<&Ran, &transform::Error>,
    ) {
        self.calls += 1;
        self.rows += rows as u64;
        let new = match new {
            Ok(new) => new,
            Err(failed) => {
                self.failed += 1;
                self.last_failure = Some(chain(failed));
                return;
            }
        };
        self.old_cost.add(old);
        self.new_cost.add(new);
        for (found, (_, old_place, new_place)) in self.features.iter_mut().zip(features) {
            let pair = [old.outputs.column(*old_place), new.outputs.column(*new_place)];
            found.values += rows as u64;
            for row in differing(pair, rows) {
                found.differ += 1;
                found.largest_difference = larger(found.largest_difference, difference(pair, row));
                self.examples.push_back(Example {
                    feature: found.feature.clone(),
                    old: to_text(pair[0], row),
                    new: to_text(pair[1], row),
                    inputs: names
                        .iter()
                        .zip(columns)
                        .map(|(name, column)| (name.clone(), to_text(column, row)))
                        .collect(),
                });
                if self.examples.len() > SHADOW_EXAMPLES_MAX {
                    self.examples.pop_front();
                }
            }
        }
    }
}

/// The rows whose bits differ: -0.0 is not 0.0, and a NaN equals only the same NaN.
fn differing([old, new]: [&ArrayRef; 2], rows: usize) -> Vec<usize> {
    match make_comparator(old.as_ref(), new.as_ref(), SortOptions::default()) {
        Ok(order) => (0..rows).filter(|row| !order(*row, *row).is_eq()).collect(),
        // Two types that cannot be compared are not the same.
        Err(_) => (0..rows).collect(),
    }
}

/// How far apart two numbers are; none where one is null or is no finite number.
fn difference([old, new]: [&ArrayRef; 2], row: usize) -> Option<f64> {
    let number = |column: &ArrayRef| {
        if !column.data_type().is_numeric() || column.is_null(row) {
            return None;
        }
        let one = cast(&column.slice(row, 1), &DataType::Float64).ok()?;
        Some(one.as_primitive::<Float64Type>().value(0)).filter(|value| value.is_finite())
    };
    Some((number(old)? - number(new)?).abs())
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}
