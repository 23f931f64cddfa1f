//! What was synced, and what is synced next.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::super::reply::{self, Failure, json_response};
use super::Context;
use super::features::Parameters;
use crate::error::ErrorKind;
use crate::flow::sync::list;
use crate::gateway::Gateway;

/// Runs that are answered where the caller does not say how many.
const RUNS: u32 = 20;

/// `GET /v1/syncs`, with `view=…` and `limit=…`.
pub async fn syncs(State(context): State<Context>, Query(parameters): Query<Parameters>) -> Response {
    reply::own(asked(&context.gateway, parameters).await)
}

async fn asked(gateway: &Gateway, parameters: Parameters) -> Result<Response, Failure> {
    let (mut view, mut limit) = (None, RUNS);
    for (name, value) in parameters {
        match name.as_str() {
            "view" => view = Some(value),
            "limit" => {
                let wrong = || Failure::invalid(format!("limit is {value:?}; write a number of runs"));
                limit = value.parse().map_err(|_| wrong())?;
            }
            _ => {
                return Err(Failure::invalid(format!(
                    "parameter {name} is not known; this route takes view and limit"
                )));
            }
        }
    }
    let applied = gateway.applied.load_full();
    let list = list(&gateway.registry, &applied.catalog, view.as_deref(), limit).await?;
    let body = serde_json::to_vec(&list)
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("the answer cannot be written: {error}")))?;
    Ok(json_response(StatusCode::OK, body))
}
