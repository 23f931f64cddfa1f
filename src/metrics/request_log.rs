//! What the request log counts, printed whenever somebody looks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::request_log::Counts;

#[derive(Debug)]
pub(super) struct RequestLogCounts(pub Arc<Counts>);

impl Collector for RequestLogCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = &self.0;
        let counters = [
            ("request_log_requests", "Served requests that were logged", &counts.requests),
            ("request_log_rows", "Rows of served requests that stand in files of the log", &counts.rows),
            ("request_log_dropped", "Requests that were not logged, because the queue was full", &counts.dropped),
            ("request_log_failed_rows", "Rows of requests that could not be written", &counts.failed_rows),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
