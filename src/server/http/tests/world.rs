//! A small gateway over stores in memory, with the views of Feast's transcript, and its router.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::catalog::*;
use crate::clock::Clock;
use crate::gateway::{Applied, Gateway};
use crate::metrics::Metrics;
use crate::offline;
use crate::online::memory::MemoryStore;
use crate::pit::Space;
use crate::registry::Registry;
use crate::server::http::router;
use crate::transform::{Settings, Transforms};

/// 2026-11-21T06:00:00Z
pub const NOW: i64 = 1_795_240_800_000_000;

/// A running gateway without sockets.
pub struct World {
    pub gateway: Arc<Gateway>,
    pub offline: Arc<offline::MemoryTables>,
    pub router: Router,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl World {
    pub async fn start() -> Self {
        let offline = Arc::new(offline::MemoryTables::default());
        let sources = offline::StoredSources::new(vec![Arc::clone(&offline) as _]);
        let catalog = catalog();
        sources.define(catalog.sources.clone());
        let gateway = Arc::new(Gateway {
            applied: ArcSwap::from_pointee(Applied::new(catalog, 7)),
            online: Arc::new(MemoryStore::default()),
            offline: Arc::new(sources),
            transforms: Arc::new(Transforms::start(Settings::default()).unwrap()),
            registry: Registry::in_memory().await.unwrap(),
            clock: Clock::held_at(NOW),
            metrics: Metrics::default(),
            join_space: Space::default(),
            serve_deadline: Duration::from_secs(5),
            syncing: crate::gateway::Syncing::in_folder(std::env::temp_dir().join("lockstep-unused")),
            swaps: crate::gateway::Swaps::default(),
            shadows: Arc::default(),
            request_log: Arc::default(),
        });
        Self { router: router(Arc::clone(&gateway)), gateway, offline }
    }

    /// With the rows that Feast's transcript found.
    pub async fn with_rows() -> Self {
        let world = Self::start().await;
        let stats = json!({
            "driver_id": [1001, 1002], "conv_rate": [0.875, 0.75], "acc_rate": [0.5, null], "avg_daily_trips": [777, 1202],
            "event_timestamp": ["2026-11-20T02:00:00", "2026-11-20T02:00:00Z"], "created": [null, null],
        });
        let trips = json!({
            "driver_id": [1001], "customer_id": ["C-7"], "trips": [5], "event_timestamp": ["2026-11-20T00:00:00"],
        });
        for (view, df) in [("driver_hourly_stats", &stats), ("driver_customer", &trips)] {
            let written =
                world.post("/write-to-online-store", &json!({"feature_view_name": view, "df": df}).to_string()).await;
            assert_eq!((written.status, &written.body[..]), (StatusCode::OK, &b"null"[..]), "{written:?}");
        }
        world
    }

    pub async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: head.status, headers: head.headers, body }
    }

    pub async fn post(&self, path: &str, json: &str) -> Answered {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(json.to_owned())).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The class in an error of Feast's shape.
    pub fn class(&self) -> String {
        let inner: Value = serde_json::from_str(self.json().as_str().unwrap()).unwrap();
        assert_eq!(inner["module"], "feast.errors");
        inner["class"].as_str().unwrap().to_owned()
    }

    /// The message in an error of either shape.
    pub fn message(&self) -> String {
        let body = self.json();
        let inner = body.as_str().map(|text| serde_json::from_str::<Value>(text).unwrap()["message"].clone());
        inner.unwrap_or_else(|| body["error"]["message"].clone()).as_str().unwrap().to_owned()
    }
}

fn field(name: &str, dtype: &str) -> Field {
    Field::new(name, dtype.parse().unwrap())
}

fn fields(fields: &[(&str, &str)]) -> Vec<Field> {
    fields.iter().map(|(name, dtype)| field(name, dtype)).collect()
}

