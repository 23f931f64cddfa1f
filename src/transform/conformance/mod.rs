//! The conformance harness: is a plugin what the gateway relies on?
//!
//! It runs a component through the stage itself, the way every flow does, over golden cases that its author wrote and
//! over rows that its signature asks for, and looks whether anything but the rows shows in the answers: how they are
//! cut, in which order they come, what the instance has seen before, what else runs. It knows no files: `app` reads
//! golden cases, `cli` prints reports.
//!
//! # Why not trust the author's tests
//! They test a function. What drifts is state between calls, a value that a row leaves for its neighbour, a null slot
//! that is read, memory that is never freed: none of it shows in a test of one call.

mod golden;
mod goldens;

mod corpus;
mod edges;
mod answer;

mod subject;
mod rowwise;
mod stateful;
mod hostile;
mod fuel;
mod measure;

mod report;
mod versions;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::catalog::{Digest, Parameter};
use crate::error::ErrorKind;
use crate::limits::PLUGIN_MEMORY_GROWTH_BYTES_MAX;

use super::probe::{Guest, engine_name};
use super::{Settings, anatomy::Anatomy};

use self::corpus::Corpus;
use self::fuel::FuelSeen;
use self::rowwise::Alone;
use self::subject::{Stages, Subject};

pub use answer::Difference;
pub use golden::{Case, ReadRows, RefusedRow};
pub use goldens::{GoldenReport, Mismatch, Recorded, goldens, record};
pub use measure::regressions;
pub use report::{Check, FuelBudget, Measured, Report, Timed, Verdict, report_beside};
pub use versions::{Change, Comparison, Example, OutputChange, Side, Step, compare_versions, inputs_of};

/// Calls with a thousand rows that an instance of a leaking plugin must serve before the gateway has to replace it.
const CALLS_PER_INSTANCE_MIN: u64 = 8;
/// Ordinary rows of the frame that is damaged: more than a byte of a bitmap.
const HOSTILE_ROWS: usize = 9;
/// Mismatches that the check of golden cases names.
const MISMATCHES_TOLD_MAX: usize = 5;

/// Why a plugin could not be examined at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("golden case {case}: {detail}")]
    Case { case: String, detail: String },
    #[error("column {column} of the input: {detail}")]
    Rows { column: String, detail: String },
    #[error("{plugin} cannot be tried: {error}; give a golden case with its parameters")]
    NotBound { plugin: String, error: super::Error },
    #[error(transparent)]
    Transform(#[from] super::Error),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Case { .. } | Self::Rows { .. } => ErrorKind::Invalid,
            Self::NotBound { error, .. } | Self::Transform(error) => error.kind(),
        }
    }
}

