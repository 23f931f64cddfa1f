//! The admin port: whether the process lives, whether it should get requests, and its metrics.
//!
//! On a port of its own, so that it answers while the serving ports are full or drain, and so that metrics are not
//! offered to everybody who may ask for features.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Phase;
use super::reply::{self, Failure, json_response};
use crate::error::ErrorKind;
use crate::gateway::{Gateway, Refused};

#[derive(Clone)]
struct Admin {
    gateway: Arc<Gateway>,
    phase: watch::Receiver<Phase>,
}

/// The admin routes. `phase` is that of the serving listeners, not of the admin listener itself.
pub fn router(gateway: Arc<Gateway>, phase: watch::Receiver<Phase>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/applied", get(applied))
        .route("/reload", post(reload))
        .route("/shadows", get(shadows))
        .with_state(Admin { gateway, phase })
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let (status, word) = readiness(*admin.phase.borrow(), admin.gateway.applied.load().version);
    (status, word.to_owned() + &stays_behind(admin.gateway.swaps.refused()))
}

/// A gateway that cannot take the latest version up goes on with the one before, so it is ready; but somebody should know.
fn stays_behind(refused: Option<Refused>) -> String {
    refused.map_or_else(String::new, |Refused { version, why }| format!("version {version} is not taken up: {why}\n"))
}

/// Which version is on, and what keeps the next one from being on.
async fn applied(State(admin): State<Admin>) -> Response {
    reply::own(on_now(&admin.gateway))
}

/// Takes the latest version up now, in place of within the next second.
async fn reload(State(admin): State<Admin>) -> Response {
    let looked = admin.gateway.swaps.look_now().await;
    reply::own(
        looked.map_err(|error| Failure::new(error.kind(), error.to_string())).and_then(|()| on_now(&admin.gateway)),
    )
}

#[derive(Deserialize)]
struct Examples {
    #[serde(default)]
    examples: bool,
}

/// How the builds compare that run beside the applied ones; with cells that differ if they are asked for.
async fn shadows(State(admin): State<Admin>, Query(Examples { examples }): Query<Examples>) -> Response {
    reply::own(json(&admin.gateway.shadows.found(examples)))
}

fn on_now(gateway: &Gateway) -> Result<Response, Failure> {
    json(&gateway.on_now())
}

fn json(value: &impl Serialize) -> Result<Response, Failure> {
    let body = serde_json::to_vec(value);
    body.map(|body| json_response(StatusCode::OK, body))
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

/// Version 0 is a project to which nothing has been applied.
fn readiness(phase: Phase, version: u64) -> (StatusCode, &'static str) {
    match (phase, version) {
        (Phase::Serving, 0) => (StatusCode::SERVICE_UNAVAILABLE, "nothing is applied yet\n"),
        (Phase::Serving, _) => (StatusCode::OK, "ready\n"),
        (Phase::Draining | Phase::Stopping, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], admin.gateway.metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_ready_only_while_it_serves_something_applied() {
        assert_eq!(readiness(Phase::Serving, 1).0, StatusCode::OK);
        assert_eq!(readiness(Phase::Serving, 0).0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(readiness(Phase::Draining, 1), (StatusCode::SERVICE_UNAVAILABLE, "draining\n"));
        assert_eq!(readiness(Phase::Stopping, 1).0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
