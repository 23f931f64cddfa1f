//! One guest in the hand, for the conformance harness and for benchmarks: they measure an instance over many calls, the
//! boundary without the Arrow columns on either side, and send frames that no host of ours would write. Everything else
//! goes through `call.rs`.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::catalog::{Field, Transform};
use crate::clock::Deadline;
use crate::limits::FRAME_BYTES_MAX;

use super::frame::{self, Column};
use super::instance::Instance;
use super::limits::Budget;
use super::pool::Pool;
use super::{Error, Fault, Transforms, cache, call};

/// An instance that belongs to its holder: bound, and used for nothing else.
pub struct Guest {
    pool: Arc<Pool>,
    instance: Instance,
}

impl Guest {
    pub fn fresh(stage: &Transforms, transform: &Transform) -> Result<Self, Error> {
        let not_loaded = || Error::NotLoaded { plugin: transform.plugin.clone(), component: transform.component };
        let pool = stage.pools.load().get(&transform.digest).cloned().ok_or_else(not_loaded)?;
        let instance = pool.fresh(stage)?;
        Ok(Self { pool, instance })
    }

    /// The frame in which these rows would cross; nothing if they are too many bytes for one.
    pub fn frame(&self, inputs: &[ArrayRef], rows: Range<usize>) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        frame::write(&self.pool.inputs, inputs, rows, FRAME_BYTES_MAX, &mut frame).ok()?;
        Some(frame)
    }

    /// The frames in which the gateway has these rows cross, and the rows of each; none if a row is too large.
    pub fn frames(&self, inputs: &[ArrayRef], rows: usize) -> Vec<(Vec<u8>, usize)> {
        let step = call::rows_max(&self.pool);
        let parts = (0..rows).step_by(step).map(|start| start..rows.min(start + step));
        parts.map_while(|part| Some((self.frame(inputs, part.clone())?, part.len()))).collect()
    }

    /// Has the guest answer any bytes. The answer is not looked at; the fuel is told.
    pub fn call(&mut self, frame: &[u8], rows: usize) -> Result<u64, Fault> {
        let limits = self.pool.limits();
        let budget = Budget::new(&limits, rows, Deadline::after(limits.call_time_max));
        self.instance.apply(frame, budget).map(|(_, fuel)| fuel)
    }

    /// The most memory that the instance had so far.
    pub fn memory_bytes(&self) -> usize {
        self.instance.memory_bytes()
    }

    /// Fuel that was burned since the last call began; of a guest that was not called yet, by its `bind`.
    pub fn fuel_of_bind(&self) -> u64 {
        self.pool.limits().fuel_of_setup.saturating_sub(self.instance.fuel_left())
    }

    /// Whether the gateway would use an instance of this plugin again.
    pub fn is_kept_warm(&self) -> bool {
        self.pool.is_warm()
    }
}

/// The one form that equal columns have, whatever their size; nothing if they are larger than every frame can be.
pub fn canonical(fields: &[Field], arrays: &[ArrayRef], rows: Range<usize>) -> Option<Vec<u8>> {
    let columns: Option<Vec<Column>> = fields.iter().map(|field| Column::new(field.clone())).collect();
    let mut bytes = Vec::new();
    frame::write(&columns?, arrays, rows, usize::MAX, &mut bytes).ok()?;
    Some(bytes)
}

/// What compiled code depends on besides the component: the version of wasmtime, the processor, the settings.
pub fn engine_name(stage: &Transforms) -> String {
    format!("wasmtime {}", cache::engine_hash(&stage.engine))
}
