//! Fuel that was seen, and the budget that is made of it.

use super::report::FuelBudget;
use crate::limits::FUEL_BUDGET_MIN;

/// How far above the most that was seen a budget is: room for values that nobody tried, and none for an endless loop.
const ROOM: u64 = 4;

/// The most fuel of calls, kept apart by what grows with the rows.
#[derive(Clone, Debug, Default)]
pub struct FuelSeen {
    /// `bind`, and calls without rows.
    pub per_call_max: u64,
    calls: Vec<(u64, usize)>,
}

impl FuelSeen {
    pub fn bind(&mut self, fuel: u64) {
        self.per_call_max = self.per_call_max.max(fuel);
    }

    pub fn call(&mut self, fuel: u64, rows: usize) {
        match rows {
            0 => self.per_call_max = self.per_call_max.max(fuel),
            rows => self.calls.push((fuel, rows)),
        }
    }

    /// The most that a row added to a call.
    pub fn per_row_max(&self) -> u64 {
        let rows = self.calls.iter();
        rows.map(|(fuel, rows)| fuel.saturating_sub(self.per_call_max).div_ceil(*rows as u64)).max().unwrap_or(0)
    }

    pub fn budget(&self) -> FuelBudget {
        let budget = |seen: u64| seen.saturating_mul(ROOM).max(FUEL_BUDGET_MIN);
        FuelBudget { per_call: budget(self.per_call_max), per_row: budget(self.per_row_max()) }
    }
}
