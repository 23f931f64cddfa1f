//! The online store by hand: rows set and deleted, how the store is, and what it holds.

use std::sync::Arc;

use arrow::array::RecordBatch;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::super::reply::{self, Failure, json_response};
use super::super::rows::{json_rows, text_entity};
use super::body::{self, Format, Name};
use super::features::Parameters;
use super::values::{Times, instant};
use super::wire::{SetRequest, StoreStatistics};
use super::{Context, compute};
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::flow::ingest::column_type;
use crate::flow::online::{self, settable};
use crate::gateway::Gateway;
use crate::limits::{HEALTH_DEADLINE, JSON_INLINE_BYTES_MAX, STATISTICS_DEADLINE, WRITE_DEADLINE};
use crate::metrics::Flow;

/// `PUT` and `POST /v1/online/{view}`, with JSON columns or an Arrow stream.
pub async fn set(
    State(context): State<Context>,
    Name(view): Name,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    reply::own(rows_set(context.gateway, view, parameters, request).await)
}

async fn rows_set(
    gateway: Arc<Gateway>,
    view: String,
    parameters: Parameters,
    request: Request,
) -> Result<Response, Failure> {
    let deadline = body::deadline(request.headers(), WRITE_DEADLINE)?;
    let (event_time, others) = take_event_time(parameters)?;
    if let Some((name, _)) = others.first() {
        return Err(Failure::invalid(format!("parameter {name} is not known; rows come in the body")));
    }
    let (format, body) = body::json_or_arrow(request, deadline).await?;
    let (small, reading) = (body.len() <= JSON_INLINE_BYTES_MAX, Arc::clone(&gateway));
    let named = view.clone();
    let rows = compute(small, move || read_rows(&reading, &named, format, &body)).await??;
    let set = online::set(&gateway, &view, &rows, event_time, deadline).await?;
    gateway.metrics.rows(Flow::Ingest, set.rows);
    answer(&set)
}

fn read_rows(gateway: &Gateway, view: &str, format: Format, body: &Bytes) -> Result<RecordBatch, Failure> {
    if format == Format::ArrowStream {
        return body::arrow_rows(body);
    }
    let request: SetRequest<'_> = body::parse(body)?;
    let columns = request.columns.ok_or_else(|| Failure::missing_field("columns"))?;
    let applied = gateway.applied.load();
    let plan = settable(&applied.catalog, view)?;
    let source = &applied.catalog.sources[&plan.view.source];
    let dtype = |name: &str| column_type(name, source, [plan.view.as_ref()]);
    Ok(json_rows(&columns.0, dtype, Times::Micros)?)
}

/// `DELETE /v1/online/{view}?join_key=…`, with `feature=…` for one feature only.
pub async fn delete(
    State(context): State<Context>,
    Name(view): Name,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    reply::own(deleted(&context.gateway, &view, parameters, &headers).await)
}

async fn deleted(
    gateway: &Gateway,
    view: &str,
    parameters: Parameters,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let deadline = body::deadline(headers, WRITE_DEADLINE)?;
    let (event_time, others) = take_event_time(parameters)?;
    let (features, keys): (Parameters, Parameters) = others.into_iter().partition(|(name, _)| name == "feature");
    let plan = settable(&gateway.applied.load().catalog, view)?;
    let entity = text_entity(&plan.view, &keys)?;
    let deleted = match (features.as_slice(), event_time) {
        ([], event_time) => online::delete(gateway, view, &entity, event_time, deadline).await?,
        ([(_, feature)], None) => online::delete_feature(gateway, view, &entity, feature, deadline).await?,
        ([_], Some(_)) => {
            return Err(Failure::invalid("a feature is deleted as of its row's own event time; leave event_time out"));
        }
        _ => return Err(Failure::invalid("feature came more than once; one feature is deleted at a time")),
    };
    answer(&deleted)
}

/// `GET /v1/online/health`
pub async fn health(State(context): State<Context>, headers: HeaderMap) -> Response {
    let asked = async {
        let deadline = body::deadline(&headers, HEALTH_DEADLINE)?;
        answer(&online::health(&context.gateway, deadline).await?)
    };
    reply::own(asked.await)
}

/// `GET /v1/online/stats`, with `view=…` for some views only.
pub async fn stats(
    State(context): State<Context>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let asked = async {
        let deadline = body::deadline(&headers, STATISTICS_DEADLINE)?;
        if let Some((name, _)) = parameters.iter().find(|(name, _)| name != "view") {
            return Err(Failure::invalid(format!("parameter {name} is not known; this route takes view")));
        }
        let views: Vec<String> = parameters.into_iter().map(|(_, view)| view).collect();
        answer(&StoreStatistics { views: online::statistics(&context.gateway, &views, deadline).await? })
    };
    reply::own(asked.await)
}

/// The event time among the parameters, and the others.
fn take_event_time(parameters: Parameters) -> Result<(Option<Micros>, Parameters), Failure> {
    let (times, others): (Parameters, Parameters) = parameters.into_iter().partition(|(name, _)| name == "event_time");
    let time = |text: &String| {
        let message = format!("event_time is {text}; write a time such as 2026-11-20T02:00:00Z, or epoch microseconds");
        instant(text, Times::Micros).ok_or_else(|| Failure::invalid(message))
    };
    Ok((times.last().map(|(_, text)| time(text)).transpose()?, others))
}

fn answer(done: &impl Serialize) -> Result<Response, Failure> {
    let body = serde_json::to_vec(done)
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("the answer cannot be written: {error}")))?;
    Ok(json_response(StatusCode::OK, body))
}
