//! Statistics of the history of a view.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::super::reply::{self, Failure, json_response};
use super::Context;
use super::body::{self, Name};
use super::features::Parameters;
use super::values::{Times, instant};
use crate::error::ErrorKind;
use crate::flow::statistics::{Asked, statistics};
use crate::limits::HISTORY_STATISTICS_DEADLINE;

/// `GET /v1/views/{view}/statistics?from=…&to=…&feature=…`
pub async fn of_view(
    State(context): State<Context>,
    Name(view): Name,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let answered = async {
        let deadline = body::deadline(&headers, HISTORY_STATISTICS_DEADLINE)?;
        let found = statistics(&context.gateway, &view, &asked(parameters)?, deadline).await?;
        let body = serde_json::to_vec(&found)
            .map_err(|error| Failure::new(ErrorKind::Internal, format!("the answer cannot be written: {error}")))?;
        Ok(json_response(StatusCode::OK, body))
    };
    reply::own(answered.await)
}

fn asked(parameters: Parameters) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    for (name, text) in parameters {
        let time = || {
            let message = format!("{name} is {text}; write a time such as 2026-11-20T02:00:00Z, or epoch microseconds");
            instant(&text, Times::Micros).ok_or_else(|| Failure::invalid(message))
        };
        match name.as_str() {
            "from" => asked.from = Some(time()?),
            "to" => asked.to = Some(time()?),
            "feature" => asked.columns.push(text),
            other => {
                let message = format!("parameter {other} is not known; this route takes from, to and feature");
                return Err(Failure::invalid(message));
            }
        }
    }
    Ok(asked)
}
