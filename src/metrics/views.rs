//! How fresh and how complete the online rows of each view are, as far as the registry of syncs says it; printed whenever
//! somebody looks, so that a view grows older between two syncs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::ViewLabel;
use crate::clock::{Clock, Micros};

/// What is known of the online rows of one view.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ViewState {
    /// Up to which event time the view is synced without a gap.
    pub synced_until: Option<Micros>,
    /// The latest event time that a sync brought.
    pub newest_event_time: Option<Micros>,
    /// Of the values that the last sync brought, the share that is not null.
    pub coverage: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct ViewStates {
    pub clock: Clock,
    pub states: Mutex<BTreeMap<String, ViewState>>,
}

/// Registered with the metrics, which keep the states too.
#[derive(Debug)]
pub(super) struct Views(pub Arc<ViewStates>);

impl Collector for Views {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.clock.now();
        let states = self.0.states.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gauges: [(&str, &str, &dyn Fn(&ViewState) -> Option<f64>); 3] = [
            ("view_freshness_seconds", "Age of the newest row that a sync brought online", &|state| {
                Some(seconds(now.saturating_sub(state.newest_event_time?)))
            }),
            ("view_synced_until", "Event time up to which the view is synced, in seconds since 1970", &|state| {
                state.synced_until.map(seconds)
            }),
            ("view_coverage_ratio", "Of the values that the last sync brought, the share that is not null", &|state| {
                state.coverage
            }),
        ];
        for (name, help, value) in gauges {
            let kind = ConstGauge::new(0_f64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (view, state) in &states {
                if let Some(value) = value(state) {
                    ConstGauge::new(value).encode(family.encode_family(&ViewLabel { view: view.clone() })?)?;
                }
            }
        }
        Ok(())
    }
}

fn seconds(time: Micros) -> f64 {
    time as f64 / 1e6
}
