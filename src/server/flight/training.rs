//! Training sets: labels come in, the features that were true at each label's time go out.
//!
//! In one call (`DoExchange`), or in two: `DoPut` keeps the labels and answers with a ticket, `DoGet` takes that ticket.
//! The second way is for clients that cannot write and read in one call; its labels stay on this gateway, so both calls
//! must reach the same one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_flight::PutResult;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::command::Training;
use super::frames::{self, Messages, beside};
use super::incoming::Incoming;
use super::status::{invalid, of_flow, refused};
use super::uploads::{Room, Upload, Uploads};
use crate::clock::Deadline;
use crate::error::ErrorKind;
use crate::flow;
use crate::flow::labels::labels_of_source;
use crate::flow::train::{Labels, train};
use crate::gateway::Gateway;
use crate::limits::{FLIGHT_STREAM_BYTES_MAX, TRAIN_ROWS_MAX};

/// Makes the training set of labels that are a source of the project.
pub(super) async fn of_source(
    gateway: &Gateway,
    training: Training,
    deadline: Option<Deadline>,
) -> Result<Messages, Status> {
    let Some(source) = &training.labels else {
        return Err(invalid(
            "the training set has no labels: name a source as \"labels\", or send them by DoExchange or DoPut",
        ));
    };
    let labels = labels_of_source(gateway, source, training.time_column.clone()).await.map_err(of_flow)?;
    make(gateway, training, labels, deadline).await
}

/// Keeps the labels that come in and answers with the ticket for their training set: `{"training": "<id>"}`.
pub(super) async fn upload(uploads: Arc<Uploads>, training: Training, incoming: Incoming) -> Result<PutResult, Status> {
    let mut room = uploads.room();
    let labels = read_labels(incoming, &mut room).await?;
    let id = uploads.keep(Upload { training, labels, room })?;
    Ok(PutResult { app_metadata: json!({ "training": id }).to_string().into() })
}

/// Makes the training set of an upload, which is forgotten.
pub(super) async fn fetch(
    gateway: &Gateway,
    uploads: &Uploads,
    id: &str,
    deadline: Option<Deadline>,
) -> Result<Messages, Status> {
    let Upload { training, labels, room } = uploads.take(id)?;
    let labels = sent(&training, labels)?;
    Ok(holding(room, make(gateway, training, labels, deadline).await?))
}

/// Makes the training set of the labels that come in.
pub(super) async fn exchange(
    gateway: Arc<Gateway>,
    uploads: Arc<Uploads>,
    training: Training,
    incoming: Incoming,
    deadline: Option<Deadline>,
) -> Result<Messages, Status> {
    let mut room = uploads.room();
    let labels = read_labels(incoming, &mut room).await?;
    let labels = sent(&training, labels)?;
    Ok(holding(room, make(&gateway, training, labels, deadline).await?))
}

/// The labels take their room until the answer is sent or given up.
fn holding(room: Room, messages: Messages) -> Messages {
    messages
        .inspect(move |_| {
            let _ = &room;
        })
        .boxed()
}

fn sent(training: &Training, rows: RecordBatch) -> Result<Labels, Status> {
    match &training.labels {
        None => Ok(Labels::of(rows, training.time_column.clone())),
        Some(_) => Err(invalid("labels were sent and a source of labels is named; do one of both")),
    }
}

async fn make(
    gateway: &Gateway,
    training: Training,
    labels: Labels,
    deadline: Option<Deadline>,
) -> Result<Messages, Status> {
    let set = by(deadline, train(gateway, &training.selection, labels, training.options)).await?;
    let batches = stream::try_unfold(set.batches, move |mut batches| async move {
        Ok(by(deadline, batches.try_next()).await?.map(|batch| (batch, batches)))
    });
    Ok(frames::answers(set.schema, batches.boxed()))
}

/// What comes of `work`, if it comes in time.
async fn by<T>(deadline: Option<Deadline>, work: impl Future<Output = Result<T, flow::Error>>) -> Result<T, Status> {
    let done = match deadline {
        None => work.await,
        Some(deadline) => timeout_at(Instant::from_std(deadline.instant()), work)
            .await
            .unwrap_or(Err(flow::Error::Late("the training set was made"))),
    };
    done.map_err(of_flow)
}

/// All labels of a call as one frame.
async fn read_labels(mut incoming: Incoming, room: &mut Room) -> Result<RecordBatch, Status> {
    let mut batches = Vec::new();
    let mut rows = 0;
    while let Some(batch) = incoming.next().await? {
        rows += batch.num_rows();
        if rows > TRAIN_ROWS_MAX {
            return Err(of_flow(flow::Error::TooManyRows { rows, max: TRAIN_ROWS_MAX }));
        }
        if incoming.bytes() > FLIGHT_STREAM_BYTES_MAX as u64 {
            let why = format!("the labels take more than {FLIGHT_STREAM_BYTES_MAX} bytes; train from a file instead");
            return Err(refused(ErrorKind::TooLarge, &why));
        }
        room.grow_to(incoming.bytes())?;
        batches.push(batch);
    }
    let Some(schema) = incoming.schema().cloned() else {
        return Err(invalid("no labels were sent; write at least a schema before the call is closed"));
    };
    let bytes = usize::try_from(incoming.bytes()).unwrap_or(usize::MAX);
    let labels = beside(bytes, move || concat_batches(&schema, &batches)).await?;
    labels.map_err(|error| invalid(&format!("the batches of labels are not one frame: {error}")))
}
