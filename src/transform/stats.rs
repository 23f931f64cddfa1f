//! What the stage counts; `metrics` reads it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Fault, FaultKind};

/// Counters since the start, over all plugins.
#[derive(Debug, Default)]
pub struct Stats {
    /// Calls of `apply` in a guest, one for each chunk of rows.
    pub calls: AtomicU64,
    pub rows: AtomicU64,
    pub row_errors: AtomicU64,
    pub fuel: AtomicU64,
    pub instances_created: AtomicU64,
    /// Warm instances that were replaced because of their calls or their memory.
    pub instances_recycled: AtomicU64,
    /// Calls that were run again on a fresh instance, and those whose answers differed.
    pub compared: AtomicU64,
    pub impure: AtomicU64,
    pub compiled: AtomicU64,
    pub cache_hits: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
}

impl Stats {
    pub fn faults(&self, kind: FaultKind) -> u64 {
        self.faults[kind as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count_fault(&self, fault: &Fault) {
        add(&self.faults[fault.kind() as usize], 1);
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
