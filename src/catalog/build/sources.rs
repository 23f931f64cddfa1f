//! Sources: their paths, and the two columns that say when.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::names::Names;
use super::{Building, Columns, columns};
use crate::catalog::definitions::{Placed, source, table_version};
use crate::catalog::file::SourceFile;
use crate::catalog::{DType, Definitions, Long, Scalar, Source, SourceKind, Stored};
use crate::document::{Mistake, did_you_mean};

/// Bytes of a name in PostgreSQL; it cuts off what is longer.
const IDENTIFIER_BYTES_MAX: usize = 63;

pub(super) fn build(definitions: &Definitions, schema_of: &Columns<'_>, building: &mut Building) {
    let mut names = Names::default();
    let mut push_places: BTreeMap<String, String> = BTreeMap::new();
    for placed in definitions.source_files() {
        let source = source(placed.item);
        let before = building.mistakes.len();
        names.claim("source", &source.name, &placed, "/name", &mut building.mistakes);
        check_kind(&placed, &source, &mut building.mistakes);
        if let SourceKind::Long(long) = &source.kind {
            check_long(definitions, &placed, long, &mut building.mistakes);
        }
        check_partitions(&placed, &source, &mut building.mistakes);
        if let SourceKind::Push { into } = &source.kind {
            let place = match into {
                Stored::Parquet { path, .. } | Stored::Delta { path, .. } => path.trim_end_matches('/').to_owned(),
                Stored::Postgres { .. } => into.to_string(),
            };
            if !place.is_empty()
                && let Some(other) = push_places.insert(place, source.name.clone())
            {
                let text = format!(
                    "push source {} keeps its rows where {other} does; give it a place of its own",
                    source.name
                );
                building.mistakes.push(placed.mistake(key_of_place(placed.item), text));
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
    if let SourceFile::Delta { version, as_of, .. } = placed.item
        && let Err(wrong) = table_version(*version, as_of.as_deref())
    {
        mistakes.push(placed.mistake("/as_of", format!("as_of of source {}: {wrong}", source.name)));
    }
    let (path, wrong) = match &source.kind {
        SourceKind::Sql { query } if query.trim().is_empty() => ("/query", Some("has an empty query".to_owned())),
        SourceKind::Sql { .. } => ("/query", None),
        SourceKind::Long(_) => ("/source", None),
        SourceKind::Push { .. } if places_of_push(placed.item) != 1 => {
            ("", Some("keeps its rows in one place: write path (Parquet files), delta (a Delta table) or postgres (a PostgreSQL table)".to_owned()))
        }
        SourceKind::Push { into: Stored::Parquet { path, .. } } if path.ends_with(".parquet") => {
            ("/path", Some(format!("keeps pushed rows in a folder, {path} is a file; write the folder")))
        }
        SourceKind::Push { into: Stored::Delta { path, .. } } => ("/delta", path_mistake(path)),
        SourceKind::Stored(stored) | SourceKind::Push { into: stored } => match stored {
            Stored::Parquet { path, .. } | Stored::Delta { path, .. } => ("/path", path_mistake(path)),
            Stored::Postgres { connection, schema, table } => {
                (key_of_place(placed.item), table_mistake(connection, schema, table))
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

fn check_long(definitions: &Definitions, placed: &Placed<'_, SourceFile>, long: &Long, mistakes: &mut Vec<Mistake>) {
    let name = placed.item.name();
    match definitions.source_files().find(|other| other.item.name() == long.source) {
        Some(other) if matches!(other.item, SourceFile::Long { .. }) => {
            let text = format!("source {name} reads {}, which is long too; read what that one reads", long.source);
            mistakes.push(placed.mistake("/source", text));
        }
        Some(_) => {}
        None => {
            let meant = did_you_mean(&long.source, definitions.source_files().map(|other| other.item.name()));
            let text = format!("source {name} reads source {}, which is not defined{meant}", long.source);
            mistakes.push(placed.mistake("/source", text));
        }
    }
    let SourceFile::Long { value_column, value_columns, .. } = placed.item else { return };
    for of in value_columns.keys() {
        if let Err(wrong) = of.parse::<DType>() {
            let text = format!("value_columns of source {name}: {wrong}");
            mistakes.push(placed.key_mistake(&format!("/value_columns/{of}"), text));
        }
    }
    if value_column.is_none() && value_columns.is_empty() {
        let text = format!("source {name} does not say where values stand; name the column with value_column");
        mistakes.push(placed.mistake("", text));
    }
}

fn check_partitions(placed: &Placed<'_, SourceFile>, source: &Source, mistakes: &mut Vec<Mistake>) {
    let partitions = placed.item.partitions();
    for (at, partition) in partitions.iter().enumerate() {
        let mut refuse = |key: &str, wrong: String| {
            let text = format!("partition {} of source {} {wrong}", partition.name, source.name);
            mistakes.push(placed.mistake(&format!("/partitions/{at}/{key}"), text));
        };
        match partition.dtype.parse::<DType>() {
            Ok(dtype) if !dtype.can_be_partition() => {
                refuse("type", format!("is {dtype}; it can be date, string, int32, int64 or bool"));
            }
            Ok(dtype) if partition.day_of.is_some() && dtype != DType::One(Scalar::Date) => {
                refuse("type", format!("is {dtype}; the day_of a column is a date"));
            }
            Ok(_) => {}
            Err(wrong) => refuse("type", format!("has a type that is none: {wrong}")),
        }
        if partition.name.is_empty() || partition.name.contains(['/', '=', '%']) {
            refuse("name", "has a name that no folder can have".to_owned());
        }
        if partitions[..at].iter().any(|before| before.name == partition.name) {
            refuse("name", "is there twice".to_owned());
        }
        if partition.day_of.as_ref() == Some(&partition.name) {
            refuse("day_of", "is the day of itself; name the column with the times".to_owned());
        }
    }
}

/// In how many places a push source says that it keeps its rows.
fn places_of_push(file: &SourceFile) -> usize {
    match file {
        SourceFile::Push { path, delta, postgres, .. } => {
            usize::from(path.is_some()) + usize::from(delta.is_some()) + usize::from(postgres.is_some())
        }
        SourceFile::Parquet { .. }
        | SourceFile::Delta { .. }
        | SourceFile::Postgres { .. }
        | SourceFile::Sql { .. }
        | SourceFile::Long { .. } => 0,
    }
}

/// The key that says where the rows of a source are kept.
fn key_of_place(file: &SourceFile) -> &'static str {
    match file {
        SourceFile::Postgres { .. } => "/table",
        SourceFile::Push { delta: Some(_), .. } => "/delta",
        SourceFile::Push { postgres: Some(_), .. } => "/postgres",
        _ => "/path",
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
    if let Some(place) = path.strip_prefix("s3://") {
        return match place.split_once('/') {
            Some((bucket, folder)) if !bucket.is_empty() && !folder.trim_matches('/').is_empty() => None,
            _ => Some(format!("has the path {path}; write s3://bucket/folder")),
        };
    }
    if path.contains("://") {
        return Some(format!("has the path {path}; write a path in the project's folder, or s3://bucket/folder"));
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
    for (at, partition) in placed.item.partitions().iter().enumerate() {
        let Some(column) = &partition.day_of else { continue };
        if let Some(wrong) = columns::time_mistake(&source.name, &schema, column) {
            building.mistakes.push(placed.mistake(&format!("/partitions/{at}/day_of"), format!("day_of: {wrong}")));
        }
    }
    building.schemas.insert(source.name.clone(), schema);
}
