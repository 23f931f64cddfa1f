//! What was served goes to the request log, if it is one of the requests that are logged.

use std::sync::Arc;

use super::derive::Working;
use super::serve::{AnswerColumn, Prepared, ViewRows};
use crate::clock::Micros;
use crate::gateway::Gateway;
use crate::request_log::Entry;

/// Leaves the columns of a served request to the log. They are shared, not copied.
pub(super) fn note(
    gateway: &Gateway,
    prepared: &Prepared,
    working: &Working,
    views: &[Arc<ViewRows>],
    columns: &[AnswerColumn],
    as_of: Micros,
) {
    let Some(chosen) = gateway.request_log.choose(&prepared.applied.catalog, &prepared.plan) else { return };
    let entry = Entry {
        version: prepared.applied.version,
        schema: Arc::clone(&prepared.schema),
        plan: Arc::clone(&prepared.plan),
        rows: working.rows,
        as_of,
        served_at: gateway.clock.now(),
        inputs: working.inputs.clone(),
        stored: working.stored.clone(),
        statuses: views.iter().map(|view| view.status.iter().map(|status| *status as u8).collect()).collect(),
        outputs: columns.iter().map(|column| Arc::clone(&column.values)).collect(),
    };
    gateway.request_log.note(&chosen, entry);
}
