//! What is computed and written when rows of a feature view arrive.

use std::sync::Arc;

use super::placement::{For, derived_online_view, online_view, synced_with};
use super::steps::Steps;
use super::{Error, InputKind, PlanInput, StorePlan, order};
use crate::catalog::{Catalog, DerivedView, FeatureView};

/// The steps for the rows of `feature_view`: itself, and the derived views placed at sync that read it.
pub fn storing(catalog: &Catalog, feature_view: &str) -> Result<StorePlan, Error> {
    let unknown = || Error::UnknownView { view: feature_view.to_owned(), project: catalog.project.clone() };
    let view = catalog.feature_view(feature_view).ok_or_else(unknown)?;
    let is_synced_here =
        |derived: &DerivedView| synced_with(catalog, derived).is_some_and(|history| history.name == view.name);
    let synced = catalog.derived_views().filter(|derived| is_synced_here(derived));
    Ok(over(catalog, view, synced.map(|derived| derived.name.as_str())))
}

/// The steps that compute a derived view from every row of the history of the one feature view under it, as of the
/// row's own event time.
pub fn over_history(catalog: &Catalog, derived_view: &str) -> Result<StorePlan, Error> {
    let reach = catalog.reach(derived_view);
    let refused = |reads: String| Error::NotOverHistory { view: derived_view.to_owned(), reads };
    if let Some((field, _)) = reach.request.first() {
        return Err(refused(format!("the request field {}", field.name)));
    }
    match reach.feature_views.as_slice() {
        [view] => Ok(over(catalog, view, std::iter::once(derived_view))),
        views => {
            let views: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
            Err(refused(if views.is_empty() { "no feature view".to_owned() } else { views.join(" and ") }))
        }
    }
}

/// The steps that compute these derived views, and those under them, from rows of `view`.
fn over<'a>(catalog: &'a Catalog, view: &Arc<FeatureView>, names: impl Iterator<Item = &'a str>) -> StorePlan {
    let keys = view.join_keys.iter().map(|key| PlanInput { field: key.clone(), kind: InputKind::JoinKey });
    // As in training, nothing is read but the feature view; everything derived is computed from it.
    let mut steps = Steps::new(catalog, For::Training, keys.collect());
    let online = online_view(view);
    let read = steps.read(Arc::clone(&online), view);
    steps.reads[read].columns = (0..view.features.len()).collect();
    let mut derived = Vec::new();
    for computed in order::computed_in_order(catalog, names, &|_| false) {
        derived.push(derived_online_view(&computed, view));
        steps.derive(computed);
    }
    StorePlan { view: Arc::clone(view), online, derivations: steps.derivations, derived }
}
