//! Whether plugins are pure while they run: a share of the calls of warm instances is run again on a fresh one and
//! compared, byte by byte. Counted by the plugin's name over all of its builds; a verdict is about one build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::catalog::Digest;

/// What becomes of a plugin that was caught. In any case its instance is dropped, and the fresh answer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnImpure {
    /// The metric and the log say it, and nothing else happens.
    Warn,
    /// It gets a fresh instance for each call from now on, in which there is nothing to remember: its answers are right,
    /// and cost more. Until another build of it is applied, or the process begins anew.
    #[default]
    Quarantine,
}

/// The audits of all plugins that were ever loaded, by name.
#[derive(Debug, Default)]
pub(super) struct Audits(Mutex<BTreeMap<String, Arc<Audit>>>);

/// The audit of one plugin.
#[derive(Debug, Default)]
pub(super) struct Audit {
    warm_calls: AtomicU64,
    compared: AtomicU64,
    impure: AtomicU64,
    quarantined: Mutex<BTreeSet<Digest>>,
}

/// What was found out about one plugin so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    pub plugin: String,
    /// Calls that were run again.
    pub compared: u64,
    /// Of these, calls whose answers differed.
    pub impure: u64,
    /// Builds that get fresh instances only.
    pub quarantined: u64,
}

impl Audits {
    pub fn of(&self, plugin: &str) -> Arc<Audit> {
        let mut audits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(audits.entry(plugin.to_owned()).or_default())
    }

    /// By plugin, those of which anything was compared.
    pub fn found(&self) -> Vec<Audited> {
        let audits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |(plugin, audit): (&String, &Arc<Audit>)| Audited {
            plugin: plugin.clone(),
            compared: audit.compared.load(Ordering::Relaxed),
            impure: audit.impure.load(Ordering::Relaxed),
            quarantined: audit.quarantined().len() as u64,
        };
        audits.iter().map(found).filter(|audited| audited.compared > 0).collect()
    }
}

impl Audit {
    /// Whether this call of a warm instance is one of those that are compared: one in so many, none for 0.
    pub fn is_due(&self, one_in: u32) -> bool {
        one_in > 0 && (self.warm_calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(u64::from(one_in))
    }

    pub fn passed(&self) {
        self.compared.fetch_add(1, Ordering::Relaxed);
    }

    pub fn caught(&self, component: Digest, on_impure: OnImpure) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.impure.fetch_add(1, Ordering::Relaxed);
        if on_impure == OnImpure::Quarantine {
            self.quarantined().insert(component);
        }
    }

    pub fn is_quarantined(&self, component: &Digest) -> bool {
        self.quarantined().contains(component)
    }

    fn quarantined(&self) -> std::sync::MutexGuard<'_, BTreeSet<Digest>> {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
