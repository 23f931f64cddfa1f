//! Sources: their paths, and the two columns that say when.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::names::Names;
use super::{Building, Columns, columns};
use crate::catalog::definitions::{Placed, source};
use crate::catalog::file::SourceFile;
use crate::catalog::{Definitions, Source, SourceKind, Stored};
use crate::document::Mistake;

/// Bytes of a name in PostgreSQL; it cuts off what is longer.
const IDENTIFIER_BYTES_MAX: usize = 63;

pub(super) fn build(definitions: &Definitions, schema_of: &Columns<'_>, building: &mut Building) {
    let mut names = Names::default();
    let mut push_folders: BTreeMap<String, String> = BTreeMap::new();
    for placed in definitions.source_files() {
        let source = source(placed.item);
        let before = building.mistakes.len();
        names.claim("source", &source.name, &placed, "/name", &mut building.mistakes);
        check_kind(&placed, &source, &mut building.mistakes);
        if let SourceKind::Push { into } = &source.kind {
            let folder = into.to_string().trim_end_matches('/').to_owned();
            if let Some(other) = push_folders.insert(folder, source.name.clone()) {
                let text = format!(
                    "push source {} keeps its rows where {other} does; give it a place of its own",
                    source.name
                );
                building.mistakes.push(placed.mistake(into_pointer(placed.item), text));
            }
        }
        if source.created_time.as_ref() == Some(&source.event_time) {
            let text = format!("created_time of source {} is its event_time; leave created_time out", source.name);
            building.mistakes.push(placed.mistake("/created_time", text));
        }
        if building.mistakes.len() == before {
            check_columns(&placed, &source, schema_of, building);
        }
        if building.mistakes.len() > before {
            building.broken_sources.insert(source.name);
        } else {
            building.catalog.sources.insert(source.name.clone(), source);
        }
    }
}

fn check_kind(placed: &Placed<'_, SourceFile>, source: &Source, mistakes: &mut Vec<Mistake>) {
    if let SourceFile::Push { path, postgres, .. } = placed.item
        && path.is_some() == postgres.is_some()
    {
        let text = match path {
            None => "has no place for the pushed rows; write path, or postgres",
            Some(_) => "has two places for the pushed rows; leave path or postgres out",
        };
        return mistakes.push(placed.mistake("", format!("source {} {text}", source.name)));
    }
    let (path, wrong) = match &source.kind {
        SourceKind::Sql { query } if query.trim().is_empty() => ("/query", Some("has an empty query".to_owned())),
        SourceKind::Sql { .. } => ("/query", None),
        SourceKind::Push { into: Stored::Parquet { path, .. } } if path.ends_with(".parquet") => {
            ("/path", Some(format!("keeps pushed rows in a folder, {path} is a file; write the folder")))
        }
        SourceKind::Stored(stored) | SourceKind::Push { into: stored } => match stored {
            Stored::Parquet { path, .. } | Stored::Delta { path, .. } => ("/path", path_mistake(path)),
            Stored::Postgres { connection, schema, table } => {
                (into_pointer(placed.item), table_mistake(connection, schema, table))
            }
        },
    };
    if let Some(wrong) = wrong {
        mistakes.push(placed.mistake(path, format!("source {} {wrong}", source.name)));
    }
    if source.event_time.is_empty() {
        let text =
            format!("source {} has an empty event_time; name the column that says when a row became true", source.name);
        mistakes.push(placed.mistake("/event_time", text));
    }
}

/// Where the definition of a source says where its rows are kept.
fn into_pointer(file: &SourceFile) -> &'static str {
    match file {
        SourceFile::Postgres { .. } => "/table",
        SourceFile::Push { postgres: Some(_), .. } => "/postgres",
        SourceFile::Parquet { .. } | SourceFile::Sql { .. } | SourceFile::Push { .. } => "/path",
    }
}

/// What is wrong with the name of a PostgreSQL table, as the end of a sentence that begins with the source.
fn table_mistake(connection: &str, schema: &str, table: &str) -> Option<String> {
    if connection.is_empty() {
        return Some(
            "has an empty connection; write the name of a database under postgres in lockstep.yaml".to_owned(),
        );
    }
    let is_name = |name: &str| !name.is_empty() && name.len() <= IDENTIFIER_BYTES_MAX && !name.contains(['.', '\0']);
    let wrong = !is_name(schema) || !is_name(table);
    wrong.then(|| format!("has the table {schema}.{table}; write schema.table or table, as the database writes them"))
}

/// What is wrong with a path, as the end of a sentence that begins with the source.
fn path_mistake(path: &str) -> Option<String> {
    if path.trim().is_empty() {
        return Some("has an empty path".to_owned());
    }
    if path.contains("://") {
        return Some(format!("has the path {path}; only files in the project's folder can be read so far"));
    }
    let leaves = Path::new(path).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    leaves.then(|| {
        format!("has the path {path}, which leads out of the project's folder; write a path relative to it, without ..")
    })
}

fn check_columns(placed: &Placed<'_, SourceFile>, source: &Source, schema_of: &Columns<'_>, building: &mut Building) {
    let schema = match schema_of(&source.name) {
        None => return,
        Some(Ok(schema)) => schema,
        Some(Err(wrong)) => return building.mistakes.push(placed.mistake("", wrong)),
    };
    let times = [("event_time", Some(&source.event_time)), ("created_time", source.created_time.as_ref())];
    for (key, column) in times {
        let Some(column) = column else { continue };
        if let Some(wrong) = columns::time_mistake(&source.name, &schema, column) {
            building.mistakes.push(placed.mistake(&format!("/{key}"), format!("{key}: {wrong}")));
        }
    }
    building.schemas.insert(source.name.clone(), schema);
}
