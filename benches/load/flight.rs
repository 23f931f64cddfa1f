//! One Flight connection: a `DoGet` for each question, or one exchange for all of them.

use std::net::SocketAddr;

use arrow::array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightClient, FlightData, Ticket};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
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

    pub async fn ask(&mut self, question: &Question) -> Result<Vec<RecordBatch>> {
        let stream = self.client.do_get(Ticket::new(question.body.clone())).await?;
        Ok(stream.try_collect().await?)
    }
}

#[derive(Debug)]
pub struct Exchange {
    questions: mpsc::Sender<FlightData>,
    answers: FlightRecordBatchStream,
}

impl Exchange {
    pub async fn connect(address: SocketAddr, case: &Case) -> Result<Self> {
        let mut client = FlightClient::new(channel(address).await?);
        let (questions, sent) = mpsc::channel(2);
        questions.send(case.opening.clone()).await?;
        let answers = client.inner_mut().do_exchange(ReceiverStream::new(sent)).await?.into_inner();
        let answers = FlightRecordBatchStream::new_from_flight_data(answers.map_err(FlightError::from));
        Ok(Self { questions, answers })
    }

    pub async fn ask(&mut self, question: &Question) -> Result<Vec<RecordBatch>> {
        self.questions.send(question.entities.clone()).await?;
        match self.answers.next().await {
            Some(batch) => Ok(vec![batch?]),
            None => Err("the exchange ended".into()),
        }
    }
}

async fn channel(address: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}
