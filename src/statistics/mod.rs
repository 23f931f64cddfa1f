//! Statistics of columns: how many values, how many of them null or distinct, where they lie, which are frequent.
//!
//! [`Profile`] takes batches and ends in one [`ColumnStatistics`] for each column. It looks at every value once, keeps a
//! bounded amount of memory for each column whatever comes, and knows nothing of where rows come from. What it cannot say
//! exactly within that memory it estimates, and says by what: distinct values by HyperLogLog ([`distinct`]), quantiles
//! and histograms by a sketch ([`quantiles`]), frequent values by Misra and Gries ([`frequent`]).
//!
//! # Why not DataFusion's approximate aggregates
//! They answer one question each, in a query; here a dozen questions about two hundred columns are one pass, also over
//! rows that come from no table. And each of our estimates carries the bound of its own error, which theirs do not.

mod column;
mod numbers;
mod report;

pub mod distinct;
mod frequent;
mod quantiles;

use arrow::array::ArrayRef;

use self::column::Column;
use crate::catalog::Field;

pub use numbers::{Numbers, Summary};
pub use report::{ColumnStatistics, Histogram, HistogramBin, Method, QuantileShown, Spread, TopValue};

/// Statistics of some columns, so far.
#[derive(Debug)]
pub struct Profile {
    columns: Vec<Column>,
    rows: u64,
}

impl Profile {
    pub fn new(fields: &[Field]) -> Self {
        Self { columns: fields.iter().cloned().map(Column::new).collect(), rows: 0 }
    }

    /// The next rows. `columns` are those of the fields, in order and of their types.
    pub fn push(&mut self, columns: &[ArrayRef], rows: usize) {
        debug_assert_eq!(columns.len(), self.columns.len());
        self.rows += rows as u64;
        for (known, column) in self.columns.iter_mut().zip(columns) {
            known.push(column);
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// In the order of the fields.
    pub fn finish(self) -> Vec<ColumnStatistics> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}

#[cfg(test)]
mod tests;
