//! Walks a record-batch message along its schema: every node and buffer that the decoder will take, in its order.

use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::ipc;

use super::compressed::Codec;
use super::{Error, at_most, compressed, damaged};
use crate::limits::{ARROW_MESSAGE_BYTES_MAX, TRAIN_ROWS_MAX};

/// Checks that every buffer of a batch lies within `body`, is as long as its rows need and claims no more bytes than
/// allowed in sum. Gives that sum: the bytes that decoding will take at most.
///
/// Buffers that overlap count each time, because a misaligned buffer is copied.
pub(super) fn check(batch: ipc::RecordBatch<'_>, fields: &[FieldRef], body: &[u8]) -> Result<u64, Error> {
    let rows = not_negative("rows", batch.length())?;
    at_most("rows in one batch", rows, TRAIN_ROWS_MAX as u64)?;
    let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
        return Err(damaged("a batch has no nodes or no buffers"));
    };
    let codec = match batch.compression() {
        Some(compression) => Some(Codec::of(compression.codec())?),
        None => None,
    };
    let view_buffers = batch.variadicBufferCounts();
    let mut walk = Walk {
        nodes: nodes.iter(),
        buffers: buffers.iter(),
        view_buffers: view_buffers.into_iter().flatten(),
        body,
        codec,
        bytes: 0,
    };
    for field in fields {
        walk.column(field, Some(rows))?;
    }
    if walk.nodes.next().is_some() || walk.buffers.next().is_some() || walk.view_buffers.next().is_some() {
        return Err(damaged("a batch has more columns than the schema"));
    }
    Ok(walk.bytes)
}

struct Walk<'a, Nodes, Buffers, Counts> {
    nodes: Nodes,
    buffers: Buffers,
    /// How many data buffers each view column has.
    view_buffers: Counts,
    body: &'a [u8],
    codec: Option<Codec>,
    bytes: u64,
}

impl<'a, Nodes, Buffers, Counts> Walk<'a, Nodes, Buffers, Counts>
where
    Nodes: Iterator<Item = &'a ipc::FieldNode>,
    Buffers: Iterator<Item = &'a ipc::Buffer>,
    Counts: Iterator<Item = i64>,
{
    /// Walks one column and what is nested in it. `rows` is nothing for the items of a list, which only the list's
    /// offsets know; those the decoder checks itself.
    fn column(&mut self, field: &Field, rows: Option<u64>) -> Result<(), Error> {
        let (rows, has_nulls) = self.node(field, rows)?;
        if *field.data_type() == DataType::Null {
            // A null column has no buffers; whatever it is cast to later has eight bytes a row or so.
            return self.claim(rows.saturating_mul(8));
        }
        self.buffer(field, if has_nulls { rows.div_ceil(8) } else { 0 })?;
        match field.data_type() {
            DataType::Boolean => self.buffer(field, rows.div_ceil(8)),
            DataType::Utf8 | DataType::Binary => self.offsets(field, rows, 4).and_then(|()| self.buffer(field, 0)),
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.offsets(field, rows, 8).and_then(|()| self.buffer(field, 0))
            }
            DataType::Utf8View | DataType::BinaryView => {
                self.whole_values(field, rows.saturating_mul(16), 16)?;
                let count = self.view_buffers.next().ok_or_else(|| missing(field))?;
                (0..not_negative("buffers of a view", count)?).try_for_each(|_| self.buffer(field, 0))
            }
            DataType::List(item) => self.offsets(field, rows, 4).and_then(|()| self.column(item, None)),
            DataType::LargeList(item) => self.offsets(field, rows, 8).and_then(|()| self.column(item, None)),
            DataType::FixedSizeList(item, width) => {
                let items = rows.saturating_mul(not_negative("items of a list", i64::from(*width))?);
                self.column(item, Some(items))
            }
            DataType::Dictionary(index, _) => {
                let width = width(index).ok_or_else(|| missing(field))?;
                self.whole_values(field, rows.saturating_mul(width), width)
            }
            DataType::Struct(fields) => fields.iter().try_for_each(|child| self.column(child, Some(rows))),
            fixed => {
                let width = width(fixed).ok_or_else(|| Error::NotAccepted {
                    column: field.name().clone(),
                    what: format!("of type {fixed}"),
                })?;
                self.buffer(field, rows.saturating_mul(width))
            }
        }
    }

    /// The next node's rows, and whether some of them are null.
    fn node(&mut self, field: &Field, rows: Option<u64>) -> Result<(u64, bool), Error> {
        let node = self.nodes.next().ok_or_else(|| missing(field))?;
        let length = not_negative("rows", node.length())?;
        let nulls = not_negative("nulls", node.null_count())?;
        if rows.is_some_and(|rows| rows != length) || nulls > length {
            return Err(damaged(&format!(
                "column {} has {length} rows and {nulls} nulls, its batch has {} rows",
                field.name(),
                rows.unwrap_or(length)
            )));
        }
        Ok((length, nulls > 0))
    }

    /// A buffer of offsets; a column without rows may leave it empty.
    fn offsets(&mut self, field: &Field, rows: u64, width: u64) -> Result<(), Error> {
        let needed = if rows == 0 { 0 } else { rows.saturating_add(1).saturating_mul(width) };
        self.whole_values(field, needed, width)
    }

    /// A buffer that the decoder reads as values of `width` bytes and that must not end within one.
    fn whole_values(&mut self, field: &Field, needed: u64, width: u64) -> Result<(), Error> {
        let before = self.bytes;
        self.buffer(field, needed)?;
        if (self.bytes - before).is_multiple_of(width) {
            return Ok(());
        }
        Err(damaged(&format!("column {} ends within a value", field.name())))
    }

    /// The next buffer, which holds at least `needed` bytes.
    fn buffer(&mut self, field: &Field, needed: u64) -> Result<(), Error> {
        let buffer = self.buffers.next().ok_or_else(|| missing(field))?;
        let from = not_negative("buffer position", buffer.offset())?;
        let length = not_negative("buffer length", buffer.length())?;
        let until = from.saturating_add(length);
        let bytes = match (usize::try_from(from), usize::try_from(until)) {
            (Ok(from), Ok(until)) => self.body.get(from..until),
            _ => None,
        };
        let Some(bytes) = bytes else {
            return Err(damaged(&format!("column {} lies outside of its message", field.name())));
        };
        let claimed = match self.codec {
            Some(codec) if !bytes.is_empty() => compressed::claimed(bytes, codec)?,
            _ => length,
        };
        if claimed < needed {
            return Err(damaged(&format!("column {} has {claimed} bytes, its rows need {needed}", field.name())));
        }
        self.claim(claimed)
    }

    fn claim(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        at_most("bytes in one message", self.bytes, ARROW_MESSAGE_BYTES_MAX)
    }
}

/// Bytes of one value, where every value has as many.
fn width(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::FixedSizeBinary(width) => u64::try_from(*width).ok(),
        other => other.primitive_width().map(|width| width as u64),
    }
}

fn not_negative(what: &str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| damaged(&format!("{what}: {number}")))
}

fn missing(field: &Field) -> Error {
    damaged(&format!("column {} is not in its message", field.name()))
}
