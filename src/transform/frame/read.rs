//! A frame becomes Arrow columns. Two passes: the first believes nothing and proves the layout, the second normalises
//! values in place and hands out the frame's own memory as Arrow buffers.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, ListArray, PrimitiveArray, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};

use super::{
    ALIGNMENT, Column, DESCRIPTOR_BYTES, Descriptor, HAS_VALIDITY, HEADER_BYTES, Layout, MAGIC, Place, hides_values,
    tag_name, without_hidden_values,
};

/// Why bytes are not the frame that was agreed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("has {is} rows for {wanted}")]
    Rows { is: u32, wanted: usize },
    #[error("has {is} columns instead of {wanted}")]
    Columns { is: u32, wanted: usize },
    #[error("has column {column} as {is} instead of {wanted}")]
    Type { column: String, is: &'static str, wanted: &'static str },
    #[error("has nulls in column {0}, which is not nullable")]
    Nulls(String),
    #[error("is not a frame: {0}")]
    NotAFrame(&'static str),
    #[error("is damaged in column {column}: {detail}")]
    Damaged { column: String, detail: &'static str },
}

/// The columns of a frame of `rows` rows. Rows that are not in `keep` come out null, as do the frame's own nulls.
/// Whatever the bytes, the answer is either an error or arrays that hold what Arrow promises.
pub fn read(
    columns: &[Column],
    mut frame: Vec<u8>,
    rows: usize,
    keep: Option<&BooleanBuffer>,
) -> Result<Vec<ArrayRef>, BadFrame> {
    let descriptors = layout(columns, &frame, rows)?;
    for (column, descriptor) in columns.iter().zip(&descriptors) {
        normalise(column, descriptor, &mut frame, rows, keep);
    }
    let frame = aligned(frame);
    let mut arrays = Vec::with_capacity(columns.len());
    for (column, descriptor) in columns.iter().zip(&descriptors) {
        let own = (descriptor.validity.length() > 0).then(|| bits(&frame, descriptor.validity, rows));
        let nulls = match (own, keep) {
            (None, None) => None,
            (Some(own), None) => Some(NullBuffer::new(own)),
            (None, Some(keep)) => Some(NullBuffer::new(keep.clone())),
            (Some(own), Some(keep)) => Some(NullBuffer::new(&own & keep)),
        };
        let array = array(column, descriptor, &frame, rows, nulls.filter(|nulls| nulls.null_count() > 0))?;
        arrays.push(if hides_values(&array) { without_hidden_values(&array) } else { array });
    }
    Ok(arrays)
}

/// Proves that the frame has the agreed columns and that every buffer is where it must be. The layout is fixed: for each
/// column offsets, values, validity, each at the next multiple of 8, and nothing after the last one.
fn layout(columns: &[Column], frame: &[u8], rows: usize) -> Result<Vec<Descriptor>, BadFrame> {
    let word = |at: usize| {
        let bytes = frame.get(at..at + 4).ok_or(BadFrame::NotAFrame("it ends within its header"))?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if word(0)? != MAGIC {
        return Err(BadFrame::NotAFrame("it does not begin with LSF1"));
    }
    let (row_count, column_count) = (word(4)?, word(8)?);
    if row_count as usize != rows {
        return Err(BadFrame::Rows { is: row_count, wanted: rows });
    }
    if column_count as usize != columns.len() {
        return Err(BadFrame::Columns { is: column_count, wanted: columns.len() });
    }
    if word(12)? != 0 {
        return Err(BadFrame::NotAFrame("it has flags that frame/1 does not know"));
    }
    let head = HEADER_BYTES + columns.len() * DESCRIPTOR_BYTES;
    let descriptors = frame.get(HEADER_BYTES..head).ok_or(BadFrame::NotAFrame("it ends within its descriptors"))?;
    let mut end = head;
    let mut proved = Vec::with_capacity(columns.len());
    for (column, bytes) in columns.iter().zip(descriptors.as_chunks::<DESCRIPTOR_BYTES>().0) {
        let descriptor = Descriptor::from_bytes(bytes);
        if descriptor.tag != column.tag {
            let (is, wanted) = (tag_name(descriptor.tag), tag_name(column.tag));
            return Err(BadFrame::Type { column: column.field.name.clone(), is, wanted });
        }
        if descriptor.flags & !HAS_VALIDITY != 0 || bytes[2] != 0 || bytes[3] != 0 {
            return Err(damaged(column, "it has flags that frame/1 does not know"));
        }
        prove_column(column, &descriptor, frame, rows, &mut end)?;
        proved.push(descriptor);
    }
    match frame.len() == end.next_multiple_of(ALIGNMENT) {
        true => Ok(proved),
        false => Err(BadFrame::NotAFrame("it goes on after its last buffer, or ends before it")),
    }
}

fn prove_column(
    column: &Column,
    descriptor: &Descriptor,
    frame: &[u8],
    rows: usize,
    end: &mut usize,
) -> Result<(), BadFrame> {
    let mut buffer = |place: Place, length: usize| {
        let start = if length == 0 { 0 } else { end.next_multiple_of(ALIGNMENT) };
        if place.start() != start || place.length() != length {
            return Err(damaged(column, "a buffer is not where its rows put it, or not as long"));
        }
        let bytes =
            frame.get(start..start + length).ok_or_else(|| damaged(column, "a buffer ends beyond the frame"))?;
        if length > 0 {
            *end = start + length;
        }
        Ok(bytes)
    };

    let has_offsets = matches!(column.layout, Layout::Text | Layout::BitList | Layout::ItemList(_));
    let offsets = buffer(descriptor.offsets, if has_offsets { (rows + 1) * 4 } else { 0 })?;
    let items = if has_offsets { prove_offsets(column, offsets)? } else { 0 };
    let values_bytes = match column.layout {
        Layout::Bits => rows.div_ceil(8),
        Layout::Items(item) => rows * item.width(),
        Layout::FixedList(width) => rows.saturating_mul(width * 4),
        Layout::Text => items,
        Layout::BitList => items.div_ceil(8),
        Layout::ItemList(item) => items.saturating_mul(item.width()),
    };
    buffer(descriptor.values, values_bytes)?;

    let has_validity = descriptor.flags & HAS_VALIDITY != 0;
    let validity = buffer(descriptor.validity, if has_validity { rows.div_ceil(8) } else { 0 })?;
    let nulls = if has_validity { zeros(validity, rows) } else { 0 };
    if nulls != descriptor.null_count as usize {
        return Err(damaged(column, "its number of nulls is not that of its bitmap"));
    }
    if nulls > 0 && !column.field.nullable {
        return Err(BadFrame::Nulls(column.field.name.clone()));
    }
    Ok(())
}

/// The offsets begin at 0 and never fall; gives the last one.
fn prove_offsets(column: &Column, offsets: &[u8]) -> Result<usize, BadFrame> {
    let mut last = 0;
    for (position, bytes) in offsets.as_chunks::<4>().0.iter().enumerate() {
        let offset = i32::from_le_bytes(*bytes);
        if offset < last || (position == 0 && offset != 0) {
            return Err(damaged(column, "its offsets do not begin at 0 or fall"));
        }
        last = offset;
    }
    Ok(last as usize)
}

/// Canonical NaNs everywhere, zeros in rows that are or become null.
fn normalise(column: &Column, descriptor: &Descriptor, frame: &mut [u8], rows: usize, keep: Option<&BooleanBuffer>) {
    let (row_bytes, item) = match column.layout {
        Layout::Items(item) => (item.width(), Some(item)),
        Layout::FixedList(width) => (width * 4, Some(super::Item::Float4)),
        Layout::ItemList(item) => (0, Some(item)),
        Layout::Bits | Layout::Text | Layout::BitList => (0, None),
    };
    if let Some(item) = item {
        item.normalise(&mut frame[descriptor.values.range()]);
    }
    let no_nulls = descriptor.null_count == 0 && keep.is_none();
    if rows == 0 || no_nulls || (row_bytes == 0 && column.layout != Layout::Bits) {
        return;
    }
    // The validity of a column comes after its values.
    let split = descriptor.values.range().end;
    let (before, after) = frame.split_at_mut(split);
    let values = &mut before[descriptor.values.start()..];
    let mut zero = |row: usize| match column.layout {
        Layout::Bits => values[row / 8] &= !(1 << (row % 8)),
        _ => values[row * row_bytes..(row + 1) * row_bytes].fill(0),
    };
    if descriptor.null_count > 0 {
        null_rows(&after[descriptor.validity.start() - split..], rows).for_each(&mut zero);
    }
    if let Some(keep) = keep {
        (!keep).set_indices().for_each(zero);
    }
}

/// The rows whose bit is 0, which are few: a byte without any is passed over whole.
fn null_rows(validity: &[u8], rows: usize) -> impl Iterator<Item = usize> {
    let bytes = validity[..rows.div_ceil(8)].iter().enumerate().filter(|(_, byte)| **byte != u8::MAX);
    bytes
        .flat_map(|(position, byte)| (0..8).filter(move |bit| byte >> bit & 1 == 0).map(move |bit| position * 8 + bit))
        .take_while(move |row| *row < rows)
}

/// The frame as a buffer from which every type can be read in place.
fn aligned(frame: Vec<u8>) -> Buffer {
    let buffer = Buffer::from_vec(frame);
    // An allocator that aligns to 16, as all of ours do, never takes the copy.
    if buffer.as_ptr().align_offset(ALIGNMENT) == 0 { buffer } else { Buffer::from(buffer.as_slice()) }
}

fn array(
    column: &Column,
    descriptor: &Descriptor,
    frame: &Buffer,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, BadFrame> {
    let values = || part(frame, descriptor.values);
    let refused = |_| damaged(column, "Arrow refuses it");
    Ok(match &column.data_type {
        DataType::Boolean => Arc::new(BooleanArray::new(bits(frame, descriptor.values, rows), nulls)),
        DataType::Utf8 => {
            let text = StringArray::try_new(offsets(frame, descriptor, rows), values(), nulls);
            Arc::new(text.map_err(|_| damaged(column, "it is not UTF-8"))?)
        }
        DataType::Binary => {
            Arc::new(BinaryArray::try_new(offsets(frame, descriptor, rows), values(), nulls).map_err(refused)?)
        }
        DataType::FixedSizeList(item, width) => {
            let items = Arc::new(PrimitiveArray::<Float32Type>::new(ScalarBuffer::from(values()), None));
            let list = FixedSizeListArray::try_new_with_length(FieldRef::clone(item), *width, items, nulls, rows);
            Arc::new(list.map_err(refused)?)
        }
        DataType::List(item) => {
            let offsets = offsets(frame, descriptor, rows);
            let items = match item.data_type() {
                DataType::Boolean => {
                    let count = usize::try_from(offsets[rows]).unwrap_or(0);
                    Arc::new(BooleanArray::new(bits(frame, descriptor.values, count), None)) as ArrayRef
                }
                other => primitive(other, values(), None),
            };
            Arc::new(ListArray::try_new(FieldRef::clone(item), offsets, items, nulls).map_err(refused)?)
        }
        other => primitive(other, values(), nulls),
    })
}

/// `values` has exactly the bytes that the rows need, at a multiple of 8.
fn primitive(data_type: &DataType, values: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    fn of<T: ArrowPrimitiveType>(values: Buffer, nulls: Option<NullBuffer>) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(values), nulls)
    }
    match data_type {
        DataType::Int32 => Arc::new(of::<Int32Type>(values, nulls)),
        DataType::Int64 => Arc::new(of::<Int64Type>(values, nulls)),
        DataType::Float32 => Arc::new(of::<Float32Type>(values, nulls)),
        DataType::Float64 => Arc::new(of::<Float64Type>(values, nulls)),
        DataType::Date32 => Arc::new(of::<Date32Type>(values, nulls)),
        _ => Arc::new(of::<TimestampMicrosecondType>(values, nulls).with_data_type(data_type.clone())),
    }
}

fn part(frame: &Buffer, place: Place) -> Buffer {
    frame.slice_with_length(place.start(), place.length())
}

fn bits(frame: &Buffer, place: Place, length: usize) -> BooleanBuffer {
    BooleanBuffer::new(part(frame, place), 0, length)
}

fn offsets(frame: &Buffer, descriptor: &Descriptor, rows: usize) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::new(part(frame, descriptor.offsets), 0, rows + 1))
}

/// How many of the first `length` bits are 0.
fn zeros(bits: &[u8], length: usize) -> usize {
    let (whole, rest) = bits.split_at(length / 8);
    let ones = whole.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let last = rest.first().map_or(0, |byte| (byte & ((1 << (length % 8)) - 1)).count_ones());
    length - (ones + last) as usize
}

fn damaged(column: &Column, detail: &'static str) -> BadFrame {
    BadFrame::Damaged { column: column.field.name.clone(), detail }
}
