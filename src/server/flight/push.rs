//! Rows for a push source: batch after batch, each answered with what it did.

use std::sync::Arc;

use arrow_flight::PutResult;
use futures::stream::{BoxStream, StreamExt};
use tonic::Status;

use super::incoming::Incoming;
use super::status::{in_batch, of_flow, refused};
use crate::clock::Deadline;
use crate::error::ErrorKind;
use crate::flow::ingest::{PushTo, ingest};
use crate::gateway::Gateway;
use crate::limits::WRITE_DEADLINE;
use crate::metrics::Flow;

/// Stores one batch after the other. A batch that is answered is stored; the first that is refused ends the call.
pub(super) fn push(
    gateway: Arc<Gateway>,
    source: String,
    to: PushTo,
    incoming: Incoming,
    deadline: Option<Deadline>,
) -> BoxStream<'static, Result<PutResult, Status>> {
    let source: Arc<str> = source.into();
    let results = incoming.into_stream().enumerate().then(move |(number, rows)| {
        let (gateway, source) = (Arc::clone(&gateway), Arc::clone(&source));
        async move {
            let deadline = deadline.map_or(Deadline::after(WRITE_DEADLINE), |whole| whole.at_most(WRITE_DEADLINE));
            let ingested = ingest(&gateway, &source, &rows?, to, deadline).await;
            let ingested = ingested.map_err(|error| in_batch(number, &of_flow(error)))?;
            gateway.metrics.rows(Flow::Ingest, ingested.rows);
            let counts = serde_json::to_vec(&ingested).map_err(|error| {
                refused(ErrorKind::Internal, &format!("the counts of a push could not be written: {error}"))
            })?;
            Ok(PutResult { app_metadata: counts.into() })
        }
    });
    results.boxed()
}
