//! What the audit of purity found of each plugin, printed whenever somebody looks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::transform::Transforms;

#[derive(Debug)]
pub(super) struct Purity(pub Arc<Transforms>);

/// Plugins are those of applied definitions.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

impl Collector for Purity {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let audited = self.0.audited();
        if audited.is_empty() {
            return Ok(());
        }
        let labelled = || audited.iter().map(|of| (PluginLabel { plugin: of.plugin.clone() }, of));
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Calls of a plugin that were run again on a fresh instance";
        let mut family = encoder.encode_descriptor("plugin_compared", help, None, kind)?;
        for (label, of) in labelled() {
            ConstCounter::new(of.compared).encode(family.encode_family(&label)?)?;
        }
        let help = "Of these, calls that gave other bytes; anything above zero is an alarm";
        let mut family = encoder.encode_descriptor("plugin_impure", help, None, kind)?;
        for (label, of) in labelled() {
            ConstCounter::new(of.impure).encode(family.encode_family(&label)?)?;
        }
        let kind = ConstGauge::new(0_u64).metric_type();
        let help = "Builds of a plugin that get a fresh instance for each call, because they were caught";
        let mut family = encoder.encode_descriptor("plugin_quarantined", help, None, kind)?;
        for (label, of) in labelled() {
            ConstGauge::new(of.quarantined).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}
