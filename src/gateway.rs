//! What a flow may use: the applied definitions, the stores, the transforms and the clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::datatypes::SchemaRef;

use crate::catalog::{Catalog, Selection};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::offline::OfflineStore;
use crate::online::OnlineStore;
use crate::pit::Space;
use crate::plan::FeaturePlan;
use crate::registry::Registry;
use crate::transform::Transforms;

/// The parts of a running gateway. `app` puts it together; flows read it.
#[derive(Debug)]
pub struct Gateway {
    /// What is applied now, swapped whole.
    pub applied: ArcSwap<Applied>,
    pub online: Arc<dyn OnlineStore>,
    pub offline: Arc<dyn OfflineStore>,
    pub transforms: Arc<Transforms>,
    pub registry: Registry,
    pub clock: Clock,
    pub metrics: Metrics,
    /// What one point-in-time join may take of memory and disk.
    pub join_space: Space,
    /// Time one serving request may take when its caller names no deadline.
    pub serve_deadline: Duration,
}

/// One applied version of the definitions, and the plans made of it so far.
#[derive(Debug)]
pub struct Applied {
    pub catalog: Catalog,
    /// The registry's number of this version; every answer carries it.
    pub version: u64,
    /// Serving plans by question, up to `PLANS_KEPT_MAX`; the questions beyond are planned each time.
    pub plans: Mutex<HashMap<Selection, Planned>>,
}

/// A plan and the schema of its answers.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Arc<FeaturePlan>,
    pub schema: SchemaRef,
    /// The transforms behind the answers, as `view=digest` with the first 12 digits, comma-separated.
    pub transforms: Arc<str>,
}

impl Applied {
    pub fn new(catalog: Catalog, version: u64) -> Self {
        Self { catalog, version, plans: Mutex::default() }
    }
}
