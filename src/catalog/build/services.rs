//! Feature services: what they name, and whether one answer can hold it all.

use std::collections::{BTreeMap, BTreeSet};

use super::aliases::aliased;
use super::inputs::{feature_ref, view_name};
use super::names::Names;
use super::{Building, Warning};
use crate::catalog::definitions::Placed;
use crate::catalog::file::{FeatureServiceFile, ServiceFeatureFile};
use crate::catalog::{Definitions, FeatureRef, FeatureService, Field};
use crate::document::did_you_mean;
use crate::limits;

pub(super) fn build(definitions: &Definitions, building: &mut Building) {
    let mut names = Names::default();
    for placed in definitions.feature_services() {
        let file = placed.item;
        let before = building.mistakes.len();
        names.claim("feature service", &file.name, &placed, "/name", &mut building.mistakes);
        let Some(features) = features(&placed, building) else { continue };
        let inputs = inputs(&placed, &features, building);
        refuse_equal_columns(&placed, &features, &inputs, building);
        if building.mistakes.len() > before {
            continue;
        }
        warn(&placed, &features, building);
        let service = FeatureService {
            name: file.name.clone(),
            features,
            full_feature_names: file.full_feature_names,
            split: None,
            description: file.description.clone(),
        };
        building.catalog.services.insert(file.name.clone(), service);
    }
}

/// The features in order; none if some of them cannot be known.
fn features(placed: &Placed<'_, FeatureServiceFile>, building: &mut Building) -> Option<Vec<FeatureRef>> {
    let service = &placed.item.name;
    let mut features: Vec<FeatureRef> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut is_whole = true;
    for (index, entry) in placed.item.features.iter().enumerate() {
        let named = match entry {
            ServiceFeatureFile::Named(text) => named_features(service, text, building),
            ServiceFeatureFile::Aliased(file) => Ok(aliased(placed, &format!("/features/{index}"), file, building)),
        };
        let named = match named {
            Ok(Some(named)) => named,
            Ok(None) => {
                is_whole = false;
                continue;
            }
            Err(wrong) => {
                building.mistakes.push(placed.mistake(&format!("/features/{index}"), wrong));
                is_whole = false;
                continue;
            }
        };
        for feature in named {
            if seen.insert(feature.clone()) {
                features.push(feature);
            } else {
                let text = format!("feature service {service} names {feature} twice");
                building.mistakes.push(placed.mistake(&format!("/features/{index}"), text));
            }
        }
    }
    is_whole.then_some(features)
}

/// The features that one entry names; `None` if its view has a mistake of its own.
fn named_features(service: &str, text: &str, building: &Building) -> Result<Option<Vec<FeatureRef>>, String> {
    let (view_name, feature) = if text.contains(':') {
        let named = feature_ref(text).map_err(|wrong| format!("feature service {service}: {wrong}"))?;
        (named.view, Some(named.feature))
    } else {
        let view = view_name(text).map_err(|wrong| format!("feature service {service}: {wrong}"))?;
        (view.to_owned(), None)
    };
    if building.broken_views.contains(&view_name) {
        return Ok(None);
    }
    let Some(view) = building.catalog.views.get(&view_name) else {
        let meant = did_you_mean(&view_name, building.catalog.views.keys().map(String::as_str));
        return Err(format!("feature service {service} names view {view_name}, which is not defined{meant}"));
    };
    let names: Vec<&str> = view.features().iter().map(|feature| feature.name.as_str()).collect();
    match feature {
        None => Ok(Some(names.iter().map(|name| FeatureRef::new(&view_name, name)).collect())),
        Some(feature) if names.contains(&feature.as_str()) => Ok(Some(vec![FeatureRef::new(&view_name, &feature)])),
        Some(feature) => {
            let meant = did_you_mean(&feature, names.iter().copied());
            Err(format!(
                "feature service {service}: view {view_name} has no feature {feature}; it has {}{meant}",
                names.join(", ")
            ))
        }
    }
}

