//! What one guest may use: memory by a limiter, instructions by fuel, time by epochs; and the verdict when it used more.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Store, Trap};

use crate::clock::Deadline;
use crate::limits::{FRAME_BYTES_MAX, PLUGIN_TABLE_ELEMENTS_MAX};

use super::Settings;
use super::error::Fault;

/// One epoch; the thread in `engine.rs` counts them.
pub const EPOCH: Duration = Duration::from_millis(1);

/// The host's side of one instance.
#[derive(Debug)]
pub struct Usage {
    memory_bytes_max: usize,
    /// The largest memory so far.
    pub memory_bytes: usize,
    /// The guest asked for more than it may have, in this call.
    denied: bool,
}

/// What one call may use.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub fuel: u64,
    limit_ms: u64,
}

impl Usage {
    pub fn new(settings: &Settings) -> Self {
        Self { memory_bytes_max: settings.memory_bytes_max, memory_bytes: 0, denied: false }
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes_max;
        self.denied |= !granted;
        if granted {
            self.memory_bytes = self.memory_bytes.max(desired);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= PLUGIN_TABLE_ELEMENTS_MAX)
    }
}

impl Budget {
    /// For a call with so many rows. The fuel is the same on every node; the time is the shorter of what one call may
    /// take and what is left until `deadline`.
    pub fn new(settings: &Settings, rows: usize, deadline: Deadline) -> Self {
        Self {
            fuel: settings.fuel_per_call.saturating_add(settings.fuel_per_row.saturating_mul(rows as u64)),
            limit_ms: settings.call_time_max.min(deadline.remaining()).as_millis() as u64,
        }
    }

    /// Begins a call: fills the fuel, winds the epoch, and bounds the bytes that the guest may hand over.
    pub fn grant(self, store: &mut Store<Usage>) -> Result<(), Fault> {
        store.data_mut().denied = false;
        store.set_fuel(self.fuel).map_err(|error| Fault::Trap(error.to_string()))?;
        // The current epoch has begun already, so one more than the limit is the first that is surely past it.
        store.set_epoch_deadline(self.limit_ms / EPOCH.as_millis() as u64 + 1);
        Ok(())
    }

    /// What a failed call was guilty of.
    pub fn verdict(self, error: &wasmtime::Error, usage: &Usage) -> Fault {
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Fault::Fuel { limit: self.fuel },
            Some(Trap::Interrupt) => Fault::Deadline { limit_ms: self.limit_ms },
            _ if usage.denied => Fault::Memory { limit_bytes: usage.memory_bytes_max },
            Some(trap) => Fault::Trap(trap.to_string()),
            // wasmtime keeps the type of this error to itself.
            None if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
                Fault::OutputTooLarge { max: FRAME_BYTES_MAX }
            }
            None => Fault::Trap(error.root_cause().to_string()),
        }
    }
}
