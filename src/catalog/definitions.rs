//! The definition files of a project, parsed, with the place of everything in them.
//!
//! What stands here has the right shape and nothing more; [`build`](super::build) says whether it makes sense.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::file::{
    DefinitionsFile, DerivedViewFile, EntityFile, FeatureServiceFile, FeatureViewFile, PartitionFile, SourceFile,
    schema,
};
use super::{Field, Long, Partition, Source, SourceKind, Stored, TableVersion, Warning, versioned_name};
use crate::document::{Document, Mistake, Mistakes, Shape};

/// A definition file as it was written; the registry keeps these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionFile {
    /// As mistakes name it, such as `features/taxi.yaml`.
    pub path: String,
    pub text: String,
}

/// All definition files of one project.
#[derive(Clone, Debug)]
pub struct Definitions {
    pub(super) project: String,
    files: Vec<(Document, DefinitionsFile)>,
}

/// One definition and where it stands.
#[derive(Debug)]
pub(super) struct Placed<'a, T> {
    document: &'a Document,
    pointer: String,
    pub item: &'a T,
}

impl Definitions {
    /// Parses the files, or tells every mistake in the shape of any of them.
    pub fn parse(project: &str, files: &[DefinitionFile]) -> Result<Self, Mistakes> {
        let shape = Shape::new(schema());
        let mut parsed = Vec::new();
        let mut mistakes = Vec::new();
        for file in files {
            let read = Document::parse(&file.path, &file.text)
                .and_then(|document| document.read(&shape).map(|definitions| (document, definitions)));
            match read {
                Ok((document, mut definitions)) => {
                    name_versions(&mut definitions);
                    parsed.push((document, definitions));
                }
                Err(wrong) => mistakes.extend(wrong.into_vec()),
            }
        }
        if mistakes.is_empty() {
            Ok(Self { project: project.to_owned(), files: parsed })
        } else {
            Err(Mistakes::from(mistakes))
        }
    }

    /// The plugins that derived views use, each once.
    pub fn plugins(&self) -> BTreeSet<String> {
        self.derived_views().map(|view| view.item.plugin.clone()).collect()
    }

    /// The sources as they are written, unchecked: for asking a store about their columns before the catalog is built.
    pub fn sources(&self) -> Vec<Source> {
        self.source_files().map(|source| self::source(source.item)).collect()
    }

    /// A warning about the query of a source.
    pub fn query_warning(&self, source: &str, text: &str) -> Option<Warning> {
        let placed = self.source_files().find(|placed| placed.item.name() == source)?;
        Some(Warning(placed.mistake("/query", format!("the query of source {source} looks into the future: {text}"))))
    }

    pub(super) fn entities(&self) -> impl Iterator<Item = Placed<'_, EntityFile>> {
        self.placed("entities", |file| &file.entities)
    }

    pub(super) fn source_files(&self) -> impl Iterator<Item = Placed<'_, SourceFile>> {
        self.placed("sources", |file| &file.sources)
    }

    pub(super) fn feature_views(&self) -> impl Iterator<Item = Placed<'_, FeatureViewFile>> {
        self.placed("feature_views", |file| &file.feature_views)
    }

    pub(super) fn derived_views(&self) -> impl Iterator<Item = Placed<'_, DerivedViewFile>> {
        self.placed("derived_views", |file| &file.derived_views)
    }

    pub(super) fn feature_services(&self) -> impl Iterator<Item = Placed<'_, FeatureServiceFile>> {
        self.placed("feature_services", |file| &file.feature_services)
    }

    fn placed<'a, T: 'a>(
        &'a self,
        list: &'static str,
        items: fn(&DefinitionsFile) -> &Vec<T>,
    ) -> impl Iterator<Item = Placed<'a, T>> {
        self.files.iter().flat_map(move |(document, file)| {
            items(file).iter().enumerate().map(move |(index, item)| Placed {
                document,
                pointer: format!("/{list}/{index}"),
                item,
            })
        })
    }
}

