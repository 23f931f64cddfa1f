//! What is asked: a service, so many rows at a time, over a wire. The requests are made before the load begins.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::dataset::Dataset;
use crate::Result;
use crate::synthetic::{JOIN_KEY, Random, Zipf};

/// Requests made for one case; a load goes through them again and again.
const QUESTIONS: usize = 512;

/// What a service is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Stored features.
    Stored,
    /// Stored features and, after them, the distance that `haversine` computes of the first four at the request.
    Beside,
    /// As many features, which `arithmetic` computes of the stored ones at the request.
    Derived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    HttpJson,
    HttpArrow,
    DoGet,
    DoExchange,
}

/// Which keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All entities and the unknown keys, each as often as the others.
    Uniform,
    /// The same, but for a few that are asked for most of the time.
    Zipf,
    /// Uniformly, but nobody that is not there: Feast refuses to answer for an entity without a pre-computed vector.
    Known,
}

/// Who answers, and in which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    Lockstep,
    /// Feast's server: the same route and body; no ttl, and no status but PRESENT.
    Feast,
    /// The same from one stored vector an entity, which demands full names.
    FeastPrecomputed,
    /// A service that answers the same bytes to every question.
    Constant,
}

/// Which case to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub dataset: Dataset,
    pub service: Service,
    pub wire: Wire,
    pub rows: usize,
    pub keys: Keys,
    pub speaker: Speaker,
}

/// Requests of one kind, ready to be sent.
#[derive(Debug)]
pub struct Case {
    pub plan: Plan,
    pub questions: Vec<Question>,
    /// Begins an exchange.
    pub opening: FlightData,
    /// The columns of an answer, the key's first.
    pub columns: Vec<String>,
}

#[derive(Debug)]
pub struct Question {
    pub keys: Vec<i64>,
    /// The body of a POST, or a ticket.
    pub body: Bytes,
    /// The batch of an exchange.
    pub entities: FlightData,
}

impl Wire {
    pub const ALL: [Self; 4] = [Self::HttpJson, Self::HttpArrow, Self::DoGet, Self::DoExchange];

    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpJson => "HTTP JSON",
            Self::HttpArrow => "HTTP Arrow",
            Self::DoGet => "Flight DoGet",
            Self::DoExchange => "Flight DoExchange",
        }
    }
}

impl Keys {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "Zipf",
            Self::Known => "known",
        }
    }
}

impl Plan {
    /// Stored features of a dataset, uniform keys.
    pub const fn stored(dataset: Dataset, wire: Wire, rows: usize) -> Self {
        Self { dataset, service: Service::Stored, wire, rows, keys: Keys::Uniform, speaker: Speaker::Lockstep }
    }

    pub fn name(&self) -> String {
        let derived = match self.service {
            Service::Stored => "",
            Service::Beside => ", and one more derived",
            Service::Derived => ", derived",
        };
        let Dataset { features, views, .. } = self.dataset;
        format!("{}, {} × {features} of {views} views{derived}", self.wire.name(), self.rows)
    }

    /// Features in one row of an answer.
    pub fn features(&self) -> usize {
        self.dataset.features + usize::from(self.service == Service::Beside)
    }

    /// Feature values in one answer.
    pub fn values(&self) -> usize {
        self.rows * self.features()
    }

    pub fn service_name(&self) -> String {
        match (self.service, self.speaker) {
            (Service::Stored, Speaker::FeastPrecomputed) => format!("{}_precomputed", self.dataset.service()),
            (Service::Stored, _) => self.dataset.service(),
            (Service::Beside, _) => self.dataset.service_with_distance(),
            (Service::Derived, _) => self.dataset.derived_service(),
        }
    }

