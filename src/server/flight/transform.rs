//! Rows through a transform: batches come in, are cut into pieces that a few frames hold, and their answers stream back in
//! order, however large the batches are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tonic::Status;

use super::command::time;
use super::frames::{Frames, Messages, beside};
use super::incoming::Incoming;
use super::online::at_most;
use super::status::{in_batch, of_flow, refused};
use crate::batch::bytes;
use crate::catalog::Parameter;
use crate::clock::Deadline;
use crate::error::ErrorKind;
use crate::flow;
use crate::flow::transform::{Asked, Bindings, By, Chosen, Transformed, choose, transform};
use crate::gateway::Gateway;
use crate::limits::{EXCHANGE_IN_FLIGHT_MAX, TRANSFORM_PIECE_DEADLINE, TRANSFORM_PIECE_ROWS};
use crate::metrics::Flow;

/// What `{"transform": …}` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTransform {
    view: Option<String>,
    plugin: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    outputs: Option<Vec<String>>,
    #[serde(default)]
    columns: BTreeMap<String, String>,
    as_of: Option<Box<RawValue>>,
    time_column: Option<String>,
    #[serde(default)]
    keep_columns: bool,
}

impl WrittenTransform {
    pub(super) fn asked(self) -> Result<Asked, flow::Error> {
        let invalid = |text: &str| Err(flow::Error::Invalid(text.to_owned()));
        let by = match (self.view, self.plugin) {
            (Some(_), None) if !self.parameters.is_empty() => {
                return invalid("a view has its parameters in its definition; name its plugin to give others");
            }
            (Some(view), None) => By::View(view),
            (None, Some(name)) => By::Plugin { name, parameters: self.parameters.into_iter().collect() },
            (Some(_), Some(_)) => return invalid("a transform is that of a view or of a plugin; name one of both"),
            (None, None) => return invalid("no transform is named; write {\"transform\": {\"view\": name}}"),
        };
        let as_of = time("as_of", self.as_of.as_deref())?;
        if as_of.is_some() && self.time_column.is_some() {
            return invalid("as_of is one time for all rows and time_column one for each; write one of both");
        }
        let (outputs, columns, time_column) = (self.outputs, self.columns, self.time_column);
        Ok(Asked { by, outputs, columns, as_of, time_column, keep_columns: self.keep_columns })
    }
}

/// Some rows of a batch, on their way.
struct Piece {
    /// The batch that they came in, from 0, and how many of its rows came before them.
    batch: usize,
    before: usize,
    /// How many rows of the call came before them.
    from: u64,
    rows: RecordBatch,
}

/// Answers rows with rows, in order, until the client is done.
///
/// At most `EXCHANGE_IN_FLIGHT_MAX` pieces are computed or wait to be sent. The next one is read only when an answer has
/// left, so a client that does not read its answers is not read from either.
pub(super) async fn exchange(
    gateway: Arc<Gateway>,
    bindings: &Bindings,
    asked: Asked,
    incoming: Incoming,
    deadline: Option<Deadline>,
) -> Result<Messages, Status> {
    let chosen = Arc::new(choose(&gateway, bindings, asked).await.map_err(of_flow)?);
    let metric = gateway.metrics.rows_of(Flow::Transform);
    let described = Arc::clone(&chosen);
    let answers = pieces(incoming.patient()).map(move |piece: Result<Piece, Status>| {
        let (gateway, chosen) = (Arc::clone(&gateway), Arc::clone(&chosen));
        async move {
            let Piece { batch, before, from, rows } = piece?;
            let deadline = at_most(deadline, TRANSFORM_PIECE_DEADLINE);
            let computed = tokio::task::spawn_blocking(move || transform(&gateway, &chosen, &rows, deadline)).await;
            let computed = computed.map_err(|stopped| refused(ErrorKind::Internal, &stopped.to_string()))?;
            Ok::<_, Status>((from, computed.map_err(|error| in_piece(batch, before, of_flow(error)))?))
        }
    });
    let answers = answers.buffered(EXCHANGE_IN_FLIGHT_MAX).inspect_ok(move |(_, answer): &(u64, Transformed)| {
        metric.inc_by(answer.rows.num_rows() as u64);
    });
    let answers: BoxStream<'static, Result<(u64, Transformed), Status>> = answers.boxed();
    let messages = stream::try_unfold((Frames::default(), answers), move |(mut frames, mut answers)| {
        let chosen = Arc::clone(&described);
        async move {
            let Some((from, answer)) = answers.try_next().await? else { return Ok::<_, Status>(None) };
            let size = bytes(answer.rows.columns());
            let encode = move || encode(&mut frames, &chosen, from, &answer).map(|messages| (messages, frames));
            let (messages, frames) = beside(size, encode).await??;
            Ok(Some((messages, (frames, answers))))
        }
    });
    Ok(messages.map_ok(|messages| stream::iter(messages.into_iter().map(Ok))).try_flatten().boxed())
}

