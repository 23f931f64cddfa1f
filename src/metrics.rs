//! Every metric of the gateway, in one struct. Labels come from closed sets, never from a request: routes are those of
//! the route table, views those of the catalog.

mod audit;
mod backends;
mod cache;
mod offline;
mod shadows;
mod swaps;
mod request_log;
mod views;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::backends::Backends;
use self::cache::HotCache;
use self::offline::OfflineReads;
use self::request_log::RequestLogCounts;
pub use self::views::ViewState;
use self::views::{ViewStates, Views};
use crate::backend::Backend;
use crate::offline::Reads;
use crate::online::cache::CachedStore;
use crate::request_log::RequestLog;
use crate::shadow::Shadows;
use crate::transform::{FaultKind, Transforms};

/// Upper ends of the latency buckets, in seconds: fine where serving lives, coarse where sync and training do.
const SECONDS_BUCKETS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 5.0];

/// The flows, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    Serve,
    Sync,
    Ingest,
    Train,
    Transform,
}

/// The counters and histograms, and the registry that prints them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabel, Histogram>,
    rows: Family<FlowLabel, Counter>,
    view_rows: Family<ViewStatusLabels, Counter>,
    sync_rows: Family<SyncLabels, Counter>,
    expectation_failures: Family<ExpectationLabels, Counter>,
    quarantined_rows: Family<ViewLabel, Counter>,
    sync_runs: Family<SyncLabels, Counter>,
    sync_seconds: Family<ViewLabel, Counter<f64, AtomicU64>>,
    views: Arc<ViewStates>,
    connections: Family<ListenerLabel, Gauge>,
    join_spilled_bytes: Counter,
    swaps: swaps::Swaps,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FlowLabel {
    flow: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ViewStatusLabels {
    view: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SyncLabels {
    view: String,
    outcome: &'static str,
}

/// Expectations are those of the catalog.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ExpectationLabels {
    view: String,
    expectation: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ViewLabel {
    view: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lockstep"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS)),
            rows: Family::default(),
            view_rows: Family::default(),
            sync_rows: Family::default(),
            expectation_failures: Family::default(),
            quarantined_rows: Family::default(),
            sync_runs: Family::default(),
            sync_seconds: Family::default(),
            views: Arc::default(),
            connections: Family::default(),
            join_spilled_bytes: Counter::default(),
            swaps: swaps::Swaps::default(),
        };
        metrics.register();
        metrics
    }
}

/// The transform stage counts for itself; this prints its counters whenever somebody looks.
#[derive(Debug)]
struct TransformStage(Arc<Transforms>);

