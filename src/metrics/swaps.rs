//! Which version is on, and what became of those that were applied while the gateway ran.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Default)]
pub(super) struct Swaps {
    version: Gauge,
    swaps: Family<OutcomeLabel, Counter>,
    arms: Family<ServiceLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Services are those of applied definitions.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceLabel {
    service: String,
}

impl Swaps {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("applied_version", "Version with which requests are answered", self.version.clone());
        let help = "Versions that were applied while the gateway ran, by what became of them";
        registry.register("swaps", help, self.swaps.clone());
        let help = "Requests for services whose callers are divided, by the service that answered";
        registry.register("split_requests", help, self.arms.clone());
    }
}

impl super::Metrics {
    /// The gateway answers with this version from now on; at its start too.
    pub fn version_on(&self, version: u64) {
        self.swaps.version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// A running gateway took a version up.
    pub fn version_taken_up(&self, version: u64) {
        self.version_on(version);
        self.swaps.swaps.get_or_create(&OutcomeLabel { outcome: "taken_up" }).inc();
    }

    /// This service answered, of the two between which callers are divided.
    pub fn answered_by(&self, service: &str) {
        self.swaps.arms.get_or_create(&ServiceLabel { service: service.to_owned() }).inc();
    }

    /// A running gateway could not take a version up.
    pub fn version_refused(&self) {
        self.swaps.swaps.get_or_create(&OutcomeLabel { outcome: "refused" }).inc();
    }
}
