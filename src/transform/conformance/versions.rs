//! Two versions of a plugin: what differs between their signatures and between their answers, and whether the second
//! may carry the number that it has.
//!
//! A patch changes no bit of an answer. A minor version adds outputs and changes nothing that was there. Only a major
//! version may answer otherwise: a model that was trained with one version is then asked with another knowingly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};
use semver::Version;
use serde::Serialize;

use super::answer::{answer, differing_rows, shown};
use super::{Case, Error};
use crate::cast;
use crate::catalog::{Digest, Field, NullPolicy, Parameter, Signature, TimeUse, Transform};
use crate::transform::Transforms;
use crate::transform::signature::input_fields;

/// Differing values of one output that are told.
const EXAMPLES_MAX: usize = 3;

/// Which number of the version went up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Same,
    Patch,
    Minor,
    Major,
}

/// What differs between two versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub old: String,
    pub new: String,
    pub step: Step,
    /// A line for each difference of the signatures.
    pub signature: Vec<Change>,
    /// The outputs that both have.
    pub outputs: Vec<OutputChange>,
    /// Rows that both were asked, over all cases.
    pub rows: usize,
    /// Rows that only one of them refuses, or that they refuse for another reason.
    pub refused_otherwise: usize,
    /// Cases that could not be asked of both, and why.
    pub not_compared: Vec<String>,
    /// Why the new version must not have its number; none if it may.
    pub refused: Option<String>,
}

/// A difference of the signatures, and the least step that it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub what: String,
    pub needs: Step,
}

/// One output in both versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputChange {
    pub output: String,
    pub differing_rows: usize,
    /// Of numbers; none where nothing differs, or where one of the values is none.
    pub largest_difference: Option<f64>,
    pub examples: Vec<Example>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The case, or `rows` for rows that were given.
    pub case: String,
    pub row: usize,
    pub old: String,
    pub new: String,
}

/// A loaded component, and its signature.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub plugin: &'a str,
    pub component: Digest,
    pub signature: &'a Signature,
}

/// Compares what two components answer to golden cases (what these expect is not looked at) and to `rows`, real ones,
/// with `parameters`.
pub fn compare_versions(
    stage: &Transforms,
    old: Side<'_>,
    new: Side<'_>,
    cases: &[Case],
    rows: Option<&RecordBatch>,
    parameters: &[(String, Parameter)],
) -> Result<Comparison, Error> {
    let mut comparison = Comparison {
        old: old.signature.version.to_string(),
        new: new.signature.version.to_string(),
        step: step(&old.signature.version, &new.signature.version),
        signature: signature_changes(old.signature, new.signature),
        outputs: common_outputs(old.signature, new.signature)
            .map(|field| OutputChange {
                output: field.name.clone(),
                differing_rows: 0,
                largest_difference: None,
                examples: Vec::new(),
            })
            .collect(),
        rows: 0,
        refused_otherwise: 0,
        not_compared: Vec::new(),
        refused: None,
    };
    for case in cases {
        let asked = |side: Side<'_>| -> Result<Asked, Error> {
            let (inputs, rows) = case.inputs(side.signature)?;
            Ok((bound(stage, side, old.signature, new.signature, &case.parameters)?, inputs, rows))
        };
        // A case of one version need not be one of the other: it may have other inputs or parameters.
        match (asked(old), asked(new)) {
            (Ok(old), Ok(new)) => compare_answers(stage, &case.name, old, new, &mut comparison),
            (Err(error), _) => not_compared(&mut comparison, &case.name, "old", &error),
            (_, Err(error)) => not_compared(&mut comparison, &case.name, "new", &error),
        }
    }
    if let Some(rows) = rows {
        let asked = |side: Side<'_>| -> Result<Asked, Error> {
            let inputs = inputs_of(side.signature, rows)?;
            Ok((bound(stage, side, old.signature, new.signature, parameters)?, inputs, rows.num_rows()))
        };
        compare_answers(stage, "rows", asked(old)?, asked(new)?, &mut comparison);
    }
    comparison.refused = refused(&comparison, old, new);
    Ok(comparison)
}