/// The messages of one piece. The last of them says how it was made, and which rows the plugin refused: their number
/// counts from the first row of the call.
fn encode(frames: &mut Frames, chosen: &Chosen, from: u64, answer: &Transformed) -> Result<Vec<FlightData>, Status> {
    let mut messages = frames.batch(&answer.rows)?;
    let error = |error: &crate::transform::RowError| json!({ "row": from + error.row as u64, "code": error.code, "message": error.message });
    let made = json!({
        "version": chosen.applied.version,
        "digest": chosen.transform.digest.to_string(),
        "from": from,
        "rows": answer.rows.num_rows(),
        "row_error_count": answer.error_count,
        "row_errors": answer.errors.iter().map(error).collect::<Vec<_>>(),
    });
    if let Some(last) = messages.last_mut() {
        last.app_metadata = Bytes::from(made.to_string());
    }
    Ok(messages)
}

/// The same status, saying where the rows were: a row in it counts from there.
fn in_piece(batch: usize, before: usize, status: Status) -> Status {
    match before {
        0 => in_batch(batch, &status),
        _ => Status::new(status.code(), format!("batch {batch}, after its first {before} rows: {}", status.message())),
    }
}

/// What is left of the batches of a call.
struct Left {
    incoming: Incoming,
    /// The batch under way and how many of its rows are gone; none before the first.
    current: Option<(RecordBatch, usize)>,
    batches: usize,
    rows: u64,
}

/// The batches in pieces of `TRANSFORM_PIECE_ROWS` at most. Rows without any batch are one piece without rows, if their
/// columns are known, so that the answer has columns too.
fn pieces(incoming: Incoming) -> BoxStream<'static, Result<Piece, Status>> {
    let left = Left { incoming, current: None, batches: 0, rows: 0 };
    stream::try_unfold(Some(left), |left| async move {
        let Some(mut left) = left else { return Ok(None) };
        let (batch, gone) = match left.current.take() {
            Some(current) => current,
            None => match left.incoming.next().await? {
                Some(batch) => {
                    left.batches += 1;
                    (batch, 0)
                }
                None if left.batches == 0 => {
                    let none = left.incoming.schema().cloned().map(RecordBatch::new_empty);
                    return Ok::<_, Status>(none.map(|rows| (Piece { batch: 0, before: 0, from: 0, rows }, None)));
                }
                None => return Ok(None),
            },
        };
        let rows = TRANSFORM_PIECE_ROWS.min(batch.num_rows() - gone);
        let piece = Piece { batch: left.batches - 1, before: gone, from: left.rows, rows: batch.slice(gone, rows) };
        left.rows += rows as u64;
        if gone + rows < batch.num_rows() {
            left.current = Some((batch, gone + rows));
        }
        Ok(Some((piece, Some(left))))
    })
    .boxed()
}