    fn column(&self, feature: usize) -> String {
        match (self.service, self.speaker) {
            (Service::Stored, Speaker::FeastPrecomputed) => {
                format!("{}__f_{feature}", self.dataset.view(self.dataset.view_of(feature)))
            }
            (Service::Beside, _) if feature == self.dataset.features => "distance_km".to_owned(),
            (Service::Stored | Service::Beside, _) => format!("f_{feature}"),
            (Service::Derived, _) => format!("y_{feature}"),
        }
    }

    fn body(&self, keys: &[i64]) -> Bytes {
        let entities = json!({ JOIN_KEY: keys });
        let service = self.service_name();
        let body = match (self.wire, self.speaker) {
            (Wire::HttpJson, Speaker::FeastPrecomputed) => {
                json!({ "feature_service": service, "entities": entities, "full_feature_names": true })
            }
            (Wire::HttpJson, _) => json!({ "feature_service": service, "entities": entities }),
            (Wire::HttpArrow, _) => json!({ "entities": entities }),
            (Wire::DoGet | Wire::DoExchange, _) => json!({ "service": service, "entities": entities }),
        };
        Bytes::from(body.to_string())
    }
}

impl Case {
    /// Random keys, the same ones every time.
    pub async fn new(plan: Plan) -> Result<Self> {
        let mut draw = Draw::new(plan.dataset, plan.keys, 2);
        let keys = (0..QUESTIONS).map(|_| draw.keys(plan.rows)).collect();
        Self::of(plan, keys).await
    }

    /// 1,000 random entities in ten questions, to be compared before any load.
    pub async fn sample(plan: Plan) -> Result<Self> {
        let plan = Plan { rows: 100, ..plan };
        let mut draw = Draw::new(plan.dataset, plan.keys, 3);
        let keys = (0..10).map(|_| draw.keys(plan.rows)).collect();
        Self::of(plan, keys).await
    }

    async fn of(plan: Plan, keys: Vec<Vec<i64>>) -> Result<Self> {
        let mut messages = exchange_messages(&plan.service_name(), &keys).await?;
        let opening = messages.remove(0);
        let question = |(keys, entities): (Vec<i64>, FlightData)| Question { body: plan.body(&keys), keys, entities };
        let questions = keys.into_iter().zip(messages).map(question).collect();
        let features = (0..plan.features()).map(|feature| plan.column(feature));
        let columns = std::iter::once(JOIN_KEY.to_owned()).chain(features).collect();
        Ok(Self { plan, questions, opening, columns })
    }
}

/// Draws keys.
#[derive(Debug)]
pub struct Draw {
    random: Random,
    /// Keys that can be drawn: 0 and up.
    bound: u64,
    zipf: Option<Zipf>,
}

impl Draw {
    pub fn new(dataset: Dataset, kinds: Keys, stream: u64) -> Self {
        let bound = dataset.entities + if kinds == Keys::Known { 0 } else { dataset.absent() };
        let zipf = (kinds == Keys::Zipf).then(|| Zipf::below(bound));
        Self { random: Random::new(stream), bound, zipf }
    }

    pub fn keys(&mut self, rows: usize) -> Vec<i64> {
        (0..rows).map(|_| self.key()).collect()
    }

    fn key(&mut self) -> i64 {
        let key = match &self.zipf {
            Some(zipf) => zipf.draw(&mut self.random),
            None => self.random.below(self.bound),
        };
        key as i64
    }
}

/// The schema with the descriptor of the exchange, then one message for each list of keys.
async fn exchange_messages(service: &str, keys: &[Vec<i64>]) -> Result<Vec<FlightData>> {
    let batch = |keys: &Vec<i64>| {
        let column: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
        Ok(RecordBatch::try_from_iter([(JOIN_KEY, column)])?)
    };
    let batches: Vec<RecordBatch> = keys.iter().map(batch).collect::<Result<_>>()?;
    let descriptor = FlightDescriptor::new_cmd(json!({ "service": service }).to_string());
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    Ok(encoder.build(futures::stream::iter(batches).map(Ok)).try_collect().await?)
}
