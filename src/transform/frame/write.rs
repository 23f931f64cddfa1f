//! Arrow columns become a frame.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use super::{
    ALIGNMENT, Column, DESCRIPTOR_BYTES, Descriptor, HAS_VALIDITY, HEADER_BYTES, Item, Layout, MAGIC, Place,
    hides_values, without_hidden_values,
};

/// Why rows cannot be written as a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The frame would be larger than `bytes_max`; fewer rows may fit.
    TooLarge,
    /// A list has a null among its items.
    NullItem { column: usize },
}

/// Replaces what is in `frame` by the given rows of `arrays`, whose types fit `columns`. Nulls in a column that is not
/// nullable are written as zeros.
pub fn write(
    columns: &[Column],
    arrays: &[ArrayRef],
    rows: Range<usize>,
    bytes_max: usize,
    frame: &mut Vec<u8>,
) -> Result<(), Refused> {
    let head = HEADER_BYTES + columns.len() * DESCRIPTOR_BYTES;
    frame.clear();
    for word in [MAGIC as usize, rows.len(), columns.len(), 0] {
        frame.extend_from_slice(&u32::try_from(word).map_err(|_| Refused::TooLarge)?.to_le_bytes());
    }
    frame.resize(head, 0);
    for (position, (column, array)) in columns.iter().zip(arrays).enumerate() {
        let mut writer = Writer { frame: &mut *frame, bytes_max, rows: rows.clone(), position };
        let descriptor = writer.column(column, array)?;
        let at = HEADER_BYTES + position * DESCRIPTOR_BYTES;
        frame[at..at + DESCRIPTOR_BYTES].copy_from_slice(&descriptor.to_bytes());
    }
    if frame.len() > bytes_max { Err(Refused::TooLarge) } else { Ok(()) }
}

/// Appends one column.
struct Writer<'a> {
    frame: &'a mut Vec<u8>,
    bytes_max: usize,
    rows: Range<usize>,
    position: usize,
}

