//! `/openapi.json`, made of the table of routes and of the types that serde reads and writes; and `/docs`, a page over it.
//!
//! # Why not utoipa
//! It describes handlers by attributes that stand beside them and can say something else than the code does. Here the
//! paths are those that the router has, and the schemas are derived from the types of `wire`.

use std::sync::OnceLock;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::super::reply::json_response;
use super::routes::{Answer, Body, Method, ROUTES, Route};
use super::wire::{
    EntityList, EntityShown, FeaturesRequest, MaterializeRequest, OnlineAnswer, PushRequest, ReadableAnswer,
    ServiceList, ServiceShown, SetRequest, StoreStatistics, ViewList, ViewShown, WriteRequest,
};
use crate::flow;

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// `GET /openapi.json`
pub async fn document() -> Response {
    static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
    json_response(StatusCode::OK, DOCUMENT.get_or_init(|| openapi().to_string().into_bytes()).clone())
}

/// `GET /docs`
pub async fn page() -> Response {
    let only_our_own = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                        img-src data:";
    ([(header::CONTENT_SECURITY_POLICY, only_our_own)], Html(include_str!("docs.html"))).into_response()
}

/// The whole document, OpenAPI 3.1.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
            Method::Delete => "delete",
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockstep",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A feature gateway. The routes of Feast's feature server, and look-ups of its own under /v1.",
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let parameters: Vec<Value> = in_path.chain(route.parameters.iter().map(|name| parameter(name))).collect();
    let mut operation = json!({
        "summary": route.summary,
        "tags": [if route.path.starts_with("/v1") { "Lockstep" } else { "Feast" }],
        "parameters": parameters,
        "responses": responses(route),
    });
    match route.body {
        Body::Nothing => {}
        Body::Json(schema) => operation["requestBody"] = json!({"required": true, "content": json_content(schema)}),
        Body::JsonOrArrow(schema) => {
            operation["requestBody"] = json!({"required": true, "content": with_arrow(json_content(schema))});
        }
    }
    operation
}

fn responses(route: &Route) -> Value {
    let content = match route.answer {
        Answer::Empty => json!({}),
        Answer::Null => json!({"application/json": {"schema": {"type": "null"}}}),
        Answer::Json(schema) => json_content(schema),
        Answer::JsonOrArrow(schema) => with_arrow(json_content(schema)),
        Answer::Page => json!({"text/html": {}}),
        Answer::Document => json!({"application/json": {"schema": {"type": "object"}}}),
    };
    let mut responses = json!({"200": {"description": "Done", "content": content}});
    if route.parameters.contains(&"async") {
        responses["202"] = json!({"description": "Started, with async=true", "content": {"application/json": {}}});
        responses["409"] = json!({"description": "A sync of the view is running", "content": {"application/json": {}}});
    }
    let failure = json!({
        "description": "Refused. Feast's routes answer a string that holds JSON with module, class and message; the \
                        others an object with error.kind and error.message. A body that cannot be read is answered \
                        with FastAPI's detail.",
        "content": {"application/json": {}}
    });
    responses["4XX"] = failure.clone();
    responses["5XX"] = failure;
    responses
}

fn json_content(schema: &str) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
}

fn with_arrow(mut content: Value) -> Value {
    content[ARROW_STREAM] = json!({"schema": {"type": "string", "contentMediaType": ARROW_STREAM}});
    content
}

