//! What was found out about a plugin, for people, for programs, and for the gateway that takes its fuel budget from it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Fuel that a call may burn: `per_call + rows · per_row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuelBudget {
    pub per_call: u64,
    pub per_row: u64,
}

/// The result of all checks of one plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub plugin: String,
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Which compiler with which settings the guest ran under.
    pub engine: String,
    /// Four times the most that was seen, and at least a million each.
    pub fuel: FuelBudget,
    /// SHA-256 over the golden cases, in hex.
    pub golden_hash: String,
    pub golden_cases: usize,
    /// Different rows that the checks ran over.
    pub rows: usize,
    pub checks: Vec<Check>,
    pub measured: Measured,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
    /// What was done, or what differs: the case, the row, the column, what was expected and what came.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Passed,
    /// Nothing is wrong, and the author should know.
    Warned,
    Failed,
    /// There was nothing to look at, or an earlier check failed.
    Skipped,
}

/// What calls cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub bytes: usize,
    /// Whether the gateway uses an instance for more than one call.
    pub warm: bool,
    pub memory_bytes_bound: usize,
    pub memory_bytes_max: usize,
    /// What an instance that is used again and again gains with each call; none where that was not measured.
    pub leak_bytes_per_call: Option<f64>,
    /// Fuel of a call without rows, and of each row, at most.
    pub fuel_per_call_max: u64,
    pub fuel_per_row_max: u64,
    pub sizes: Vec<Timed>,
}

/// Calls with so many rows, on one instance that is used again (`warm`), or on a fresh one each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    pub rows: usize,
    pub warm: bool,
    pub calls: usize,
    pub p50_ns: u64,
    pub p99_ns: u64,
    /// Of the median, by rows and columns in and out.
    pub ns_per_value: f64,
    pub fuel: u64,
}

impl Report {
    /// Whether no check failed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }

    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Fuel of one row in calls of 200.
    pub fn fuel_per_row(&self) -> Option<u64> {
        let timed = self.measured.sizes.iter().find(|timed| timed.rows == 200)?;
        Some(timed.fuel.div_ceil(timed.rows as u64))
    }
}

impl Check {
    pub(super) fn new(name: &str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), verdict, detail: detail.into() }
    }
}

/// Where the report of a component is looked for: `taxi_company.report.json` beside `taxi_company.wasm`.
pub fn report_beside(component: &Path) -> PathBuf {
    component.with_extension("report.json")
}