impl Collector for TransformStage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.0.stats();
        let counters = [
            ("transform_calls", "Calls of plugins, one for each chunk of rows", &stats.calls),
            ("transform_rows", "Rows that plugins computed", &stats.rows),
            ("transform_row_errors", "Rows that plugins refused", &stats.row_errors),
            ("transform_fuel", "Fuel that plugins burned", &stats.fuel),
            ("transform_instances_created", "Plugin instances made", &stats.instances_created),
            (
                "transform_instances_recycled",
                "Warm plugin instances replaced for their age or memory",
                &stats.instances_recycled,
            ),
            ("transform_compared", "Sampled plugin calls that were run again on a fresh instance", &stats.compared),
            (
                "transform_impure",
                "Of these, calls that gave other bytes; anything above zero is an alarm",
                &stats.impure,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let help = "Plugin calls that failed, by kind";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut faults = encoder.encode_descriptor("transform_faults", help, None, kind)?;
        for kind in FaultKind::ALL {
            let counter = ConstCounter::new(stats.faults(kind));
            counter.encode(faults.encode_family(&KindLabel { kind: kind.name() })?)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// The metrics of a gateway that computes with `transforms`.
    pub fn of(transforms: &Arc<Transforms>) -> Self {
        let mut metrics = Self::default();
        metrics.registry.register_collector(Box::new(TransformStage(Arc::clone(transforms))));
        metrics.registry.register_collector(Box::new(audit::Purity(Arc::clone(transforms))));
        metrics
    }

    /// From now on, what the guards of these backends count is printed too.
    pub fn of_backends(&mut self, backends: Vec<Arc<Backend>>) {
        self.registry.register_collector(Box::new(Backends(backends)));
    }

    /// From now on, what this hot cache counts is printed too.
    pub fn of_cache(&mut self, cache: Arc<CachedStore>) {
        self.registry.register_collector(Box::new(HotCache(cache)));
    }

    /// From now on, what these shadows have found is printed too.
    pub fn of_shadows(&mut self, shadows: Arc<Shadows>) {
        self.registry.register_collector(Box::new(shadows::OfShadows(shadows)));
    }

    /// From now on, what scans of these sources read is printed too.
    pub fn of_reads(&mut self, reads: Arc<Reads>) {
        self.registry.register_collector(Box::new(OfflineReads(reads)));
    }

    /// From now on, what this request log counts is printed too.
    pub fn of_request_log(&mut self, log: &RequestLog) {
        self.registry.register_collector(Box::new(RequestLogCounts(Arc::clone(&log.counts))));
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests answered, by route and status", self.requests.clone());
        registry.register("request_seconds", "Time to answer a request, by route", self.request_seconds.clone());
        registry.register("rows", "Rows that went through a flow", self.rows.clone());
        registry.register("feature_status", "Rows looked up, by view and status", self.view_rows.clone());
        registry.register("sync_rows", "Rows meant for the online store, by view and outcome", self.sync_rows.clone());
        let help = "Rows that were not as expected, or 1 for what is expected of all rows of a run together";
        registry.register("expectation_failures", help, self.expectation_failures.clone());
        registry.register("quarantined_rows", "Rows that went to a side table", self.quarantined_rows.clone());
        registry.register("sync_runs", "Runs of sync, by view and outcome", self.sync_runs.clone());
        registry.register("sync_seconds", "Time that runs of sync took, by view", self.sync_seconds.clone());
        registry.register_collector(Box::new(Views(Arc::clone(&self.views))));
        self.swaps.register(registry);
        registry.register("connections", "Open connections, by listener", self.connections.clone());
        registry.register(
            "join_spilled_bytes",
            "Bytes that point-in-time joins put aside on disk, because they did not fit into their memory",
            self.join_spilled_bytes.clone(),
        );
    }

    /// A request was answered. Routes are those of a route table, never a path that a caller wrote.
    pub fn request(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
        self.request_seconds.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
    }

    pub fn rows(&self, flow: Flow, rows: u64) {
        self.rows_of(flow).inc_by(rows);
    }

    /// The counter of the rows of a flow, for those that go on when the gateway is not at hand any more.
    pub fn rows_of(&self, flow: Flow) -> Counter {
        let flow = match flow {
            Flow::Serve => "serve",
            Flow::Sync => "sync",
            Flow::Ingest => "ingest",
            Flow::Train => "train",
            Flow::Transform => "transform",
        };
        self.rows.get_or_create(&FlowLabel { flow }).clone()
    }

    /// The counter of the bytes that joins put aside on disk.
    pub fn join_spilled_bytes(&self) -> Counter {
        self.join_spilled_bytes.clone()
    }

    /// Rows of one view of an answer that have one status.
    pub fn view_rows(&self, view: &str, status: &'static str, rows: u64) {
        self.view_rows.get_or_create(&ViewStatusLabels { view: view.to_owned(), status }).inc_by(rows);
    }

    /// Rows that a sync of one view read, and what became of some of them.
    pub fn sync_rows(&self, view: &str, read: u64, outcomes: &[(&'static str, u64)]) {
        for (outcome, rows) in outcomes {
            self.sync_rows.get_or_create(&SyncLabels { view: view.to_owned(), outcome }).inc_by(*rows);
        }
        self.rows(Flow::Sync, read);
    }

    /// Something that a view expects did not hold, for so many rows.
    pub fn expectation_failures(&self, view: &str, expectation: &str, failed: u64) {
        let labels = ExpectationLabels { view: view.to_owned(), expectation: expectation.to_owned() };
        self.expectation_failures.get_or_create(&labels).inc_by(failed);
    }

    /// Rows of a view went to its side table.
    pub fn quarantined_rows(&self, view: &str, rows: u64) {
        if rows > 0 {
            self.quarantined_rows.get_or_create(&ViewLabel { view: view.to_owned() }).inc_by(rows);
        }
    }

    /// A run of sync of one view ended.
    pub fn sync_run(&self, view: &str, outcome: &'static str, seconds: f64) {
        self.sync_runs.get_or_create(&SyncLabels { view: view.to_owned(), outcome }).inc();
        self.sync_seconds.get_or_create(&ViewLabel { view: view.to_owned() }).inc_by(seconds);
    }

    /// What is known of the online rows of each view; a view that is not among them is not printed any more.
    pub fn views(&self, states: BTreeMap<String, ViewState>) {
        *self.views.states.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }

    /// The gauge of one listener's open connections.
    pub fn connections(&self, listener: &'static str) -> Gauge {
        self.connections.get_or_create_owned(&ListenerLabel { listener })
    }

    /// Everything, in OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a string takes everything that is written to it");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Steady};
    use crate::online::cache::Keeping;
    use crate::online::conformance::{plain_view, values};
    use crate::online::memory::MemoryStore;

    #[test]
    fn what_the_guard_of_a_backend_counts_is_printed_by_name() {
        let mut metrics = Metrics::default();
        metrics.of_backends(vec![Arc::new(Backend::new("redis", Steady::held()))]);
        let text = metrics.encode();
        for line in [
            "lockstep_backend_up{backend=\"redis\"} 1",
            "lockstep_backend_in_flight{backend=\"redis\"} 0",
            "lockstep_backend_waiting{backend=\"redis\"} 0",
            "lockstep_backend_refused_total{backend=\"redis\"} 0",
            "lockstep_backend_retried_total{backend=\"redis\"} 0",
            "lockstep_backend_stopped_total{backend=\"redis\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(!Metrics::default().encode().contains("backend"), "a gateway without one says nothing of it");
    }

    #[tokio::test]
    async fn what_the_hot_cache_counts_is_printed_by_view() {
        let view = plain_view("rides");
        let views = [(Arc::clone(&view), Keeping { rows: 10, max_age: Duration::from_secs(1), absent: true })];
        let cache = CachedStore::new(Arc::new(MemoryStore::default()), &views, Steady::held());
        values(&cache, &view, &[Some(1)]).await;
        values(&cache, &view, &[Some(1), Some(2)]).await;
        let mut metrics = Metrics::default();
        metrics.of_cache(Arc::new(cache));
        let text = metrics.encode();
        for line in [
            "lockstep_hot_cache_hits_total{view=\"rides\"} 0",
            "lockstep_hot_cache_absent_hits_total{view=\"rides\"} 1",
            "lockstep_hot_cache_misses_total{view=\"rides\"} 2",
            "lockstep_hot_cache_evictions_total{view=\"rides\"} 0",
            "lockstep_hot_cache_invalidations_total{view=\"rides\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(text.contains("lockstep_hot_cache_entries{view=\"rides\"}"), "{text}");
    }

    #[test]
    fn what_is_counted_is_printed_under_its_name() {
        let metrics = Metrics::default();
        metrics.request("/get-online-features", 200, Duration::from_millis(3));
        metrics.rows(Flow::Serve, 7);
        metrics.view_rows("rides", "not_found", 2);
        metrics.sync_rows("rides", 9, &[("older", 4)]);
        metrics.sync_run("rides", "failed", 0.5);
        let hour_ago = Clock::default().now() - 3_600_000_000;
        let known =
            ViewState { synced_until: Some(2_500_000), newest_event_time: Some(hour_ago), coverage: Some(0.25) };
        metrics.views(BTreeMap::from([("rides".to_owned(), known), ("areas".to_owned(), ViewState::default())]));
        metrics.connections("http").inc();
        metrics.expectation_failures("rides", "fare.range", 3);
        metrics.quarantined_rows("rides", 2);
        let text = metrics.encode();
        for line in [
            "lockstep_requests_total{route=\"/get-online-features\",status=\"200\"} 1",
            "lockstep_request_seconds_bucket{le=\"0.004\",route=\"/get-online-features\"} 1",
            "lockstep_request_seconds_bucket{le=\"0.002\",route=\"/get-online-features\"} 0",
            "lockstep_rows_total{flow=\"serve\"} 7",
            "lockstep_rows_total{flow=\"sync\"} 9",
            "lockstep_feature_status_total{view=\"rides\",status=\"not_found\"} 2",
            "lockstep_sync_rows_total{view=\"rides\",outcome=\"older\"} 4",
            "lockstep_expectation_failures_total{view=\"rides\",expectation=\"fare.range\"} 3",
            "lockstep_quarantined_rows_total{view=\"rides\"} 2",
            "lockstep_sync_runs_total{view=\"rides\",outcome=\"failed\"} 1",
            "lockstep_sync_seconds_total{view=\"rides\"} 0.5",
            "lockstep_view_synced_until{view=\"rides\"} 2.5",
            "lockstep_view_coverage_ratio{view=\"rides\"} 0.25",
            "lockstep_connections{listener=\"http\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(text.contains("lockstep_view_freshness_seconds{view=\"rides\"} 360"), "{text}");
        assert!(!text.contains("areas"), "of a view of which nothing is known nothing is said: {text}");
    }
}
