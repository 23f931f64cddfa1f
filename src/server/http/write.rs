//! Writing rows: Feast's `POST /push` and `POST /write-to-online-store`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::reply::{self, Failure, json_response};
use super::super::rows::json_rows;
use super::values::Times;
use super::wire::{Columns, PushDestination, PushRequest, WriteRequest};
use super::{Context, body, compute};
use crate::catalog::{FeatureView, Source, View};
use crate::flow;
use crate::flow::ingest::{PushTo, column_type, ingest, write_online};
use crate::gateway::Gateway;
use crate::limits::{JSON_INLINE_BYTES_MAX, WRITE_DEADLINE};
use crate::metrics::Flow;
use crate::plan;

/// `POST /push`
pub async fn push(State(context): State<Context>, request: Request) -> Response {
    reply::feast(pushed(context.gateway, request).await)
}

async fn pushed(gateway: Arc<Gateway>, request: Request) -> Result<Response, Failure> {
    let deadline = body::deadline(request.headers(), WRITE_DEADLINE)?;
    let body = body::json(request, deadline).await?;
    let (small, reading) = (body.len() <= JSON_INLINE_BYTES_MAX, Arc::clone(&gateway));
    let (source, rows, to) = compute(small, move || read_push(&reading, &body)).await??;
    if rows.num_rows() > 0 {
        ingest(&gateway, &source, &rows, to, deadline).await?;
        gateway.metrics.rows(Flow::Ingest, rows.num_rows() as u64);
    }
    Ok(StatusCode::OK.into_response())
}

fn read_push(gateway: &Gateway, body: &[u8]) -> Result<(String, RecordBatch, PushTo), Failure> {
    let request: PushRequest<'_> = body::parse(body)?;
    let name = request.push_source_name.ok_or_else(|| Failure::missing_field("push_source_name"))?;
    let columns = request.df.ok_or_else(|| Failure::missing_field("df"))?;
    let to = match request.to {
        None | Some(PushDestination::Online) => PushTo::Online,
        Some(PushDestination::Offline) => PushTo::Offline,
        Some(PushDestination::OnlineAndOffline) => PushTo::OnlineAndOffline,
    };
    let applied = gateway.applied.load();
    let Some(source) = applied.catalog.sources.get(&name) else {
        return Err(flow::Error::UnknownPushSource(name).into());
    };
    let views: Vec<&FeatureView> = applied
        .catalog
        .views
        .values()
        .filter_map(|view| match view {
            View::Feature(view) if view.source == name => Some(view.as_ref()),
            _ => None,
        })
        .collect();
    Ok((name, batch(&columns, source, &views)?, to))
}

/// `POST /write-to-online-store`
pub async fn write_to_online_store(State(context): State<Context>, request: Request) -> Response {
    reply::feast(written(context.gateway, request).await)
}

async fn written(gateway: Arc<Gateway>, request: Request) -> Result<Response, Failure> {
    let deadline = body::deadline(request.headers(), WRITE_DEADLINE)?;
    let body = body::json(request, deadline).await?;
    let (small, reading) = (body.len() <= JSON_INLINE_BYTES_MAX, Arc::clone(&gateway));
    let (view, rows) = compute(small, move || read_write(&reading, &body)).await??;
    if rows.num_rows() > 0 {
        write_online(&gateway, &view, &rows, deadline).await?;
        gateway.metrics.rows(Flow::Ingest, rows.num_rows() as u64);
    }
    Ok(json_response(StatusCode::OK, b"null".to_vec()))
}

fn read_write(gateway: &Gateway, body: &[u8]) -> Result<(String, RecordBatch), Failure> {
    let request: WriteRequest<'_> = body::parse(body)?;
    let name = request.feature_view_name.ok_or_else(|| Failure::missing_field("feature_view_name"))?;
    let columns = request.df.ok_or_else(|| Failure::missing_field("df"))?;
    let applied = gateway.applied.load();
    let view = match applied.catalog.view(&name) {
        Some(View::Feature(view)) => view,
        Some(View::Derived(_)) => {
            let message = format!("{name} is a derived view; its values are computed, so write to the view it reads");
            return Err(Failure::invalid(message));
        }
        None => {
            let project = applied.catalog.project.clone();
            return Err(flow::Error::from(plan::Error::UnknownView { view: name, project }).into());
        }
    };
    let rows = batch(&columns, &applied.catalog.sources[&view.source], &[view])?;
    Ok((name, rows))
}

/// The columns of a `df`, as a batch.
fn batch(columns: &Columns<'_>, source: &Source, views: &[&FeatureView]) -> Result<RecordBatch, Failure> {
    let dtype = |name: &str| column_type(name, source, views.iter().copied());
    Ok(json_rows(&columns.0, dtype, Times::Seconds)?)
}
