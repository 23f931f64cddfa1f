//! What one guest may use: memory by a limiter, instructions by fuel, time by epochs; and the verdict when it used more.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Store, Trap};

use crate::clock::Deadline;
use crate::limits::{
    FRAME_BYTES_MAX, PLUGIN_LARGE_FUEL_TIMES, PLUGIN_LARGE_MEMORY_BYTES_MAX, PLUGIN_TABLE_ELEMENTS_MAX,
};

use super::conformance::FuelBudget;
use super::error::Fault;
use super::{Reuse, Settings};

/// One epoch; the thread in `engine.rs` counts them.
pub const EPOCH: Duration = Duration::from_millis(1);

/// What a project allows one plugin; where it says nothing, what holds for all plugins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginLimits {
    pub memory_bytes_max: Option<usize>,
    pub fuel_per_call: Option<u64>,
    pub fuel_per_row: Option<u64>,
    pub call_time_max: Option<Duration>,
    pub output_bytes_max: Option<usize>,
    pub reuse: Reuse,
}

/// What one plugin may use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes_max: usize,
    pub fuel_per_call: u64,
    pub fuel_per_row: u64,
    /// To start, to describe itself, to be bound: nobody measures that in a plugin's tests.
    pub fuel_of_setup: u64,
    pub call_time_max: Duration,
    pub output_bytes_max: usize,
    /// Whether an instance is used for more than one call.
    pub is_warm: bool,
}

impl Limits {
    /// What the project says of the plugin goes before what its tests measured, and that before what holds for all. A
    /// report of tests comes with the plugin and nobody signed it, so it can take away and not give.
    pub fn of(settings: &Settings, is_large: bool, own: PluginLimits, measured: Option<FuelBudget>) -> Self {
        let (memory_bytes_max, fuel_times) = match is_large {
            true => (settings.memory_bytes_max.max(PLUGIN_LARGE_MEMORY_BYTES_MAX), PLUGIN_LARGE_FUEL_TIMES),
            false => (settings.memory_bytes_max, 1),
        };
        let usual = [settings.fuel_per_call, settings.fuel_per_row].map(|fuel| fuel.saturating_mul(fuel_times));
        let [per_call, per_row] =
            measured.map_or(usual, |measured| [measured.per_call.min(usual[0]), measured.per_row.min(usual[1])]);
        let reuse = if own.reuse == Reuse::BySize { settings.reuse } else { own.reuse };
        Self {
            memory_bytes_max: own.memory_bytes_max.unwrap_or(memory_bytes_max),
            fuel_per_call: own.fuel_per_call.unwrap_or(per_call),
            fuel_of_setup: usual[0].max(own.fuel_per_call.unwrap_or(0)),
            fuel_per_row: own.fuel_per_row.unwrap_or(per_row),
            call_time_max: own.call_time_max.unwrap_or(settings.call_time_max),
            output_bytes_max: own.output_bytes_max.unwrap_or(FRAME_BYTES_MAX).min(FRAME_BYTES_MAX),
            is_warm: match reuse {
                Reuse::Always => true,
                Reuse::Never => false,
                Reuse::BySize => is_large,
            },
        }
    }
}

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
    memory_bytes_max: usize,
    pub output_bytes_max: usize,
}

impl Usage {
    pub fn new(limits: &Limits) -> Self {
        Self { memory_bytes_max: limits.memory_bytes_max, memory_bytes: 0, denied: false }
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
    pub fn new(limits: &Limits, rows: usize, deadline: Deadline) -> Self {
        Self {
            fuel: limits.fuel_per_call.saturating_add(limits.fuel_per_row.saturating_mul(rows as u64)),
            limit_ms: limits.call_time_max.min(deadline.remaining()).as_millis() as u64,
            memory_bytes_max: limits.memory_bytes_max,
            output_bytes_max: limits.output_bytes_max,
        }
    }

    /// For a call that is not about rows: to start, to describe itself, to be bound.
    pub fn without_rows(limits: &Limits) -> Self {
        Self {
            fuel: limits.fuel_of_setup,
            limit_ms: limits.call_time_max.as_millis() as u64,
            memory_bytes_max: limits.memory_bytes_max,
            output_bytes_max: FRAME_BYTES_MAX,
        }
    }

    /// Begins a call: fills the fuel, winds the epoch, and bounds the bytes that the guest may hand over.
    pub fn grant(self, store: &mut Store<Usage>) -> Result<(), Fault> {
        let usage = store.data_mut();
        usage.denied = false;
        usage.memory_bytes_max = self.memory_bytes_max;
        // Bytes that the guest may hand over: its answer, and as much again for row errors.
        store.set_hostcall_fuel(2 * self.output_bytes_max);
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
                Fault::OutputTooLarge { max: self.output_bytes_max }
            }
            None => Fault::Trap(error.root_cause().to_string()),
        }
    }
}
