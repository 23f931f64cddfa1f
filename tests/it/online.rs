//! The online store by hand, on every store: rows set and deleted, what the store says of itself, over the flow and over
//! each wire.

mod scenarios;
mod wires;

use std::fs;
use std::path::Path;

use crate::servers::Redis;

/// A source without and one with a created time; a derived view that is stored, and one that is computed when it is
/// asked for.
pub const DEFINITIONS: &str = "
entities: [{name: company, join_keys: [{name: company, type: string}]}]
sources:
  - {name: meters, type: push, path: data/meters, event_time: at}
  - {name: notes, type: push, path: data/notes, event_time: at, created_time: made}
feature_views:
  - name: last_ride
    entities: [company]
    source: meters
    features: [{name: fare, type: float64}, {name: tip, type: float64}, {name: company_name, type: string}]
  - name: note
    entities: [company]
    source: notes
    features: [{name: stars, type: int64}, {name: noted_at, type: timestamp}]
  - {name: archive, entities: [company], source: meters, online: false, features: [{name: fare, type: float64}]}
derived_views:
  - {name: identity, plugin: taxi_company, placement: sync, inputs: {company_name: 'last_ride:company_name'}}
  - {name: recency, plugin: taxi_recency, placement: request, inputs: {last_trip_at: 'note:noted_at'}}
";

/// The stores that a project can have behind its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Embedded,
    Packed,
    Hash,
    Feast,
}

impl Store {
    /// A server, where the store is one. It ends when this is dropped.
    pub fn start(self) -> Option<Redis> {
        (self != Self::Embedded).then(Redis::start)
    }

    /// Writes the project's settings into its folder.
    pub fn configure(self, folder: &Path, server: Option<&Redis>) {
        let layout = match self {
            Self::Embedded => return,
            Self::Packed => "packed",
            Self::Hash => "hash",
            Self::Feast => "feast",
        };
        let port = server.expect("a server for the store").port();
        let config = format!(
            "project: test\nlisten: {{http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}}\n\
             online_store: {{type: redis, addresses: ['127.0.0.1:{port}'], layout: {layout}}}\n"
        );
        fs::write(folder.join("lockstep.yaml"), config).expect("written");
    }

    /// Feast has no tombstones: what is deleted there can be written again with any time.
    pub fn keeps_tombstones(self) -> bool {
        self != Self::Feast
    }
}