/// The names of the columns that must come with a request. Two of one name must be of one type.
fn inputs(
    placed: &Placed<'_, FeatureServiceFile>,
    features: &[FeatureRef],
    building: &mut Building,
) -> BTreeMap<String, &'static str> {
    let views: BTreeSet<&str> = features.iter().map(|feature| feature.view.as_str()).collect();
    let mut known: BTreeMap<String, (Field, &'static str, String)> = BTreeMap::new();
    let mut clashes = BTreeSet::new();
    let reaches: Vec<_> = views.iter().map(|view| building.catalog.reach(view)).collect();
    let keys = reaches
        .iter()
        .flat_map(|reach| &reach.feature_views)
        .flat_map(|view| view.join_keys.iter().map(|key| (key, "join key", format!("feature view {}", view.name))));
    let request = reaches.iter().flat_map(|reach| &reach.request);
    let request = request.map(|(field, view)| (field, "request field", format!("derived view {view}")));
    for (field, noun, user) in keys.chain(request) {
        match known.get(&field.name) {
            Some((other, other_noun, other_user)) if other.dtype != field.dtype => {
                let way_out = match noun {
                    "join key" => "rename one of them",
                    _ => "name another field under request",
                };
                clashes.insert(format!(
                    "feature service {}: {} is {} as {other_noun} of {other_user} and {} as {noun} of {user}; {way_out}",
                    placed.item.name, field.name, other.dtype, field.dtype
                ));
            }
            Some(_) => {}
            None => {
                known.insert(field.name.clone(), (field.clone(), noun, user));
            }
        }
    }
    building.mistakes.extend(clashes.into_iter().map(|text| placed.mistake("/features", text)));
    known.into_iter().map(|(name, (_, noun, _))| (name, noun)).collect()
}

fn refuse_equal_columns(
    placed: &Placed<'_, FeatureServiceFile>,
    features: &[FeatureRef],
    inputs: &BTreeMap<String, &'static str>,
    building: &mut Building,
) {
    let service = &placed.item.name;
    let full = placed.item.full_feature_names;
    let way_out =
        if full { "rename one of them" } else { "set full_feature_names: true, which names them view__feature" };
    let mut columns: BTreeMap<String, &FeatureRef> = BTreeMap::new();
    for feature in features {
        let column = feature.column(full);
        let wrong = if let Some(noun) = inputs.get(&column) {
            Some(format!("feature service {service}: {feature} would have the name of the {noun} {column}; {way_out}"))
        } else {
            let other = columns.get(&column);
            other.map(|other| {
                format!("feature service {service}: {other} and {feature} would both be called {column}; {way_out}")
            })
        };
        building.mistakes.extend(wrong.map(|text| placed.mistake("/features", text)));
        columns.insert(column, feature);
    }
}

fn warn(placed: &Placed<'_, FeatureServiceFile>, features: &[FeatureRef], building: &mut Building) {
    let service = &placed.item.name;
    let mut texts = Vec::new();
    if features.len() > limits::SERVE_FEATURES_MAX {
        let max = limits::SERVE_FEATURES_MAX;
        texts.push(format!(
            "feature service {service} has {} features, requests are answered up to {max}",
            features.len()
        ));
    }
    let views: BTreeSet<&str> = features.iter().map(|feature| feature.view.as_str()).collect();
    let read: Vec<_> = views.iter().flat_map(|view| building.catalog.reach(view).feature_views).collect();
    let offline: BTreeSet<&str> = read.iter().filter(|view| !view.online).map(|view| view.name.as_str()).collect();
    for view in offline {
        texts.push(format!(
            "feature service {service} can be used for training only, because feature view {view} is not kept online"
        ));
    }
    building.warnings.extend(texts.into_iter().map(|text| Warning(placed.mistake("/features", text))));
}
