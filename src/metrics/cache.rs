//! What the hot cache counts of each view, printed whenever somebody looks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::online::cache::{CachedStore, ViewCounts};

#[derive(Debug)]
pub(super) struct HotCache(pub Arc<CachedStore>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ViewLabel {
    view: String,
}

impl Collector for HotCache {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts: Vec<(ViewLabel, ViewCounts)> =
            self.0.counts().into_iter().map(|(view, counts)| (ViewLabel { view: view.to_owned() }, counts)).collect();
        let counters: [(&str, &str, fn(&ViewCounts) -> u64); 5] = [
            ("hot_cache_hits", "Rows that were answered from memory", |counts| counts.hits),
            ("hot_cache_absent_hits", "Rows of which memory knew that there are none", |counts| counts.absent_hits),
            ("hot_cache_misses", "Rows that were asked of the online store", |counts| counts.misses),
            ("hot_cache_evictions", "Rows that made room or grew too old", |counts| counts.evictions),
            ("hot_cache_invalidations", "Changes of rows that were told", |counts| counts.invalidations),
        ];
        for (name, help, value) in counters {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, counts) in &counts {
                ConstCounter::new(value(counts)).encode(family.encode_family(label)?)?;
            }
        }
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor("hot_cache_entries", "Rows in memory", None, kind)?;
        for (label, counts) in &counts {
            ConstGauge::new(counts.entries).encode(family.encode_family(label)?)?;
        }
        Ok(())
    }
}
