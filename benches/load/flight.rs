//! One Flight connection: a `DoGet` for each question, or one exchange for all of them. Answers stay as they came: they
//! are decoded when the run is over.

use std::net::SocketAddr;

use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::{FlightClient, FlightData, Ticket};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::question::{Case, Question};
use crate::Result;

#[derive(Debug)]
pub struct Get {
    client: FlightClient,
}

impl Get {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { client: FlightClient::new(channel(address).await?) })
    }

    /// The schema and the batches.
    pub async fn ask(&mut self, question: &Question) -> Result<Vec<FlightData>> {
        let answer = self.client.inner_mut().do_get(Ticket::new(question.body.clone())).await?;
        let mut stream = answer.into_inner();
        let mut messages = Vec::with_capacity(2);
        while let Some(message) = stream.message().await? {
            messages.push(message);
        }
        Ok(messages)
    }
}

#[derive(Debug)]
pub struct Exchange {
    questions: mpsc::Sender<FlightData>,
    answers: Streaming<FlightData>,
    /// Came once, before the first answer.
    schema: Option<FlightData>,
}

impl Exchange {
    pub async fn connect(address: SocketAddr, case: &Case) -> Result<Self> {
        let mut client = FlightClient::new(channel(address).await?);
        let (questions, sent) = mpsc::channel(2);
        questions.send(case.opening.clone()).await?;
        let answers = client.inner_mut().do_exchange(ReceiverStream::new(sent)).await?.into_inner();
        Ok(Self { questions, answers, schema: None })
    }

    /// The schema and the batch.
    pub async fn ask(&mut self, question: &Question) -> Result<Vec<FlightData>> {
        self.questions.send(question.entities.clone()).await?;
        loop {
            let message = self.answers.message().await?.ok_or("the exchange ended")?;
            match kind(&message) {
                MessageHeader::Schema => self.schema = Some(message),
                MessageHeader::RecordBatch => {
                    let schema = self.schema.clone().ok_or("a batch came before its schema")?;
                    return Ok(vec![schema, message]);
                }
                _ => {}
            }
        }
    }
}

/// What an IPC message is; `NONE` for one without any.
pub fn kind(message: &FlightData) -> MessageHeader {
    root_as_message(&message.data_header).map_or(MessageHeader::NONE, |message| message.header_type())
}

async fn channel(address: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}
