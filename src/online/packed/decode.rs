//! Packed rows become columns.
//!
//! Nothing in a row is trusted: every position is checked before it is followed, and bytes that cannot be a row of
//! their schema are reported as damaged.

use std::sync::Arc;

use arrow::array::{BooleanBufferBuilder, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;

use super::columns::Columns;
use super::schema::{Holds, Layout, RowSchema, Slot};
use super::{Damage, Header, read_u32};
use crate::batch::StoredRows;
use crate::limits::STORED_READ_BYTES_MAX;
use crate::online::{Error, OnlineView};

/// Reads the rows of a list of keys, in key order, straight into the columns of the answer.
#[derive(Debug)]
pub(crate) struct RowsDecoder<'a> {
    view: &'a OnlineView,
    /// Positions in `view.features`.
    wanted: &'a [usize],
    /// Of the view's transform; a row that another transform made is not there for the view of today.
    digest_prefix: Option<[u8; 8]>,
    /// The rows so far: the event time of each, and whether it is there.
    event_times: Vec<i64>,
    present: BooleanBufferBuilder,
    columns: Columns<'a>,
    /// Bytes of all rows so far: a bound for the positions in every column, which Arrow counts as i32.
    bytes: usize,
    /// One for each schema met so far; as a rule that is one.
    plans: Vec<Plan>,
}

/// How rows of one schema are read.
#[derive(Debug)]
struct Plan {
    schema: Arc<RowSchema>,
    /// Where each wanted column stands; none where these rows do not have it.
    slots: Vec<Option<Slot>>,
    /// Rows of other entities, from before the view's join keys changed, are not there for the view of today.
    describes_entities: bool,
}

impl<'a> RowsDecoder<'a> {
    /// `rows` is how many rows will be pushed.
    pub fn new(view: &'a OnlineView, wanted: &'a [usize], rows: usize) -> Self {
        let columns = Columns::new(wanted.iter().map(|&feature| &view.features[feature]), rows);
        Self {
            view,
            wanted,
            digest_prefix: view.digest.map(|digest| digest.prefix()),
            event_times: Vec::with_capacity(rows),
            present: BooleanBufferBuilder::new(rows),
            columns,
            bytes: 0,
            plans: Vec::new(),
        }
    }

    /// The id of the row's schema, when the decoder needs it and has not learned it yet.
    pub fn unknown_schema(&self, row: &[u8]) -> Result<Option<u64>, Error> {
        let header = Header::read(row).map_err(|damage| self.damaged(damage))?;
        Ok((!header.deleted && self.plan(header.schema_id).is_none()).then_some(header.schema_id))
    }

    pub fn learn(&mut self, schema: &Arc<RowSchema>) {
        let slots = self.wanted.iter().map(|&feature| schema.slot_of(&self.view.features[feature], feature)).collect();
        let describes_entities = schema.describes_entities_of(self.view);
        self.plans.push(Plan { schema: Arc::clone(schema), slots, describes_entities });
    }

    pub fn push_absent(&mut self) {
        self.event_times.push(0);
        self.present.append(false);
        self.columns.push_null_row();
    }

    /// Appends a row whose schema has been learned.
    pub fn push(&mut self, row: &[u8]) -> Result<(), Error> {
        self.bytes += row.len();
        if self.bytes > STORED_READ_BYTES_MAX {
            let detail =
                format!("the asked rows hold more than {STORED_READ_BYTES_MAX} bytes; ask for fewer at a time");
            return Err(Error::TooLarge { view: self.view.name.clone(), detail });
        }
        self.push_checked(row).map_err(|damage| self.damaged(damage))
    }

    /// The answer, once there is one row per key.
    pub fn finish(self) -> Result<StoredRows, Error> {
        let damaged = |(name, detail): (&str, String)| Error::Damaged {
            view: self.view.name.clone(),
            detail: format!("feature {name}: {detail}"),
        };
        let columns = self.columns.finish().map_err(damaged)?;
        let present = self.present.build();
        let event_time =
            TimestampMicrosecondArray::new(self.event_times.into(), Some(NullBuffer::new(present.clone())));
        Ok(StoredRows { present, event_time: event_time.with_timezone("UTC"), columns, unreachable: None })
    }

    fn push_checked(&mut self, row: &[u8]) -> Result<(), Damage> {
        let header = Header::read(row)?;
        if header.deleted {
            self.push_absent();
            return Ok(());
        }
        let Some(plan) = self.plan(header.schema_id) else {
            return Err(Damage(format!("its schema {:016x} is not known", header.schema_id)));
        };
        let plan = &self.plans[plan];
        let row = header.without_origin(row);
        let heap = plan.schema.layout().check(row)?;
        if !plan.describes_entities || header.digest_prefix != self.digest_prefix {
            self.push_absent();
            return Ok(());
        }
        let number = self.event_times.len();
        for (column, slot) in plan.slots.iter().enumerate() {
            match slot {
                Some(slot) if is_there(row, *slot) => {
                    let pushed = value(row, heap, *slot).and_then(|value| self.columns.push(column, number, value));
                    pushed.map_err(|detail| Damage(format!("feature {}: {detail}", self.columns.name(column))))?;
                }
                _ => self.columns.push_null(column),
            }
        }
        self.event_times.push(header.version.event_time);
        self.present.append(true);
        Ok(())
    }

    fn plan(&self, schema_id: u64) -> Option<usize> {
        self.plans.iter().position(|plan| plan.schema.id == schema_id)
    }

    fn damaged(&self, Damage(detail): Damage) -> Error {
        Error::Damaged { view: self.view.name.clone(), detail }
    }
}

impl Layout {
    /// The heap of a row, its place in a stream left out, that is exactly as long as it says it is.
    pub(super) fn check<'r>(&self, row: &'r [u8]) -> Result<&'r [u8], Damage> {
        let Some(heap) = row.get(self.heap_at..) else {
            return Err(Damage(format!("it ends after {} bytes, before its heap", row.len())));
        };
        let end = self.last_end_at.map_or(0, |at| read_u32(row, at));
        if heap.len() != end {
            return Err(Damage(format!("its heap has {} bytes, it should have {end}", heap.len())));
        }
        let spare = self.slots.len() % 8;
        if spare != 0 && row[super::HEADER_BYTES + self.slots.len() / 8] >> spare != 0 {
            return Err(Damage("it has values of features that its schema does not have".to_owned()));
        }
        Ok(heap)
    }
}

fn is_there(row: &[u8], slot: Slot) -> bool {
    row[super::HEADER_BYTES + slot.bit / 8] & (1 << (slot.bit % 8)) != 0
}

/// The bytes of a value in a row that [`Layout::check`] has checked.
fn value<'r>(row: &'r [u8], heap: &'r [u8], slot: Slot) -> Result<&'r [u8], &'static str> {
    match slot.holds {
        Holds::Value(width) => Ok(&row[slot.at..slot.at + width]),
        Holds::End { start_at } => {
            let start = start_at.map_or(0, |at| read_u32(row, at));
            heap.get(start..read_u32(row, slot.at)).ok_or("it stands outside of the row")
        }
    }
}
