//! What shadows have found, printed whenever somebody looks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use super::ViewLabel;
use crate::shadow::{Found, Shadows};

#[derive(Debug)]
pub(super) struct OfShadows(pub Arc<Shadows>);

/// Features are those of applied views.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FeatureLabels {
    view: String,
    feature: String,
}

impl Collector for OfShadows {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let found = self.0.found(false);
        if found.is_empty() {
            return Ok(());
        }
        let kind = ConstCounter::new(0_u64).metric_type();
        let counters: [(&str, &str, fn(&Found) -> u64); 3] = [
            ("shadow_rows", "Rows that were computed with two builds of a plugin", |found| found.rows),
            ("shadow_dropped", "Calls that were not compared, because too many waited", |found| found.dropped),
            ("shadow_failed", "Calls in which the other build failed", |found| found.failed),
        ];
        for (name, help, value) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for of in &found {
                ConstCounter::new(value(of)).encode(family.encode_family(&ViewLabel { view: of.view.clone() })?)?;
            }
        }
        let help = "Values that two builds of a plugin computed differently";
        let mut family = encoder.encode_descriptor("shadow_differing_values", help, None, kind)?;
        for of in &found {
            for feature in &of.features {
                let labels = FeatureLabels { view: of.view.clone(), feature: feature.feature.clone() };
                ConstCounter::new(feature.differ).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
