//! What the guards of backends count, printed whenever somebody looks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::backend::{Backend, Counts};

#[derive(Debug)]
pub(super) struct Backends(pub Vec<Arc<Backend>>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BackendLabel {
    backend: &'static str,
}

impl Collector for Backends {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts: Vec<(BackendLabel, Counts)> =
            self.0.iter().map(|backend| (BackendLabel { backend: backend.name() }, backend.counts())).collect();
        let gauges: [(&str, &str, fn(&Counts) -> u64); 3] = [
            ("backend_up", "Whether calls are made: 1, or 0 while they are stopped", |counts| u64::from(counts.up)),
            ("backend_in_flight", "Calls under way", |counts| counts.in_flight),
            ("backend_waiting", "Calls that wait for a place", |counts| counts.waiting),
        ];
        for (name, help, value) in gauges {
            let kind = ConstGauge::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, counts) in &counts {
                ConstGauge::new(value(counts)).encode(family.encode_family(label)?)?;
            }
        }
        let counters: [(&str, &str, fn(&Counts) -> u64); 3] = [
            ("backend_refused", "Calls that were not made: stopped, or no place in time", |counts| counts.refused),
            ("backend_retried", "Failed calls that were made again", |counts| counts.retried),
            ("backend_stopped", "Times that calls were stopped", |counts| counts.stopped),
        ];
        for (name, help, value) in counters {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, counts) in &counts {
                ConstCounter::new(value(counts)).encode(family.encode_family(label)?)?;
            }
        }
        Ok(())
    }
}
