//! Writing rows: Feast's `POST /push` and `POST /write-to-online-store`.
//!
//! A column takes the type that the views say it has. What is no column of the source goes on as a column of nulls, so
//! that one place, the flow, says what is wrong with it, for every wire.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::reply::{self, Failure, json_response};
use super::question::refuse;
use super::values::{self, Times};
use super::wire::{Columns, PushDestination, PushRequest, WriteRequest};
use super::{Context, body, compute};
use crate::catalog::{DType, FeatureView, Source, View};
use crate::error::ErrorKind;
use crate::flow;
use crate::flow::ingest::{PushTo, ingest, write_online};
use crate::gateway::Gateway;
use crate::limits::{JSON_INLINE_BYTES_MAX, PUSH_ROWS_MAX, WRITE_DEADLINE};
use crate::metrics::Flow;
use crate::plan;

/// The names that Feast's clients give to the times of a row, whatever the source calls them.
const FEAST_TIMES: [&str; 2] = ["event_timestamp", "created"];

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
    Ok((name, batch(columns, source, &views)?, to))
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
    let view = match applied.catalog.views.get(&name) {
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
    let rows = batch(columns, &applied.catalog.sources[&view.source], &[view])?;
    Ok((name, rows))
}

/// The columns of a `df`, as a batch.
fn batch(columns: Columns<'_>, source: &Source, views: &[&FeatureView]) -> Result<RecordBatch, Failure> {
    let mut fields: Vec<ArrowField> = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, json) in &columns.0 {
        if fields.iter().any(|field| field.name() == name) {
            return Err(Failure::invalid(format!("column {name} came twice")));
        }
        let column = match dtype(name, source, views) {
            Some(dtype) => values::json_column(json.get(), dtype, Times::Seconds, PUSH_ROWS_MAX),
            None => values::json_length(json.get()).map(|rows| new_null_array(&DataType::Null, rows)),
        };
        let column = column.map_err(|refused| refuse(name, &refused))?;
        if let (Some(first), Some(field)) = (arrays.first(), fields.first())
            && first.len() != column.len()
        {
            let (one, rows, length) = (field.name(), first.len(), column.len());
            return Err(Failure::invalid(format!(
                "column {one} has {rows} values and column {name} has {length}; all must have as many"
            )));
        }
        fields.push(ArrowField::new(name.as_ref(), column.data_type().clone(), true));
        arrays.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(arrays.first().map_or(0, |column| column.len())));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

/// The type of a column: of the views' field of that name, or a time.
fn dtype(name: &str, source: &Source, views: &[&FeatureView]) -> Option<DType> {
    let field =
        views.iter().flat_map(|view| view.join_keys.iter().chain(&view.features)).find(|field| field.name == name);
    let time =
        || name == source.event_time || Some(name) == source.created_time.as_deref() || FEAST_TIMES.contains(&name);
    field.map(|field| field.dtype).or_else(|| time().then_some(DType::TIMESTAMP))
}
