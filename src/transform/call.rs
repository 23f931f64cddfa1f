//! One application of a transform: rows are cut into frames, each frame is one call of a guest, the answers are put
//! together. Every flow comes through here.

use std::cell::RefCell;
use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tracing::error;

use crate::catalog::{Digest, NullPolicy};
use crate::clock::Deadline;
use crate::limits::{FRAME_BYTES_GOAL, FRAME_BYTES_MAX, FRAME_ROWS_MAX};

use super::frame::{self, Refused};
use super::instance::Instance;
use super::limits::Budget;
use super::pool::Pool;
use super::refusals::Refusals;
use super::wit;
use super::{Applied, Error, Fault, Transforms, stats};

thread_local! {
    /// The frame that is sent; kept, because a fresh one of some MiB costs more in page faults than its filling.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why some rows could not be computed in one call.
enum Stopped {
    /// The frame, or the answer, is too large for one call; half the rows may fit.
    TooLarge(Error),
    Failed(Error),
}

/// One application under way.
struct Call<'a> {
    stage: &'a Transforms,
    pool: &'a Pool,
    inputs: &'a [ArrayRef],
    deadline: Deadline,
    refusals: Refusals,
    fuel: u64,
}

pub fn apply(
    stage: &Transforms,
    pool: &Pool,
    inputs: &[ArrayRef],
    rows: usize,
    deadline: Deadline,
) -> Result<Applied, Error> {
    check_inputs(pool, inputs, rows)?;
    let mut call = Call { stage, pool, inputs, deadline, refusals: Refusals::default(), fuel: 0 };
    let rows_max = rows_max(pool);
    let mut answers = Answers::new(&pool.schema, rows);
    let (mut start, mut wanted) = (0, rows_max);
    while start < rows {
        let end = rows.min(start + wanted);
        match call.rows(start..end) {
            Ok(columns) => {
                let pushed = answers.push(columns, end - start);
                pushed.map_err(|error| call.at_fault(Fault::BadOutput(error.to_string())))?;
                (start, wanted) = (end, rows_max);
            }
            Err(Stopped::TooLarge(_)) if end - start > 1 => wanted = (end - start) / 2,
            Err(Stopped::TooLarge(error) | Stopped::Failed(error)) => return Err(error),
        }
    }
    if call.refusals.count > 0 {
        stats::add(&stage.stats.row_errors, call.refusals.count as u64);
    }
    let rows = answers.joined();
    Ok(Applied { rows, errors: call.refusals.kept, error_count: call.refusals.count, fuel: call.fuel })
}

