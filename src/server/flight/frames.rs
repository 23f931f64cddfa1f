//! Record batches on their way out: the schema once, then batches that every client can take.
//!
//! No message is longer than a Flight message may be, and no view types are sent, because older Arrow clients break on
//! them. Long answers are encoded beside the threads that wait for sockets.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tonic::Status;

use super::status::refused;
use crate::batch::bytes;
use crate::error::ErrorKind;
use crate::limits::{FLIGHT_ANSWER_BYTES, FLIGHT_ENCODE_INLINE_BYTES_MAX, FLIGHT_MESSAGE_BYTES_MAX};

/// Messages to a client.
pub(super) type Messages = BoxStream<'static, Result<FlightData, Status>>;

/// The encoder of one stream of batches that share a schema.
pub(super) struct Frames {
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
    /// What has been sent, once it has.
    schema: Option<SchemaRef>,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            options: IpcWriteOptions::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
            schema: None,
        }
    }
}

impl Frames {
    pub(super) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// The schema message; it comes before any batch.
    pub(super) fn start(&mut self, schema: &Schema) -> FlightData {
        let schema = without_views(schema);
        let generator = IpcDataGenerator::default();
        let message = generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut self.dictionaries, &self.options);
        self.schema = Some(schema);
        message.into()
    }

    /// The messages of one batch, the schema in front of the first. A batch that is too long for one message is cut
    /// into several.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, Status> {
        let mut messages = Vec::with_capacity(2);
        if self.schema.is_none() {
            messages.push(self.start(batch.schema_ref()));
        }
        let batch = self.plain(batch).map_err(|error| not_encoded(&error))?;
        self.push(&batch, &mut messages)?;
        Ok(messages)
    }

    fn push(&mut self, batch: &RecordBatch, messages: &mut Vec<FlightData>) -> Result<(), Status> {
        let generator = IpcDataGenerator::default();
        let (dictionaries, encoded) = generator
            .encode(batch, &mut self.dictionaries, &self.options, &mut self.context)
            .map_err(|error| not_encoded(&error))?;
        messages.extend(dictionaries.into_iter().map(FlightData::from));
        let rows = batch.num_rows();
        if encoded.arrow_data.len() + encoded.ipc_message.len() <= FLIGHT_MESSAGE_BYTES_MAX || rows < 2 {
            messages.push(encoded.into());
            return Ok(());
        }
        self.push(&batch.slice(0, rows / 2), messages)?;
        self.push(&batch.slice(rows / 2, rows - rows / 2), messages)
    }

    /// The batch under the schema that was sent, whose metadata may differ from its own.
    fn plain(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(schema) = &self.schema else { return Ok(batch.clone()) };
        let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
    }
}

/// A whole answer as messages; `app_metadata` goes with its first batch.
pub(super) fn answer(batch: RecordBatch, app_metadata: Bytes) -> Messages {
    let bytes = bytes(batch.columns());
    let rows = (batch.num_rows() * FLIGHT_ANSWER_BYTES / bytes.max(1)).max(1);
    let rest = Rest { frames: Frames::default(), batch, from: 0, rows, app_metadata };
    let pieces = stream::try_unfold(Some(rest), |rest| async move {
        let Some(rest) = rest else { return Ok::<_, Status>(None) };
        Ok(Some(beside(rest.bytes(), || rest.next()).await??))
    });
    pieces.map_ok(|messages| stream::iter(messages.into_iter().map(Ok))).try_flatten().boxed()
}

/// An answer that comes a batch at a time, each of `schema`; the schema goes out at once.
pub(super) fn answers(schema: SchemaRef, batches: BoxStream<'static, Result<RecordBatch, Status>>) -> Messages {
    let mut frames = Frames::default();
    let first = frames.start(&schema);
    let rest = stream::try_unfold((frames, batches), |(mut frames, mut batches)| async move {
        let Some(batch) = batches.try_next().await? else { return Ok::<_, Status>(None) };
        let size = bytes(batch.columns());
        let encode = move || frames.batch(&batch).map(|messages| (messages, frames));
        let (messages, frames) = beside(size, encode).await??;
        Ok(Some((messages, (frames, batches))))
    });
    let rest = rest.map_ok(|messages| stream::iter(messages.into_iter().map(Ok))).try_flatten();
    stream::iter([Ok(first)]).chain(rest).boxed()
}