/// The input columns of a plugin out of columns by name; other columns are left aside.
pub fn inputs_of(signature: &Signature, rows: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    let column = |field: &Field| {
        let given = rows.column_by_name(&field.name);
        let given =
            given.ok_or_else(|| Error::Rows { column: field.name.clone(), detail: "it is missing".to_owned() })?;
        let typed = cast::exactly_by_row(given, field.dtype);
        typed.map_err(|error| Error::Rows { column: field.name.clone(), detail: error.to_string() })
    };
    input_fields(signature).iter().map(column).collect()
}

type Asked = (Arc<Transform>, Vec<ArrayRef>, usize);

/// Bound to the outputs that both versions have.
fn bound(
    stage: &Transforms,
    side: Side<'_>,
    old: &Signature,
    new: &Signature,
    parameters: &[(String, Parameter)],
) -> Result<Arc<Transform>, Error> {
    let common: Vec<String> = common_outputs(old, new).map(|field| field.name.clone()).collect();
    Ok(stage.bind(side.plugin, side.component, parameters, Some(&common))?)
}

fn not_compared(comparison: &mut Comparison, case: &str, which: &str, error: &Error) {
    comparison.not_compared.push(format!("{case}: the {which} version cannot be asked: {error}"));
}

fn compare_answers(stage: &Transforms, case: &str, old: Asked, new: Asked, comparison: &mut Comparison) {
    let ask = |(transform, inputs, rows): &Asked| answer(stage, transform, inputs, *rows);
    let (was, is) = match (ask(&old), ask(&new)) {
        (Ok(was), Ok(is)) => (was, is),
        (Err(error), _) => return not_compared(comparison, case, "old", &error.into()),
        (_, Err(error)) => return not_compared(comparison, case, "new", &error.into()),
    };
    comparison.rows += was.rows;
    for output in &mut comparison.outputs {
        let column = |transform: &Transform, columns: &[ArrayRef]| {
            let place = transform.outputs.iter().position(|field| field.name == output.output)?;
            Some((transform.outputs[place].clone(), ArrayRef::clone(&columns[place])))
        };
        let (Some((field, was)), Some((_, is))) = (column(&old.0, &was.columns), column(&new.0, &is.columns)) else {
            continue;
        };
        let rows = differing_rows(&field, &was, &is, usize::MAX);
        output.differing_rows += rows.len();
        for row in rows {
            let difference = difference(&was, &is, row);
            output.largest_difference = [output.largest_difference, difference].into_iter().flatten().reduce(f64::max);
            if output.examples.len() < EXAMPLES_MAX {
                let (old, new) = (shown(&was, row), shown(&is, row));
                output.examples.push(Example { case: case.to_owned(), row, old, new });
            }
        }
    }
    let codes = |rows: &BTreeMap<usize, (u32, String)>| -> BTreeSet<(usize, u32)> {
        rows.iter().map(|(row, (code, _))| (*row, *code)).collect()
    };
    let (was_kept, is_kept) = (codes(&was.refused), codes(&is.refused));
    let kept: BTreeSet<usize> = was_kept.symmetric_difference(&is_kept).map(|(row, _)| *row).collect();
    comparison.refused_otherwise += kept.len().max(was.refused_count.abs_diff(is.refused_count));
}

/// How far two numbers are apart.
fn difference(was: &ArrayRef, is: &ArrayRef, row: usize) -> Option<f64> {
    if was.is_null(row) || is.is_null(row) {
        return None;
    }
    let number = |array: &ArrayRef| match array.data_type() {
        DataType::Int32 => Some(f64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row) as f64),
        DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        _ => None,
    };
    Some((number(is)? - number(was)?).abs()).filter(|difference| !difference.is_nan())
}

/// The outputs of the same name and type in both, in the old order.
fn common_outputs<'a>(old: &'a Signature, new: &'a Signature) -> impl Iterator<Item = &'a Field> {
    let is_in_new =
        move |field: &&Field| new.outputs.iter().any(|new| new.name == field.name && new.dtype == field.dtype);
    old.outputs.iter().filter(is_in_new)
}

fn step(old: &Version, new: &Version) -> Step {
    if old.major != new.major {
        Step::Major
    } else if old.minor != new.minor {
        Step::Minor
    } else if old.patch != new.patch || old.pre != new.pre {
        Step::Patch
    } else {
        Step::Same
    }
}

