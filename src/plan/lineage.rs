//! Where a feature comes from, down to the sources, and who uses it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::Serialize;

use super::users::users;
use crate::catalog::{
    Catalog, Defined, Deprecation, FeatureRef, InputSource, Parameter, Source, SourceKind, Stored, View,
};

/// One feature, everything under it, and the services above it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lineage {
    pub feature: LineageFeature,
    /// The features it is computed from, the nearest first, each once.
    pub upstream: Vec<LineageFeature>,
    /// The sources under all of them.
    pub sources: Vec<LineageSource>,
    /// The feature services that name the feature, or a feature computed from it; and their earlier lists that can be
    /// asked for still, as `service@n`.
    pub services: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineageFeature {
    pub view: String,
    pub feature: String,
    #[serde(rename = "type")]
    pub dtype: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Of the feature, or of its view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,
    pub from: Origin,
}

/// What makes the values of a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The column of this name in a source.
    Source { source: String },
    Transform {
        plugin: String,
        version: String,
        /// SHA-256 over component bytes, parameters and signature.
        digest: String,
        /// SHA-256 over the component's bytes.
        component: String,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        parameters: BTreeMap<String, Parameter>,
        output: String,
        inputs: Vec<TransformInput>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransformInput {
    /// The plugin's column.
    pub input: String,
    /// `view:feature`, or nothing for a request field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_field: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineageSource {
    pub name: String,
    /// `parquet`, `sql` or `push`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.feature)?;
        for feature in &self.upstream {
            write!(f, "\n  {feature}")?;
        }
        for source in &self.sources {
            write!(f, "\nsource {} ({})", source.name, source.kind)?;
            if let Some(path) = &source.path {
                write!(f, " {path}")?;
            }
            for line in source.query.iter().flat_map(|query| query.trim_end().lines()) {
                write!(f, "\n  {line}")?;
            }
        }
        match self.services.is_empty() {
            true => write!(f, "\nused by no service"),
            false => write!(f, "\nused by {}", self.services.join(", ")),
        }
    }
}

impl fmt::Display for LineageFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.view, self.feature, self.dtype)?;
        match &self.from {
            Origin::Source { source } => write!(f, " from source {source}")?,
            Origin::Transform { plugin, version, digest, .. } => {
                write!(f, " from plugin {plugin} {version} (digest {})", &digest[..digest.len().min(12)])?;
            }
        }
        if let Some(deprecated) = &self.deprecated {
            write!(f, "; {deprecated}")?;
        }
        match &self.from {
            Origin::Source { .. } => Ok(()),
            Origin::Transform { inputs, .. } => {
                for input in inputs {
                    let from = input.feature.as_deref().or(input.request_field.as_deref()).unwrap_or("nothing");
                    write!(f, "\n    {} ← {from}", input.input)?;
                }
                Ok(())
            }
        }
    }
}

/// The lineage of a feature; `None` if there is no such feature.
pub fn lineage(catalog: &Catalog, view: &str, feature: &str) -> Option<Lineage> {
    let asked = FeatureRef::new(catalog.view(view)?.name(), feature);
    let mut upstream = Vec::new();
    let mut sources: BTreeMap<&str, LineageSource> = BTreeMap::new();
    let mut seen = BTreeSet::from([asked.clone()]);
    let mut waiting = VecDeque::from([asked.clone()]);
    // Breadth first, each feature once: a feature can be reached on very many ways.
    while let Some(next) = waiting.pop_front() {
        let found = one(catalog, &next)?;
        match catalog.views.get(&next.view)? {
            View::Feature(view) => {
                let source = catalog.sources.get(&view.source)?;
                sources.insert(&source.name, lineage_source(source));
            }
            View::Derived(view) => {
                for input in &view.inputs {
                    if let InputSource::Feature { view, feature } = &input.from
                        && seen.insert(FeatureRef::new(view, feature))
                    {
                        waiting.push_back(FeatureRef::new(view, feature));
                    }
                }
            }
        }
        upstream.push(found);
    }
    let feature = upstream.remove(0);
    let sources = sources.into_values().collect();
    let services = users(catalog, |named| *named == asked).iter().map(ToString::to_string).collect();
    Some(Lineage { feature, upstream, sources, services })
}

fn one(catalog: &Catalog, named: &FeatureRef) -> Option<LineageFeature> {
    let view = catalog.views.get(&named.view)?;
    let position = view.features().iter().position(|feature| feature.name == named.feature)?;
    let from = match view {
        View::Feature(view) => Origin::Source { source: view.source.clone() },
        View::Derived(view) => {
            let inputs = view.inputs.iter().map(|input| match &input.from {
                InputSource::Feature { view, feature } => TransformInput {
                    input: input.column.name.clone(),
                    feature: Some(FeatureRef::new(view, feature).to_string()),
                    request_field: None,
                },
                InputSource::Request { field } => TransformInput {
                    input: input.column.name.clone(),
                    feature: None,
                    request_field: Some(field.clone()),
                },
            });
            Origin::Transform {
                plugin: view.transform.plugin.clone(),
                version: view.transform.signature.version.to_string(),
                digest: view.transform.digest.to_string(),
                component: view.transform.component.to_string(),
                parameters: view.transform.parameters.iter().cloned().collect(),
                output: view.transform.outputs.get(position)?.name.clone(),
                inputs: inputs.collect(),
            }
        }
    };
    Some(LineageFeature {
        view: named.view.clone(),
        feature: named.feature.clone(),
        dtype: view.features()[position].dtype.to_string(),
        description: catalog.feature_descriptions.get(named).cloned().unwrap_or_default(),
        deprecated: deprecation(catalog, named).cloned(),
        from,
    })
}

fn lineage_source(source: &Source) -> LineageSource {
    let (path, query) = match &source.kind {
        SourceKind::Stored(stored) | SourceKind::Push { into: stored } => (Some(place(stored)), None),
        SourceKind::Sql { query } => (None, Some(query.clone())),
        SourceKind::Long(long) => (Some(long.source.clone()), None),
    };
    LineageSource { name: source.name.clone(), kind: source.kind.name(), path, query }
}

fn place(stored: &Stored) -> String {
    match stored {
        Stored::Parquet { path, .. } | Stored::Delta { path, .. } => path.clone(),
        Stored::Postgres { .. } => stored.to_string(),
    }
}

fn deprecation<'a>(catalog: &'a Catalog, named: &FeatureRef) -> Option<&'a Deprecation> {
    let of_view = || catalog.deprecations.get(&Defined::View(named.view.clone()));
    catalog.deprecations.get(&Defined::Feature(named.clone())).or_else(of_view)
}
