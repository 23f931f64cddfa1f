//! Messages that a client sends, as record batches: guarded, bounded and numbered.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::stream::{self, Stream};
use tonic::{Status, Streaming};

use super::status::{in_batch, invalid, of_guard, refused};
use crate::error::ErrorKind;
use crate::limits::FLIGHT_IDLE_TIMEOUT;
use crate::server::guard::Decoder;

/// The batches of one call, in the order in which they were sent.
pub(super) struct Incoming {
    messages: Streaming<FlightData>,
    /// The first message, until it is decoded: it may carry a schema or a batch next to the descriptor.
    first: Option<FlightData>,
    decoder: Decoder,
    /// How long the client may be silent between two messages.
    idle: Option<Duration>,
    batches: usize,
}

impl Incoming {
    /// Waits for the first message, which says what the call is about.
    pub(super) async fn open(mut messages: Streaming<FlightData>) -> Result<(FlightDescriptor, Self), Status> {
        let mut first = within(Some(FLIGHT_IDLE_TIMEOUT), messages.message()).await?;
        let Some(descriptor) = first.as_mut().and_then(|message| message.flight_descriptor.take()) else {
            return Err(invalid("the first message has no descriptor, so it is not known what the call is about"));
        };
        let idle = Some(FLIGHT_IDLE_TIMEOUT);
        Ok((descriptor, Self { messages, first, decoder: Decoder::default(), idle, batches: 0 }))
    }

    /// The client may be silent as long as it likes: a model server holds an exchange open between its own requests.
    pub(super) fn patient(self) -> Self {
        Self { idle: None, ..self }
    }

    /// The next batch; nothing once the client has said that it is done.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        loop {
            let message = match self.first.take() {
                Some(first) => Some(first),
                None => within(self.idle, self.messages.message()).await?,
            };
            let Some(message) = message else { return Ok(None) };
            let decoded = self.decoder.decode(&message.data_header, &Buffer::from(message.data_body));
            if let Some(batch) = decoded.map_err(|error| in_batch(self.batches, &of_guard(error)))? {
                self.batches += 1;
                return Ok(Some(batch));
            }
        }
    }

    /// The schema of the batches, once it has arrived.
    pub(super) fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.schema()
    }

    /// Bytes of all messages so far, decompressed and unpacked.
    pub(super) fn bytes(&self) -> u64 {
        self.decoder.bytes()
    }

    /// The batches as a stream, which ends with the first error.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static {
        stream::unfold(Some(self), |incoming| async move {
            let mut incoming = incoming?;
            match incoming.next().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(incoming))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }
}

async fn within<T>(idle: Option<Duration>, message: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match idle {
        None => message.await,
        Some(idle) => tokio::time::timeout(idle, message).await.unwrap_or_else(|_| {
            Err(refused(ErrorKind::Late, &format!("no message came for {} seconds", idle.as_secs())))
        }),
    }
}
