//! Looking at what a project reads: how its sources are read, what their queries take from the future, and what is in a
//! file.

use std::path::Path;

use super::{Error, Project};
use crate::catalog::{Catalog, Definitions, SourceKind, Warning};
use crate::flow;
use crate::flow::statistics::{Asked, Statistics, of_file};
use crate::offline::{OfflineStore, Scan};

/// How rows of a source are read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explained {
    pub source: String,
    /// For which view; none reads the source otherwise.
    pub view: Option<String>,
    pub plan: String,
}

impl Project {
    /// What queries take from after the time of their own rows.
    pub(super) async fn look_ahead(&self, definitions: &Definitions, catalog: &Catalog) -> Result<Vec<Warning>, Error> {
        let (offline, _) = self.stored_sources()?;
        offline.define(catalog.sources.clone());
        let mut warnings = Vec::new();
        for source in catalog.sources.values() {
            if matches!(source.kind, SourceKind::Sql { .. }) {
                let found = offline.look_ahead(source).await?;
                warnings.extend(found.iter().filter_map(|text| definitions.query_warning(&source.name, text)));
            }
        }
        Ok(warnings)
    }

    /// How the rows of a source are read for each view that reads it, in DataFusion's words; of all sources that views
    /// read if none is named.
    pub async fn explain(&self, catalog: &Catalog, source: Option<&str>) -> Result<Vec<Explained>, Error> {
        if let Some(name) = source
            && !catalog.sources.contains_key(name)
        {
            return Err(flow::Error::UnknownSource(name.to_owned()).into());
        }
        let (offline, _) = self.stored_sources()?;
        offline.define(catalog.sources.clone());
        let mut explained = Vec::new();
        let views = catalog.views.values().filter_map(|view| catalog.feature_view(view.name()));
        for view in views.filter(|view| source.is_none_or(|source| view.source == source)) {
            let scan = Scan::of(view.join_keys.iter().chain(&view.features).cloned().collect());
            let plan = offline.explain(&catalog.sources[&view.source], &scan).await?;
            explained.push(Explained { source: view.source.clone(), view: Some(view.name.clone()), plan });
        }
        if let Some(source) = source.filter(|_| explained.is_empty()) {
            let plan = offline.explain(&catalog.sources[source], &Scan::default()).await?;
            explained.push(Explained { source: source.to_owned(), view: None, plan });
        }
        Ok(explained)
    }
}

/// Statistics of a Parquet file that need not belong to a project.
pub async fn file_statistics(path: &Path, asked: &Asked) -> Result<Statistics, flow::Error> {
    let (path, asked) = (path.to_owned(), asked.clone());
    let looking = tokio::task::spawn_blocking(move || of_file(&path, &asked));
    looking.await.unwrap_or_else(|stopped| Err(flow::Error::Stopped(stopped.to_string())))
}
