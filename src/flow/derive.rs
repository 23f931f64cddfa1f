//! Runs the derivations of a plan over the columns that are there already: the middle of all four flows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{filter, take};
use arrow::error::ArrowError;

use super::Error;
use crate::batch::{StoredRows, null_where_not};
use crate::clock::Deadline;
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
    /// Of each derivation that has run, the rows that need a stored row that is `unreachable`; none of them has outputs.
    pub unreachable: Vec<Option<BooleanBuffer>>,
}

impl Working {
    pub fn column(&self, column: ColumnRef) -> &ArrayRef {
        match column {
            ColumnRef::Input(input) => &self.inputs[input],
            ColumnRef::Stored { read, column } => &self.stored[read].columns[column],
            ColumnRef::Derived { derivation, output } => &self.derived[derivation][output],
        }
    }

    /// The rows in which something that this derivation reads cannot be reached.
    fn unreachable_under(&self, derivation: &Derivation) -> Option<BooleanBuffer> {
        let under = |column: &ColumnRef| match *column {
            ColumnRef::Input(_) => None,
            ColumnRef::Stored { read, .. } => self.stored[read].unreachable.as_ref(),
            ColumnRef::Derived { derivation, .. } => self.unreachable[derivation].as_ref(),
        };
        let frozen_at = match derivation.as_of {
            AsOf::EventTime { read } => self.stored[read].unreachable.as_ref(),
            AsOf::Unused | AsOf::Asked => None,
        };
        let all = derivation.inputs.iter().filter_map(under).chain(frozen_at);
        all.fold(None, |so_far: Option<BooleanBuffer>, rows| {
            Some(so_far.map_or_else(|| rows.clone(), |all| &all | rows))
        })
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
    transforms: &Arc<Transforms>,
    derivations: &[Derivation],
    mut working: Working,
    deadline: Deadline,
) -> Result<Working, Error> {
    if derivations.is_empty() {
        return Ok(working);
    }
    if working.rows <= DERIVE_INLINE_ROWS_MAX {
        compute(transforms, derivations, &mut working, deadline)?;
        return Ok(working);
    }
    let (transforms, derivations) = (Arc::clone(transforms), derivations.to_vec());
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
        let unreachable = working.unreachable_under(derivation);
        let outputs = compute_one(transforms, derivation, working, unreachable.as_ref(), deadline)?;
        working.derived.push(outputs);
        working.unreachable.push(unreachable);
    }
    Ok(())
}

fn compute_one(
    transforms: &Transforms,
    derivation: &Derivation,
    working: &Working,
    unreachable: Option<&BooleanBuffer>,
    deadline: Deadline,
) -> Result<Vec<ArrayRef>, Error> {
    let columns = columns(derivation, working)?;
    let apply = |columns: &[ArrayRef], rows: usize| {
        let applied = transforms.apply(&derivation.transform, columns, rows, deadline);
        let failed = |source| Error::Transform { view: derivation.view.name.clone(), source };
        Ok(applied.map_err(failed)?.rows.columns().to_vec())
    };
    let outputs = match unreachable {
        None => apply(&columns, working.rows)?,
        Some(unreachable) => apply_to_others(derivation, &columns, unreachable, apply)?,
    };
    if derivation.needs_any_of.is_empty() {
        return Ok(outputs);
    }
    let present = working.any_present(&derivation.needs_any_of);
    if present.count_set_bits() == working.rows {
        return Ok(outputs);
    }
    Ok(outputs.iter().map(|column| null_where_not(column, &present)).collect())
}

/// What a transform is called with.
pub(super) fn columns(derivation: &Derivation, working: &Working) -> Result<Vec<ArrayRef>, Error> {
    let mut columns = Vec::with_capacity(derivation.inputs.len() + 1);
    if derivation.as_of != AsOf::Unused {
        columns.push(as_of(derivation, working)?);
    }
    columns.extend(derivation.inputs.iter().map(|column| Arc::clone(working.column(*column))));
    Ok(columns)
}

/// Computes the rows of which everything is known and leaves the others null. A plugin never gets the others: to it they
/// would look like rows that are not there, and what it says of those is true.
fn apply_to_others(
    derivation: &Derivation,
    columns: &[ArrayRef],
    unreachable: &BooleanBuffer,
    apply: impl Fn(&[ArrayRef], usize) -> Result<Vec<ArrayRef>, Error>,
) -> Result<Vec<ArrayRef>, Error> {
    let rows = unreachable.len();
    let known = BooleanArray::new(!unreachable, None);
    if known.true_count() == 0 {
        let outputs = derivation.transform.outputs.iter();
        return Ok(outputs.map(|output| new_null_array(&output.dtype.arrow(), rows)).collect());
    }
    let stopped = |error: ArrowError| Error::Stopped(error.to_string());
    let reached: Vec<ArrayRef> =
        columns.iter().map(|column| filter(column, &known)).collect::<Result<_, _>>().map_err(stopped)?;
    let outputs = apply(&reached, known.true_count())?;
    let mut next = 0..;
    let places = UInt32Array::from_iter((0..rows).map(|row| if known.value(row) { next.next() } else { None }));
    outputs.iter().map(|output| take(output, &places, None)).collect::<Result<_, _>>().map_err(stopped)
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
