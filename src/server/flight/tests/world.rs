//! A gateway with one push source, one view and one service, in memory and behind a socket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::client::FlightClient;
use arrow_flight::error::FlightError;
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{FlightData, FlightDescriptor, SchemaAsIpc, Ticket};
use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tonic::Code;
use tonic::transport::Channel;

use crate::batch::{FeatureRows, StoredRows, timestamps};
use crate::catalog::{
    Catalog, DType, Entity, FeatureRef, FeatureService, FeatureView, Field, Scalar, Source, SourceKind, Stored, View,
};
use crate::clock::{Clock, Deadline, Micros};
use crate::gateway::{Applied, Gateway};
use crate::metrics::Metrics;
use crate::online::{
    self, ChangeListener, Cursor, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written,
};
use crate::pit::Space;
use crate::registry::Registry;
use crate::transform::{Settings, Transforms};
use crate::{offline, server};

/// 2016-12-31T00:00:00Z, where the clock stands.
const NOW: Micros = 1_483_142_400_000_000;

pub(super) struct World {
    pub(super) gateway: Arc<Gateway>,
    pub(super) client: FlightClient,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_with(Arc::new(online::memory::MemoryStore::default()), Duration::from_secs(30)).await
    }

    pub(super) async fn start_with(online: Arc<dyn OnlineStore>, serve_deadline: Duration) -> Self {
        let catalog = taxi(&["fare", "miles"]);
        let offline = offline::StoredSources::new(vec![Arc::new(offline::MemoryTables::default())]);
        offline.define(catalog.sources.clone());
        let gateway = Arc::new(Gateway {
            applied: ArcSwap::from_pointee(Applied::new(catalog, 7)),
            online,
            offline: Arc::new(offline),
            transforms: Arc::new(Transforms::start(Settings::default()).unwrap()),
            registry: Registry::in_memory().await.unwrap(),
            clock: Clock::held_at(NOW),
            metrics: Metrics::default(),
            join_space: Space::default(),
            serve_deadline,
            syncing: crate::gateway::Syncing::in_folder(std::env::temp_dir().join("lockstep-unused")),
            swaps: crate::gateway::Swaps::default(),
            shadows: Arc::default(),
            request_log: Arc::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = server::flight::routes(Arc::clone(&gateway));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { gateway, client: FlightClient::new(channel) }
    }

    /// One `DoGet`, its batches as one.
    pub(super) async fn get(&mut self, ticket: &str) -> Result<RecordBatch, (Code, String)> {
        let refused = |error| match error {
            FlightError::Tonic(status) => (status.code(), status.message().to_owned()),
            other => panic!("not a status: {other}"),
        };
        let answer = self.client.do_get(Ticket::new(ticket.to_owned())).await.map_err(refused)?;
        let batches: Vec<RecordBatch> = answer.try_collect().await.map_err(refused)?;
        Ok(concat_batches(batches[0].schema_ref(), &batches).unwrap())
    }
}

/// One `DoPut`; the results as JSON.
pub(super) async fn put(
    client: &mut FlightClient,
    descriptor: FlightDescriptor,
    batches: &[RecordBatch],
) -> Result<Vec<Value>, FlightError> {
    let results = client.do_put(futures::stream::iter(encoded(descriptor, batches))).await?;
    let results: Vec<_> = results.try_collect().await?;
    Ok(results.iter().map(|result| serde_json::from_slice(&result.app_metadata).unwrap()).collect())
}

/// The messages of a call: descriptor and schema first, then each batch. Without a batch, the schema of a company.
pub(super) fn encoded(descriptor: FlightDescriptor, batches: &[RecordBatch]) -> Vec<Result<FlightData, FlightError>> {
    let schema = batches.first().map_or_else(|| company_batch(&[]).schema(), RecordBatch::schema);
    let mut messages = match batches {
        [] => vec![FlightData::from(SchemaAsIpc::new(&schema, &IpcWriteOptions::default()))],
        batches => batches_to_flight_data(&schema, batches.to_vec()).unwrap(),
    };
    messages[0].flight_descriptor = Some(descriptor);
    messages.into_iter().map(Ok).collect()
}

pub(super) fn company_batch(companies: &[&str]) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from(companies.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("company", column, true)]).unwrap()
}

