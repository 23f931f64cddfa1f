//! The conformance harness: is a plugin what the gateway relies on?
//!
//! It runs a component through the stage itself, the way every flow does, over golden cases that its author wrote and
//! over rows that its signature asks for, and looks whether anything but the rows shows in the answers: how they are
//! cut, in which order they come, what the instance has seen before, what else runs. It knows no files: `app` reads
//! golden cases, `cli` prints reports.
//!
//! # Why not trust the author's tests
//! They test a function. What drifts is state between calls, a value that a row leaves for its neighbour, a null slot
//! that is read, memory that is never freed: none of it shows in a test of one call.

mod golden;
mod report;

use crate::error::ErrorKind;

pub use golden::{Case, ReadRows, RefusedRow};
pub use report::{Check, FuelBudget, Measured, Report, Timed, Verdict, report_beside};

/// Why a plugin could not be examined at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("golden case {case}: {detail}")]
    Case { case: String, detail: String },
    #[error(transparent)]
    Transform(#[from] super::Error),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Case { .. } => ErrorKind::Invalid,
            Self::Transform(error) => error.kind(),
        }
    }
}
