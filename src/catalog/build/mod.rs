//! Definition files → catalog, or every mistake in them at once.
//!
//! Goes through the kinds of definitions in the order in which they refer to one another. What has a mistake is kept out
//! of the catalog and remembered as broken, so that whatever refers to it is not blamed for the same mistake again.

mod columns;
mod deprecations;
mod derived_views;
mod entities;
mod expectations;
mod feature_views;
mod inputs;
mod names;
mod order;
mod placement;
mod aliases;
mod services;
mod sensitive;
mod sources;
mod splits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

pub use columns::UNREADABLE;

use super::{Catalog, Definitions, Parameter, Transform};
use crate::document::{Mistake, Mistakes};

/// A plugin as one derived view uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginUse {
    pub plugin: String,
    /// By name.
    pub parameters: Vec<(String, Parameter)>,
    /// The outputs to compute; `None` for all.
    pub outputs: Option<Vec<String>>,
}

/// Something that works, but hardly as it is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Warning(pub Mistake);

/// Loads a plugin's transform for one derived view; the error is a sentence for the author of the view.
pub type Bind<'a> = dyn Fn(&PluginUse) -> Result<Arc<Transform>, String> + 'a;

/// The columns of a source by its name; `None` when they are not known, which skips the checks of columns.
pub type Columns<'a> = dyn Fn(&str) -> Option<Result<SchemaRef, String>> + 'a;

/// The catalog that `definitions` describe.
pub fn build(
    definitions: &Definitions,
    bind: &Bind<'_>,
    columns: &Columns<'_>,
) -> Result<(Catalog, Vec<Warning>), Mistakes> {
    let mut building = Building::new(&definitions.project);
    entities::build(definitions, &mut building);
    sources::build(definitions, columns, &mut building);
    let mut view_names = names::Names::default();
    feature_views::build(definitions, &mut view_names, &mut building);
    derived_views::build(definitions, bind, &mut view_names, &mut building);
    services::build(definitions, &mut building);
    splits::build(definitions, &mut building);
    deprecations::build(definitions, &mut building);
    building.catalog.sensitive = sensitive::views(definitions, &building.catalog);
    if !building.mistakes.is_empty() {
        return Err(Mistakes::from(building.mistakes));
    }
    building.warnings.sort();
    Ok((building.catalog, building.warnings))
}

/// The catalog so far.
struct Building {
    catalog: Catalog,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    /// Names that are defined, but with a mistake.
    broken_entities: BTreeSet<String>,
    broken_sources: BTreeSet<String>,
    broken_views: BTreeSet<String>,
    /// The columns of the sources that are known.
    schemas: BTreeMap<String, SchemaRef>,
}

impl Building {
    fn new(project: &str) -> Self {
        Self {
            catalog: Catalog::empty(project),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            broken_entities: BTreeSet::new(),
            broken_sources: BTreeSet::new(),
            broken_views: BTreeSet::new(),
            schemas: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
