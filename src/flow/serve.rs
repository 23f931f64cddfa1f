//! A request is answered: plan, read what is stored, compute what is derived.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};

use super::{Error, Selection};
use crate::clock::{Deadline, Micros};
use crate::gateway::{Applied, Gateway};
use crate::plan::FeaturePlan;

/// A question whose plan is made. It says which columns must come with it (`plan.inputs`) and holds on to the
/// definitions it was planned with, so an `apply` in between cannot mix two versions in one answer.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub applied: Arc<Applied>,
    pub plan: Arc<FeaturePlan>,
}

/// What a cell of an answer is, in Feast's words and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Present = 1,
    NullValue = 2,
    NotFound = 3,
    OutsideMaxAge = 4,
}

/// What is known of one view's row, for every row of the answer; shared by the columns of the view.
#[derive(Clone, Debug)]
pub struct ViewRows {
    /// `Present`, `NotFound` or `OutsideMaxAge`, by row.
    pub status: Vec<Status>,
    /// Null where no row was found and for derived views.
    pub event_time: TimestampMicrosecondArray,
}

/// One feature of an answer.
#[derive(Clone, Debug)]
pub struct AnswerColumn {
    pub values: ArrayRef,
    pub rows: Arc<ViewRows>,
}

/// The answer: one row per asked row, in their order; one column per output of the plan, in its order.
#[derive(Clone, Debug)]
pub struct Answer {
    pub prepared: Prepared,
    pub rows: usize,
    /// The columns that came with the question, in the order of `plan.inputs`.
    pub inputs: Vec<ArrayRef>,
    pub columns: Vec<AnswerColumn>,
    pub as_of: Micros,
}

impl AnswerColumn {
    pub fn status(&self, row: usize) -> Status {
        match self.rows.status[row] {
            Status::Present if self.values.is_null(row) => Status::NullValue,
            other => other,
        }
    }
}

impl Answer {
    /// The answer as Arrow: the join keys, then the features. The schema's metadata says with which definitions and
    /// transforms it was made (`lockstep.version`, `lockstep.as_of`, `lockstep.digest.<view>`).
    pub fn batch(&self) -> RecordBatch {
        todo!()
    }
}

/// Plans a question, or finds its plan.
pub fn prepare(gateway: &Gateway, selection: &Selection) -> Result<Prepared, Error> {
    let _ = (gateway, selection);
    todo!()
}

/// Answers a prepared question. `inputs` are in the order and of the types of `plan.inputs`; a request field that the
/// caller left out is a column of nulls. `as_of` is the time asked about, now if the caller names none.
pub async fn serve(
    gateway: &Gateway,
    prepared: Prepared,
    inputs: Vec<ArrayRef>,
    rows: usize,
    as_of: Option<Micros>,
    deadline: Deadline,
) -> Result<Answer, Error> {
    let _ = (gateway, prepared, inputs, rows, as_of, deadline);
    todo!()
}
