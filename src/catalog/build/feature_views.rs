//! Feature views: entities, source, columns, and how long a value is good for.

use std::sync::Arc;
use std::time::Duration;

use super::expectations::{expectations, quarantine};
use super::names::Names;
use super::{Building, Warning, columns};
use crate::catalog::definitions::Placed;
use crate::catalog::file::FeatureViewFile;
use crate::catalog::{DType, Definitions, FeatureRef, FeatureView, Field, Long, Source, SourceKind, View};
use crate::document::{did_you_mean, duration_text, parse_duration};

pub(super) fn build(definitions: &Definitions, view_names: &mut Names, building: &mut Building) {
    for placed in definitions.feature_views() {
        let file = placed.item;
        let before = building.mistakes.len();
        view_names.claim_view("feature view", &file.name, file.version, &placed, &mut building.mistakes);
        let join_keys = join_keys(&placed, building);
        let features = features(&placed, &join_keys, building);
        let has_source = check_source(&placed, &join_keys, &features, building);
        let ttl = span(&placed, "ttl", file.ttl.as_deref(), building);
        let sync_every = span(&placed, "sync_every", file.sync_every.as_deref(), building);
        let fields: Vec<Field> = features.iter().map(|(feature, _)| feature.clone()).collect();
        let expectations = expectations(&placed, &fields, building);
        let quarantine = quarantine(&placed, building);
        let refers_to_broken =
            file.entities.iter().any(|entity| building.broken_entities.contains(entity)) || !has_source;
        if building.mistakes.len() > before || refers_to_broken {
            building.broken_views.insert(file.name.clone());
            continue;
        }
        warn_of_short_ttl(&placed, ttl, sync_every, building);
        if !check_pushed_types(&placed, &features, building) {
            building.broken_views.insert(file.name.clone());
            continue;
        }
        let view = FeatureView {
            name: file.name.clone(),
            entities: file.entities.clone(),
            join_keys,
            source: file.source.clone(),
            features: features.into_iter().map(|(feature, _)| feature).collect(),
            ttl,
            online: file.online,
            sync_every,
            expectations,
            quarantine,
            description: file.description.clone(),
        };
        for feature in file.features.iter().filter(|feature| !feature.description.is_empty()) {
            let named = FeatureRef::new(&file.name, &feature.name);
            building.catalog.feature_descriptions.insert(named, feature.description.clone());
        }
        building.catalog.views.insert(file.name.clone(), View::Feature(Arc::new(view)));
    }
}

/// The join keys of all entities, in order, each once.
fn join_keys(placed: &Placed<'_, FeatureViewFile>, building: &mut Building) -> Vec<Field> {
    let view = &placed.item.name;
    let mut join_keys: Vec<Field> = Vec::new();
    for (index, name) in placed.item.entities.iter().enumerate() {
        let path = format!("/entities/{index}");
        if placed.item.entities[..index].contains(name) {
            let text = format!("feature view {view} names entity {name} twice");
            building.mistakes.push(placed.mistake(&path, text));
            continue;
        }
        let Some(entity) = building.catalog.entities.get(name) else {
            if !building.broken_entities.contains(name) {
                let known = building.catalog.entities.keys().map(String::as_str);
                let meant = did_you_mean(name, known);
                let text = format!("feature view {view} names entity {name}, which is not defined{meant}");
                building.mistakes.push(placed.mistake(&path, text));
            }
            continue;
        };
        for key in &entity.join_keys {
            match join_keys.iter().find(|other| other.name == key.name) {
                None => join_keys.push(key.clone()),
                Some(other) if other.dtype == key.dtype => {}
                Some(other) => {
                    let text = format!(
                        "the entities of feature view {view} have a join key {} of two types, {} and {}; rename one",
                        key.name, other.dtype, key.dtype
                    );
                    building.mistakes.push(placed.mistake(&path, text));
                }
            }
        }
    }
    join_keys
}

/// The features whose definition is good, each with the path to it.
fn features(
    placed: &Placed<'_, FeatureViewFile>,
    join_keys: &[Field],
    building: &mut Building,
) -> Vec<(Field, String)> {
    let view = &placed.item.name;
    let mut names = Names::default();
    let mut features = Vec::new();
    for (index, feature) in placed.item.features.iter().enumerate() {
        let path = format!("/features/{index}");
        let name_path = format!("{path}/name");
        let is_named = names.claim_column("feature", &feature.name, placed, &name_path, &mut building.mistakes);
        if join_keys.iter().any(|key| key.name == feature.name) {
            let text = format!(
                "feature {} of feature view {view} has the name of a join key; the answer has that column already",
                feature.name
            );
            building.mistakes.push(placed.mistake(&name_path, text));
        }
        match feature.dtype.parse::<DType>() {
            Ok(dtype) if is_named => features.push((Field::new(&feature.name, dtype), path)),
            Ok(_) => {}
            Err(wrong) => {
                let text = format!("feature {} of feature view {view}: {wrong}", feature.name);
                building.mistakes.push(placed.mistake(&format!("{path}/type"), text));
            }
        }
    }
    features
}

