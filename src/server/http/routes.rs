//! The table of routes. The router and `/openapi.json` are both made of it, so neither can have what the other lacks.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use serde_json::json;

use super::super::reply::json_response;
use super::{Context, catalog, features, materialize, online, openapi, statistics, syncs, write};

/// Routes that an answer to an unknown path names.
const NEARBY_MAX: usize = 5;

/// One route: how it is reached, what it is for, what goes in and out.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub summary: &'static str,
    /// Names of query parameters and headers; `openapi` describes each.
    pub parameters: &'static [&'static str],
    pub body: Body,
    pub answer: Answer,
    pub handler: fn() -> MethodRouter<Context>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// What a request brings along, by the name of its schema.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    Nothing,
    Json(&'static str),
    JsonOrArrow(&'static str),
}

/// What an answer is, by the name of its schema.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A status and nothing else.
    Empty,
    /// The JSON word `null`.
    Null,
    Json(&'static str),
    JsonOrArrow(&'static str),
    Page,
    Document,
}

const LOOKUP: &[&str] =
    &["columns", "as_of", "full_feature_names", "partial", "lockstep-schema-fingerprint", "x-request-deadline-ms"];
const ADHOC_LOOKUP: &[&str] = &[
    "feature",
    "columns",
    "as_of",
    "full_feature_names",
    "partial",
    "lockstep-schema-fingerprint",
    "x-request-deadline-ms",
];
const POSTED_LOOKUP: &[&str] =
    &["as_of", "full_feature_names", "partial", "lockstep-schema-fingerprint", "x-request-deadline-ms"];
const FEAST_LOOKUP: &[&str] = &["partial", "lockstep-schema-fingerprint", "x-request-deadline-ms"];
const DEADLINE: &[&str] = &["x-request-deadline-ms"];
const SET: &[&str] = &["event_time", "x-request-deadline-ms"];
const DELETE: &[&str] = &["columns", "delete_feature", "event_time", "x-request-deadline-ms"];
const STATS: &[&str] = &["view", "x-request-deadline-ms"];
const HISTORY: &[&str] = &["from", "to", "column", "x-request-deadline-ms"];
const SYNC: &[&str] = &["async", "force"];
const SYNCS: &[&str] = &["synced_view", "limit"];

/// All routes, those of Feast first.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/get-online-features",
        summary: "Features for entities, as Feast's clients ask for them",
        parameters: FEAST_LOOKUP,
        body: Body::Json("FeaturesRequest"),
        answer: Answer::Json("OnlineAnswer"),
        handler: || post(features::get_online_features),
    },
    Route {
        method: Method::Post,
        path: "/push",
        summary: "Rows for every view that reads a push source",
        parameters: DEADLINE,
        body: Body::Json("PushRequest"),
        answer: Answer::Empty,
        handler: || post(write::push),
    },
    Route {
        method: Method::Post,
        path: "/write-to-online-store",
        summary: "Rows for one feature view's online table, and nothing else",
        parameters: DEADLINE,
        body: Body::Json("WriteRequest"),
        answer: Answer::Null,
        handler: || post(write::write_to_online_store),
    },
    Route {
        method: Method::Post,
        path: "/materialize",
        summary: "Syncs a range of the offline history to the online store",
        parameters: SYNC,
        body: Body::Json("MaterializeRequest"),
        answer: Answer::Null,
        handler: || post(materialize::materialize),
    },
    Route {
        method: Method::Post,
        path: "/materialize-incremental",
        summary: "Syncs what came since the last sync",
        parameters: SYNC,
        body: Body::Json("MaterializeRequest"),
        answer: Answer::Null,
        handler: || post(materialize::materialize_incremental),
    },
    Route {
        method: Method::Get,
        path: "/health",
        summary: "Whether the gateway answers",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Empty,
        handler: || get(async || StatusCode::OK),
    },
    Route {
        method: Method::Get,
        path: "/v1/services/{service}/features",
        summary: "The features of a service; join keys and request fields are query parameters",
        parameters: LOOKUP,
        body: Body::Nothing,
        answer: Answer::JsonOrArrow("ReadableAnswer"),
        handler: || get(features::get_service_features),
    },
    Route {
        method: Method::Post,
        path: "/v1/services/{service}/features",
        summary: "The features of a service for many rows, as JSON columns or an Arrow stream",
        parameters: POSTED_LOOKUP,
        body: Body::JsonOrArrow("FeaturesRequest"),
        answer: Answer::JsonOrArrow("ReadableAnswer"),
        handler: || post(features::post_service_features),
    },
    Route {
        method: Method::Get,
        path: "/v1/features",
        summary: "Any features, named as view:feature",
        parameters: ADHOC_LOOKUP,
        body: Body::Nothing,
        answer: Answer::JsonOrArrow("ReadableAnswer"),
        handler: || get(features::get_features),
    },
    Route {
        method: Method::Get,
        path: "/v1/online/health",
        summary: "How the online store is, and what may lose or refuse data as it is set up",
        parameters: DEADLINE,
        body: Body::Nothing,
        answer: Answer::Json("StoreHealth"),
        handler: || get(online::health),
    },
    Route {
        method: Method::Get,
        path: "/v1/online/stats",
        summary: "What the online store holds of its views",
        parameters: STATS,
        body: Body::Nothing,
        answer: Answer::Json("StoreStatistics"),
        handler: || get(online::stats),
    },
    Route {
        method: Method::Put,
        path: "/v1/online/{view}",
        summary: "Rows for one feature view's online table, as JSON columns or an Arrow stream; each replaces its row",
        parameters: SET,
        body: Body::JsonOrArrow("SetRequest"),
        answer: Answer::Json("RowsSet"),
        handler: || put(online::set),
    },
    Route {
        method: Method::Post,
        path: "/v1/online/{view}",
        summary: "The same as PUT",
        parameters: SET,
        body: Body::JsonOrArrow("SetRequest"),
        answer: Answer::Json("RowsSet"),
        handler: || post(online::set),
    },
    Route {
        method: Method::Delete,
        path: "/v1/online/{view}",
        summary: "One entity, or one of its features, out of a feature view's online table",
        parameters: DELETE,
        body: Body::Nothing,
        answer: Answer::Json("RowDeleted"),
        handler: || delete(online::delete),
    },
    Route {
        method: Method::Get,
        path: "/v1/views/{view}/statistics",
        summary: "What values the features of a view, or the columns of a source, have in their history",
        parameters: HISTORY,
        body: Body::Nothing,
        answer: Answer::Json("Statistics"),
        handler: || get(statistics::of_view),
    },
    Route {
        method: Method::Get,
        path: "/v1/syncs",
        summary: "The runs of sync, and what is synced next",
        parameters: SYNCS,
        body: Body::Nothing,
        answer: Answer::Json("SyncList"),
        handler: || get(syncs::syncs),
    },
    Route {
        method: Method::Get,
        path: "/v1/entities",
        summary: "All entities",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Json("EntityList"),
        handler: || get(catalog::entities),
    },
    Route {
        method: Method::Get,
        path: "/v1/entities/{name}",
        summary: "One entity and its join keys",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Json("EntityShown"),
        handler: || get(catalog::entity),
    },
    Route {
        method: Method::Get,
        path: "/v1/feature-views",
        summary: "All feature views and derived views",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Json("ViewList"),
        handler: || get(catalog::feature_views),
    },
    Route {
        method: Method::Get,
        path: "/v1/feature-views/{name}",
        summary: "One feature view or derived view",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Json("ViewShown"),
        handler: || get(catalog::feature_view),
    },
    Route {
        method: Method::Get,
        path: "/v1/feature-services",
        summary: "All feature services",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Json("ServiceList"),
        handler: || get(catalog::feature_services),
    },
    Route {
        method: Method::Get,
        path: "/v1/feature-services/{name}",
        summary: "One feature service and what a question of it needs",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Json("ServiceShown"),
        handler: || get(catalog::feature_service),
    },
    Route {
        method: Method::Get,
        path: "/openapi.json",
        summary: "This description",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Document,
        handler: || get(openapi::document),
    },
    Route {
        method: Method::Get,
        path: "/docs",
        summary: "A page that shows this description and lets one try it",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Page,
        handler: || get(openapi::page),
    },
    Route {
        method: Method::Get,
        path: "/",
        summary: "Leads to the page",
        parameters: &[],
        body: Body::Nothing,
        answer: Answer::Page,
        handler: || get(async || Redirect::temporary("/docs").into_response()),
    },
];

/// A path that is no route: the answer names the routes that look most like it.
pub async fn unknown(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("there is no {path}; /docs lists what there is");
    let body =
        json!({"error": {"kind": "not_found", "message": message}, "detail": "Not Found", "nearby": nearby(path)});
    json_response(StatusCode::NOT_FOUND, body.to_string().into_bytes())
}

/// A known path with another method.
pub async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not take {method}; /docs says what it takes");
    let body = json!({"error": {"kind": "invalid", "message": message}, "detail": "Method Not Allowed"});
    json_response(StatusCode::METHOD_NOT_ALLOWED, body.to_string().into_bytes())
}

/// The paths that share the longest beginning with `path`, `/` aside.
fn nearby(path: &str) -> Vec<&'static str> {
    let shared = |route: &str| route.bytes().zip(path.bytes()).take_while(|(one, other)| one == other).count();
    let mut nearby: Vec<&'static str> = Vec::new();
    for route in ROUTES.iter().filter(|route| shared(route.path) > 1) {
        if !nearby.contains(&route.path) {
            nearby.push(route.path);
        }
    }
    nearby.sort_by_key(|route| std::cmp::Reverse(shared(route)));
    nearby.truncate(NEARBY_MAX);
    nearby
}