/// Runs an encoding of `bytes` on this thread when it is short, else on one where it delays no one.
pub(super) async fn beside<T: Send + 'static>(
    bytes: usize,
    encode: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    if bytes <= FLIGHT_ENCODE_INLINE_BYTES_MAX {
        return Ok(encode());
    }
    let encoded = tokio::task::spawn_blocking(encode).await;
    encoded.map_err(|error| refused(ErrorKind::Internal, &format!("an answer could not be encoded: {error}")))
}

/// What of an answer is still to be sent.
struct Rest {
    frames: Frames,
    batch: RecordBatch,
    from: usize,
    /// Rows of one piece.
    rows: usize,
    app_metadata: Bytes,
}

impl Rest {
    fn bytes(&self) -> usize {
        bytes(self.batch.columns()).min(FLIGHT_ANSWER_BYTES)
    }

    /// The messages of the next piece, and what is left. An answer without rows is one batch without rows.
    fn next(mut self) -> Result<(Vec<FlightData>, Option<Self>), Status> {
        let rows = self.rows.min(self.batch.num_rows() - self.from);
        let mut messages = self.frames.batch(&self.batch.slice(self.from, rows))?;
        if let Some(last) = messages.last_mut() {
            last.app_metadata = std::mem::take(&mut self.app_metadata);
        }
        self.from += rows;
        let ended = self.from == self.batch.num_rows();
        Ok((messages, (!ended).then_some(self)))
    }
}

fn without_views(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        DataType::BinaryView => Arc::new(field.as_ref().clone().with_data_type(DataType::Binary)),
        _ => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = schema.fields().iter().map(plain).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn not_encoded(error: &ArrowError) -> Status {
    refused(ErrorKind::Internal, &format!("an answer could not be encoded: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray, StringViewArray};
    use arrow::buffer::Buffer;

    use super::*;
    use crate::server::guard::Decoder;

    async fn sent(batch: RecordBatch) -> Vec<FlightData> {
        answer(batch, Bytes::from_static(b"{}")).try_collect().await.unwrap()
    }

    fn received(messages: &[FlightData]) -> Vec<RecordBatch> {
        let mut decoder = Decoder::default();
        let mut decode = |message: &FlightData| {
            decoder.decode(&message.data_header, &Buffer::from(message.data_body.clone())).unwrap()
        };
        messages.iter().filter_map(&mut decode).collect()
    }

    #[tokio::test]
    async fn a_long_answer_is_cut_and_comes_back_whole() {
        let rows = 3_000_000;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("hour", numbers)]).unwrap();
        let messages = sent(batch.clone()).await;
        assert!(messages.len() > 3 && messages.iter().all(|message| message.data_body.len() <= FLIGHT_ANSWER_BYTES));
        let batches = received(&messages);
        assert_eq!(arrow::compute::concat_batches(batch.schema_ref(), &batches).unwrap(), batch);
    }

    #[tokio::test]
    async fn one_uneven_batch_still_fits_its_messages() {
        // Nearly all bytes are in the first of the pieces that equal row counts would make.
        let text = |row: usize| if row < 20 { "x".repeat(1 << 20) } else { String::new() };
        let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..2_000_000).map(text)));
        let batch = RecordBatch::try_from_iter([("company", column)]).unwrap();
        let messages = sent(batch.clone()).await;
        assert!(messages.iter().all(|message| message.data_body.len() <= FLIGHT_MESSAGE_BYTES_MAX));
        assert_eq!(received(&messages).iter().map(RecordBatch::num_rows).sum::<usize>(), batch.num_rows());
    }

    #[tokio::test]
    async fn no_view_is_sent_and_no_row_is_needed() {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a company with a long name"]));
        let batch = RecordBatch::try_from_iter([("company", views)]).unwrap();
        for batch in [batch.slice(0, 0), batch] {
            let messages = sent(batch.clone()).await;
            let schema = Schema::try_from(&messages[0]).unwrap();
            assert_eq!((messages.len(), schema.field(0).data_type()), (2, &DataType::Utf8));
            assert_eq!(messages[1].app_metadata, Bytes::from_static(b"{}"));
            assert_eq!(received(&messages)[0].num_rows(), batch.num_rows());
        }
    }
}
