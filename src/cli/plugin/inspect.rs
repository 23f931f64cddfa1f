//! `lockstep plugin inspect`: what a transform plugin is, before one trusts it.

use std::path::Path;

use serde::Serialize;

use super::path_of;
use crate::catalog::{Digest, Field, NullPolicy, Signature, TimeUse};
use crate::cli::{Context, Failure, Outcome, output};
use crate::error::ErrorKind;
use crate::transform::{Settings, Transforms};

#[derive(Serialize)]
struct Inspected {
    name: String,
    version: String,
    doc: String,
    digest: String,
    bytes: usize,
    imports: Vec<String>,
    time: &'static str,
    nulls: &'static str,
    features: Vec<Column>,
    request: Vec<Column>,
    outputs: Vec<Column>,
    parameters: Vec<Column>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    dtype: String,
    nullable: bool,
}

pub(super) fn run(context: &Context, plugin: &Path) -> Result<Outcome, Failure> {
    let path = path_of(context, plugin)?;
    let bytes = std::fs::read(&path).map_err(|error| Failure {
        kind: ErrorKind::Unavailable,
        text: format!("{} cannot be read: {error}", path.display()),
    })?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (digest, signature) = Transforms::start(Settings::default())?.load(&name, &bytes)?;
    print(context, &signature, digest, bytes.len())?;
    Ok(Outcome::Done)
}

/// Prints what is known of a plugin that was loaded.
pub(super) fn print(context: &Context, signature: &Signature, digest: Digest, bytes: usize) -> Result<(), Failure> {
    output::print(context.format, &inspected(signature, digest.to_string(), bytes), show)
}

fn inspected(signature: &Signature, digest: String, bytes: usize) -> Inspected {
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
        digest,
        bytes,
        // A plugin that imports anything is refused when it is loaded, so this list is a statement, not a finding.
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
    let head = format!(
        "{} {}  ·  {} bytes  ·  imports nothing  ·  time {}  ·  nulls {}\n{}\nsha256 {}\n",
        plugin.name, plugin.version, plugin.bytes, plugin.time, plugin.nulls, plugin.doc, plugin.digest
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
