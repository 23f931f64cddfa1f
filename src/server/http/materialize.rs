//! Offline rows become online rows on demand: Feast's `POST /materialize` and `POST /materialize-incremental`.
//!
//! One sync of a view runs at a time; a second one is told so (409). Writes are idempotent, so a client that repeats a
//! call it never got an answer to does no harm.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tracing::{error, info};

use super::super::reply::{self, Failure, json_response};
use super::features::Parameters;
use super::values::{Times, instant};
use super::wire::MaterializeRequest;
use super::{Context, body};
use crate::catalog::View;
use crate::clock::Micros;
use crate::error::chain;
use crate::flow;
use crate::flow::sync::{Range, sync, syncable_views};
use crate::gateway::Gateway;
use crate::limits::WRITE_DEADLINE;
use crate::plan;

/// The views that are being synced for a caller.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<BTreeSet<String>>>);

/// Some views that are being synced; given back when dropped.
struct Claim {
    claims: Claims,
    views: Vec<String>,
}

impl Claims {
    /// Claims all views or none; answers those that are taken.
    fn take(&self, views: &[String], force: bool) -> Result<Claim, Vec<String>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<String> = views.iter().filter(|view| running.contains(*view)).cloned().collect();
        if !taken.is_empty() && !force {
            return Err(taken);
        }
        // A forced claim does not give back what another one holds.
        let views: Vec<String> = views.iter().filter(|view| running.insert((*view).clone())).cloned().collect();
        Ok(Claim { claims: self.clone(), views })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut running = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        for view in &self.views {
            running.remove(view);
        }
    }
}

/// `POST /materialize`
pub async fn materialize(
    State(context): State<Context>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    reply::feast(run(context, parameters, request, range).await)
}

/// `POST /materialize-incremental`
pub async fn materialize_incremental(
    State(context): State<Context>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    reply::feast(run(context, parameters, request, incremental).await)
}

async fn run(
    context: Context,
    parameters: Parameters,
    request: Request,
    range: fn(&MaterializeRequest, Micros) -> Result<Range, Failure>,
) -> Result<Response, Failure> {
    let deadline = body::deadline(request.headers(), WRITE_DEADLINE)?;
    let body = body::json(request, deadline).await?;
    let asked: MaterializeRequest = body::parse(&body)?;
    let range = range(&asked, context.gateway.clock.now())?;
    let views = views(&context.gateway, &asked)?;
    let flag = |name: &str| parameters.iter().any(|(key, value)| key == name && value.eq_ignore_ascii_case("true"));

    let claim = match context.claims.take(&views, flag("force")) {
        Ok(claim) => claim,
        Err(taken) => {
            let message = format!("a sync of {} is running; wait for it, or ask with force=true", taken.join(", "));
            let body = json!({"error": message, "feature_views": taken});
            return Ok(json_response(StatusCode::CONFLICT, body.to_string().into_bytes()));
        }
    };
    if !flag("async") {
        sync_all(&context.gateway, &views, range).await?;
        drop(claim);
        return Ok(json_response(StatusCode::OK, b"null".to_vec()));
    }
    let accepted = json!({"status": "accepted", "feature_views": views});
    tokio::spawn(async move {
        if let Err(failed) = sync_all(&context.gateway, &views, range).await {
            error!(error = %chain(&failed), "a sync that was asked for over HTTP failed");
        }
        drop(claim);
    });
    Ok(json_response(StatusCode::ACCEPTED, accepted.to_string().into_bytes()))
}

async fn sync_all(gateway: &Gateway, views: &[String], range: Range) -> Result<(), flow::Error> {
    for view in views {
        let synced = sync(gateway, view, range, &|_| {}).await?;
        info!(view, rows_read = synced.rows_read, rows_written = synced.rows_written, "sync finished");
    }
    Ok(())
}

/// The named views, or all that can be synced. A derived view placed at sync stands for itself in Feast; here it comes
/// along with the view it reads, so its name alone is answered with what to ask for.
fn views(gateway: &Gateway, asked: &MaterializeRequest) -> Result<Vec<String>, Failure> {
    let versioned = match (&asked.version, asked.feature_views.as_deref()) {
        (None, None) => return Ok(syncable_views(gateway)),
        (None, Some(views)) => views.to_vec(),
        (Some(version), Some([view])) => vec![format!("{view}@{version}")],
        (Some(_), _) => return Err(Failure::invalid("a version is of one view; name it alone in feature_views")),
    };
    let applied = gateway.applied.load();
    let mut views = Vec::with_capacity(versioned.len());
    for view in versioned {
        match applied.catalog.view(&view) {
            Some(View::Feature(view)) => views.push(view.name.clone()),
            Some(View::Derived(_)) => {
                let message = format!("{view} is a derived view; it is written when the view that it reads is synced");
                return Err(Failure::invalid(message));
            }
            None => {
                let project = applied.catalog.project.clone();
                return Err(flow::Error::from(plan::Error::UnknownView { view, project }).into());
            }
        }
    }
    Ok(views)
}

fn range(asked: &MaterializeRequest, now: Micros) -> Result<Range, Failure> {
    if asked.disable_event_timestamp {
        return Ok(Range::Between { from: 0, until: now });
    }
    let from = time("start_ts", asked.start_ts.as_deref())?;
    let until = time("end_ts", asked.end_ts.as_deref())?;
    if from >= until {
        return Err(Failure::invalid("start_ts must be before end_ts"));
    }
    Ok(Range::Between { from, until })
}

fn incremental(asked: &MaterializeRequest, _: Micros) -> Result<Range, Failure> {
    Ok(Range::Incremental { until: time("end_ts", asked.end_ts.as_deref())? })
}

fn time(field: &str, text: Option<&str>) -> Result<Micros, Failure> {
    let text = text.ok_or_else(|| Failure::missing_field(field))?;
    let wrong = || Failure::invalid(format!("{field} is {text:?}; write a time such as 2026-11-20T02:00:00Z"));
    instant(text, Times::Seconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_view_is_claimed_by_one_sync_at_a_time() {
        let claims = Claims::default();
        let first = claims.take(&names(&["a", "b"]), false).ok().unwrap();
        assert_eq!(claims.take(&names(&["b", "c"]), false).err().unwrap(), names(&["b"]));
        let forced = claims.take(&names(&["b", "c"]), true).ok().unwrap();
        drop(forced);
        assert_eq!(claims.take(&names(&["b"]), false).err().unwrap(), names(&["b"]));
        drop(first);
        assert!(claims.take(&names(&["a", "b", "c"]), false).is_ok());
    }

    #[test]
    fn ranges_are_read_as_feast_writes_them() {
        let read = |json: &str| serde_json::from_str::<MaterializeRequest>(json).unwrap();
        let both = read(r#"{"start_ts": "2026-11-20T02:00:00", "end_ts": "2026-11-20T03:00:00+00:00", "extra": 1}"#);
        let (from, until) = (1_795_140_000_000_000, 1_795_143_600_000_000);
        assert_eq!(range(&both, 7).unwrap(), Range::Between { from, until });
        assert_eq!(incremental(&both, 7).unwrap(), Range::Incremental { until });
        assert_eq!(
            range(&read(r#"{"disable_event_timestamp": true}"#), 7).unwrap(),
            Range::Between { from: 0, until: 7 }
        );
        assert!(range(&read(r#"{"start_ts": "2026-11-20"}"#), 7).is_err());
        assert!(range(&read(r#"{"start_ts": "2026-11-20", "end_ts": "2026-11-20"}"#), 7).is_err());
        assert!(incremental(&read(r#"{"end_ts": "tomorrow"}"#), 7).is_err());
    }
}
