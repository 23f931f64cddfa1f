//! The wires: HTTP, Arrow Flight, and the admin port. They turn bytes into questions for a flow and answers into bytes.
//!
//! Nothing here knows a store, a plan's making or a plugin: a handler decodes, calls one function of `flow`, and encodes.
//! This is the only folder that names axum, tonic or arrow-flight.
//!
//! # Why not `axum::serve` and `tonic::transport::Server`
//! Both hide the connection, and with it the limits that keep a slow or hostile client from using up the gateway;
//! [`accept`] says which.

mod running;

pub mod http;

pub mod flight;

pub mod admin;

mod accept;
mod columns;
mod guard;
mod reply;
mod rows;

pub use running::{Error, Listeners, Running, start};

use std::sync::Arc;

use crate::flow::serve::{Answer, Status, ViewRows};
use crate::metrics::{Flow, Metrics};

/// How far the gateway is on its way down. `app` tells it to every listener over one watch channel; the admin listener
/// gets its own channel and is told last, so that it can say "draining" while the others drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    #[default]
    Serving,
    /// After the first signal: no new connection, running requests end.
    Draining,
    /// After the second signal: everything ends at once.
    Stopping,
}

/// Counts what an answer found, by view and status; one look at each row of each view, none at the values.
pub fn observe_answer(metrics: &Metrics, answer: &Answer) {
    metrics.rows(Flow::Serve, answer.rows as u64);
    if let Some(arm) = &answer.prepared.arm {
        metrics.answered_by(arm);
    }
    let mut seen: Vec<*const ViewRows> = Vec::new();
    for (output, column) in answer.prepared.plan.outputs.iter().zip(&answer.columns) {
        let rows = Arc::as_ptr(&column.rows);
        if seen.contains(&rows) {
            continue;
        }
        seen.push(rows);
        for (status, word) in [
            (Status::Present, "present"),
            (Status::NotFound, "not_found"),
            (Status::OutsideMaxAge, "outside_max_age"),
            (Status::Unavailable, "unavailable"),
        ] {
            let count = column.rows.status.iter().filter(|found| **found == status).count();
            if count > 0 {
                metrics.view_rows(&output.view, word, count as u64);
            }
        }
    }
}
