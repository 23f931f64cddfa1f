//! Features for entities: those in a ticket (`DoGet`), or batch after batch of them (`DoExchange`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::FlightData;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde_json::json;
use tonic::Status;

use super::command::Question;
use super::frames::{self, Frames, Messages};
use super::incoming::Incoming;
use super::status::{in_batch, of_flow, refused};
use crate::batch::bytes;
use crate::clock::{Deadline, Micros};
use crate::error::ErrorKind;
use crate::flow;
use crate::flow::serve::{Answer, AnswerColumn, Prepared, digests, prepare, serve};
use crate::gateway::Gateway;
use crate::limits::{EXCHANGE_IN_FLIGHT_MAX, FLIGHT_MESSAGE_BYTES_MAX};
use crate::server::columns::plan_inputs;
use crate::server::observe_answer;

/// Answers a question whose entities are written down.
pub(super) async fn get(gateway: &Gateway, question: &Question, deadline: Deadline) -> Result<Messages, Status> {
    let prepared = planned(gateway, question).map_err(of_flow)?;
    let (inputs, rows) = question.inputs(&prepared.plan).map_err(of_flow)?;
    let answer = serve(gateway, prepared, inputs, rows, question.as_of, question.unreachable, deadline);
    let answer = answer.await.map_err(of_flow)?;
    observe_answer(&gateway.metrics, &answer);
    let provenance = provenance(&answer);
    Ok(frames::answer(batch(&answer, question.statuses), provenance))
}

/// The schema of the answers to a question.
pub(super) fn answer_schema(prepared: &Prepared, statuses: bool) -> SchemaRef {
    if !statuses {
        return Arc::clone(&prepared.schema);
    }
    let outputs = prepared.plan.outputs.iter();
    let statuses = outputs.map(|output| Field::new(format!("{}__status", output.field.name), DataType::UInt8, false));
    let fields = prepared.schema.fields().iter().map(|field| field.as_ref().clone()).chain(statuses);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), prepared.schema.metadata().clone()))
}

/// Answers one batch of entities with one batch of features, in order, until the client is done.
///
/// At most `EXCHANGE_IN_FLIGHT_MAX` batches are being answered at once. The next one is read only when an answer has
/// left, so a client that does not read its answers is not read from either.
pub(super) fn exchange(
    gateway: Arc<Gateway>,
    question: Question,
    incoming: Incoming,
    deadline: Option<Deadline>,
) -> Result<Messages, Status> {
    let question = Arc::new(question);
    let mut current = planned(&gateway, &question).map_err(of_flow)?;
    let schema = answer_schema(&current, question.statuses);
    let statuses = question.statuses;

    let answers = incoming.patient().into_stream().enumerate().map(move |(number, entities)| {
        let prepared = prepared_now(&gateway, &question, &mut current);
        let (gateway, question) = (Arc::clone(&gateway), Arc::clone(&question));
        async move {
            let entities = entities?;
            let answer = async {
                let prepared = prepared?;
                let inputs = plan_inputs(&prepared.plan, &entities)?;
                let deadline = deadline
                    .map_or(Deadline::after(gateway.serve_deadline), |whole| whole.at_most(gateway.serve_deadline));
                let rows = entities.num_rows();
                serve(&gateway, prepared, inputs, rows, question.as_of, question.unreachable, deadline).await
            };
            let answer = answer.await.map_err(|error| in_batch(number, &of_flow(error)))?;
            observe_answer(&gateway.metrics, &answer);
            Ok((number, answer))
        }
    });
    let outgoing =
        Outgoing { answers: answers.buffered(EXCHANGE_IN_FLIGHT_MAX).boxed(), frames: Frames::default(), schema };
    let messages = stream::try_unfold(outgoing, move |outgoing| outgoing.next(statuses));
    Ok(messages.map_ok(|messages| stream::iter(messages.into_iter().map(Ok))).try_flatten().boxed())
}

/// The plan of a question, if its answers have the schema that the caller wants.
pub(super) fn planned(gateway: &Gateway, question: &Question) -> Result<Prepared, flow::Error> {
    prepare(gateway, &question.selection)?.checked(question.fingerprint.as_deref())
}

