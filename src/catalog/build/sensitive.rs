//! Whose rows are not to stand in a log.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Definitions, SourceKind};

/// The views that are sensitive: by their own word, or because a source is whose rows they are.
pub(super) fn views(definitions: &Definitions, catalog: &Catalog) -> BTreeSet<String> {
    let sources: BTreeSet<&str> = definitions
        .source_files()
        .filter(|placed| placed.item.is_sensitive())
        .map(|placed| placed.item.name())
        .collect();
    // The rows of a source in the long format are another source's.
    let behind = |name: &str| match catalog.sources.get(name).map(|source| &source.kind) {
        Some(SourceKind::Long(long)) => Some(long.source.clone()),
        _ => None,
    };
    let is_sensitive =
        |source: &str| sources.contains(source) || behind(source).is_some_and(|name| sources.contains(name.as_str()));
    let stored = definitions.feature_views().map(|placed| placed.item);
    let stored = stored.filter(|view| view.sensitive || is_sensitive(&view.source)).map(|view| view.name.clone());
    let derived = definitions.derived_views().map(|placed| placed.item);
    let derived = derived.filter(|view| view.sensitive).map(|view| view.name.clone());
    stored.chain(derived).collect()
}
