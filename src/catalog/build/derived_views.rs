//! Derived views: plugin, inputs, outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::inputs::{feature_ref, inputs};
use super::names::Names;
use super::order::order;
use super::{Bind, Building, PluginUse, placement};
use crate::catalog::definitions::Placed;
use crate::catalog::file::{DerivedViewFile, PlacementFile};
use crate::catalog::{Definitions, DerivedView, Field, Parameter, Placement, Transform, View, defined_name};
use crate::document::{did_you_mean, push_segment};
use crate::limits;

pub(super) fn build(definitions: &Definitions, bind: &Bind<'_>, view_names: &mut Names, building: &mut Building) {
    let mut views: BTreeMap<&str, Placed<'_, DerivedViewFile>> = BTreeMap::new();
    for placed in definitions.derived_views() {
        let name = &placed.item.name;
        if view_names.claim_view("derived view", name, placed.item.version, &placed, &mut building.mistakes) {
            views.insert(name, placed);
        } else {
            building.broken_views.insert(name.clone());
        }
    }
    let mut reads: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, placed) in &views {
        let read = placed
            .item
            .inputs
            .values()
            .filter_map(|text| text.split_once(':'))
            .map(|(view, _)| defined_name(view.trim()));
        reads.insert(name, read.collect());
    }
    let order = order(&reads);
    for circle in &order.circles {
        let text = format!("derived views read one another in a circle: {}", circle.join(" → "));
        building.mistakes.push(views[circle[0]].mistake("/inputs", text));
    }
    building.broken_views.extend(order.unordered.iter().map(|view| (*view).to_owned()));
    for (name, depth) in order.ordered {
        match derived_view(&views[name], depth, &views, bind, building) {
            Some(view) => {
                building.catalog.views.insert(name.to_owned(), View::Derived(Arc::new(view)));
            }
            None => {
                building.broken_views.insert(name.to_owned());
            }
        }
    }
}

fn derived_view(
    placed: &Placed<'_, DerivedViewFile>,
    depth: usize,
    views: &BTreeMap<&str, Placed<'_, DerivedViewFile>>,
    bind: &Bind<'_>,
    building: &mut Building,
) -> Option<DerivedView> {
    let file = placed.item;
    let before = building.mistakes.len();
    if depth > limits::DERIVED_DEPTH_MAX {
        let max = limits::DERIVED_DEPTH_MAX;
        let text = format!(
            "derived view {} reads a chain of {} derived views, at most {max} are computed",
            file.name,
            depth - 1
        );
        building.mistakes.push(placed.mistake("/inputs", text));
    }
    let reads_broken = check_reads(placed, views, building);
    let transform = transform(placed, bind, building)?;
    let inputs = inputs(placed, &transform.signature, building);
    let features = features(placed, &transform, building);
    if building.mistakes.len() > before || reads_broken {
        return None;
    }
    let view = DerivedView {
        name: file.name.clone(),
        transform,
        inputs,
        placement: match file.placement {
            PlacementFile::Request => Placement::Request,
            PlacementFile::Sync => Placement::Sync,
        },
        freeze_at_event_time: file.freeze_at_event_time,
        features,
        description: file.description.clone(),
    };
    placement::check(placed, &view, building);
    refuse_input_names(placed, &view, building);
    (building.mistakes.len() == before).then_some(view)
}

/// Tells inputs that name no view. True if one is defined, but has a mistake of its own.
fn check_reads(
    placed: &Placed<'_, DerivedViewFile>,
    views: &BTreeMap<&str, Placed<'_, DerivedViewFile>>,
    building: &mut Building,
) -> bool {
    let mut reads_broken = false;
    for (input, text) in &placed.item.inputs {
        let noun = format!("input {input} of derived view {}", placed.item.name);
        let wrong = match feature_ref(text) {
            Err(wrong) => format!("{noun}: {wrong}"),
            Ok(from) if building.broken_views.contains(&from.view) => {
                reads_broken = true;
                continue;
            }
            Ok(from) if building.catalog.views.contains_key(&from.view) => continue,
            Ok(from) => {
                let known = building.catalog.views.keys().map(String::as_str).chain(views.keys().copied());
                let meant = did_you_mean(&from.view, known);
                format!("{noun} reads view {}, which is not defined{meant}", from.view)
            }
        };
        let mut path = "/inputs".to_owned();
        push_segment(&mut path, input);
        building.mistakes.push(placed.mistake(&path, wrong));
    }
    reads_broken
}

fn transform(placed: &Placed<'_, DerivedViewFile>, bind: &Bind<'_>, building: &mut Building) -> Option<Arc<Transform>> {
    let file = placed.item;
    let parameters = file.parameters.iter().map(|(name, value)| {
        // The shape of the file allows exactly the values that a parameter can have.
        (name.clone(), Parameter::deserialize(value).unwrap_or(Parameter::Null))
    });
    let outputs = file.features.as_ref();
    let plugin_use = PluginUse {
        plugin: file.plugin.clone(),
        parameters: parameters.collect(),
        outputs: outputs.map(|outputs| outputs.iter().map(|output| output.output().to_owned()).collect()),
    };
    match bind(&plugin_use) {
        Ok(transform) => Some(transform),
        Err(wrong) => {
            let text = format!("derived view {}: {wrong}", file.name);
            building.mistakes.push(placed.mistake("/plugin", text));
            None
        }
    }
}

/// The outputs under their names in this view, in the transform's order.
fn features(placed: &Placed<'_, DerivedViewFile>, transform: &Transform, building: &mut Building) -> Vec<Field> {
    let (view, plugin) = (&placed.item.name, &placed.item.plugin);
    let mut names = Names::default();
    let Some(selected) = &placed.item.features else {
        for output in &transform.outputs {
            names.claim_column("feature", &output.name, placed, "/plugin", &mut building.mistakes);
        }
        return transform.outputs.iter().map(|output| Field::new(&output.name, output.dtype)).collect();
    };
    let mut name_of: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, selection) in selected.iter().enumerate() {
        let path = format!("/features/{index}");
        names.claim_column("feature", selection.name(), placed, &path, &mut building.mistakes);
        let output = selection.output();
        if !transform.outputs.iter().any(|column| column.name == output) {
            let known: Vec<&str> = transform.signature.outputs.iter().map(|column| column.name.as_str()).collect();
            let meant = did_you_mean(output, known.iter().copied());
            let text = format!(
                "derived view {view}: plugin {plugin} has no output {output}; it has {}{meant}",
                known.join(", ")
            );
            building.mistakes.push(placed.mistake(&path, text));
        }
        if name_of.insert(output, selection.name()).is_some() {
            let text = format!("derived view {view} takes output {output} of plugin {plugin} twice");
            building.mistakes.push(placed.mistake(&path, text));
        }
    }
    let named = transform.outputs.iter().filter_map(|output| Some((name_of.get(output.name.as_str())?, output.dtype)));
    named.map(|(name, dtype)| Field::new(*name, dtype)).collect()
}

/// The answer has the join keys as columns too, so no feature may have the name of one that the view needs.
fn refuse_input_names(placed: &Placed<'_, DerivedViewFile>, view: &DerivedView, building: &mut Building) {
    let reach = building.catalog.reach_of(view);
    for feature in &view.features {
        let keys = reach.feature_views.iter().flat_map(|read| &read.join_keys);
        if keys.into_iter().any(|key| key.name == feature.name) {
            let text = format!(
                "feature {} of derived view {} has the name of a join key; name it otherwise: {{output: …, name: …}}",
                feature.name, view.name
            );
            building.mistakes.push(placed.mistake("/features", text));
        }
    }
}