impl Call<'_> {
    /// One call of a guest; its outputs. The instance goes back to the pool only after an answer without a fault.
    fn rows(&mut self, rows: Range<usize>) -> Result<Vec<ArrayRef>, Stopped> {
        let (pool, stage) = (self.pool, self.stage);
        let (applied, instance) = FRAME.with_borrow_mut(|frame| {
            frame::write(&pool.inputs, self.inputs, rows.clone(), FRAME_BYTES_MAX, frame)
                .map_err(|refused| self.not_writable(refused, rows.start))?;
            self.guest(frame, rows.len())
        })?;
        let kept = self.kept(rows.clone());
        let kept = self.refusals.add(&applied.errors, rows.clone(), kept).map_err(|fault| self.failed(fault))?;
        let columns = frame::read(&pool.outputs, applied.frame, rows.len(), kept.as_ref());
        let columns = columns.map_err(|bad| self.failed(bad.into()))?;
        if let Some(instance) = instance {
            pool.give_back(stage, instance);
        }
        stats::add(&stage.stats.rows, rows.len() as u64);
        Ok(columns)
    }

    /// Has a guest answer a frame.
    fn guest(&mut self, frame: &[u8], rows: usize) -> Result<(wit::Applied, Option<Instance>), Stopped> {
        let (pool, stage) = (self.pool, self.stage);
        if self.deadline.has_passed() {
            return Err(Stopped::Failed(Error::Late { plugin: pool.name().to_owned() }));
        }
        let mut instance = pool.take(stage).map_err(Stopped::Failed)?;
        let budget = Budget::new(&pool.limits(), rows, self.deadline);
        let (applied, fuel) = instance.apply(frame, budget).map_err(|fault| self.failed(fault))?;
        self.fuel += fuel;
        stats::add(&stage.stats.fuel, fuel);
        stats::add(&stage.stats.calls, 1);
        match pool.is_warm() && pool.plugin().audit.is_due(stage.settings.compare_one_in) {
            true => self.compared(frame, budget, applied, instance),
            false => Ok((applied, Some(instance))),
        }
    }

    /// Runs the call again on a fresh instance. Where the answers differ the warm instance has remembered something: it
    /// is dropped, and the fresh answer is the one that counts, because it depends on the rows alone.
    fn compared(
        &self,
        frame: &[u8],
        budget: Budget,
        warm: wit::Applied,
        instance: Instance,
    ) -> Result<(wit::Applied, Option<Instance>), Stopped> {
        let (pool, stage) = (self.pool, self.stage);
        // Without a free slot, or without the time for a second run, the comparison waits for a later call.
        let Ok(mut fresh) = pool.fresh(stage) else { return Ok((warm, Some(instance))) };
        let answer = match fresh.apply(frame, budget) {
            Ok((answer, _)) => answer,
            Err(Fault::Deadline { .. }) => return Ok((warm, Some(instance))),
            Err(fault) => return Err(self.failed(fault)),
        };
        stats::add(&stage.stats.compared, 1);
        if answer == warm {
            pool.plugin().audit.passed();
            return Ok((warm, Some(instance)));
        }
        stats::add(&stage.stats.impure, 1);
        pool.plugin().caught(stage.settings.on_impure);
        let (digest, frame) = (pool.transform.digest, Digest::of(frame));
        error!(plugin = pool.name(), %digest, %frame, "a plugin is impure: a used instance answers otherwise than a fresh one");
        Ok((answer, None))
    }

    /// The rows whose outputs are not null for certain: nulls propagate, and a column that takes no null has none.
    fn kept(&mut self, rows: Range<usize>) -> Option<BooleanBuffer> {
        let propagates = self.pool.transform.signature.nulls == NullPolicy::Propagate;
        let mut kept: Option<NullBuffer> = None;
        for (column, array) in self.pool.inputs.iter().zip(self.inputs) {
            let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else { continue };
            let nulls = nulls.slice(rows.start, rows.len());
            if !column.field.nullable {
                self.refusals.add_nulls(&column.field.name, &nulls, rows.start);
            }
            if propagates || !column.field.nullable {
                kept = NullBuffer::union(kept.as_ref(), Some(&nulls));
            }
        }
        kept.filter(|kept| kept.null_count() > 0).map(|kept| kept.inner().clone())
    }

    fn at_fault(&self, fault: Fault) -> Error {
        Error::Fault { plugin: self.pool.name().to_owned(), fault }
    }

    fn failed(&self, fault: Fault) -> Stopped {
        let is_too_large = matches!(fault, Fault::OutputTooLarge { .. });
        let error = self.at_fault(fault);
        if is_too_large { Stopped::TooLarge(error) } else { Stopped::Failed(error) }
    }

    fn not_writable(&self, refused: Refused, row: usize) -> Stopped {
        let plugin = self.pool.name().to_owned();
        match refused {
            Refused::TooLarge => Stopped::TooLarge(Error::RowTooLarge { plugin, row, max: FRAME_BYTES_MAX }),
            Refused::NullItem { column } => {
                let column = &self.pool.inputs[column].field.name;
                let detail = format!("a list in column {column} has a null among its items");
                Stopped::Failed(Error::WrongInput { plugin, detail })
            }
        }
    }
}

/// Rows of one call: as many as make frames that cost little to forget.
pub fn rows_max(pool: &Pool) -> usize {
    let row_bytes = |columns: &[frame::Column]| columns.iter().map(frame::Column::row_bytes_min).sum::<usize>();
    let row_bytes = row_bytes(&pool.inputs).max(row_bytes(&pool.outputs));
    FRAME_BYTES_GOAL.checked_div(row_bytes).map_or(FRAME_ROWS_MAX, |rows| rows.clamp(1, FRAME_ROWS_MAX))
}

fn check_inputs(pool: &Pool, columns: &[ArrayRef], rows: usize) -> Result<(), Error> {
    let wrong = |detail| Error::WrongInput { plugin: pool.name().to_owned(), detail };
    if columns.len() != pool.inputs.len() {
        return Err(wrong(format!("{} columns instead of {}", columns.len(), pool.inputs.len())));
    }
    for (column, array) in pool.inputs.iter().zip(columns) {
        if array.len() != rows {
            return Err(wrong(format!("{} has {} rows instead of {rows}", column.field.name, array.len())));
        }
        if !column.fits(array.data_type()) {
            let (name, dtype, is) = (&column.field.name, column.field.dtype, array.data_type());
            return Err(wrong(format!("{name} is {is}, the plugin reads {dtype}")));
        }
    }
    Ok(())
}

/// The answers of all calls, one below the other. Where there are several each is copied to its place while it is still
/// in the caches: kept until the end, a batch of many columns would be read from memory once more.
struct Answers {
    schema: SchemaRef,
    rows: usize,
    whole: Option<RecordBatch>,
    parts: Option<BatchCoalescer>,
}

impl Answers {
    fn new(schema: &SchemaRef, rows: usize) -> Self {
        Self { schema: SchemaRef::clone(schema), rows, whole: None, parts: None }
    }

    fn push(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<(), ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let answer = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?;
        if rows == self.rows {
            self.whole = Some(answer);
            return Ok(());
        }
        let parts = self.parts.get_or_insert_with(|| BatchCoalescer::new(SchemaRef::clone(&self.schema), self.rows));
        parts.push_batch(answer)
    }

    /// The answers have as many rows as were asked for by now, or nobody asks.
    fn joined(self) -> RecordBatch {
        let parts = || self.parts.and_then(|mut parts| parts.next_completed_batch());
        self.whole.or_else(parts).unwrap_or_else(|| RecordBatch::new_empty(self.schema))
    }
}
