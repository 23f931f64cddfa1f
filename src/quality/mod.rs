//! Rows against what a feature view expects of them.
//!
//! Two questions are answered here, over Arrow columns and without IO. Which rows of a batch are otherwise than each row
//! should be: [`RowChecks`]. And what is to be said of all rows of a run: [`Examination`], which ends in one [`Verdict`]
//! for each expectation. What then happens (a warning, rows to a side table, an error) is `flow`'s.
//!
//! # Why quarantined rows are no rows of the view
//! A row that serving refuses and training takes is the very difference between the two that Lockstep is there to
//! prevent. Whether a row is quarantined is therefore a pure function of the row, and whoever reads the history of a view
//! leaves the same rows out.

mod rows;

mod examination;
mod verdict;

use arrow::array::StringArray;

use crate::catalog::{Expectation, FeatureView, OnFailure};

pub use examination::{Examination, Span};
pub use rows::{Failed, RowChecks};
pub use verdict::{Unmet, Verdict};

/// The features that one has to know to say whether the expectations hold that `chosen` takes, each once.
pub fn needed(view: &FeatureView, chosen: impl Fn(&Expectation) -> bool) -> Vec<&str> {
    let mut needed: Vec<&str> = Vec::new();
    for expectation in view.expectations.iter().filter(|expectation| chosen(expectation)) {
        needed.extend(expectation.check.feature().filter(|feature| !needed.contains(feature)));
    }
    needed
}

/// Whether an expectation takes rows away.
pub fn quarantines(expectation: &Expectation) -> bool {
    expectation.on_failure == OnFailure::Quarantine
}

/// Why each of `rows` is quarantined: the names of the expectations that it is not up to.
pub fn reasons(view: &FeatureView, failed: &[Failed], rows: impl Iterator<Item = usize>) -> StringArray {
    let names: Vec<String> = view.expectations.iter().map(Expectation::name).collect();
    let reason = |row: usize| {
        let failed = failed.iter().filter(|failed| quarantines(&view.expectations[failed.expectation]));
        let failed = failed.filter(|failed| failed.rows.value(row)).map(|failed| names[failed.expectation].as_str());
        failed.collect::<Vec<_>>().join(", ")
    };
    rows.map(|row| Some(reason(row))).collect()
}
