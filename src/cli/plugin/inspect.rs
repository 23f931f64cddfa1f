//! `lockstep plugin inspect`: what a transform plugin is, before one trusts it.

use std::path::Path;

use serde::Serialize;

use super::given::{Component, workbench};
use crate::catalog::{Digest, Field, NullPolicy, Signature, TimeUse};
use crate::cli::{Context, Failure, Outcome, output};
use crate::transform::conformance::{Report, report_beside};
use crate::transform::{Anatomy, Transforms};

#[derive(Serialize)]
struct Inspected {
    name: String,
    version: String,
    doc: String,
    digest: String,
    bytes: usize,
    code_bytes: usize,
    data_bytes: usize,
    imports: Vec<String>,
    /// Memory of an instance before anything runs.
    memory_bytes: u64,
    /// Whether an instance is kept for many calls, or each call has its own.
    kept_warm: bool,
    /// What the report beside the component says; none if there is none of these bytes.
    tested: Option<Tested>,
    time: &'static str,
    nulls: &'static str,
    features: Vec<Column>,
    request: Vec<Column>,
    outputs: Vec<Column>,
    parameters: Vec<Column>,
}

#[derive(Serialize)]
struct Tested {
    passed: bool,
    golden_cases: usize,
    fuel_per_row: Option<u64>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    dtype: String,
    nullable: bool,
}

pub(super) fn run(context: &Context, plugin: &Path) -> Result<Outcome, Failure> {
    let component = Component::read(context, plugin)?;
    let (digest, signature) = Transforms::start(workbench())?.load(&component.name, &component.bytes)?;
    print(context, &signature, digest, &component.path, &component.bytes)?;
    Ok(Outcome::Done)
}

/// Prints what is known of a plugin that was loaded from `path`.
pub(super) fn print(
    context: &Context,
    signature: &Signature,
    digest: Digest,
    path: &Path,
    component: &[u8],
) -> Result<(), Failure> {
    output::print(context.format, &inspected(signature, digest, path, component), show)
}

/// The report of these very bytes, if it lies beside them.
fn tested(digest: &str, path: &Path) -> Option<Tested> {
    let report: Report = serde_json::from_slice(&std::fs::read(report_beside(path)).ok()?).ok()?;
    let (passed, fuel_per_row) = (report.passed(), report.fuel_per_row());
    (report.digest == digest).then_some(Tested { passed, golden_cases: report.golden_cases, fuel_per_row })
}

fn inspected(signature: &Signature, digest: Digest, path: &Path, component: &[u8]) -> Inspected {
    let (digest, anatomy) = (digest.to_string(), Anatomy::of(component).unwrap_or_default());
    let columns = |fields: &[Field]| {
        fields
            .iter()
            .map(|field| Column { name: field.name.clone(), dtype: field.dtype.to_string(), nullable: field.nullable })
            .collect()
    };
    let parameter = |parameter: &crate::catalog::ParameterSpec| Column {
        name: parameter.name.clone(),
        dtype: parameter.dtype.to_string(),
        nullable: !parameter.required,
    };
    Inspected {
        name: signature.name.clone(),
        version: signature.version.to_string(),
        doc: signature.doc.clone(),
        tested: tested(&digest, path),
        digest,
        bytes: component.len(),
        code_bytes: anatomy.code_bytes,
        data_bytes: anatomy.data_bytes,
        kept_warm: anatomy.is_kept_warm(),
        memory_bytes: anatomy.memory_bytes,
        // A plugin that imports a function is refused when it is loaded, so this list is a statement, not a finding.
        imports: Vec::new(),
        time: match signature.time {
            TimeUse::None => "none",
            TimeUse::AsOf => "as-of",
        },
        nulls: match signature.nulls {
            NullPolicy::Propagate => "propagate",
            NullPolicy::Handle => "handle",
        },
        features: columns(&signature.features),
        request: columns(&signature.request),
        outputs: columns(&signature.outputs),
        parameters: signature.parameters.iter().map(parameter).collect(),
    }
}

fn show(plugin: &Inspected) -> String {
    let instances = if plugin.kept_warm { "kept for many calls" } else { "fresh for each call" };
    let tested = match &plugin.tested {
        None => "not tested here".to_owned(),
        Some(tested) => {
            let verdict = if tested.passed { "passed" } else { "failed" };
            let fuel = tested.fuel_per_row.map_or(String::new(), |fuel| format!(", {fuel} units of fuel a row"));
            format!("tests {verdict} with {} golden cases{fuel}", tested.golden_cases)
        }
    };
    let head = format!(
        "{} {}  ·  {} bytes  ·  imports nothing  ·  time {}  ·  nulls {}\n{}\nsha256 {}\n\
{} bytes of code, {} of data  ·  starts with {} KiB of memory  ·  instances {instances}  ·  {tested}\n",
        plugin.name,
        plugin.version,
        plugin.bytes,
        plugin.time,
        plugin.nulls,
        plugin.doc,
        plugin.digest,
        plugin.code_bytes,
        plugin.data_bytes,
        plugin.memory_bytes >> 10
    );
    let rows = [
        ("feature", &plugin.features),
        ("request", &plugin.request),
        ("parameter", &plugin.parameters),
        ("output", &plugin.outputs),
    ];
    let rows = rows.iter().flat_map(|(role, columns)| {
        columns.iter().map(|column| {
            let nullable = if column.nullable { "yes" } else { "no" };
            vec![(*role).to_owned(), column.name.clone(), column.dtype.clone(), nullable.to_owned()]
        })
    });
    head + &output::table(&["role", "name", "type", "may be null"], rows)
}
