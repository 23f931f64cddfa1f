//! The entries of a feature service that read a view under another name.

use std::collections::BTreeSet;

use super::Building;
use crate::catalog::definitions::Placed;
use crate::catalog::file::{AliasedViewFile, FeatureServiceFile};
use crate::catalog::names::{reserved_mistake, snake_case_mistake};
use crate::catalog::{Alias, FeatureRef};
use crate::document::{did_you_mean, push_segment};

/// The features that the entry at `path` names; nothing if its view has a mistake of its own, or the entry has one.
pub(super) fn aliased(
    placed: &Placed<'_, FeatureServiceFile>,
    path: &str,
    file: &AliasedViewFile,
    building: &mut Building,
) -> Option<Vec<FeatureRef>> {
    if building.broken_views.contains(&file.view) {
        return None;
    }
    let before = building.mistakes.len();
    check(placed, path, file, building);
    if building.mistakes.len() > before {
        return None;
    }
    let alias = Alias { view: file.view.clone(), join_keys: file.join_keys.clone() };
    match building.catalog.aliases.get(&file.alias) {
        Some(known) if *known != alias => {
            let text = format!(
                "feature service {}: {} stands for view {} with other join keys elsewhere; name one of the two otherwise",
                placed.item.name, file.alias, known.view
            );
            building.mistakes.push(placed.mistake(&format!("{path}/as"), text));
            return None;
        }
        _ => building.catalog.aliases.insert(file.alias.clone(), alias),
    };
    let view = building.catalog.views.get(&file.view)?;
    let features: Vec<&str> = view.features().iter().map(|feature| feature.name.as_str()).collect();
    let named = file.features.iter().flatten().map(String::as_str);
    let all = if file.features.is_some() { named.collect() } else { features };
    Some(all.into_iter().map(|feature| FeatureRef::new(&file.alias, feature)).collect())
}

fn check(placed: &Placed<'_, FeatureServiceFile>, path: &str, file: &AliasedViewFile, building: &mut Building) {
    let service = &placed.item.name;
    let mut wrong: Vec<(String, String)> = Vec::new();
    let catalog = &building.catalog;
    let Some(view) = catalog.views.get(&file.view) else {
        let meant = did_you_mean(&file.view, catalog.views.keys().map(String::as_str));
        let text = format!("feature service {service} names view {}, which is not defined{meant}", file.view);
        building.mistakes.push(placed.mistake(&format!("{path}/view"), text));
        return;
    };
    if let Some(mistake) = snake_case_mistake(&file.alias) {
        wrong.push((format!("{path}/as"), format!("the name {} {mistake}", file.alias)));
    } else if catalog.views.contains_key(&file.alias) {
        wrong.push((format!("{path}/as"), format!("{} is the name of a view; take another one", file.alias)));
    }
    let reach = catalog.reach(&file.view);
    let keys: BTreeSet<&str> =
        reach.feature_views.iter().flat_map(|view| &view.join_keys).map(|key| key.name.as_str()).collect();
    for (key, column) in &file.join_keys {
        let mut place = format!("{path}/join_keys");
        push_segment(&mut place, key);
        if !keys.contains(key.as_str()) {
            let known: Vec<&str> = keys.iter().copied().collect();
            let meant = did_you_mean(key, keys.iter().copied());
            wrong
                .push((place, format!("view {} has no join key {key}; it has {}{meant}", file.view, known.join(", "))));
        } else if let Some(mistake) = snake_case_mistake(column).or_else(|| reserved_mistake(column)) {
            wrong.push((place, format!("the column {column} for join key {key} {mistake}")));
        }
    }
    let features: Vec<&str> = view.features().iter().map(|feature| feature.name.as_str()).collect();
    for (index, feature) in file.features.iter().flatten().enumerate() {
        if !features.contains(&feature.as_str()) {
            let meant = did_you_mean(feature, features.iter().copied());
            let text = format!("view {} has no feature {feature}; it has {}{meant}", file.view, features.join(", "));
            wrong.push((format!("{path}/features/{index}"), text));
        }
    }
    for (place, text) in wrong {
        building.mistakes.push(placed.mistake(&place, format!("feature service {service}: {text}")));
    }
}
