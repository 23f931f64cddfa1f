//! Packed rows become columns.
//!
//! Nothing in a row is trusted: every position is checked before it is followed, and bytes that cannot be a row of
//! their schema are reported as damaged.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, BooleanBufferBuilder, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::schema::{Holds, Layout, RowSchema, Slot};
use super::{Damage, Header, read_u32};
use crate::batch::{StoredRows, timestamps};
use crate::catalog::{DType, Field, Scalar};
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
    event_times: Vec<Option<i64>>,
    columns: Vec<Column<'a>>,
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

#[derive(Debug)]
struct Column<'a> {
    field: &'a Field,
    valid: BooleanBufferBuilder,
    values: Values,
}

#[derive(Debug)]
enum Values {
    One(Scalars),
    List { ends: Vec<i32>, items: Scalars },
    Embedding { bytes: usize, items: MutableBuffer },
}

#[derive(Debug)]
enum Scalars {
    Bool(BooleanBufferBuilder),
    Fixed { width: usize, bytes: MutableBuffer },
    Varying { ends: Vec<i32>, bytes: MutableBuffer },
}

impl<'a> RowsDecoder<'a> {
    /// `rows` is how many rows are expected.
    pub fn new(view: &'a OnlineView, wanted: &'a [usize], rows: usize) -> Self {
        let columns = wanted.iter().map(|&feature| Column::new(&view.features[feature], rows)).collect();
        Self {
            view,
            wanted,
            digest_prefix: view.digest.map(|digest| digest.prefix()),
            event_times: Vec::with_capacity(rows),
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
        self.event_times.push(None);
        for column in &mut self.columns {
            column.push_null();
        }
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
        let rows = self.event_times.len();
        let view = &self.view.name;
        let finish = |column: Column<'_>| {
            let name = &column.field.name;
            let damaged = |detail| Error::Damaged { view: view.clone(), detail: format!("feature {name}: {detail}") };
            column.finish(rows).map_err(damaged)
        };
        let columns = self.columns.into_iter().map(finish).collect::<Result<_, Error>>()?;
        let present = BooleanBuffer::collect_bool(rows, |row| self.event_times[row].is_some());
        Ok(StoredRows { present, event_time: timestamps(self.event_times), columns, unreachable: None })
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
        for (column, slot) in self.columns.iter_mut().zip(&plan.slots) {
            match slot {
                Some(slot) => column.push(row, heap, *slot)?,
                None => column.push_null(),
            }
        }
        self.event_times.push(Some(header.version.event_time));
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

impl<'a> Column<'a> {
    fn new(field: &'a Field, rows: usize) -> Self {
        let values = match field.dtype {
            DType::One(scalar) => Values::One(Scalars::new(scalar, rows)),
            DType::List(item) => Values::List { ends: first_end(rows), items: Scalars::new(item, rows) },
            DType::Embedding(width) => {
                let bytes = width as usize * size_of::<f32>();
                Values::Embedding { bytes, items: MutableBuffer::new(rows * bytes) }
            }
        };
        Self { field, valid: BooleanBufferBuilder::new(rows), values }
    }

    fn push_null(&mut self) {
        self.valid.append(false);
        match &mut self.values {
            Values::One(values) => values.push_null(),
            Values::List { ends, items } => ends.push(items.end()),
            Values::Embedding { bytes, items } => items.extend_zeros(*bytes),
        }
    }

    fn push(&mut self, row: &[u8], heap: &[u8], slot: Slot) -> Result<(), Damage> {
        if row[super::HEADER_BYTES + slot.bit / 8] & (1 << (slot.bit % 8)) == 0 {
            self.push_null();
            return Ok(());
        }
        let name = &self.field.name;
        let value = match slot.holds {
            Holds::Value(width) => &row[slot.at..slot.at + width],
            Holds::End { start_at } => {
                let start = start_at.map_or(0, |at| read_u32(row, at));
                let outside = || Damage(format!("feature {name} stands outside of it"));
                heap.get(start..read_u32(row, slot.at)).ok_or_else(outside)?
            }
        };
        let pushed = match &mut self.values {
            Values::One(values) => values.push_value(value),
            Values::List { ends, items } => items.push_items(value).map(|()| ends.push(items.end())),
            Values::Embedding { bytes, .. } if value.len() != *bytes => Err("it has another number of items"),
            Values::Embedding { items, .. } => {
                items.extend_from_slice(value);
                Ok(())
            }
        };
        self.valid.append(true);
        pushed.map_err(|detail| Damage(format!("feature {name}: {detail}")))
    }

    /// Arrow checks the text of a whole column at once here.
    fn finish(mut self, rows: usize) -> Result<ArrayRef, String> {
        let nulls = NullBuffer::new(self.valid.finish());
        let builder = match self.values {
            Values::One(values) => values.into_builder(self.field.dtype.arrow(), rows),
            Values::List { ends, items } => {
                let DType::List(item) = self.field.dtype else { unreachable!("values follow the field's type") };
                let count = items.end() as usize;
                let items = items.into_builder(item.arrow(), count).build().map_err(|error| error.to_string())?;
                let list = ArrayData::builder(self.field.dtype.arrow()).len(rows);
                list.add_buffer(Buffer::from_vec(ends)).add_child_data(items)
            }
            Values::Embedding { items, .. } => {
                let count = items.len() / size_of::<f32>();
                let items = ArrayData::builder(DataType::Float32).len(count).add_buffer(items.into());
                let items = items.build().map_err(|error| error.to_string())?;
                ArrayData::builder(self.field.dtype.arrow()).len(rows).add_child_data(items)
            }
        };
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        builder.nulls(nulls).build().map(make_array).map_err(|error| error.to_string())
    }
}

impl Scalars {
    fn new(scalar: Scalar, rows: usize) -> Self {
        match (scalar, scalar.width()) {
            (Scalar::Bool, _) => Self::Bool(BooleanBufferBuilder::new(rows)),
            (_, Some(width)) => Self::Fixed { width, bytes: MutableBuffer::new(rows * width) },
            (_, None) => Self::Varying { ends: first_end(rows), bytes: MutableBuffer::new(0) },
        }
    }

    /// How many values there are.
    fn end(&self) -> i32 {
        let count = match self {
            Self::Bool(bits) => bits.len(),
            Self::Fixed { width, bytes } => bytes.len() / width,
            Self::Varying { ends, .. } => ends.len() - 1,
        };
        i32::try_from(count).expect("there are no more values than bytes of rows, which are bounded")
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(bits) => bits.append(false),
            Self::Fixed { width, bytes } => bytes.extend_zeros(*width),
            Self::Varying { ends, bytes } => ends.push(bytes.len() as i32),
        }
    }

    fn push_value(&mut self, value: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Bool(_) | Self::Fixed { .. } => self.push_items(value),
            Self::Varying { ends, bytes } => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as i32);
                Ok(())
            }
        }
    }

    /// Appends the items of a list as they stand in the heap.
    fn push_items(&mut self, items: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Bool(bits) => {
                for &item in items {
                    match item {
                        0 | 1 => bits.append(item == 1),
                        _ => return Err("a bool is neither true nor false"),
                    }
                }
            }
            Self::Fixed { width, bytes } => {
                if !items.len().is_multiple_of(*width) {
                    return Err("a list ends within an item");
                }
                bytes.extend_from_slice(items);
            }
            Self::Varying { ends, bytes } => {
                let (item_ends, data) = split_items(items)?;
                let start = bytes.len();
                let mut last = 0;
                for at in (0..item_ends.len()).step_by(size_of::<u32>()) {
                    let end = read_u32(item_ends, at);
                    if end < last || end > data.len() {
                        return Err("an item of a list stands outside of it");
                    }
                    last = end;
                    ends.push((start + end) as i32);
                }
                if last != data.len() {
                    return Err("a list has bytes after its last item");
                }
                bytes.extend_from_slice(data);
            }
        }
        Ok(())
    }

    fn into_builder(self, dtype: DataType, rows: usize) -> arrow::array::ArrayDataBuilder {
        let builder = ArrayData::builder(dtype).len(rows);
        match self {
            Self::Bool(mut bits) => builder.add_buffer(bits.finish().into_inner()),
            Self::Fixed { bytes, .. } => builder.add_buffer(bytes.into()),
            Self::Varying { ends, bytes } => builder.add_buffer(Buffer::from_vec(ends)).add_buffer(bytes.into()),
        }
    }
}

/// The ends and the bytes of a list of strings or bytes.
fn split_items(items: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let cut = "a list ends within its header";
    if items.len() < size_of::<u32>() {
        return Err(cut);
    }
    let count = read_u32(items, 0);
    items[size_of::<u32>()..].split_at_checked(count * size_of::<u32>()).ok_or(cut)
}

fn first_end(rows: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    ends
}