/// Runs all checks over a component. An error is about what was given: a component that cannot be loaded, a case that
/// cannot be read. Whatever the plugin does wrong is in the report. `tell` hears the name of each check before it runs.
///
/// # Shape
/// Rows are tried with the plugin's default parameters, or with those of the first golden case where it has required
/// ones. Takes seconds, on this thread and for one check on four.
pub fn examine(
    plugin: &str,
    component: &[u8],
    cases: &[Case],
    settings: &Settings,
    tell: &mut dyn FnMut(&str),
) -> Result<Report, Error> {
    tell("load");
    let stages = Stages::start(settings)?;
    let digest = stages.load(plugin, component)?;
    let (subject, corpus) = tried(&stages, plugin, digest, cases)?;
    let signature = &subject.transform.signature;
    let inputs = corpus.columns(&corpus.rows);

    tell("goldens");
    let golden = goldens(&stages.fresh, plugin, digest, cases)?;

    let mut seen = FuelSeen::default();
    let guest = Guest::fresh(&stages.fresh, &subject.transform)?;
    seen.bind(guest.fuel_of_bind());
    let memory_bytes_bound = guest.memory_bytes();
    drop(guest);

    let mut checks = vec![golden_check(&golden)];
    tell("answers");
    let (answers, answer) = rowwise::rows_alone(&subject, &corpus, &inputs, &mut seen);
    checks.push(answers);
    let mut leak_bytes_per_call = None;
    match answer {
        Some(answer) => {
            let alone = Alone { subject: &subject, corpus: &corpus, inputs: &inputs, answer };
            leak_bytes_per_call = Some(run_checks(&alone, &mut seen, &mut checks, tell)?);
        }
        None => {
            checks.extend(LATER_CHECKS.map(|name| Check::new(name, Verdict::Skipped, "rows fail when they are alone")))
        }
    }
    tell("frames");
    checks.push(hostile::refuses_bad_frames(&subject, &inputs, HOSTILE_ROWS.min(corpus.rows.len()))?);

    tell("cost");
    let memory_bytes_max = memory_after(&subject, &inputs, corpus.rows.len()).unwrap_or(memory_bytes_bound);
    let sizes = match checks.iter().all(|check| check.verdict != Verdict::Failed) {
        true => measure::sizes(&subject, &corpus)?,
        false => Vec::new(),
    };
    checks.push(cost_check(&sizes, memory_bytes_max));
    for timed in sizes.iter().filter(|timed| !timed.warm) {
        seen.call(timed.fuel, timed.rows);
    }
    let anatomy = Anatomy::of(component).unwrap_or_default();
    Ok(Report {
        plugin: signature.name.clone(),
        version: signature.version.to_string(),
        digest: digest.to_string(),
        engine: engine_name(&stages.fresh),
        fuel: seen.budget(),
        golden_hash: golden.hash,
        golden_cases: golden.cases,
        rows: corpus.rows.len(),
        checks,
        measured: Measured {
            bytes: component.len(),
            warm: anatomy.is_kept_warm(),
            memory_bytes_bound,
            memory_bytes_max,
            leak_bytes_per_call,
            fuel_per_call_max: seen.per_call_max,
            fuel_per_row_max: seen.per_row_max(),
            sizes,
        },
    })
}

/// What calls of a plugin cost, without a check of what they answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Costs {
    pub plugin: String,
    pub version: String,
    pub columns_in: usize,
    pub columns_out: usize,
    /// Whether the gateway uses an instance for more than one call.
    pub kept_warm: bool,
    pub memory_bytes_max: usize,
    pub sizes: Vec<Timed>,
}

/// Measures a component over the rows that [`examine`] tries, parameters and all.
pub fn costs(plugin: &str, component: &[u8], cases: &[Case], settings: &Settings) -> Result<Costs, Error> {
    let stages = Stages::start(settings)?;
    let digest = stages.load(plugin, component)?;
    let (subject, corpus) = tried(&stages, plugin, digest, cases)?;
    let signature = &subject.transform.signature;
    let inputs = corpus.columns(&corpus.rows);
    Ok(Costs {
        plugin: signature.name.clone(),
        version: signature.version.to_string(),
        columns_in: inputs.len(),
        columns_out: signature.outputs.len(),
        kept_warm: Anatomy::of(component).unwrap_or_default().is_kept_warm(),
        memory_bytes_max: memory_after(&subject, &inputs, corpus.rows.len()).unwrap_or_default(),
        sizes: measure::sizes(&subject, &corpus)?,
    })
}

/// The transform that is tried, and the rows: those that its signature asks for, and those of its golden cases.
fn tried<'a>(stages: &'a Stages, plugin: &str, digest: Digest, cases: &[Case]) -> Result<(Subject<'a>, Corpus), Error> {
    let parameters = parameters(stages, plugin, digest, cases)?;
    let subject = stages.subject(plugin, digest, &parameters)?;
    let signature = &subject.transform.signature;
    let same = cases.iter().filter(|case| case.parameters == parameters);
    let inputs = same.map(|case| Ok(case.inputs(signature)?.0)).collect::<Result<Vec<_>, Error>>()?;
    let corpus = Corpus::new(signature, &inputs);
    Ok((subject, corpus))
}