/// A ride of each company: `a` paid 1, `b` paid 2, and so on.
pub(super) fn rides(companies: &[&str]) -> RecordBatch {
    let fare = |company: &&str| f64::from(company.as_bytes()[0] - b'a') + 1.0;
    let columns: [(&str, ArrayRef); 4] = [
        ("company", Arc::new(StringArray::from(companies.to_vec()))),
        ("fare", Arc::new(Float64Array::from_iter_values(companies.iter().map(fare)))),
        ("miles", Arc::new(Float64Array::from(vec![0.5; companies.len()]))),
        ("at", Arc::new(timestamps(vec![Some(NOW - 60_000_000); companies.len()]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The project, whose service has these features of the one view.
pub(super) fn taxi(service: &[&str]) -> Catalog {
    let company = Field::new("company", DType::One(Scalar::String));
    let text = String::new;
    let view = FeatureView {
        name: "last_ride".to_owned(),
        entities: vec!["company".to_owned()],
        join_keys: vec![company.clone()],
        source: "rides".to_owned(),
        features: ["fare", "miles"].map(|name| Field::new(name, DType::One(Scalar::Float64))).to_vec(),
        ttl: None,
        online: true,
        sync_every: None,
        expectations: Vec::new(),
        quarantine: None,
        description: text(),
    };
    let source = Source {
        name: "rides".to_owned(),
        kind: SourceKind::Push { into: Stored::parquet("rides") },
        event_time: "at".to_owned(),
        created_time: None,
        description: text(),
    };
    let service = FeatureService {
        name: "tips".to_owned(),
        features: service.iter().map(|feature| FeatureRef::new("last_ride", feature)).collect(),
        full_feature_names: false,
        split: None,
        description: text(),
    };
    let entity = Entity { name: "company".to_owned(), join_keys: vec![company], description: text() };
    Catalog {
        entities: BTreeMap::from([(entity.name.clone(), entity)]),
        sources: BTreeMap::from([(source.name.clone(), source)]),
        views: BTreeMap::from([(view.name.clone(), View::Feature(Arc::new(view)))]),
        services: BTreeMap::from([(service.name.clone(), service)]),
        ..Catalog::empty("taxi")
    }
}

/// An empty online store whose reads wait for each other: `together` of them go on at once.
#[derive(Debug)]
pub(super) struct Gate {
    barrier: Barrier,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    pub(super) fn new(together: usize) -> Self {
        Self { barrier: Barrier::new(together), waiting: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl OnlineStore for Gate {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, online::Error> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(waiting, Ordering::SeqCst);
        let passed = tokio::time::timeout_at(deadline.instant().into(), self.barrier.wait()).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        passed.map_err(|_| online::Error::Late)?;
        let absent = |read: &Read<'_>| {
            let features: Vec<Field> = read.columns.iter().map(|column| read.view.features[*column].clone()).collect();
            StoredRows::absent(&features, read.keys.rows())
        };
        Ok(reads.iter().map(absent).collect())
    }

    async fn write(&self, _: &Arc<OnlineView>, _: &FeatureRows, _: Deadline) -> Result<Written, online::Error> {
        Ok(Written::default())
    }

    async fn progress(&self, _: &Arc<OnlineView>, _: &str, _: u32, _: Deadline) -> Result<Option<u64>, online::Error> {
        Ok(None)
    }

    async fn health(&self, _: Deadline) -> Result<Health, online::Error> {
        Ok(Health::default())
    }

    async fn statistics(&self, _: &[Arc<OnlineView>], _: Deadline) -> Result<Vec<ViewStatistics>, online::Error> {
        Ok(Vec::new())
    }

    async fn scan(&self, _: &Arc<OnlineView>, _: Option<&Cursor>, _: Deadline) -> Result<RowPage, online::Error> {
        Ok(RowPage::default())
    }

    fn watch(&self, _: &[Arc<OnlineView>], _: Weak<dyn ChangeListener>) {}
}
