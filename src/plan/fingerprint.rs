//! The fingerprint of an answer's schema: one number that tells whether a model gets the columns it was trained on.
//!
//! It covers, in order, each feature's column name, its type, where it comes from (`view:feature`), and for a computed
//! feature its *recipe*: the digest of the transform, the output, what its inputs are, and the recipes of those. So it
//! changes when columns come, go, move or change their type, and when computed values change for another reason than
//! new data. Where a view is computed is left out: serving and training of the same features have one fingerprint.
//!
//! # Why not the join keys
//! They are the caller's own columns. A training set has them where its labels had them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::FeaturePlan;
use crate::catalog::{Catalog, DerivedView, Digest, FeatureRef, InputSource, View};

/// Changes when the canonical form does, so that an old fingerprint is never taken for a new one.
const FORM: &str = "lockstep schema 1";

/// One feature as a fingerprint sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// As the answer names it.
    pub name: String,
    /// As definitions write it.
    pub dtype: String,
    pub feature: FeatureRef,
    /// None for a feature that is a column of a source.
    pub recipe: Option<Digest>,
}

/// SHA-256 over the features of an answer, in order.
pub fn fingerprint(plan: &FeaturePlan) -> Digest {
    of_columns(&columns(plan))
}

/// The features of a plan's answers, in order.
pub fn columns(plan: &FeaturePlan) -> Vec<Column> {
    let column = |output: &super::PlanOutput| Column {
        name: output.field.name.clone(),
        dtype: output.field.dtype.to_string(),
        feature: FeatureRef::new(&output.view, &output.feature),
        recipe: output.recipe,
    };
    plan.outputs.iter().map(column).collect()
}

pub(super) fn of_columns(columns: &[Column]) -> Digest {
    let columns = columns.iter().map(|column| {
        json!([column.name, column.dtype, column.feature.to_string(), column.recipe.map(|recipe| recipe.to_string())])
    });
    // Arrays only: an object's order of keys is a matter of how serde_json is built.
    Digest::of(json!([FORM, columns.collect::<Vec<_>>()]).to_string().as_bytes())
}

/// The recipes of a catalog's features, each view's made once.
#[derive(Debug)]
pub(super) struct Recipes<'a> {
    catalog: &'a Catalog,
    views: BTreeMap<String, Digest>,
}

impl<'a> Recipes<'a> {
    pub fn of(catalog: &'a Catalog) -> Self {
        Self { catalog, views: BTreeMap::new() }
    }

    /// None for a feature that is a column of a source.
    pub fn recipe(&mut self, view: &str, feature: &str) -> Option<Digest> {
        let Some(View::Derived(derived)) = self.catalog.views.get(view) else { return None };
        let position = derived.features.iter().position(|known| known.name == feature)?;
        let output = derived.transform.outputs.get(position).map(|output| output.name.as_str());
        let view = self.view(derived);
        Some(Digest::of(json!([view.to_string(), output]).to_string().as_bytes()))
    }

    // The depth is bounded: `build` refuses longer chains than `limits::DERIVED_DEPTH_MAX`.
    fn view(&mut self, view: &DerivedView) -> Digest {
        if let Some(known) = self.views.get(&view.name) {
            return *known;
        }
        let inputs: Vec<Value> = view
            .inputs
            .iter()
            .map(|input| match &input.from {
                InputSource::Feature { view, feature } => {
                    let recipe = self.recipe(view, feature).map(|recipe| recipe.to_string());
                    json!([input.column.name, "feature", view, feature, recipe])
                }
                InputSource::Request { field } => json!([input.column.name, "request", field]),
            })
            .collect();
        let recipe = json!([view.transform.digest.to_string(), view.freeze_at_event_time, inputs]);
        let recipe = Digest::of(recipe.to_string().as_bytes());
        self.views.insert(view.name.clone(), recipe);
        recipe
    }
}