/// The checks that compare with what each row alone was answered.
const LATER_CHECKS: [&str; 9] =
    ["row counts", "chunks", "order", "nulls", "time", "fuel", "warm", "parallel", "memory"];

fn run_checks(
    alone: &Alone<'_>,
    seen: &mut FuelSeen,
    checks: &mut Vec<Check>,
    tell: &mut dyn FnMut(&str),
) -> Result<f64, Error> {
    tell("row counts");
    checks.push(alone.row_counts(seen));
    tell("chunks");
    checks.push(alone.chunks());
    tell("order");
    checks.push(alone.order());
    checks.push(alone.nulls());
    checks.push(alone.time());
    tell("fuel");
    checks.push(alone.equal_fuel());
    tell("warm");
    let warm = alone.warm();
    let remembers = warm.verdict == Verdict::Failed;
    checks.push(warm);
    tell("parallel");
    checks.push(match remembers {
        true => Check::new("parallel", Verdict::Skipped, "an instance remembers"),
        false => alone.parallel(),
    });
    tell("memory");
    let (memory, leak_bytes_per_call) = alone.leak(CALLS_PER_INSTANCE_MIN, PLUGIN_MEMORY_GROWTH_BYTES_MAX)?;
    checks.push(memory);
    Ok(leak_bytes_per_call)
}

/// The defaults where they will do, else what the first golden case gives.
fn parameters(
    stages: &Stages,
    plugin: &str,
    component: Digest,
    cases: &[Case],
) -> Result<Vec<(String, Parameter)>, Error> {
    match (stages.fresh.bind(plugin, component, &[], None), cases.first()) {
        (Ok(_), _) => Ok(Vec::new()),
        (Err(_), Some(case)) => Ok(case.parameters.clone()),
        (Err(error), None) => Err(Error::NotBound { plugin: plugin.to_owned(), error }),
    }
}

fn golden_check(golden: &GoldenReport) -> Check {
    const NAME: &str = "goldens";
    let (cases, rows) = (golden.cases, golden.rows);
    match golden.mismatches.as_slice() {
        [] if cases == 0 => {
            Check::new(NAME, Verdict::Warned, "there is no golden case; write one, it travels with the plugin")
        }
        [] => Check::new(NAME, Verdict::Passed, format!("{cases} cases, {rows} rows: answered as expected")),
        mismatches => {
            let told = mismatches.iter().take(MISMATCHES_TOLD_MAX).map(ToString::to_string);
            let detail = format!("{} of {cases} cases: {}", mismatches.len(), told.collect::<Vec<_>>().join(" · "));
            Check::new(NAME, Verdict::Failed, detail)
        }
    }
}

fn cost_check(sizes: &[Timed], memory_bytes_max: usize) -> Check {
    const NAME: &str = "cost";
    let of = |rows: usize, warm: bool| sizes.iter().find(|timed| (timed.rows, timed.warm) == (rows, warm));
    match (of(1, false), of(200, true)) {
        (Some(one), Some(many)) => Check::new(
            NAME,
            Verdict::Passed,
            format!(
                "a row on a fresh instance {:.1} µs, a value of 200 rows {:.1} ns, {} units of fuel a row, {} KiB of memory",
                one.p50_ns as f64 / 1e3,
                many.ns_per_value,
                many.fuel.div_ceil(many.rows as u64),
                memory_bytes_max >> 10
            ),
        ),
        _ => Check::new(NAME, Verdict::Skipped, "only what passes is measured"),
    }
}

/// The memory of an instance that was given all rows at once.
fn memory_after(subject: &Subject<'_>, inputs: &[arrow::array::ArrayRef], rows: usize) -> Option<usize> {
    let mut guest = Guest::fresh(subject.fresh, &subject.transform).ok()?;
    let frame = guest.frame(inputs, 0..rows)?;
    // What it answers was looked at before; a fault here is only one more reason for memory.
    let _ = guest.call(&frame, rows);
    Some(guest.memory_bytes())
}
