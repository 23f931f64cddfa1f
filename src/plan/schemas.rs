//! The schemas that services have had: written down at each apply, numbered when they are read back, and compared with
//! the fingerprint that a caller sends.
//!
//! What the registry keeps of a service is one JSON text: whether its columns have full names, and each feature with its
//! type and recipe. Two applied versions with the same text had the same answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fingerprint::{Column, Recipes, columns, fingerprint, of_columns};
use super::{Error, FeaturePlan};
use crate::catalog::{Catalog, DType, Digest, FeatureRef, RecordedFeature, ServiceVersion};

/// Differences that a mismatch names; a service may have thousands of features.
const DIFFERENCES_SHOWN_MAX: usize = 10;

/// A service as the registry keeps it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    full_feature_names: bool,
    features: Vec<ShapeFeature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ShapeFeature {
    view: String,
    feature: String,
    #[serde(rename = "type")]
    dtype: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    recipe: Option<String>,
}

/// Each service of a catalog with the text that the registry keeps of it.
pub fn shapes(catalog: &Catalog) -> Vec<(String, String)> {
    let mut recipes = Recipes::of(catalog);
    let mut shape = |service: &String| {
        let (features, full_feature_names) = catalog.recordable(service)?;
        let features = features.into_iter().map(|RecordedFeature { feature, dtype }| ShapeFeature {
            recipe: recipes.recipe(&feature.view, &feature.feature).map(|recipe| recipe.to_string()),
            view: feature.view,
            feature: feature.feature,
            dtype: dtype.to_string(),
        });
        let shape = Shape { full_feature_names, features: features.collect() };
        Some((service.clone(), serde_json::to_string(&shape).ok()?))
    };
    catalog.services.keys().filter_map(&mut shape).collect()
}

/// The lists of all services out of the texts that were kept, each with its service, in the order in which they were
/// first applied. The error says what is wrong with a text.
pub fn service_versions(kept: &[(String, String)]) -> Result<BTreeMap<String, Vec<ServiceVersion>>, String> {
    let mut services: BTreeMap<String, Vec<ServiceVersion>> = BTreeMap::new();
    for (service, text) in kept {
        let (full_feature_names, features, recipes) = read(text).map_err(|wrong| format!("{service}: {wrong}"))?;
        let versions = services.entry(service.clone()).or_default();
        match versions.iter_mut().find(|version| version.is_list(full_feature_names, &features)) {
            Some(version) => version.recipes.push(recipes),
            None => {
                let number = u32::try_from(versions.len()).unwrap_or(u32::MAX).saturating_add(1);
                versions.push(ServiceVersion { number, full_feature_names, features, recipes: vec![recipes] });
            }
        }
    }
    Ok(services)
}

type Read = (bool, Vec<RecordedFeature>, Vec<Option<Digest>>);

fn read(text: &str) -> Result<Read, String> {
    let shape: Shape = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut features = Vec::with_capacity(shape.features.len());
    let mut recipes = Vec::with_capacity(shape.features.len());
    for kept in shape.features {
        let dtype = kept.dtype.parse::<DType>()?;
        features.push(RecordedFeature { feature: FeatureRef::new(&kept.view, &kept.feature), dtype });
        recipes.push(kept.recipe.as_deref().map(|text| digest(text).ok_or("a recipe is no digest")).transpose()?);
    }
    Ok((shape.full_feature_names, features, recipes))
}

fn digest(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some(Digest(bytes))
}

/// Whether the answers of a plan have the schema that the caller trained on, by the fingerprint he `sent`. The error
/// says which columns differ if a list of the service had that fingerprint once.
pub fn check_fingerprint(catalog: &Catalog, plan: &FeaturePlan, sent: &str) -> Result<(), Error> {
    let expected = digest(sent.trim()).ok_or_else(|| Error::NoFingerprint { sent: sent.chars().take(80).collect() })?;
    let is = fingerprint(plan);
    if is == expected {
        return Ok(());
    }
    let differences = match plan.service.as_deref().and_then(|service| recorded(catalog, service, expected)) {
        Some((number, was)) => {
            let service = plan.service.as_deref().unwrap_or_default();
            let pin = match plan.service_version {
                Some(now) if now != number => format!("; {service}@{number} has the columns of then"),
                _ => String::new(),
            };
            format!("that was {service}@{number}, and since then {}{pin}", told(&differences(&was, &columns(plan))))
        }
        None => format!("it has {}…, and what the other had is not recorded", is.short()),
    };
    Err(Error::OtherSchema { sent: expected.short(), differences })
}

/// The list of a service that had this fingerprint, by its number and columns; with short or full names.
pub fn recorded(catalog: &Catalog, service: &str, fingerprint: Digest) -> Option<(u32, Vec<Column>)> {
    for version in catalog.service_versions.get(service)? {
        for recipes in &version.recipes {
            for full_feature_names in [false, true] {
                let columns: Vec<Column> = version
                    .features
                    .iter()
                    .zip(recipes)
                    .map(|(recorded, recipe)| Column {
                        name: recorded.feature.column(full_feature_names),
                        dtype: recorded.dtype.to_string(),
                        feature: recorded.feature.clone(),
                        recipe: *recipe,
                    })
                    .collect();
                if of_columns(&columns) == fingerprint {
                    return Some((version.number, columns));
                }
            }
        }
    }
    None
}

/// What became of the columns, in words; there is a difference.
fn differences(was: &[Column], is: &[Column]) -> Vec<String> {
    let find = |columns: &'_ [Column], name: &str| columns.iter().find(|column| column.name == name).cloned();
    let mut told = Vec::new();
    for before in was {
        let name = &before.name;
        match find(is, name) {
            None => told.push(format!("{name} went")),
            Some(now) if now.dtype != before.dtype => {
                told.push(format!("{name} became {} (was {})", now.dtype, before.dtype));
            }
            Some(now) if now.feature != before.feature => {
                told.push(format!("{name} became {} (was {})", now.feature, before.feature));
            }
            Some(now) if now.recipe != before.recipe => told.push(format!("{name} came to be computed otherwise")),
            Some(_) => {}
        }
    }
    told.extend(is.iter().filter(|now| find(was, &now.name).is_none()).map(|now| format!("{} came", now.name)));
    if told.is_empty() {
        told.push("the columns were put in another order".to_owned());
    }
    told
}

fn told(differences: &[String]) -> String {
    let shown = differences.iter().take(DIFFERENCES_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    match differences.len().saturating_sub(DIFFERENCES_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
