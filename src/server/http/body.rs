//! Reading a request: the name in its path, its deadline, its body within bounds, and the JSON in it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;

use super::super::guard;
use super::super::reply::{self, Failure};
use crate::clock::Deadline;
use crate::error::ErrorKind;
use crate::limits::JSON_BODY_BYTES_MAX;

const DEADLINE_HEADER: &str = "x-request-deadline-ms";
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    ArrowStream,
}

/// The name in a path. Unlike axum's own reader it refuses in JSON, as everything here does.
#[derive(Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(refused) => Err(reply::own(Err(Failure::invalid(format!("the path cannot be read: {refused}"))))),
        }
    }
}

/// When the answer is owed: what the caller says in `x-request-deadline-ms`, and `longest` at most.
pub fn deadline(headers: &HeaderMap, longest: std::time::Duration) -> Result<Deadline, Failure> {
    let Some(value) = headers.get(DEADLINE_HEADER) else { return Ok(Deadline::after(longest)) };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(milliseconds) => Ok(Deadline::after(longest.min(std::time::Duration::from_millis(milliseconds)))),
        None => Err(Failure::invalid(format!("header {DEADLINE_HEADER} is {value:?}; it must be a whole number"))),
    }
}

/// Whether the caller wants the answer as an Arrow stream.
pub fn wants_arrow(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|choice| media_type(choice) == ARROW_STREAM)
}

/// The body of a request that must be JSON.
pub async fn json(request: Request, deadline: Deadline) -> Result<Bytes, Failure> {
    match format(request.headers())? {
        Format::Json => read(request.into_body(), deadline).await,
        Format::ArrowStream => Err(unsupported("this route takes JSON; send content-type: application/json")),
    }
}

/// The body of a request that may be JSON or an Arrow stream.
pub async fn json_or_arrow(request: Request, deadline: Deadline) -> Result<(Format, Bytes), Failure> {
    let format = format(request.headers())?;
    Ok((format, read(request.into_body(), deadline).await?))
}

/// The rows of all batches of an Arrow stream; of a stream without batches no rows and no columns.
pub fn arrow_rows(body: &[u8]) -> Result<RecordBatch, Failure> {
    let batches = guard::read_stream(body)?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    concat_batches(&schema, &batches)
        .map_err(|error| Failure::invalid(format!("the batches of the stream do not fit together: {error}")))
}

/// Reads JSON text as `T`, which may borrow from it.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|problem| Failure::json(&problem, body))
}

/// A body without a type is refused, not guessed at: a page of another site could send one in its visitor's name.
fn format(headers: &HeaderMap) -> Result<Format, Failure> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(unsupported("compressed bodies are not taken; send the body without content-encoding"));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match media_type(content_type).as_str() {
        "application/json" => Ok(Format::Json),
        ARROW_STREAM => Ok(Format::ArrowStream),
        "" => Err(unsupported("the body has no type; send content-type: application/json")),
        other => Err(unsupported(format!("bodies of type {other} are not taken; send content-type: application/json"))),
    }
}

/// `Application/JSON; charset=utf-8` is `application/json`.
fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unsupported(message: impl Into<String>) -> Failure {
    Failure::invalid(message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

async fn read(body: Body, deadline: Deadline) -> Result<Bytes, Failure> {
    let whole = Limited::new(body, JSON_BODY_BYTES_MAX).collect();
    match tokio::time::timeout_at(deadline.instant().into(), whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::new(ErrorKind::TooLarge, format!("the body is longer than {JSON_BODY_BYTES_MAX} bytes")))
        }
        Ok(Err(error)) => Err(Failure::invalid(format!("the body broke off: {error}"))),
        Err(_) => Err(Failure::new(ErrorKind::Late, "the deadline passed while the body was read")),
    }
}