/// The plan of the definitions that are applied now: the current one unless they have changed since.
fn prepared_now(gateway: &Gateway, question: &Question, current: &mut Prepared) -> Result<Prepared, flow::Error> {
    if !Arc::ptr_eq(&current.applied, &gateway.applied.load()) {
        *current = planned(gateway, question)?;
    }
    Ok(current.clone())
}

/// The answering side of an exchange.
struct Outgoing {
    answers: BoxStream<'static, Result<(usize, Answer), Status>>,
    frames: Frames,
    /// Of the definitions with which the exchange began.
    schema: SchemaRef,
}

impl Outgoing {
    /// The messages of the next answer. An exchange without any entities is answered with the schema alone.
    async fn next(mut self, statuses: bool) -> Result<Option<(Vec<FlightData>, Self)>, Status> {
        match self.answers.next().await {
            Some(answer) => {
                let (number, answer) = answer?;
                let batch = batch(&answer, statuses);
                let bytes = bytes(batch.columns());
                let encode = move || {
                    let sent = self.encode(number, &batch, &answer)?;
                    Ok(Some((sent, self)))
                };
                frames::beside(bytes, encode).await?
            }
            None if self.frames.schema().is_none() => {
                let schema = self.frames.start(&self.schema);
                Ok(Some((vec![schema], self)))
            }
            None => Ok(None),
        }
    }

    fn encode(&mut self, number: usize, batch: &RecordBatch, answer: &Answer) -> Result<Vec<FlightData>, Status> {
        if self.frames.schema().is_some_and(|sent| sent.fields() != batch.schema_ref().fields()) {
            let why = "the features of this answer have changed since the exchange began; open a new one";
            return Err(in_batch(number, &refused(ErrorKind::Conflict, why)));
        }
        let mut messages = self.frames.batch(batch)?;
        // Anything else than one batch for one batch would leave the client guessing which rows are whose.
        if messages.iter().filter(|message| !message.data_body.is_empty()).count() > 1 {
            let why =
                format!("the answer takes more than {FLIGHT_MESSAGE_BYTES_MAX} bytes; send fewer rows in one batch");
            return Err(in_batch(number, &refused(ErrorKind::TooLarge, &why)));
        }
        if let Some(last) = messages.last_mut() {
            last.app_metadata = provenance(answer);
        }
        Ok(messages)
    }
}

/// The answer as a batch, with a column of statuses for each feature if they were asked for.
fn batch(answer: &Answer, statuses: bool) -> RecordBatch {
    let batch = answer.batch();
    if !statuses {
        return batch;
    }
    let status = |column: &AnswerColumn| -> ArrayRef {
        Arc::new(UInt8Array::from_iter_values((0..answer.rows).map(|row| column.status(row) as u8)))
    };
    let columns = batch.columns().iter().cloned().chain(answer.columns.iter().map(status)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(answer.rows));
    RecordBatch::try_new_with_options(answer_schema(&answer.prepared, true), columns, &options)
        .expect("there is one status column for each feature")
}

/// How an answer was made: the version of the definitions, the time asked about, and the transforms; and of which views
/// some rows could not be reached.
fn provenance(answer: &Answer) -> Bytes {
    let digests: serde_json::Map<_, _> =
        digests(&answer.prepared.plan).into_iter().map(|(view, digest)| (view, digest.into())).collect();
    let mut made = json!({
        "version": answer.prepared.applied.version,
        "as_of": written_time(answer.as_of),
        "digests": digests,
        "schema_fingerprint": &*answer.prepared.fingerprint,
    });
    if let Some(number) = answer.prepared.plan.service_version {
        made["service_version"] = number.into();
    }
    if let Some(arm) = &answer.prepared.arm {
        made["arm"] = json!(&**arm);
    }
    if !answer.deprecated.is_empty() {
        made["deprecated"] = json!(&*answer.deprecated);
    }
    let unavailable = answer.unavailable_views();
    if !unavailable.is_empty() {
        made["unavailable"] = unavailable.into();
    }
    made.to_string().into()
}

/// A time as JSON has it.
pub(super) fn written_time(time: Micros) -> Option<String> {
    Some(DateTime::from_timestamp_micros(time)?.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
