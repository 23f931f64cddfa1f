//! What is asked: a service, so many rows at a time, over a wire. The requests are made before the load begins.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::Result;
use crate::synthetic::{JOIN_KEY, Random};

/// 5 views of 10 features each, of one entity.
pub const VIEWS: usize = 5;
pub const VIEW_FEATURES: usize = 10;
pub const ENTITIES: u64 = 10_000;
/// Keys beyond the entities that are asked for too, one in a hundred, and found by nobody.
pub const ABSENT: u64 = ENTITIES / 100;
/// The view in which one entity in a hundred has a row that is older than its ttl.
pub const EXPIRED_VIEW: usize = VIEWS - 1;

/// Requests made for one case; a load goes through them again and again.
const QUESTIONS: usize = 512;

pub fn is_expired(entity: i64) -> bool {
    entity % 100 == 7
}

/// What a service is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// 50 stored features.
    Stored,
    /// 50 features that `arithmetic` computes of the 50 stored ones at the request.
    Derived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    HttpJson,
    HttpArrow,
    DoGet,
    DoExchange,
}

/// Requests of one kind, ready to be sent.
#[derive(Debug)]
pub struct Case {
    pub service: Service,
    pub wire: Wire,
    /// Rows of one request.
    pub rows: usize,
    pub questions: Vec<Question>,
    /// Begins an exchange.
    pub opening: FlightData,
}

#[derive(Debug)]
pub struct Question {
    pub keys: Vec<i64>,
    /// The body of a POST, or a ticket.
    pub body: Bytes,
    /// The batch of an exchange.
    pub entities: FlightData,
}

impl Service {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored_v1",
            Self::Derived => "derived_v1",
        }
    }
}

impl Wire {
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpJson => "HTTP JSON",
            Self::HttpArrow => "HTTP Arrow",
            Self::DoGet => "Flight DoGet",
            Self::DoExchange => "Flight DoExchange",
        }
    }
}

impl Case {
    /// Uniformly random keys, the same ones every time.
    pub async fn new(service: Service, wire: Wire, rows: usize) -> Result<Self> {
        let mut random = Random::new(2);
        let mut keys = || (0..rows).map(|_| random.below(ENTITIES + ABSENT) as i64).collect::<Vec<_>>();
        let keys: Vec<Vec<i64>> = (0..QUESTIONS).map(|_| keys()).collect();
        Self::of(service, wire, rows, keys).await
    }

    /// With these keys.
    pub async fn of(service: Service, wire: Wire, rows: usize, keys: Vec<Vec<i64>>) -> Result<Self> {
        let mut messages = exchange_messages(service, &keys).await?.into_iter();
        let opening = messages.next().ok_or("no schema was encoded")?;
        let question =
            |(keys, entities): (Vec<i64>, FlightData)| Question { body: body(service, wire, &keys), keys, entities };
        let questions: Vec<Question> = keys.into_iter().zip(messages).map(question).collect();
        Ok(Self { service, wire, rows, questions, opening })
    }

    pub fn name(&self) -> String {
        let derived = if self.service == Service::Derived { ", derived" } else { "" };
        format!("{}, {} × {}{derived}", self.wire.name(), self.rows, self.values_a_row())
    }

    /// Feature values in the answer of one row.
    pub const fn values_a_row(&self) -> usize {
        VIEWS * VIEW_FEATURES
    }

    /// The names of the features, in the order of the answer.
    pub fn features(&self) -> Vec<String> {
        let prefix = if self.service == Service::Derived { "y" } else { "f" };
        (0..self.values_a_row()).map(|feature| format!("{prefix}_{feature}")).collect()
    }
}

fn body(service: Service, wire: Wire, keys: &[i64]) -> Bytes {
    let entities = json!({ JOIN_KEY: keys });
    let body = match wire {
        Wire::HttpJson => json!({ "feature_service": service.name(), "entities": entities }),
        Wire::HttpArrow => json!({ "entities": entities }),
        Wire::DoGet | Wire::DoExchange => json!({ "service": service.name(), "entities": entities }),
    };
    Bytes::from(body.to_string())
}

/// The schema with the descriptor of the exchange, then one message for each list of keys.
async fn exchange_messages(service: Service, keys: &[Vec<i64>]) -> Result<Vec<FlightData>> {
    let batch = |keys: &Vec<i64>| {
        let column: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
        Ok(RecordBatch::try_from_iter([(JOIN_KEY, column)])?)
    };
    let batches: Vec<RecordBatch> = keys.iter().map(batch).collect::<Result<_>>()?;
    let descriptor = FlightDescriptor::new_cmd(json!({ "service": service.name() }).to_string());
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    Ok(encoder.build(futures::stream::iter(batches).map(Ok)).try_collect().await?)
}
