//! The section `audit`: how plugins are watched for purity while they run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::PLUGIN_COMPARE_ONE_IN;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuditFile {
    /// Of the calls of plugin instances that are used more than once, the share that is run again on a fresh instance and
    /// compared byte for byte; 0 compares none.
    #[serde(default = "share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
    /// What becomes of a plugin whose answers differ. The fresh answer counts in any case.
    #[serde(default)]
    pub on_impure: OnImpureFile,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnImpureFile {
    /// The log and a metric say it.
    Warn,
    /// It gets a fresh instance for each call from then on, in which there is nothing to remember.
    #[default]
    Quarantine,
}

impl Default for AuditFile {
    fn default() -> Self {
        Self { share: share(), on_impure: OnImpureFile::default() }
    }
}

fn share() -> f64 {
    1.0 / f64::from(PLUGIN_COMPARE_ONE_IN)
}