/// Rows that are pushed have one column for all views that read it, so it has one type.
fn check_pushed_types(
    placed: &Placed<'_, FeatureViewFile>,
    features: &[(Field, String)],
    building: &mut Building,
) -> bool {
    let file = placed.item;
    let is_push = |source: &Source| matches!(source.kind, SourceKind::Push { .. });
    if !building.catalog.sources.get(&file.source).is_some_and(is_push) {
        return true;
    }
    let mut mistakes = Vec::new();
    for other in building.catalog.views.values() {
        let View::Feature(other) = other else { continue };
        for (feature, path) in features.iter().filter(|_| other.source == file.source) {
            let known = other.features.iter().chain(&other.join_keys).find(|known| known.name == feature.name);
            if let Some(known) = known.filter(|known| known.dtype != feature.dtype) {
                let text = format!(
                    "feature {} of feature view {} is {}, but feature view {} reads the same column of push source {} as {}",
                    feature.name, file.name, feature.dtype, other.name, file.source, known.dtype
                );
                mistakes.push(placed.mistake(&format!("{path}/type"), text));
            }
        }
    }
    let fits = mistakes.is_empty();
    building.mistakes.extend(mistakes);
    fits
}

/// Whether the source is there and whole; and whether it has the columns.
fn check_source(
    placed: &Placed<'_, FeatureViewFile>,
    join_keys: &[Field],
    features: &[(Field, String)],
    building: &mut Building,
) -> bool {
    let (view, name) = (&placed.item.name, &placed.item.source);
    let Some(source) = building.catalog.sources.get(name) else {
        let is_broken = building.broken_sources.contains(name);
        if !is_broken {
            let meant = did_you_mean(name, building.catalog.sources.keys().map(String::as_str));
            let text = format!("feature view {view} reads source {name}, which is not defined{meant}");
            building.mistakes.push(placed.mistake("/source", text));
        }
        return false;
    };
    let keys = join_keys.iter().map(|key| (key, "join key", "/entities".to_owned()));
    let features = features.iter().map(|(feature, path)| (feature, "feature", format!("{path}/name")));
    let schema = building.schemas.get(name);
    for (field, noun, path) in keys.chain(features) {
        let time = if field.name == source.event_time {
            Some("event_time")
        } else if Some(&field.name) == source.created_time.as_ref() {
            Some("created_time")
        } else {
            None
        };
        let wrong = match time {
            Some(time) => Some(format!(
                "it is the {time} of source {name}, which every row carries already; give that column a second name, \
                 for example in an SQL source"
            )),
            // Its features are rows; which there are is not known before they are read.
            None => match &source.kind {
                SourceKind::Long(long) if noun == "feature" => no_value_column(name, long, field),
                _ => schema.and_then(|schema| columns::mistake(name, schema, field)),
            },
        };
        if let Some(wrong) = wrong {
            let text = format!("{noun} {} of feature view {view}: {wrong}", field.name);
            building.mistakes.push(placed.mistake(&path, text));
        }
    }
    true
}

/// What is wrong with reading `field` as values of a long source.
fn no_value_column(source: &str, long: &Long, field: &Field) -> Option<String> {
    match long.value_column_of(field.dtype) {
        None => Some(format!("source {source} has no column for values of type {}", field.dtype)),
        // Text can be parsed as one value.
        Some(column) if !field.dtype.is_one() && long.value_column.as_deref() == Some(column) => Some(format!(
            "it is {}; name the column with such values under value_columns of source {source}",
            field.dtype
        )),
        Some(_) => None,
    }
}

fn span(
    placed: &Placed<'_, FeatureViewFile>,
    key: &str,
    text: Option<&str>,
    building: &mut Building,
) -> Option<Duration> {
    match parse_duration(text?) {
        Ok(span) => Some(span),
        Err(wrong) => {
            let text = format!("{key} of feature view {}: {wrong}", placed.item.name);
            building.mistakes.push(placed.mistake(&format!("/{key}"), text));
            None
        }
    }
}

fn warn_of_short_ttl(
    placed: &Placed<'_, FeatureViewFile>,
    ttl: Option<Duration>,
    sync_every: Option<Duration>,
    building: &mut Building,
) {
    let (Some(ttl), Some(sync_every)) = (ttl, sync_every) else { return };
    if ttl < sync_every.saturating_mul(2) {
        let text = format!(
            "feature view {} is synced every {}, but its values are served for {} only: one late sync and they are gone; \
             let ttl be {} at least",
            placed.item.name,
            duration_text(sync_every),
            duration_text(ttl),
            duration_text(sync_every.saturating_mul(2)),
        );
        building.warnings.push(Warning(placed.mistake("/ttl", text)));
    }
}
