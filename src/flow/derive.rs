//! Runs the derivations of a plan over the columns that are there already: the middle of all four flows.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::zip::zip;

use super::Error;
use crate::batch::{StoredRows, null_where_not};
use crate::clock::Deadline;
use crate::gateway::Gateway;
use crate::limits::DERIVE_INLINE_ROWS_MAX;
use crate::plan::{AsOf, ColumnRef, Derivation};
use crate::transform::Transforms;

/// The columns of one batch of rows while its features are computed.
#[derive(Clone, Debug)]
pub struct Working {
    pub rows: usize,
    /// The time asked about, by row: timestamp µs UTC, never null.
    pub as_of: ArrayRef,
    pub inputs: Vec<ArrayRef>,
    pub stored: Vec<StoredRows>,
    /// The outputs of each derivation that has run.
    pub derived: Vec<Vec<ArrayRef>>,
}

impl Working {
    pub fn column(&self, column: ColumnRef) -> &ArrayRef {
        match column {
            ColumnRef::Input(input) => &self.inputs[input],
            ColumnRef::Stored { read, column } => &self.stored[read].columns[column],
            ColumnRef::Derived { derivation, output } => &self.derived[derivation][output],
        }
    }

    /// In which rows at least one of these reads found something.
    pub fn any_present(&self, reads: &[usize]) -> BooleanBuffer {
        let mut present = self.stored[reads[0]].present.clone();
        for read in &reads[1..] {
            present = &present | &self.stored[*read].present;
        }
        present
    }
}

/// Fills `working.derived`. Small batches are computed here and now; larger ones off the async threads.
pub(super) async fn derive(
    gateway: &Gateway,
    derivations: &[Derivation],
    mut working: Working,
    deadline: Deadline,
) -> Result<Working, Error> {
    if derivations.is_empty() {
        return Ok(working);
    }
    if working.rows <= DERIVE_INLINE_ROWS_MAX {
        compute(&gateway.transforms, derivations, &mut working, deadline)?;
        return Ok(working);
    }
    let (transforms, derivations) = (Arc::clone(&gateway.transforms), derivations.to_vec());
    off_the_async_threads(async move {
        compute(&transforms, &derivations, &mut working, deadline)?;
        Ok(working)
    })
    .await
}

/// Runs work that keeps a processor busy (decoding files, joining, calling plugins) where it holds up no request.
pub(super) async fn off_the_async_threads<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Handle::current();
    let working = tokio::task::spawn_blocking(move || runtime.block_on(work));
    working.await.map_err(|error| Error::Stopped(error.to_string()))?
}

fn compute(
    transforms: &Transforms,
    derivations: &[Derivation],
    working: &mut Working,
    deadline: Deadline,
) -> Result<(), Error> {
    for derivation in derivations {
        if deadline.has_passed() {
            return Err(Error::Late("computing derived views"));
        }
        let outputs = compute_one(transforms, derivation, working, deadline)?;
        working.derived.push(outputs);
    }
    Ok(())
}

fn compute_one(
    transforms: &Transforms,
    derivation: &Derivation,
    working: &Working,
    deadline: Deadline,
) -> Result<Vec<ArrayRef>, Error> {
    let mut columns = Vec::with_capacity(derivation.inputs.len() + 1);
    if derivation.as_of != AsOf::Unused {
        columns.push(as_of(derivation, working)?);
    }
    columns.extend(derivation.inputs.iter().map(|column| Arc::clone(working.column(*column))));
    let applied = transforms
        .apply(&derivation.transform, &columns, working.rows, deadline)
        .map_err(|source| Error::Transform { view: derivation.view.name.clone(), source })?;
    let outputs = applied.rows.columns();
    if derivation.needs_any_of.is_empty() {
        return Ok(outputs.to_vec());
    }
    let present = working.any_present(&derivation.needs_any_of);
    if present.count_set_bits() == working.rows {
        return Ok(outputs.to_vec());
    }
    Ok(outputs.iter().map(|column| null_where_not(column, &present)).collect())
}

/// The `as_of` column. A row whose view has no event time gets the asked time: its outputs are nulled in any case.
fn as_of(derivation: &Derivation, working: &Working) -> Result<ArrayRef, Error> {
    match derivation.as_of {
        AsOf::Unused | AsOf::Asked => Ok(Arc::clone(&working.as_of)),
        AsOf::EventTime { read } => {
            let event_time: ArrayRef = Arc::new(working.stored[read].event_time.clone());
            if event_time.null_count() == 0 {
                return Ok(event_time);
            }
            let known = BooleanArray::new(
                event_time.nulls().map_or_else(|| BooleanBuffer::new_set(working.rows), |nulls| nulls.inner().clone()),
                None,
            );
            zip(&known, &event_time, &working.as_of).map_err(|error| Error::Stopped(error.to_string()))
        }
    }
}
