//! What must come along with a question: join keys first, then request fields, both in the order of first use.
//!
//! This depends on the definitions only, not on where a view is computed, so serving and training ask for the same.

use super::{Error, InputKind, PlanInput};
use crate::catalog::{Catalog, FeatureRef, Field};

pub(super) fn inputs(catalog: &Catalog, features: &[FeatureRef]) -> Result<Vec<PlanInput>, Error> {
    let mut views: Vec<&str> = Vec::new();
    for feature in features {
        if !views.contains(&feature.view.as_str()) {
            views.push(&feature.view);
        }
    }
    let reaches: Vec<_> = views.iter().map(|view| catalog.reach(view)).collect();
    let mut inputs: Vec<PlanInput> = Vec::new();
    for key in reaches.iter().flat_map(|reach| &reach.feature_views).flat_map(|view| &view.join_keys) {
        add(&mut inputs, key, InputKind::JoinKey)?;
    }
    for (field, _) in reaches.iter().flat_map(|reach| &reach.request) {
        add(&mut inputs, field, InputKind::Request)?;
    }
    Ok(inputs)
}

fn add(inputs: &mut Vec<PlanInput>, field: &Field, kind: InputKind) -> Result<(), Error> {
    match inputs.iter_mut().find(|input| input.field.name == field.name) {
        None => inputs.push(PlanInput { field: field.clone(), kind }),
        Some(input) if input.field.dtype != field.dtype => {
            return Err(Error::InputOfTwoTypes {
                name: field.name.clone(),
                first: input.field.dtype.to_string(),
                second: field.dtype.to_string(),
            });
        }
        // A field may be left out only if none of its readers needs it.
        Some(input) => input.field.nullable &= field.nullable,
    }
    Ok(())
}
