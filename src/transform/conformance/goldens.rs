//! Golden cases are run: does the plugin still answer, here, what it answered when they were recorded?

use std::fmt;

use arrow::array::{Array, ArrayRef, RecordBatch};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Difference, answer, differing_rows, shown};
use super::{Case, Error};
use crate::batch::record_batch;
use crate::catalog::{Digest, Field, Transform};
use crate::limits::ROW_ERRORS_MAX;
use crate::transform::Transforms;
use crate::transform::probe::canonical;
use crate::transform::signature::input_fields;

/// Differences of one case that are told.
const TOLD_MAX: usize = 3;

/// What golden cases said on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoldenReport {
    pub cases: usize,
    pub rows: usize,
    pub mismatches: Vec<Mismatch>,
    /// SHA-256 over what the cases ask and expect, in hex; how they are written down is not in it.
    pub hash: String,
}

/// A case that is answered otherwise than it expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    pub case: String,
    #[serde(flatten)]
    pub difference: Difference,
}

/// What recording a case changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub case: Case,
    /// The recorded outputs, for those who keep them in a Parquet file.
    pub outputs: RecordBatch,
    /// A line for each thing that is otherwise than before; none if nothing is.
    pub changes: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case {}, {}", self.case, self.difference)
    }
}

/// Runs golden cases of a loaded component, each as one application of a flow. This is also what a gateway does when it
/// loads a plugin, so nothing else is run.
pub fn goldens(stage: &Transforms, plugin: &str, component: Digest, cases: &[Case]) -> Result<GoldenReport, Error> {
    let mut report = GoldenReport { cases: cases.len(), rows: 0, mismatches: Vec::new(), hash: String::new() };
    let mut hash = Sha256::new();
    for case in cases {
        let transform = stage.bind(plugin, component, &case.parameters, case.wanted.as_deref())?;
        let (inputs, rows) = case.inputs(&transform.signature)?;
        let expected = expected(case, &transform)?;
        report.rows += rows;
        hash_case(&mut hash, case, &transform, &inputs, rows, expected.as_ref());
        let difference = match (expected, answer(stage, &transform, &inputs, rows)) {
            (None, _) => Some(Difference::of("recorded outputs", "none yet; write them, or record them with --record")),
            (Some(_), Err(error)) => Some(Difference::of("an answer", error.to_string())),
            (Some(expected), Ok(got)) => expected.differs(&transform.outputs, &got, case),
        };
        report.mismatches.extend(difference.map(|difference| Mismatch { case: case.name.clone(), difference }));
    }
    report.hash = hex::encode(hash.finalize());
    Ok(report)
}

/// Runs a case and writes down what came out. A case whose call fails cannot be recorded.
pub fn record(stage: &Transforms, plugin: &str, component: Digest, case: &Case) -> Result<Recorded, Error> {
    let wrong = |detail: String| Error::Case { case: case.name.clone(), detail };
    let transform = stage.bind(plugin, component, &case.parameters, case.wanted.as_deref())?;
    let (inputs, rows) = case.inputs(&transform.signature)?;
    let got = answer(stage, &transform, &inputs, rows)?;
    if got.refused_count > ROW_ERRORS_MAX {
        let count = got.refused_count;
        return Err(wrong(format!("{count} rows are refused, at most {ROW_ERRORS_MAX} can be written down; split it")));
    }
    let before = expected(case, &transform)?;
    let changes = match &before {
        None => vec![format!("{rows} rows recorded for the first time")],
        Some(before) => changes(before, &got, &transform, case),
    };
    let outputs = record_batch(&transform.outputs, got.columns.clone(), rows);
    // Messages that the author left out stay left out where nothing changed.
    let errors = if changes.is_empty() { case.errors.clone() } else { got.refusals() };
    let file = case.input_file().map(|_| format!("{}.outputs.parquet", case.name));
    let recorded = match (&file, changes.is_empty()) {
        (_, true) => case.clone(),
        (file, false) => case.recorded(&outputs, errors, file.as_deref()),
    };
    let read_back = expected(&recorded, &transform)?;
    match read_back.and_then(|expected| expected.differs(&transform.outputs, &got, &recorded)) {
        None => Ok(Recorded { case: recorded, outputs, changes }),
        Some(difference) => Err(wrong(format!(
            "an output cannot be written as JSON ({difference}); name a Parquet file for the inputs, then the outputs go into one too"
        ))),
    }
}

/// What a case expects.
struct Expected {
    answer: Answer,
}

impl Expected {
    fn differs(&self, fields: &[Field], got: &Answer, case: &Case) -> Option<Difference> {
        // A message that the case leaves out is whatever it is.
        let mut expected = self.answer.clone();
        for refused in case.errors.iter().filter(|refused| refused.message.is_none()) {
            if let (Some(expected), Some(is)) = (expected.refused.get_mut(&refused.row), got.refused.get(&refused.row))
            {
                expected.1.clone_from(&is.1);
            }
        }
        expected.differs(fields, got)
    }
}

fn expected(case: &Case, transform: &Transform) -> Result<Option<Expected>, Error> {
    let Some(columns) = case.outputs(transform)? else { return Ok(None) };
    let rows = columns.first().map_or(0, |column| column.len());
    if let Some((field, column)) = transform.outputs.iter().zip(&columns).find(|(_, column)| column.len() != rows) {
        let detail = format!("output {} has {} values, another has {rows}", field.name, column.len());
        return Err(Error::Case { case: case.name.clone(), detail });
    }
    let refused = case.errors.iter().map(|error| (error.row, (error.code, error.message.clone().unwrap_or_default())));
    let refused_count = case.errors.len();
    Ok(Some(Expected { answer: Answer { columns, rows, refused: refused.collect(), refused_count, fuel: 0 } }))
}

/// For each output the rows that changed, then the refusals.
fn changes(before: &Expected, got: &Answer, transform: &Transform, case: &Case) -> Vec<String> {
    if before.answer.rows != got.rows {
        return vec![format!("{} rows instead of {}", got.rows, before.answer.rows)];
    }
    let mut told = Vec::new();
    for ((field, was), is) in transform.outputs.iter().zip(&before.answer.columns).zip(&got.columns) {
        let rows = differing_rows(field, was, is, usize::MAX);
        for row in rows.iter().take(TOLD_MAX) {
            told.push(format!("row {row}, column {}: {}, was {}", field.name, shown(is, *row), shown(was, *row)));
        }
        if rows.len() > TOLD_MAX {
            told.push(format!("column {}: {} more rows", field.name, rows.len() - TOLD_MAX));
        }
    }
    let values_as_before = Answer { columns: got.columns.clone(), ..before.answer.clone() };
    let refusals = Expected { answer: values_as_before }.differs(&transform.outputs, got, case);
    told.extend(refusals.map(|difference| format!("refusals: {difference}")));
    told
}

fn hash_case(
    hash: &mut Sha256,
    case: &Case,
    transform: &Transform,
    inputs: &[ArrayRef],
    rows: usize,
    expected: Option<&Expected>,
) {
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(case.name.as_bytes());
    // All parameters, those that the case leaves to the plugin too.
    part(format!("{:?}", transform.parameters).as_bytes());
    let fields = input_fields(&transform.signature);
    part(&canonical(&fields, inputs, 0..rows).unwrap_or_default());
    if let Some(expected) = expected {
        let answer = &expected.answer;
        part(&canonical(&transform.outputs, &answer.columns, 0..answer.rows).unwrap_or_default());
        part(format!("{:?}", answer.refused).as_bytes());
    }
}