fn feature_view(
    name: &str,
    join_keys: &[(&str, &str)],
    features: &[(&str, &str)],
    ttl: Option<Duration>,
) -> FeatureView {
    FeatureView {
        name: name.into(),
        entities: join_keys.iter().map(|(key, _)| key.trim_end_matches("_id").to_owned()).collect(),
        join_keys: fields(join_keys),
        source: if name == "driver_hourly_stats" { "driver_push".into() } else { format!("{name}_source") },
        features: fields(features),
        ttl,
        online: true,
        sync_every: None,
        expectations: Vec::new(),
        quarantine: None,
        description: String::new(),
    }
}

/// Adds a request field to a conversion rate; only its signature matters here.
fn derived_view() -> DerivedView {
    let required = Field { nullable: false, ..field("val_to_add", "int64") };
    let outputs = fields(&[("py_sum", "float64")]);
    let signature = Signature {
        name: "sum".into(),
        version: semver::Version::new(1, 0, 0),
        doc: String::new(),
        features: fields(&[("conv_rate", "float32")]),
        request: vec![required.clone()],
        outputs: outputs.clone(),
        parameters: Vec::new(),
        time: TimeUse::None,
        nulls: NullPolicy::Propagate,
        frame_version: 1,
    };
    let transform = Transform {
        plugin: "sum".into(),
        component: Digest::of(b"component"),
        parameters: Vec::new(),
        signature,
        outputs: outputs.clone(),
        digest: Digest::of(b"transform"),
    };
    let feature = InputSource::Feature { view: "driver_hourly_stats".into(), feature: "conv_rate".into() };
    DerivedView {
        name: "odfv_py".into(),
        transform: Arc::new(transform),
        inputs: vec![
            Input { column: field("conv_rate", "float32"), from: feature },
            Input { column: required, from: InputSource::Request { field: "val_to_add".into() } },
        ],
        placement: Placement::Request,
        freeze_at_event_time: false,
        features: outputs,
        description: String::new(),
    }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::empty("proj_a");
    for (name, dtype) in [("driver", "int64"), ("customer", "string")] {
        let join_keys = fields(&[(&format!("{name}_id"), dtype)]);
        catalog.entities.insert(name.into(), Entity { name: name.into(), join_keys, description: String::new() });
    }
    let stats = [("conv_rate", "float32"), ("acc_rate", "float32"), ("avg_daily_trips", "int64")];
    let driver = [("driver_id", "int64")];
    let both = [("driver_id", "int64"), ("customer_id", "string")];
    let views = [
        feature_view("driver_hourly_stats", &driver, &stats, None),
        feature_view("driver_customer", &both, &[("trips", "int64")], None),
        feature_view("driver_fresh", &driver, &[("conv_rate", "float32")], Some(Duration::from_secs(3600))),
        feature_view("driver_batch", &driver, &[("rides", "int64")], None),
    ];
    for view in views {
        let kind = match view.name.as_str() {
            "driver_batch" => SourceKind::Stored(Stored::parquet("data")),
            _ => SourceKind::Push { into: Stored::parquet("data") },
        };
        let source = Source {
            name: view.source.clone(),
            kind,
            event_time: "event_timestamp".into(),
            created_time: Some("created".into()),
            description: String::new(),
        };
        catalog.sources.insert(source.name.clone(), source);
        catalog.views.insert(view.name.clone(), View::Feature(Arc::new(view)));
    }
    catalog.views.insert("odfv_py".into(), View::Derived(Arc::new(derived_view())));
    catalog.services = services();
    catalog
}

fn services() -> BTreeMap<String, FeatureService> {
    let service = |name: &str, refs: &[(&str, &str)]| FeatureService {
        name: name.into(),
        features: refs.iter().map(|(view, feature)| FeatureRef::new(view, feature)).collect(),
        full_feature_names: false,
        split: None,
        description: String::new(),
    };
    let stored = [("driver_hourly_stats", "conv_rate"), ("driver_customer", "trips")];
    let services =
        [service("svc", &stored), service("svc_sum", &[("driver_hourly_stats", "conv_rate"), ("odfv_py", "py_sum")])];
    services.into_iter().map(|service| (service.name.clone(), service)).collect()
}
