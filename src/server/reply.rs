//! Errors become answers: the one table of statuses, and the two shapes an HTTP error has.
//!
//! The status is `ErrorKind`'s. Feast's clients decode an error body twice, import the named class of `feast.errors` and
//! raise it, and retry 500–504; so on Feast's routes a few well-known errors have Feast's class and Feast's own status.
//! Our own routes answer a plain JSON object. An error ends here, so here it is logged, once.

use std::error::Error as StdError;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::{error, warn};

use super::guard;
use crate::error::{ErrorKind, chain, public};
use crate::{flow, plan};

/// Seconds after which a client may try again what was refused for now.
const RETRY_AFTER_SECONDS: &str = "1";

/// A refused request, on its way to the caller.
#[derive(Debug, PartialEq)]
pub struct Failure {
    kind: ErrorKind,
    class: Class,
    /// Where HTTP has a status of its own for what is wrong, as for a wrong content type.
    status: Option<StatusCode>,
    message: String,
    /// Where a body could not be read, as FastAPI shows it.
    detail: Option<Value>,
}

/// The classes of `feast.errors` that clients can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    FeatureViewNotFound,
    FeatureServiceNotFound,
    ObjectNotFound,
    NameCollision,
    RequestDataNotFound,
    PushSourceNotFound,
    Other,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::FeatureViewNotFound => "FeatureViewNotFoundException",
            Self::FeatureServiceNotFound => "FeatureServiceNotFoundException",
            Self::ObjectNotFound => "FeastObjectNotFoundException",
            Self::NameCollision => "FeatureNameCollisionError",
            Self::RequestDataNotFound => "RequestDataNotFoundInEntityRowsException",
            Self::PushSourceNotFound => "PushSourceNotFoundException",
            Self::Other => "FeastError",
        }
    }

    /// The status where Feast's differs from the one of the error's kind.
    fn feast_status(self) -> Option<StatusCode> {
        match self {
            Self::NameCollision => Some(StatusCode::BAD_REQUEST),
            Self::RequestDataNotFound => Some(StatusCode::NOT_FOUND),
            Self::PushSourceNotFound => Some(StatusCode::UNPROCESSABLE_ENTITY),
            Self::FeatureViewNotFound | Self::FeatureServiceNotFound | Self::ObjectNotFound | Self::Other => None,
        }
    }
}

impl Failure {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let class = if kind == ErrorKind::NotFound { Class::ObjectNotFound } else { Class::Other };
        Self { kind, class, status: None, message: message.into(), detail: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// A request body without a field that it must have.
    pub fn missing_field(field: &str) -> Self {
        let detail = json!([{"type": "missing", "loc": ["body", field], "msg": "Field required"}]);
        Self { detail: Some(detail), ..Self::invalid(format!("the body has no field {field}")) }
    }

    /// A request body that is not JSON, or not of the shape it must have.
    pub fn json(problem: &serde_json::Error, body: &[u8]) -> Self {
        let position = offset(body, problem.line(), problem.column());
        let text = problem.to_string();
        let entry = if problem.is_data() {
            json!({"type": "value_error", "loc": ["body", position], "msg": text})
        } else {
            json!({
                "type": "json_invalid", "loc": ["body", position], "msg": "JSON decode error", "input": {},
                "ctx": {"error": text}
            })
        };
        Self { detail: Some(json!([entry])), ..Self::invalid(format!("the body cannot be read: {text}")) }
    }

    /// A failure with a cause. What went wrong inside is for the log; everything else the caller may read.
    fn caused(kind: ErrorKind, error: &(dyn StdError + 'static)) -> Self {
        let text = chain(error);
        match kind {
            ErrorKind::Internal => {
                error!(error = %text, "a request failed");
            }
            ErrorKind::Unavailable | ErrorKind::PluginFault => {
                warn!(error = %text, kind = kind.name(), "a request failed");
            }
            _ => {}
        }
        Self::new(kind, public(kind, error))
    }

    fn status(&self) -> StatusCode {
        let of_kind = StatusCode::from_u16(self.kind.codes().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.status.unwrap_or(of_kind)
    }

    /// As Feast's clients read it.
    fn feast(self) -> Response {
        let status = self.class.feast_status().unwrap_or(self.status());
        let body = match &self.detail {
            Some(detail) => json!({"detail": detail}),
            None => {
                let inner = json!({"module": "feast.errors", "class": self.class.name(), "message": self.message});
                Value::String(inner.to_string())
            }
        };
        self.answer(status, &body)
    }

    /// As our own routes show it.
    fn own(self) -> Response {
        let mut body = json!({"error": {"kind": self.kind.name(), "message": self.message}});
        if let Some(detail) = &self.detail {
            body["detail"] = detail.clone();
        }
        self.answer(self.status(), &body)
    }

    fn answer(&self, status: StatusCode, body: &Value) -> Response {
        let mut response = json_response(status, body.to_string().into_bytes());
        if matches!(self.kind, ErrorKind::Exhausted | ErrorKind::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

impl From<flow::Error> for Failure {
    fn from(error: flow::Error) -> Self {
        let class = match &error {
            flow::Error::Plan(plan::Error::UnknownView { .. }) => Class::FeatureViewNotFound,
            flow::Error::Plan(plan::Error::UnknownService { .. }) => Class::FeatureServiceNotFound,
            flow::Error::Plan(plan::Error::UnknownFeature { .. }) => Class::ObjectNotFound,
            flow::Error::Plan(plan::Error::NameCollision { .. }) => Class::NameCollision,
            flow::Error::UnknownPushSource(_) => Class::PushSourceNotFound,
            _ => Class::Other,
        };
        Self::caused(error.kind(), &error).with_class(class)
    }
}

impl From<guard::Error> for Failure {
    fn from(error: guard::Error) -> Self {
        Self::caused(error.kind(), &error)
    }
}

/// The answer of one of Feast's routes.
pub fn feast(result: Result<Response, Failure>) -> Response {
    result.unwrap_or_else(Failure::feast)
}

/// The answer of one of our own routes.
pub fn own(result: Result<Response, Failure>) -> Response {
    result.unwrap_or_else(Failure::own)
}

/// A body of JSON text.
pub fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The byte at which serde's line and column (both from 1) stand.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    before + column.saturating_sub(1)
}

#[cfg(test)]
mod tests;