impl Writer<'_> {
    fn column(&mut self, column: &Column, array: &ArrayRef) -> Result<Descriptor, Refused> {
        let nulls = self.nulls(array);
        let shown;
        let array = match column.layout {
            Layout::Text | Layout::BitList | Layout::ItemList(_) if nulls.is_some() && hides_values(array) => {
                shown = without_hidden_values(array);
                &shown
            }
            _ => array,
        };
        let mut descriptor = Descriptor { tag: column.tag, ..Descriptor::default() };
        match column.layout {
            Layout::Bits => {
                descriptor.values = self.bits(array.as_boolean().values(), self.rows.clone())?;
                if let Some(nulls) = &nulls {
                    self.clear_null_bits(descriptor.values, nulls);
                }
            }
            Layout::Items(item) => {
                descriptor.values = self.items(item, array, self.rows.clone(), 1, nulls.as_ref())?;
            }
            Layout::FixedList(width) => {
                let values = array.as_fixed_size_list().values();
                self.check_items(values, |row| row * width..(row + 1) * width, nulls.as_ref())?;
                let items = self.rows.start * width..self.rows.end * width;
                descriptor.values = self.items(Item::Float4, values, items, width, nulls.as_ref())?;
            }
            Layout::Text => self.text(array, &mut descriptor)?,
            Layout::BitList | Layout::ItemList(_) => {
                self.list(column.layout, array, nulls.as_ref(), &mut descriptor)?
            }
        }
        if let Some(nulls) = nulls.filter(|_| column.field.nullable) {
            descriptor.flags = HAS_VALIDITY;
            descriptor.null_count = nulls.null_count() as u32;
            descriptor.validity = self.bits(nulls.inner(), 0..nulls.len())?;
        }
        self.align();
        Ok(descriptor)
    }

    /// Which of the rows are null, if any is.
    fn nulls(&self, array: &ArrayRef) -> Option<NullBuffer> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0)?;
        let nulls =
            if self.rows.len() == nulls.len() { nulls.clone() } else { nulls.slice(self.rows.start, self.rows.len()) };
        (nulls.null_count() > 0).then_some(nulls)
    }

    /// Values of fixed width, `per_row` in each row; those of null rows become zero.
    fn items(
        &mut self,
        item: Item,
        array: &ArrayRef,
        items: Range<usize>,
        per_row: usize,
        nulls: Option<&NullBuffer>,
    ) -> Result<Place, Refused> {
        let width = item.width();
        let start = self.begin(items.len() * width)?;
        self.frame.extend_from_slice(&item_bytes(array)[items.start * width..items.end * width]);
        item.normalise(&mut self.frame[start..]);
        if let Some(nulls) = nulls {
            let row_bytes = width * per_row;
            for row in (!nulls.inner()).set_indices() {
                self.frame[start + row * row_bytes..start + (row + 1) * row_bytes].fill(0);
            }
        }
        self.place(start)
    }

    fn bits(&mut self, bits: &BooleanBuffer, range: Range<usize>) -> Result<Place, Refused> {
        let bytes = range.len().div_ceil(8);
        let start = self.begin(bytes)?;
        let first = bits.offset() + range.start;
        if first.is_multiple_of(8) {
            self.frame.extend_from_slice(&bits.values()[first / 8..first / 8 + bytes]);
        } else {
            self.frame.resize(start + bytes, 0);
            for (place, bit) in range.clone().enumerate() {
                self.frame[start + place / 8] |= u8::from(bits.value(bit)) << (place % 8);
            }
        }
        if !range.len().is_multiple_of(8) {
            self.frame[start + bytes - 1] &= (1 << (range.len() % 8)) - 1;
        }
        self.place(start)
    }

    fn clear_null_bits(&mut self, values: Place, nulls: &NullBuffer) {
        for row in (!nulls.inner()).set_indices() {
            self.frame[values.start() + row / 8] &= !(1 << (row % 8));
        }
    }

    fn text(&mut self, array: &ArrayRef, descriptor: &mut Descriptor) -> Result<(), Refused> {
        let (offsets, data) = match array.data_type() {
            DataType::Utf8 => (array.as_string::<i32>().value_offsets(), array.as_string::<i32>().value_data()),
            _ => (array.as_binary::<i32>().value_offsets(), array.as_binary::<i32>().value_data()),
        };
        let bytes = self.offsets(offsets, descriptor)?;
        let start = self.begin(bytes.len())?;
        self.frame.extend_from_slice(&data[bytes]);
        descriptor.values = self.place(start)?;
        Ok(())
    }

    fn list(
        &mut self,
        layout: Layout,
        array: &ArrayRef,
        nulls: Option<&NullBuffer>,
        descriptor: &mut Descriptor,
    ) -> Result<(), Refused> {
        let list = array.as_list::<i32>();
        let offsets = list.value_offsets();
        self.check_items(list.values(), |row| offsets[row] as usize..offsets[row + 1] as usize, nulls)?;
        let items = self.offsets(offsets, descriptor)?;
        descriptor.values = match layout {
            Layout::ItemList(item) => self.items(item, list.values(), items, 1, None)?,
            _ => self.bits(list.values().as_boolean().values(), items)?,
        };
        Ok(())
    }

    /// Writes the rows' offsets, from 0; gives the items that they span.
    fn offsets(&mut self, offsets: &[i32], descriptor: &mut Descriptor) -> Result<Range<usize>, Refused> {
        let offsets = &offsets[self.rows.start..=self.rows.end];
        let first = offsets[0];
        let start = self.begin(offsets.len() * 4)?;
        self.frame.extend(offsets.iter().flat_map(|offset| (offset - first).to_le_bytes()));
        descriptor.offsets = self.place(start)?;
        Ok(first as usize..offsets[offsets.len() - 1] as usize)
    }

    /// The items of a list are never null; what lies in a null row is not looked at.
    fn check_items(
        &self,
        items: &ArrayRef,
        range: impl Fn(usize) -> Range<usize>,
        nulls: Option<&NullBuffer>,
    ) -> Result<(), Refused> {
        let Some(item_nulls) = items.nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(()) };
        let is_row_null = |row: usize| nulls.is_some_and(|nulls| nulls.is_null(row - self.rows.start));
        match self.rows.clone().any(|row| !is_row_null(row) && range(row).any(|item| item_nulls.is_null(item))) {
            true => Err(Refused::NullItem { column: self.position }),
            false => Ok(()),
        }
    }

    /// Begins a buffer of `bytes`, if the frame may still take it.
    fn begin(&mut self, bytes: usize) -> Result<usize, Refused> {
        self.align();
        match self.frame.len() + bytes <= self.bytes_max {
            true => Ok(self.frame.len()),
            false => Err(Refused::TooLarge),
        }
    }

    fn align(&mut self) {
        self.frame.resize(self.frame.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// The place of the buffer that began at `start` and ends here.
    fn place(&self, start: usize) -> Result<Place, Refused> {
        let length = u32::try_from(self.frame.len() - start).map_err(|_| Refused::TooLarge)?;
        let start = u32::try_from(start).map_err(|_| Refused::TooLarge)?;
        Ok(if length == 0 { Place::default() } else { Place::new(start, length) })
    }
}

/// The bytes of the values of a column whose values have a fixed width.
fn item_bytes(array: &ArrayRef) -> &[u8] {
    match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().values().inner().as_slice(),
        DataType::Int64 => array.as_primitive::<Int64Type>().values().inner().as_slice(),
        DataType::Float32 => array.as_primitive::<Float32Type>().values().inner().as_slice(),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().inner().as_slice(),
        DataType::Date32 => array.as_primitive::<Date32Type>().values().inner().as_slice(),
        _ => array.as_primitive::<TimestampMicrosecondType>().values().inner().as_slice(),
    }
}
