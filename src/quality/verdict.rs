//! What came of an expectation, for reports, records and errors.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{Expectation, OnFailure};

/// One expectation after a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdict {
    /// Its name within the view, such as `fare.range`.
    pub expectation: String,
    /// What is expected, in words.
    pub expects: String,
    /// `warn`, `quarantine` or `fail`.
    pub on_failure: &'static str,
    pub holds: bool,
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows that are otherwise; 1 where what is expected of all rows together does not hold.
    pub failed: u64,
    /// What was found, in words.
    pub found: String,
    /// Some of the rows that are otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// Something that must hold does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unmet {
    pub view: String,
    pub verdicts: Vec<Verdict>,
}

impl Verdict {
    pub(super) fn new(expectation: &Expectation, rows: u64, failed: u64, examples: Vec<String>) -> Self {
        Self {
            expectation: expectation.name(),
            expects: expectation.check.to_string(),
            on_failure: expectation.on_failure.name(),
            holds: true,
            rows,
            failed,
            found: String::new(),
            examples,
        }
    }

    fn must_hold(&self) -> bool {
        self.on_failure == OnFailure::Fail.name()
    }
}

impl Unmet {
    /// Whatever has to stop a run of the view.
    pub fn among(view: &str, verdicts: &[Verdict]) -> Result<(), Self> {
        let unmet: Vec<Verdict> =
            verdicts.iter().filter(|verdict| !verdict.holds && verdict.must_hold()).cloned().collect();
        if unmet.is_empty() { Ok(()) } else { Err(Self { view: view.to_owned(), verdicts: unmet }) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expectation {} ({}): {}", self.expectation, self.expects, self.found)?;
        match self.examples.as_slice() {
            [] => Ok(()),
            examples => write!(f, "; such as {}", examples.join("; ")),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unmet: Vec<String> = self.verdicts.iter().map(ToString::to_string).collect();
        write!(f, "nothing was written to feature view {}: {}", self.view, unmet.join(". "))
    }
}
