//! What is computed and written when rows of a feature view arrive.

use std::sync::Arc;

use super::placement::{For, derived_online_view, online_view, synced_with};
use super::steps::Steps;
use super::{Error, InputKind, PlanInput, StorePlan, order};
use crate::catalog::{Catalog, DerivedView};

/// The steps for the rows of `feature_view`: itself, and the derived views placed at sync that read it.
pub fn storing(catalog: &Catalog, feature_view: &str) -> Result<StorePlan, Error> {
    let unknown = || Error::UnknownView { view: feature_view.to_owned(), project: catalog.project.clone() };
    let view = catalog.feature_view(feature_view).ok_or_else(unknown)?;
    let is_synced_here =
        |derived: &DerivedView| synced_with(catalog, derived).is_some_and(|history| history.name == view.name);
    let synced: Vec<&Arc<DerivedView>> = catalog.derived_views().filter(|derived| is_synced_here(derived)).collect();

    let keys = view.join_keys.iter().map(|key| PlanInput { field: key.clone(), kind: InputKind::JoinKey });
    // As in training, nothing is read but the feature view; everything derived is computed from it.
    let mut steps = Steps::new(catalog, For::Training, keys.collect());
    let online = online_view(view);
    let read = steps.read(Arc::clone(&online), view);
    steps.reads[read].columns = (0..view.features.len()).collect();
    let names = synced.iter().map(|derived| derived.name.as_str());
    let mut derived = Vec::new();
    for computed in order::computed_in_order(catalog, names, &|_| false) {
        derived.push(derived_online_view(&computed, view));
        steps.derive(computed);
    }
    Ok(StorePlan { view: Arc::clone(view), online, derivations: steps.derivations, derived })
}
