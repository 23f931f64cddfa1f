//! HTTP: Feast's routes as Feast's clients speak them, and our own under `/v1`.
//!
//! A request is read here ([`body`]), becomes columns of the types that a plan asks for ([`question`], [`values`]), goes
//! through one function of `flow`, and its answer is written ([`answer`]). Nothing here decides what a feature is.
//!
//! # Why not axum's `Json` extractor
//! It answers with its own texts and shapes, and it builds values that we would only take apart again. Feast's clients
//! need FastAPI's shape, and columns go from bytes to Arrow without a stop in between.

mod routes;

mod features;
mod write;
mod online;
mod statistics;

mod materialize;
mod syncs;

mod catalog;
mod openapi;

mod answer;
mod body;
mod question;
mod wire;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures::FutureExt;

use self::materialize::Claims;
pub use self::wire::Columns;
use super::reply::{self, Failure};
use crate::error::ErrorKind;
use crate::gateway::Gateway;
pub use crate::values;

/// The applied version with which a request was answered.
const VERSION: HeaderName = HeaderName::from_static("lockstep-version");
/// The transforms behind an answer, as `view=digest`, comma-separated.
const DIGEST: HeaderName = HeaderName::from_static("lockstep-digest");
/// The fingerprint of an answer's schema; in a request, of the schema that the answer must have.
const FINGERPRINT: HeaderName = HeaderName::from_static("lockstep-schema-fingerprint");
/// What is deprecated of that which was asked for: `name; since=…; remove_after=…; use=…`, comma-separated.
const DEPRECATED: HeaderName = HeaderName::from_static("lockstep-deprecated");
/// Which of two services answered, where the callers of the one that was asked for are divided.
const ARM: HeaderName = HeaderName::from_static("lockstep-arm");
/// The views of which some row could not be reached, comma-separated; on partial answers only.
const UNAVAILABLE: HeaderName = HeaderName::from_static("lockstep-unavailable");

/// Under which name requests are counted that no route takes.
const NO_ROUTE: &str = "none";

/// What every handler has.
#[derive(Clone)]
struct Context {
    gateway: Arc<Gateway>,
    claims: Claims,
}

/// All HTTP routes over `gateway`.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let observe = |route: &'static str| from_fn_with_state((Arc::clone(&gateway), route), observe);
    let mut router = Router::new();
    for route in routes::ROUTES {
        router = router.route(route.path, (route.handler)().layer(observe(route.path)));
    }
    router
        .method_not_allowed_fallback(routes::wrong_method.layer(observe(NO_ROUTE)))
        .fallback(routes::unknown.layer(observe(NO_ROUTE)))
        .with_state(Context { gateway: Arc::clone(&gateway), claims: Claims::default() })
}

/// Counts and times a request, and says in its answer which version was applied. A panic becomes an answer, too.
async fn observe(
    State((gateway, route)): State<(Arc<Gateway>, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        reply::own(Err(Failure::new(ErrorKind::Internal, "a handler stopped; the gateway's log says more")))
    });
    if !response.headers().contains_key(&VERSION) {
        response.headers_mut().insert(VERSION, HeaderValue::from(gateway.applied.load().version));
    }
    gateway.metrics.request(route, response.status().as_u16(), started.elapsed());
    response
}

/// Does work that may take longer than an async thread should be held: at once where it is known to be small.
async fn compute<T: Send + 'static>(small: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    if small {
        return Ok(work());
    }
    let stopped = |error| Failure::new(ErrorKind::Internal, format!("a thread of the gateway stopped: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

#[cfg(test)]
mod tests;
