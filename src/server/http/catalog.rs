//! What is defined: entities, views and services, as the applied version has them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::super::reply::{self, Failure, json_response};
use super::Context;
use super::body::Name;
use super::wire::{
    EntityList, EntityShown, FieldShown, InputShown, NeededShown, ServiceList, ServiceShown, SourceShown,
    TransformShown, ViewList, ViewShown,
};
use crate::catalog::{
    Catalog, DerivedView, Entity, FeatureService, FeatureView, Field, InputSource, Placement, Selection, Transform,
    View,
};
use crate::error::ErrorKind;
use crate::flow::serve::prepare;
use crate::gateway::Gateway;
use crate::plan::{InputKind, PlanInput};

/// Names that an error lists of those there are.
const NAMES_SHOWN_MAX: usize = 20;

/// `GET /v1/entities`
pub async fn entities(State(context): State<Context>) -> Response {
    let applied = context.gateway.applied.load();
    shown(&EntityList { entities: applied.catalog.entities.values().map(show_entity).collect() })
}

/// `GET /v1/entities/{name}`
pub async fn entity(State(context): State<Context>, Name(name): Name) -> Response {
    let applied = context.gateway.applied.load();
    let entities = &applied.catalog.entities;
    match entities.get(&name) {
        Some(entity) => shown(&show_entity(entity)),
        None => unknown("entity", &name, entities.keys()),
    }
}

/// `GET /v1/feature-views`
pub async fn feature_views(State(context): State<Context>) -> Response {
    let applied = context.gateway.applied.load();
    let views = applied.catalog.views.values().map(|view| show_view(&applied.catalog, view));
    shown(&ViewList { feature_views: views.collect() })
}

/// `GET /v1/feature-views/{name}`
pub async fn feature_view(State(context): State<Context>, Name(name): Name) -> Response {
    let applied = context.gateway.applied.load();
    match applied.catalog.views.get(&name) {
        Some(view) => shown(&show_view(&applied.catalog, view)),
        None => unknown("feature view", &name, applied.catalog.views.keys()),
    }
}

/// `GET /v1/feature-services`
pub async fn feature_services(State(context): State<Context>) -> Response {
    let applied = context.gateway.applied.load();
    shown(&ServiceList { feature_services: applied.catalog.services.values().map(show_service).collect() })
}

/// `GET /v1/feature-services/{name}`
pub async fn feature_service(State(context): State<Context>, Name(name): Name) -> Response {
    let applied = context.gateway.applied.load();
    match applied.catalog.services.get(&name) {
        Some(service) => shown(&with_inputs(&context.gateway, show_service(service))),
        None => unknown("feature service", &name, applied.catalog.services.keys()),
    }
}

fn shown(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => json_response(StatusCode::OK, body),
        Err(error) => reply::own(Err(Failure::new(ErrorKind::Internal, error.to_string()))),
    }
}

fn unknown<'a>(what: &str, name: &str, there_are: impl ExactSizeIterator<Item = &'a String>) -> Response {
    let more = if there_are.len() > NAMES_SHOWN_MAX { ", …" } else { "" };
    let names: Vec<&str> = there_are.take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let message = format!("{what} {name:?} is not defined; there are: {there_are}{more}");
    reply::own(Err(Failure::new(ErrorKind::NotFound, message)))
}

fn show_entity(entity: &Entity) -> EntityShown {
    EntityShown {
        name: entity.name.clone(),
        join_keys: show_fields(&entity.join_keys),
        description: entity.description.clone(),
    }
}

fn show_fields(fields: &[Field]) -> Vec<FieldShown> {
    fields.iter().map(|field| FieldShown { name: field.name.clone(), dtype: field.dtype.to_string() }).collect()
}

fn show_view(catalog: &Catalog, view: &View) -> ViewShown {
    match view {
        View::Feature(view) => show_feature_view(catalog, view),
        View::Derived(view) => show_derived_view(view),
    }
}

fn show_feature_view(catalog: &Catalog, view: &FeatureView) -> ViewShown {
    let source = &catalog.sources[&view.source];
    let kind = source.kind.name();
    ViewShown::Feature {
        name: view.name.clone(),
        entities: view.entities.clone(),
        join_keys: show_fields(&view.join_keys),
        source: SourceShown {
            name: source.name.clone(),
            kind,
            event_time: source.event_time.clone(),
            created_time: source.created_time.clone(),
        },
        ttl_seconds: view.ttl.map(|ttl| ttl.as_secs_f64()),
        online: view.online,
        features: show_fields(&view.features),
        description: view.description.clone(),
    }
}

fn show_derived_view(view: &DerivedView) -> ViewShown {
    let inputs = view.inputs.iter().map(|input| InputShown {
        name: input.column.name.clone(),
        dtype: input.column.dtype.to_string(),
        from: match &input.from {
            InputSource::Feature { view, feature } => format!("{view}:{feature}"),
            InputSource::Request { field } => format!("request:{field}"),
        },
    });
    ViewShown::Derived {
        name: view.name.clone(),
        transform: show_transform(&view.transform),
        placement: match view.placement {
            Placement::Request => "request",
            Placement::Sync => "sync",
        },
        freeze_at_event_time: view.freeze_at_event_time,
        inputs: inputs.collect(),
        features: show_fields(&view.features),
        description: view.description.clone(),
    }
}

fn show_transform(transform: &Transform) -> TransformShown {
    TransformShown {
        plugin: transform.plugin.clone(),
        version: transform.signature.version.to_string(),
        digest: transform.digest.to_string(),
        parameters: transform.parameters.iter().cloned().collect(),
    }
}

fn show_service(service: &FeatureService) -> ServiceShown {
    ServiceShown {
        name: service.name.clone(),
        features: service.features.iter().map(ToString::to_string).collect(),
        full_feature_names: service.full_feature_names,
        description: service.description.clone(),
        inputs: None,
        not_servable: None,
    }
}

/// A service with what a question of it needs, which is what its plan says.
fn with_inputs(gateway: &Gateway, service: ServiceShown) -> ServiceShown {
    let selection = Selection::Service { name: service.name.clone(), full_feature_names: None };
    match prepare(gateway, &selection) {
        Ok(prepared) => {
            ServiceShown { inputs: Some(prepared.plan.inputs.iter().map(show_needed).collect()), ..service }
        }
        Err(error) => ServiceShown { not_servable: Some(error.to_string()), ..service },
    }
}

fn show_needed(input: &PlanInput) -> NeededShown {
    let (kind, required) = match input.kind {
        InputKind::JoinKey => ("join_key", true),
        InputKind::Request => ("request", !input.field.nullable),
    };
    NeededShown { name: input.field.name.clone(), dtype: input.field.dtype.to_string(), kind, required }
}
