//! The inputs of a derived view: what the plugin asks for against what the definition gives it.

use std::collections::BTreeMap;

use super::Building;
use crate::catalog::definitions::Placed;
use crate::catalog::file::DerivedViewFile;
use crate::catalog::names::{reserved_mistake, snake_case_mistake};
use crate::catalog::{DType, FeatureRef, Field, Input, InputSource, NullPolicy, Signature, defined_name, latest_of};
use crate::document::{did_you_mean, push_segment};

/// Reads `view:feature`, the view under the name that it is defined by.
pub(super) fn feature_ref(text: &str) -> Result<FeatureRef, String> {
    match text.split_once(':') {
        Some((view, feature)) if !view.is_empty() && !feature.is_empty() && !feature.contains(':') => {
            Ok(FeatureRef::new(view_name(view)?, feature.trim()))
        }
        _ => Err(format!("{text:?} does not name a feature; write view:feature")),
    }
}

/// The view that a definition names. It names one version, so that what it reads changes only when it does.
pub(super) fn view_name(text: &str) -> Result<&str, String> {
    let name = defined_name(text.trim());
    match latest_of(name) {
        None => Ok(name),
        Some(plain) => Err(format!("{name} is another view after each apply; name a version, such as {plain}@v2")),
    }
}

/// The inputs in the order of the signature; those with a mistake are left out.
pub(super) fn inputs(
    placed: &Placed<'_, DerivedViewFile>,
    signature: &Signature,
    building: &mut Building,
) -> Vec<Input> {
    refuse_unknown(placed, signature, building);
    let mut inputs = Vec::new();
    for column in &signature.features {
        inputs.extend(feature_input(placed, signature, column, building));
    }
    let mut fields: BTreeMap<String, (DType, String)> = BTreeMap::new();
    for column in &signature.request {
        inputs.extend(request_input(placed, column, &mut fields, building));
    }
    inputs
}

fn refuse_unknown(placed: &Placed<'_, DerivedViewFile>, signature: &Signature, building: &mut Building) {
    let (view, plugin) = (&placed.item.name, &placed.item.plugin);
    let lists = [
        ("inputs", placed.item.inputs.keys(), &signature.features, "request", &signature.request),
        ("request", placed.item.request.keys(), &signature.request, "inputs", &signature.features),
    ];
    for (list, keys, columns, other_list, other_columns) in lists {
        let named = |columns: &[Field], name: &String| columns.iter().any(|column| column.name == *name);
        for key in keys.filter(|key| !named(columns, key)) {
            let way_out = if named(other_columns, key) {
                format!("; it belongs under {other_list}")
            } else if columns.is_empty() {
                "; it has none there".to_owned()
            } else {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                let meant = did_you_mean(key, names.iter().copied());
                format!("; it has {}{meant}", names.join(", "))
            };
            let text = format!("{list} of derived view {view}: plugin {plugin} has no such input {key}{way_out}");
            building.mistakes.push(placed.key_mistake(&path(list, key), text));
        }
    }
}

fn feature_input(
    placed: &Placed<'_, DerivedViewFile>,
    signature: &Signature,
    column: &Field,
    building: &mut Building,
) -> Option<Input> {
    let (view, plugin) = (&placed.item.name, &placed.item.plugin);
    let noun = format!("input {} of derived view {view}", column.name);
    let Some(text) = placed.item.inputs.get(&column.name) else {
        let text = format!(
            "plugin {plugin} needs the input {}, derived view {view} does not say where it comes from; \
             add it to inputs as {}: \"view:feature\"",
            column.name, column.name
        );
        building.mistakes.push(placed.mistake("/inputs", text));
        return None;
    };
    let path = path("inputs", &column.name);
    // Text that names no feature is told when the order of the views is found.
    let from = feature_ref(text).ok()?;
    let found = building.catalog.views.get(&from.view)?;
    let wrong = match found.features().iter().find(|feature| feature.name == from.feature) {
        None => {
            let names: Vec<&str> = found.features().iter().map(|feature| feature.name.as_str()).collect();
            let meant = did_you_mean(&from.feature, names.iter().copied());
            Some(format!(
                "{noun}: view {} has no feature {}; it has {}{meant}",
                from.view,
                from.feature,
                names.join(", ")
            ))
        }
        Some(feature) if feature.dtype != column.dtype => {
            Some(format!("{noun} must be {}, but {from} is {}", column.dtype, feature.dtype))
        }
        Some(_) if !column.nullable && signature.nulls == NullPolicy::Handle => Some(format!(
            "{noun} may not be null, but {from} is null where nothing is stored; \
             plugin {plugin} must declare the input nullable, or leave nulls to the host (propagate)"
        )),
        Some(_) => None,
    };
    if let Some(wrong) = wrong {
        building.mistakes.push(placed.mistake(&path, wrong));
        return None;
    }
    let from = InputSource::Feature { view: from.view, feature: from.feature };
    Some(Input { column: column.clone(), from })
}

fn request_input(
    placed: &Placed<'_, DerivedViewFile>,
    column: &Field,
    fields: &mut BTreeMap<String, (DType, String)>,
    building: &mut Building,
) -> Option<Input> {
    let view = &placed.item.name;
    let field = placed.item.request.get(&column.name).unwrap_or(&column.name);
    let path = path("request", &column.name);
    let wrong = snake_case_mistake(field).or_else(|| reserved_mistake(field));
    if let Some(wrong) = wrong {
        let text = format!("request field {field} of derived view {view} {wrong}");
        building.mistakes.push(placed.mistake(&path, text));
        return None;
    }
    if let Some((dtype, other)) = fields.get(field)
        && *dtype != column.dtype
    {
        let text = format!(
            "request field {field} of derived view {view} is {dtype} for input {other} and {} for input {}; \
             name another field for one of them under request",
            column.dtype, column.name
        );
        building.mistakes.push(placed.mistake(&path, text));
        return None;
    }
    fields.insert(field.clone(), (column.dtype, column.name.clone()));
    Some(Input { column: column.clone(), from: InputSource::Request { field: field.clone() } })
}

fn path(list: &str, key: &str) -> String {
    let mut path = format!("/{list}");
    push_segment(&mut path, key);
    path
}
