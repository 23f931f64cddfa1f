//! A project whose answers say by which build of a plugin they were computed, and builds without end.
//!
//! `near` and `far` are the same distance, there and back, so two builds in one answer show at once; and the distance is
//! another one by `haversine` and by `haversine_equatorial`, which is the same plugin on a larger globe.

use std::fs;
use std::path::Path;

use lockstep::app::Project;
use serde_json::{Value, json};

use crate::world::{Reply, World, built_plugins};

pub const PLACES: &str = r#"
entities:
  - {name: trip, join_keys: [{name: id, type: int64}]}
sources:
  - {name: trips, type: push, path: data/trips, event_time: at}
feature_views:
  - {name: trip_ends, entities: [trip], source: trips, features: [{name: a, type: float64}, {name: b, type: float64}]}
derived_views:
  - name: near
    plugin: haversine
    inputs: {from_latitude: "trip_ends:a", from_longitude: "trip_ends:a", to_latitude: "trip_ends:b", to_longitude: "trip_ends:b"}
    features: [{output: distance_km, name: near_km}]
  - name: far
    plugin: haversine
    inputs: {from_latitude: "trip_ends:b", from_longitude: "trip_ends:b", to_latitude: "trip_ends:a", to_longitude: "trip_ends:a"}
    features: [{output: distance_km, name: far_km}]
"#;

/// Trips that are known; the ends of the first are one place.
pub const IDS: [i64; 4] = [0, 1, 2, 3];

/// What builds of the plugin there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Globe {
    Mean,
    Equatorial,
}

impl Globe {
    pub fn bytes(self) -> Vec<u8> {
        let name = match self {
            Self::Mean => "haversine",
            Self::Equatorial => "haversine_equatorial",
        };
        fs::read(built_plugins().join(format!("{name}.wasm"))).expect("a built plugin")
    }

    /// A build that computes the same and has a digest of its own.
    pub fn build(self, number: u32) -> Vec<u8> {
        let mut bytes = self.bytes();
        // A custom section: its id, its length, the length of its name, its name, what is in it.
        let content = number.to_le_bytes();
        bytes.extend_from_slice(&[0, 1 + 5 + 4, 5]);
        bytes.extend_from_slice(b"build");
        bytes.extend_from_slice(&content);
        bytes
    }
}

/// The project, running, with trips in its online store.
pub async fn world(definitions: &str, prepare: impl FnOnce(&Path)) -> World {
    let world = World::of(definitions, prepare).await;
    seed(&world).await;
    world
}

async fn seed(world: &World) {
    let ends: Vec<f64> = IDS.iter().map(|id| *id as f64 * 1.25).collect();
    let df = json!({"id": IDS, "a": vec![0.0; IDS.len()], "b": ends, "at": vec!["2020-01-01T00:00:00Z"; IDS.len()]});
    let pushed = world.post("/push", &json!({"push_source_name": "trips", "df": df}).to_string()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
}

pub fn question() -> String {
    json!({"features": ["near:near_km", "far:far_km"], "entities": {"id": IDS}}).to_string()
}

/// What an answer to [`question`] says: the version that it names, and the distances, of which there is one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Distances {
    pub version: u64,
    pub digests: String,
    pub km: Vec<f64>,
}

impl Distances {
    /// Panics where the answer is none, or where two builds are in it.
    pub fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text());
        let header = |name: &str| reply.headers[name].to_str().expect("text").to_owned();
        let digests = header("lockstep-digest");
        let builds: Vec<&str> =
            digests.split(',').map(|digest| digest.split_once('=').expect("view=digest").1).collect();
        assert!(builds.len() == 2 && builds[0] == builds[1], "two builds in one answer: {digests}");
        let json = reply.json();
        let column = |position: usize| -> Vec<f64> {
            let values = json["results"][position]["values"].as_array().expect("values");
            values.iter().map(|value| value.as_f64().expect("a number")).collect()
        };
        let (near, far) = (column(1), column(2));
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&near), bits(&far), "two builds in one answer");
        Self { version: header("lockstep-version").parse().expect("a number"), digests, km: near }
    }

    /// Which build computed it, by the longest distance.
    pub fn globe(&self) -> Globe {
        let last = self.km[IDS.len() - 1];
        match last {
            589.0..589.9 => Globe::Mean,
            589.9..590.9 => Globe::Equatorial,
            other => panic!("{other} km is no distance of these trips"),
        }
    }
}

/// Applies another build of the plugin, as the next version.
pub async fn apply_build(project: &Project, bytes: Vec<u8>) -> u64 {
    let planned = project.with_plugin("haversine", bytes).await.expect("a build that fits");
    project.apply(&planned, true).await.expect("applied").number
}

/// What the gateway says on its admin port.
pub async fn admin(world: &World, method: hyper::Method, path: &str) -> Reply {
    crate::world::http(world.servers.admin, method, path, &[], bytes::Bytes::new()).await
}

/// Has the gateway take up what is applied.
pub async fn reload(world: &World) -> Value {
    let reply = admin(world, hyper::Method::POST, "/reload").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}
