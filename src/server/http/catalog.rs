//! What is defined: entities, views and services, as the applied version has them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::super::reply::{self, Failure, json_response};
use super::Context;
use super::body::Name;
use super::wire::{
    DeprecationShown, EntityList, EntityShown, FieldShown, InputShown, NeededShown, ServiceList, ServiceShown,
    SourceShown, TransformShown, ViewList, ViewShown,
};
use crate::catalog::{
    Catalog, Defined, DerivedView, Entity, FeatureRef, FeatureService, FeatureView, Field, InputSource, Placement,
    Selection, ServiceRef, Transform, View,
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
    match applied.catalog.view(&name) {
        Some(view) => shown(&show_view(&applied.catalog, view)),
        None => unknown("feature view", &name, applied.catalog.views.keys()),
    }
}

/// `GET /v1/feature-services`
pub async fn feature_services(State(context): State<Context>) -> Response {
    let applied = context.gateway.applied.load();
    shown(&ServiceList {
        feature_services: applied
            .catalog
            .services
            .values()
            .map(|service| show_service(&applied.catalog, service))
            .collect(),
    })
}

/// `GET /v1/feature-services/{name}`
pub async fn feature_service(State(context): State<Context>, Name(name): Name) -> Response {
    let applied = context.gateway.applied.load();
    let catalog = &applied.catalog;
    let (service, number) = match ServiceRef::parse(&name) {
        Some(ServiceRef::Version(service, number)) => (service, Some(number)),
        Some(ServiceRef::Current(service)) => (service, None),
        None => (name.as_str(), None),
    };
    let Some(service) = catalog.services.get(service) else {
        return unknown("feature service", &name, catalog.services.keys());
    };
    match number {
        None => shown(&with_inputs(&context.gateway, &name, show_service(catalog, service))),
        Some(number) => match show_version(catalog, service, number) {
            Some(version) => shown(&with_inputs(&context.gateway, &name, version)),
            None => unknown(
                "version",
                &name,
                numbers(catalog, service).iter().map(u32::to_string).collect::<Vec<_>>().iter(),
            ),
        },
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
    fields.iter().map(|field| show_field(field, None)).collect()
}

fn show_field(field: &Field, deprecated: Option<DeprecationShown>) -> FieldShown {
    FieldShown { name: field.name.clone(), dtype: field.dtype.to_string(), deprecated }
}

fn show_features(catalog: &Catalog, view: &str, features: &[Field]) -> Vec<FieldShown> {
    let show = |field: &Field| {
        let named = Defined::Feature(FeatureRef::new(view, &field.name));
        show_field(field, show_deprecation(catalog, &named))
    };
    features.iter().map(show).collect()
}

fn show_deprecation(catalog: &Catalog, thing: &Defined) -> Option<DeprecationShown> {
    let deprecation = catalog.deprecations.get(thing)?;
    Some(DeprecationShown {
        since: deprecation.since.to_string(),
        remove_after: deprecation.remove_after.map(|day| day.to_string()),
        instead: deprecation.instead.clone(),
    })
}

fn show_view(catalog: &Catalog, view: &View) -> ViewShown {
    match view {
        View::Feature(view) => show_feature_view(catalog, view),
        View::Derived(view) => show_derived_view(catalog, view),
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
        features: show_features(catalog, &view.name, &view.features),
        description: view.description.clone(),
        deprecated: show_deprecation(catalog, &Defined::View(view.name.clone())),
    }
}

fn show_derived_view(catalog: &Catalog, view: &DerivedView) -> ViewShown {
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
        features: show_features(catalog, &view.name, &view.features),
        description: view.description.clone(),
        deprecated: show_deprecation(catalog, &Defined::View(view.name.clone())),
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

/// One of the lists that a service has had.
fn show_version(catalog: &Catalog, service: &FeatureService, number: u32) -> Option<ServiceShown> {
    let recorded = catalog.service_versions.get(&service.name)?;
    let version = recorded.iter().find(|version| version.number == number)?;
    Some(ServiceShown {
        version: Some(number),
        features: version.features.iter().map(|recorded| recorded.feature.to_string()).collect(),
        full_feature_names: version.full_feature_names,
        ..show_service(catalog, service)
    })
}

/// The lists of a service that can be answered.
fn numbers(catalog: &Catalog, service: &FeatureService) -> Vec<u32> {
    let recorded = catalog.service_versions.get(&service.name).map_or(&[][..], Vec::as_slice);
    recorded.iter().filter(|version| version.missing_from(catalog).is_empty()).map(|version| version.number).collect()
}

fn show_service(catalog: &Catalog, service: &FeatureService) -> ServiceShown {
    ServiceShown {
        name: service.name.clone(),
        version: catalog.service_version(&service.name),
        versions: numbers(catalog, service),
        features: service.features.iter().map(ToString::to_string).collect(),
        full_feature_names: service.full_feature_names,
        description: service.description.clone(),
        deprecated: show_deprecation(catalog, &Defined::Service(service.name.clone())),
        inputs: None,
        not_servable: None,
    }
}

/// A service with what a question of it needs, which is what its plan says.
fn with_inputs(gateway: &Gateway, asked: &str, service: ServiceShown) -> ServiceShown {
    let selection = Selection::Service { name: asked.to_owned(), full_feature_names: None };
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
