//! The definition files of a project, parsed, with the place of everything in them.
//!
//! What stands here has the right shape and nothing more; [`build`](super::build) says whether it makes sense.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::file::{
    DefinitionsFile, DerivedViewFile, EntityFile, FeatureServiceFile, FeatureViewFile, SourceFile, schema,
};
use super::{Source, SourceKind, Stored};
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
                Ok(read) => parsed.push(read),
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
            SourceFile::Parquet { path, .. } => SourceKind::Stored(Stored::parquet(path)),
            SourceFile::Sql { query, .. } => SourceKind::Sql { query: query.clone() },
            SourceFile::Postgres { connection, table, .. } => SourceKind::Stored(postgres(connection, table)),
            SourceFile::Push { postgres: Some(into), .. } => {
                SourceKind::Push { into: postgres(&into.connection, &into.table) }
            }
            SourceFile::Push { path, .. } => {
                SourceKind::Push { into: Stored::parquet(path.clone().unwrap_or_default()) }
            }
        },
        event_time: file.event_time().to_owned(),
        created_time: file.created_time().map(str::to_owned),
        description: file.description().to_owned(),
    }
}

fn postgres(connection: &str, table: &str) -> Stored {
    let (schema, table) = table.split_once('.').unwrap_or(("public", table));
    Stored::Postgres { connection: connection.to_owned(), schema: schema.to_owned(), table: table.to_owned() }
}
