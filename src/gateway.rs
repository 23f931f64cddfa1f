//! What a flow may use: the applied definitions, the stores, the transforms and the clock.

mod swaps;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::datatypes::SchemaRef;

use crate::catalog::{Catalog, Selection, Split};
use crate::clock::Clock;
use crate::limits;
use crate::metrics::Metrics;
use crate::offline::OfflineStore;
use crate::online::OnlineStore;
use crate::pit::Space;
use crate::plan::{FeaturePlan, Notice};
use crate::registry::Registry;
use crate::request_log::RequestLog;
use crate::shadow::Shadows;
use crate::transform::Transforms;

pub use self::swaps::{Asked, Error as SwapError, OnNow, Refused, Swaps};

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
    pub syncing: Syncing,
    /// The versions before, and what keeps the next one from being on.
    pub swaps: Swaps,
    /// What runs beside the answers, for comparison.
    pub shadows: Arc<Shadows>,
    /// What is logged of the requests that are served; nothing until it is opened.
    pub request_log: Arc<RequestLog>,
}

/// How syncs run in this process.
#[derive(Clone, Debug)]
pub struct Syncing {
    /// The folder in which each run puts aside what it has read. Made when it is needed.
    pub spool: PathBuf,
    /// Memory for the rows of one run; beyond it they are put aside.
    pub memory_bytes: usize,
    /// How much work an interruption may cost: after this time what is done is made durable.
    pub checkpoint_every: Duration,
    /// Files of a source that are read as one, so that going on after an interruption begins with a file.
    pub slice_bytes: u64,
    /// Asks every run to stop.
    pub stop: Stop,
}

/// Asks something that takes long to end early, in good order. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

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
    /// The fingerprint of the answers' schema, in hex; see [`crate::plan::fingerprint`].
    pub fingerprint: Arc<str>,
    /// What is deprecated of that which was asked for, on whatever day.
    pub notices: Arc<[Notice]>,
    /// Where a part of the callers is answered with another service.
    pub arms: Option<Arc<Arms>>,
}

/// The two services between which the callers of one are divided.
#[derive(Clone, Debug)]
pub struct Arms {
    /// The one that is asked for.
    pub service: Arc<str>,
    pub split: Split,
    /// The place of the value that decides among the inputs, which are those of both.
    pub by: usize,
    /// The other one, under the same names of columns.
    pub other: Planned,
}

impl Applied {
    pub fn new(catalog: Catalog, version: u64) -> Self {
        Self { catalog, version, plans: Mutex::default() }
    }
}

impl Syncing {
    /// With the usual bounds.
    pub fn in_folder(spool: PathBuf) -> Self {
        Self {
            spool,
            memory_bytes: limits::SYNC_MEMORY_BYTES,
            checkpoint_every: limits::SYNC_CHECKPOINT_EVERY,
            slice_bytes: limits::SYNC_SLICE_BYTES,
            stop: Stop::default(),
        }
    }
}

impl Stop {
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
