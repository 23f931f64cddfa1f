//! The care of stored tables: many small files become few, and files go that nobody reads any more. Rows stay the same.

use super::Error;
use crate::catalog::Catalog;
use crate::offline::{Maintained, Maintenance, OfflineStore};

/// What was done to the table of one source.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cared {
    pub source: String,
    #[serde(flatten)]
    pub done: Maintained,
}

/// Does the same to each of `sources`, one after the other.
pub async fn maintain(
    offline: &dyn OfflineStore,
    catalog: &Catalog,
    sources: &[String],
    what: Maintenance,
) -> Result<Vec<Cared>, Error> {
    // All names first: one that is wrong is told before anything is done.
    let known = |name: &String| catalog.sources.get(name).ok_or_else(|| Error::UnknownSource(name.clone()));
    let sources = sources.iter().map(known).collect::<Result<Vec<_>, Error>>()?;
    let mut all = Vec::with_capacity(sources.len());
    for source in sources {
        all.push(Cared { source: source.name.clone(), done: offline.maintain(source, what).await? });
    }
    Ok(all)
}