fn parameter(name: &str) -> Value {
    let boolean = || json!({"type": "boolean"});
    let (place, schema, description) = match name {
        "x-request-deadline-ms" => (
            "header",
            json!({"type": "integer"}),
            "Milliseconds in which the answer is owed; the server's default at most.",
        ),
        "lockstep-schema-fingerprint" => (
            "header",
            json!({"type": "string"}),
            "The fingerprint that came with a training set: an answer with another schema is refused with 409.",
        ),
        "as_of" => (
            "query",
            json!({"type": "string"}),
            "The time asked about: RFC 3339, or epoch microseconds. Now, if left out.",
        ),
        "full_feature_names" => ("query", boolean(), "Whether columns are named view__feature."),
        "partial" => {
            ("query", boolean(), "Whether what can be known is answered while a part of the store cannot be reached.")
        }
        "feature" => {
            let names = json!({"type": "array", "items": {"type": "string"}});
            ("query", names, "A feature as view:feature; repeat it for more.")
        }
        "event_time" => (
            "query",
            json!({"type": "string"}),
            "When it became true: RFC 3339, or epoch microseconds. Now, if left out.",
        ),
        "from" => ("query", json!({"type": "string"}), "The first event time: RFC 3339, or epoch microseconds."),
        "to" => ("query", json!({"type": "string"}), "The last event time: RFC 3339, or epoch microseconds."),
        // The look-ups' `feature` names it with its view.
        "column" => {
            let schema = json!({"type": "array", "items": {"type": "string"}});
            let description = "A feature or join key of the view; repeat it for more. All of them, if left out.";
            return json!({"name": "feature", "in": "query", "schema": schema, "description": description});
        }
        "view" => {
            let names = json!({"type": "array", "items": {"type": "string"}});
            ("query", names, "A view; repeat it for more. All that are stored, if left out.")
        }
        "synced_view" => {
            let description = "A feature view; all that were synced, if left out.";
            return json!({"name": "view", "in": "query", "schema": {"type": "string"}, "description": description});
        }
        "limit" => ("query", json!({"type": "integer"}), "How many runs at the most, newest first."),
        // The look-ups' `feature` names many, and by their views.
        "delete_feature" => {
            let description = "The feature that is deleted, at its row's own event time; the whole row, if left out.";
            return json!({"name": "feature", "in": "query", "schema": {"type": "string"}, "description": description});
        }
        "async" => ("query", boolean(), "Answers at once, with 202, and goes on."),
        "force" => ("query", boolean(), "Runs although a sync of the same view is running."),
        _ => {
            let columns =
                json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}});
            let description = "Join keys and request fields by name, as company=Sun%20Taxi. A repeated one makes several \
                               rows; one that is given once holds for all of them.";
            ("query", columns, description)
        }
    };
    json!({"name": name, "in": place, "schema": schema, "description": description})
}

fn schemas() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
    }
    add::<FeaturesRequest<'static>>(&mut generator);
    add::<PushRequest<'static>>(&mut generator);
    add::<WriteRequest<'static>>(&mut generator);
    add::<SetRequest<'static>>(&mut generator);
    add::<flow::online::Set>(&mut generator);
    add::<flow::online::Deleted>(&mut generator);
    add::<flow::online::StoreHealth>(&mut generator);
    add::<StoreStatistics>(&mut generator);
    add::<flow::statistics::Statistics>(&mut generator);
    add::<flow::sync::SyncList>(&mut generator);
    add::<MaterializeRequest>(&mut generator);
    add::<OnlineAnswer>(&mut generator);
    add::<ReadableAnswer>(&mut generator);
    add::<EntityList>(&mut generator);
    add::<EntityShown>(&mut generator);
    add::<ViewList>(&mut generator);
    add::<ViewShown>(&mut generator);
    add::<ServiceList>(&mut generator);
    add::<ServiceShown>(&mut generator);
    Value::Object(generator.take_definitions(true))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All `$ref`s of a document.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = openapi();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
        }
        for schema in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(found.contains(format!("#/components/schemas/{schema}").as_str()), "{schema} is not used");
        }
    }

    #[test]
    fn every_route_of_the_table_is_described_once() {
        let document = openapi();
        let described: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, ROUTES.len());
        let lookup = &document["paths"]["/v1/services/{service}/features"];
        assert_eq!(lookup["get"]["parameters"][0]["name"], "service");
        assert!(lookup["post"]["requestBody"]["content"].get(ARROW_STREAM).is_some());
    }

    #[test]
    fn a_request_must_bring_its_entities() {
        let document = openapi();
        let request = &document["components"]["schemas"]["FeaturesRequest"];
        assert_eq!(request["required"], json!(["entities"]));
        assert_eq!(request["properties"]["entities"]["additionalProperties"]["type"], "array");
    }

    #[test]
    fn the_page_needs_no_network_but_its_own_server() {
        let page = include_str!("docs.html");
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"));
        assert!(page.contains("/openapi.json") && page.contains("lang=\"en\""));
    }
}