/// From here on a view is called by its whole name. A name that has an `@` of its own is left to be refused.
fn name_versions(file: &mut DefinitionsFile) {
    let views = file.feature_views.iter_mut().map(|view| (&mut view.name, view.version));
    let derived = file.derived_views.iter_mut().map(|view| (&mut view.name, view.version));
    for (name, version) in views.chain(derived).filter(|(name, _)| !name.contains('@')) {
        *name = versioned_name(name, version.unwrap_or(1));
    }
}

impl<T> Placed<'_, T> {
    /// A mistake in the definition; `path` leads from it to the value, such as `/features/0/type`.
    pub fn mistake(&self, path: &str, text: impl Into<String>) -> Mistake {
        self.document.mistake(&format!("{}{path}", self.pointer), text)
    }

    /// A mistake in the key that `path` leads to.
    pub fn key_mistake(&self, path: &str, text: impl Into<String>) -> Mistake {
        self.document.key_mistake(&format!("{}{path}", self.pointer), text)
    }
}

pub(super) fn source(file: &SourceFile) -> Source {
    Source {
        name: file.name().to_owned(),
        kind: match file {
            SourceFile::Parquet { path, partitions: by, .. } => {
                SourceKind::Stored(Stored::Parquet { path: path.clone(), partitions: partitions(by) })
            }
            // What is wrong with a version is told by `build`; until then the newest one stands for it.
            SourceFile::Delta { path, version, as_of, .. } => SourceKind::Stored(Stored::Delta {
                path: path.clone(),
                as_of: table_version(*version, as_of.as_deref()).unwrap_or_default(),
            }),
            SourceFile::Sql { query, .. } => SourceKind::Sql { query: query.clone() },
            SourceFile::Long { source, entity_type, entity, name_column, value_column, value_columns, .. } => {
                // A type that is none is told by `build`.
                let typed = |(of, column): (&String, &String)| Some((of.parse().ok()?, column.clone()));
                SourceKind::Long(Box::new(Long {
                    source: source.clone(),
                    entity_type: entity_type.as_ref().map(|of| (of.column.clone(), of.value.clone())),
                    entity: entity.column.clone(),
                    join_key: entity.join_key.clone(),
                    name_column: name_column.clone(),
                    value_column: value_column.clone(),
                    value_columns: value_columns.iter().filter_map(typed).collect(),
                }))
            }
            SourceFile::Push { delta: Some(path), .. } => {
                SourceKind::Push { into: Stored::Delta { path: path.clone(), as_of: None } }
            }
            SourceFile::Postgres { connection, table, .. } => SourceKind::Stored(postgres(connection, table)),
            SourceFile::Push { postgres: Some(into), .. } => {
                SourceKind::Push { into: postgres(&into.connection, &into.table) }
            }
            SourceFile::Push { path, partitions: by, .. } => {
                let path = path.clone().unwrap_or_default();
                SourceKind::Push { into: Stored::Parquet { path, partitions: partitions(by) } }
            }
        },
        event_time: file.event_time().to_owned(),
        created_time: file.created_time().map(str::to_owned),
        description: file.description().to_owned(),
    }
}

/// Partitions of types that are none are left out here; `build` says so.
fn partitions(files: &[PartitionFile]) -> Vec<Partition> {
    let partition = |file: &PartitionFile| {
        let field = Field::new(&file.name, file.dtype.parse().ok()?);
        Some(Partition { field, day_of: file.day_of.clone() })
    };
    files.iter().filter_map(partition).collect()
}

/// The moment of a table that is meant by its number or by a time; the newest one without either.
pub(super) fn table_version(number: Option<u64>, time: Option<&str>) -> Result<Option<TableVersion>, String> {
    match (number, time) {
        (None, None) => Ok(None),
        (Some(number), None) => Ok(Some(TableVersion::Number(number))),
        (None, Some(text)) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Some(TableVersion::Time(time.timestamp_micros()))),
            Err(_) => Err(format!("{text:?} is not a time; write one like 2026-01-31T00:00:00Z")),
        },
        (Some(_), Some(_)) => Err("the version is given already; leave one of the two out".to_owned()),
    }
}

fn postgres(connection: &str, table: &str) -> Stored {
    let (schema, table) = table.split_once('.').unwrap_or(("public", table));
    Stored::Postgres { connection: connection.to_owned(), schema: schema.to_owned(), table: table.to_owned() }
}
