//! The online store by hand: rows that are set batch after batch, and the actions that an operator asks for.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::PutResult;
use futures::stream::{BoxStream, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tonic::Status;

use super::command::time;
use super::incoming::Incoming;
use super::status::{in_batch, invalid, of_flow, refused};
use crate::clock::{Deadline, Micros};
use crate::error::ErrorKind;
use crate::flow::ingest::column_type;
use crate::flow::online::{self, settable};
use crate::gateway::Gateway;
use crate::limits::{HEALTH_DEADLINE, STATISTICS_DEADLINE, WRITE_DEADLINE};
use crate::metrics::Flow;
use crate::server::http::Columns;
use crate::server::http::values::Times;
use crate::server::rows::{json_entity, json_rows};

/// Writes one batch after the other. A batch that is answered is stored; the first that is refused ends the call.
pub(super) fn put(
    gateway: Arc<Gateway>,
    view: String,
    event_time: Option<Micros>,
    incoming: Incoming,
    deadline: Option<Deadline>,
) -> BoxStream<'static, Result<PutResult, Status>> {
    let view: Arc<str> = view.into();
    let results = incoming.into_stream().enumerate().then(move |(number, rows)| {
        let (gateway, view) = (Arc::clone(&gateway), Arc::clone(&view));
        async move {
            let set = online::set(&gateway, &view, &rows?, event_time, at_most(deadline, WRITE_DEADLINE)).await;
            let set = set.map_err(|error| in_batch(number, &of_flow(error)))?;
            gateway.metrics.rows(Flow::Ingest, set.rows);
            let counts = serde_json::to_vec(&set).map_err(|error| {
                refused(ErrorKind::Internal, &format!("the counts of a set could not be written: {error}"))
            })?;
            Ok(PutResult { app_metadata: counts.into() })
        }
    });
    results.boxed()
}

/// The action `online_set`: rows that are written down as JSON columns.
pub(super) async fn set(gateway: &Gateway, body: &[u8], deadline: Option<Deadline>) -> Result<Value, Status> {
    let asked: SetAction<'_> = serde_json::from_slice(body)
        .map_err(|error| not_a_body("online_set", r#"{"view": name, "columns": {column: [values]}}"#, &error))?;
    let event_time = time("event_time", asked.event_time).map_err(of_flow)?;
    let rows = {
        let applied = gateway.applied.load();
        let plan = settable(&applied.catalog, &asked.view).map_err(of_flow)?;
        let source = &applied.catalog.sources[&plan.view.source];
        let dtype = |name: &str| column_type(name, source, [plan.view.as_ref()]);
        json_rows(&asked.columns.0, dtype, Times::Micros).map_err(of_flow)?
    };
    let deadline = at_most(deadline, WRITE_DEADLINE);
    let set = online::set(gateway, &asked.view, &rows, event_time, deadline).await.map_err(of_flow)?;
    gateway.metrics.rows(Flow::Ingest, set.rows);
    Ok(json!(set))
}

/// The action `online_delete`: an entity, or one of its features.
pub(super) async fn delete(gateway: &Gateway, body: &[u8], deadline: Option<Deadline>) -> Result<Value, Status> {
    let asked: DeleteAction<'_> = serde_json::from_slice(body)
        .map_err(|error| not_a_body("online_delete", r#"{"view": name, "entity": {join_key: value}}"#, &error))?;
    let event_time = time("event_time", asked.event_time).map_err(of_flow)?;
    let plan = settable(&gateway.applied.load().catalog, &asked.view).map_err(of_flow)?;
    let entity = json_entity(&plan.view, &asked.entity.0).map_err(of_flow)?;
    let deadline = at_most(deadline, WRITE_DEADLINE);
    let deleted = match (&asked.feature, event_time) {
        (None, event_time) => online::delete(gateway, &asked.view, &entity, event_time, deadline).await,
        (Some(feature), None) => online::delete_feature(gateway, &asked.view, &entity, feature, deadline).await,
        (Some(_), Some(_)) => {
            return Err(invalid("a feature is deleted as of its row's own event time; leave event_time out"));
        }
    };
    Ok(json!(deleted.map_err(of_flow)?))
}

/// The action `online_health`.
pub(super) async fn health(gateway: &Gateway, deadline: Option<Deadline>) -> Result<Value, Status> {
    Ok(json!(online::health(gateway, at_most(deadline, HEALTH_DEADLINE)).await.map_err(of_flow)?))
}

/// The action `online_stats`; without a body, of all views.
pub(super) async fn stats(gateway: &Gateway, body: &[u8], deadline: Option<Deadline>) -> Result<Value, Status> {
    let asked: StatsAction = match body {
        [] => StatsAction::default(),
        body => serde_json::from_slice(body)
            .map_err(|error| not_a_body("online_stats", r#"{"views": [name, …]}"#, &error))?,
    };
    let deadline = at_most(deadline, STATISTICS_DEADLINE);
    let views = online::statistics(gateway, &asked.views, deadline).await.map_err(of_flow)?;
    Ok(json!({ "views": views }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetAction<'a> {
    view: Cow<'a, str>,
    #[serde(borrow)]
    columns: Columns<'a>,
    #[serde(borrow, default)]
    event_time: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteAction<'a> {
    view: Cow<'a, str>,
    /// One value for each join key.
    #[serde(borrow)]
    entity: Columns<'a>,
    feature: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_time: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsAction {
    #[serde(default)]
    views: Vec<String>,
}

fn not_a_body(action: &str, shape: &str, error: &serde_json::Error) -> Status {
    invalid(&format!("the body of {action} is not {shape}: {error}"))
}

/// What is left of the caller's deadline, and `longest` at most.
pub(super) fn at_most(whole: Option<Deadline>, longest: Duration) -> Deadline {
    whole.map_or(Deadline::after(longest), |whole| whole.at_most(longest))
}
