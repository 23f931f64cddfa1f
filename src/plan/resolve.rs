//! A question → the features it names, each of which exists, under the names by which they are defined.

use std::collections::BTreeSet;

use super::Error;
use crate::catalog::{Catalog, FeatureRef, Selection, ServiceRef, ServiceVersion, View};

/// What is asked for, in order, each feature once.
pub(super) struct Asked {
    pub service: Option<String>,
    /// The number of the service's list that is asked for, if it was recorded.
    pub service_version: Option<u32>,
    pub features: Vec<FeatureRef>,
    pub full_feature_names: bool,
}

pub(super) fn resolve(catalog: &Catalog, selection: &Selection) -> Result<Asked, Error> {
    let mut asked = match selection {
        Selection::Service { name, full_feature_names } => of_service(catalog, name, *full_feature_names)?,
        Selection::Features { refs, full_feature_names } => Asked {
            service: None,
            service_version: None,
            features: refs.clone(),
            full_feature_names: *full_feature_names,
        },
    };
    if asked.features.is_empty() {
        return Err(Error::Nothing);
    }
    for feature in &mut asked.features {
        let view = existing(catalog, feature)?;
        // An alias stays: its join keys stand in other columns than those of the view.
        if view.name() != feature.view && !catalog.aliases.contains_key(&feature.view) {
            feature.view = view.name().to_owned();
        }
    }
    let mut seen = BTreeSet::new();
    asked.features.retain(|feature| seen.insert(feature.clone()));
    Ok(asked)
}

fn of_service(catalog: &Catalog, name: &str, full_feature_names: Option<bool>) -> Result<Asked, Error> {
    let named = ServiceRef::parse(name).ok_or_else(|| Error::NoServiceVersion { name: name.to_owned() })?;
    let (ServiceRef::Current(service) | ServiceRef::Version(service, _)) = named;
    let unknown = || Error::UnknownService { service: service.to_owned(), project: catalog.project.clone() };
    let defined = catalog.services.get(service).ok_or_else(unknown)?;
    Ok(match named {
        ServiceRef::Current(_) => Asked {
            service: Some(service.to_owned()),
            service_version: catalog.service_version(service),
            features: defined.features.clone(),
            full_feature_names: full_feature_names.unwrap_or(defined.full_feature_names),
        },
        ServiceRef::Version(_, number) => {
            let version = version(catalog, service, number)?;
            Asked {
                service: Some(service.to_owned()),
                service_version: Some(number),
                features: version.features.iter().map(|recorded| recorded.feature.clone()).collect(),
                full_feature_names: full_feature_names.unwrap_or(version.full_feature_names),
            }
        }
    })
}

/// One of the lists that a service has had, if it can be answered as it was.
fn version<'a>(catalog: &'a Catalog, service: &str, number: u32) -> Result<&'a ServiceVersion, Error> {
    let versions = catalog.service_versions.get(service).map_or(&[][..], Vec::as_slice);
    let Some(version) = versions.iter().find(|version| version.number == number) else {
        return Err(Error::UnknownServiceVersion { service: service.to_owned(), number, has: told(versions) });
    };
    match version.missing_from(catalog).as_slice() {
        [] => Ok(version),
        changes => {
            let now = match catalog.service_version(service) {
                Some(now) => format!("{service} itself is version {now}"),
                None => format!("{service} itself has another list"),
            };
            Err(Error::ServiceVersionGone { service: service.to_owned(), number, changes: changes.join(", "), now })
        }
    }
}

fn told(versions: &[ServiceVersion]) -> String {
    match versions {
        [] => "none is recorded".to_owned(),
        [only] => format!("it has {} only", only.number),
        [first, .., last] => format!("it has {} to {}", first.number, last.number),
    }
}

fn existing<'a>(catalog: &'a Catalog, named: &FeatureRef) -> Result<&'a View, Error> {
    let view = catalog
        .view_behind(&named.view)
        .ok_or_else(|| Error::UnknownView { view: named.view.clone(), project: catalog.project.clone() })?;
    if view.features().iter().any(|feature| feature.name == named.feature) {
        return Ok(view);
    }
    let has: Vec<&str> = view.features().iter().map(|feature| feature.name.as_str()).collect();
    Err(Error::UnknownFeature { view: named.view.clone(), feature: named.feature.clone(), has: has.join(", ") })
}
