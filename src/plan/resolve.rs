//! A question → the features it names, each of which exists.

use std::collections::BTreeSet;

use super::Error;
use crate::catalog::{Catalog, FeatureRef, Selection};

/// What is asked for, in order, each feature once.
pub(super) struct Asked {
    pub service: Option<String>,
    pub features: Vec<FeatureRef>,
    pub full_feature_names: bool,
}

pub(super) fn resolve(catalog: &Catalog, selection: &Selection) -> Result<Asked, Error> {
    let (service, mut features, full_feature_names) = match selection {
        Selection::Service { name, full_feature_names } => {
            let service = catalog
                .services
                .get(name)
                .ok_or_else(|| Error::UnknownService { service: name.clone(), project: catalog.project.clone() })?;
            let full = full_feature_names.unwrap_or(service.full_feature_names);
            (Some(name.clone()), service.features.clone(), full)
        }
        Selection::Features { refs, full_feature_names } => (None, refs.clone(), *full_feature_names),
    };
    if features.is_empty() {
        return Err(Error::Nothing);
    }
    for feature in &features {
        check_exists(catalog, feature)?;
    }
    let mut seen = BTreeSet::new();
    features.retain(|feature| seen.insert(feature.clone()));
    Ok(Asked { service, features, full_feature_names })
}

fn check_exists(catalog: &Catalog, named: &FeatureRef) -> Result<(), Error> {
    let view = catalog
        .view_behind(&named.view)
        .ok_or_else(|| Error::UnknownView { view: named.view.clone(), project: catalog.project.clone() })?;
    if view.features().iter().any(|feature| feature.name == named.feature) {
        return Ok(());
    }
    let has: Vec<&str> = view.features().iter().map(|feature| feature.name.as_str()).collect();
    Err(Error::UnknownFeature { view: named.view.clone(), feature: named.feature.clone(), has: has.join(", ") })
}
