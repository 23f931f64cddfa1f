//! The admin port: whether the process lives, whether it should get requests, and its metrics.
//!
//! On a port of its own, so that it answers while the serving ports are full or drain, and so that metrics are not
//! offered to everybody who may ask for features.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;

use super::Phase;
use crate::gateway::Gateway;

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
        .with_state(Admin { gateway, phase })
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    readiness(*admin.phase.borrow(), admin.gateway.applied.load().version)
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