fn signature_changes(old: &Signature, new: &Signature) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut change = |what: String, needs: Step| changes.push(Change { what, needs });
    let major = Step::Major;
    if old.name != new.name {
        change(format!("it is called {} instead of {}", new.name, old.name), major);
    }
    field_changes("feature", &old.features, &new.features, major, &mut change);
    field_changes("request field", &old.request, &new.request, major, &mut change);
    field_changes("output", &old.outputs, &new.outputs, Step::Minor, &mut change);
    for parameter in &new.parameters {
        match old.parameters.iter().find(|old| old.name == parameter.name) {
            None if parameter.required => change(format!("parameter {} is new and required", parameter.name), major),
            None => change(format!("parameter {} is new", parameter.name), Step::Minor),
            Some(old)
                if (old.dtype, old.required, &old.default)
                    != (parameter.dtype, parameter.required, &parameter.default) =>
            {
                change(format!("parameter {} has another type or default", parameter.name), major);
            }
            Some(_) => {}
        }
    }
    for gone in old.parameters.iter().filter(|old| !new.parameters.iter().any(|new| new.name == old.name)) {
        change(format!("parameter {} is gone", gone.name), major);
    }
    let time = |time: TimeUse| if time == TimeUse::AsOf { "as-of" } else { "none" };
    if old.time != new.time {
        change(format!("its use of time is {}, it was {}", time(new.time), time(old.time)), major);
    }
    let nulls = |nulls: NullPolicy| if nulls == NullPolicy::Handle { "handle" } else { "propagate" };
    if old.nulls != new.nulls {
        change(format!("its null policy is {}, it was {}", nulls(new.nulls), nulls(old.nulls)), major);
    }
    changes
}

fn field_changes(what: &str, old: &[Field], new: &[Field], added: Step, change: &mut impl FnMut(String, Step)) {
    for field in new {
        match old.iter().find(|old| old.name == field.name) {
            None => change(format!("{what} {} ({}) is new", field.name, field.dtype), added),
            Some(old) if old != field => {
                let nullable = |field: &Field| if field.nullable { "" } else { ", never null" };
                let (is, was) = (nullable(field), nullable(old));
                change(format!("{what} {} is {}{is}, it was {}{was}", field.name, field.dtype, old.dtype), Step::Major);
            }
            Some(_) => {}
        }
    }
    for gone in old.iter().filter(|old| !new.iter().any(|new| new.name == old.name)) {
        change(format!("{what} {} is gone", gone.name), Step::Major);
    }
}

fn refused(comparison: &Comparison, old: Side<'_>, new: Side<'_>) -> Option<String> {
    if old.component == new.component {
        return None;
    }
    let (was, is) = (&comparison.old, &comparison.new);
    if new.signature.version < old.signature.version {
        return Some(format!("{is} is lower than {was}"));
    }
    let step = comparison.step;
    if step == Step::Same {
        return Some(format!("both are version {is} and have different bytes; give the new one another number"));
    }
    let name = match step {
        Step::Major => return None,
        Step::Minor => "a minor version changes nothing that was there",
        Step::Same | Step::Patch => "a patch changes no answer and no column",
    };
    let next = Version::new(old.signature.version.major + 1, 0, 0);
    if let Some(change) = comparison.signature.iter().find(|change| change.needs > step) {
        let number = match change.needs {
            Step::Minor => Version::new(old.signature.version.major, old.signature.version.minor + 1, 0),
            _ => next,
        };
        return Some(format!("{} in {is} after {was}: {name}; call it {number}", change.what));
    }
    if let Some(output) = comparison.outputs.iter().find(|output| output.differing_rows > 0) {
        let (output, rows) = (&output.output, output.differing_rows);
        return Some(format!("output {output} differs in {rows} rows in {is} after {was}: {name}; call it {next}"));
    }
    if comparison.refused_otherwise > 0 {
        let rows = comparison.refused_otherwise;
        return Some(format!("{rows} rows are refused otherwise in {is} after {was}: {name}; call it {next}"));
    }
    comparison
        .not_compared
        .iter()
        .find(|why| why.contains("the new version cannot be asked"))
        .map(|why| format!("{is} does not answer what {was} answers ({why}): {name}; call it {next}"))
}
