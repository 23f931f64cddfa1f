//! Which views are stored, and what a stored view looks like to the online store.

use std::sync::Arc;

use crate::catalog::{Catalog, DerivedView, FeatureView, Placement, View};
use crate::online::OnlineView;

/// Who answers the reads of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The online store.
    Serving,
    /// The point-in-time join over the offline store.
    Training,
}

/// The feature view whose sync also computes this derived view, if it is stored rather than computed.
pub(super) fn stored_with(catalog: &Catalog, view: &DerivedView, answers: For) -> Option<Arc<FeatureView>> {
    if answers == For::Training {
        return None;
    }
    synced_with(catalog, view)
}

/// The feature view whose sync computes this derived view: the only one that it reads.
pub(super) fn synced_with(catalog: &Catalog, view: &DerivedView) -> Option<Arc<FeatureView>> {
    match view.placement {
        Placement::Request => None,
        Placement::Sync => catalog.reach_of(view).feature_views.into_iter().next(),
    }
}

/// Every view that the online store keeps, by name: feature views that are online, and derived views placed at sync.
pub fn stored_views(catalog: &Catalog) -> Vec<Arc<OnlineView>> {
    let stored = |view: &View| match view {
        View::Feature(view) => view.online.then(|| online_view(view)),
        View::Derived(view) => synced_with(catalog, view).map(|with| derived_online_view(view, &with)),
    };
    catalog.views.values().filter_map(stored).collect()
}

pub(super) fn online_view(view: &FeatureView) -> Arc<OnlineView> {
    Arc::new(OnlineView {
        name: view.name.clone(),
        entities: view.entities.clone(),
        join_keys: view.join_keys.clone(),
        features: view.features.clone(),
        digest: None,
    })
}

pub(super) fn derived_online_view(view: &DerivedView, synced_with: &FeatureView) -> Arc<OnlineView> {
    Arc::new(OnlineView {
        name: view.name.clone(),
        entities: synced_with.entities.clone(),
        join_keys: synced_with.join_keys.clone(),
        features: view.features.clone(),
        digest: Some(view.transform.digest),
    })
}
