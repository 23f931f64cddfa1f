//! Rows as `COPY … (FORMAT binary)` sends them become columns of Arrow, without a value in between.
//!
//! What Arrow cannot hold as it is (infinite times, times beyond its range, a numeric that is not a number, arrays of
//! several dimensions) is refused, by the name of its column.

use std::str::from_utf8;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder, RecordBatch,
    RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;

use super::columns::{Kind, Shape};
use super::numeric;

/// Days and microseconds from 1970, where Arrow counts from, to 2000, where PostgreSQL does.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// What stands before the first row.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Collects rows until there is a batch of them.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: SchemaRef,
    columns: Vec<Builder>,
    rows: usize,
    bytes: usize,
    begun: bool,
}

/// Values of one column.
#[derive(Debug)]
enum Builder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Uuid(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, u8, i8),
    List { items: Box<Builder>, item: DataType, ends: Vec<i32>, valid: NullBufferBuilder },
}

impl Decoder {
    /// For rows with columns of these shapes, which are those of `schema`.
    pub fn new(schema: SchemaRef, shapes: &[Shape]) -> Self {
        let columns = shapes.iter().map(|shape| Builder::new(*shape)).collect();
        Self { schema, columns, rows: 0, bytes: 0, begun: false }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the values collected, as they were sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// One message: what stands before the rows, a row, or what stands behind them. PostgreSQL sends each row as a
    /// message of its own, the first one together with what stands before it.
    pub fn push(&mut self, message: &[u8]) -> Result<(), String> {
        let mut rest = Bytes(message);
        if !self.begun {
            if rest.take(SIGNATURE.len())? != SIGNATURE {
                return Err("the server sent something else than rows".to_owned());
            }
            rest.take(4)?;
            let more = rest.length()?.unwrap_or(0);
            rest.take(more)?;
            self.begun = true;
        }
        while !rest.0.is_empty() {
            let columns = rest.int16()?;
            if columns == -1 {
                return Ok(());
            }
            if usize::try_from(columns) != Ok(self.columns.len()) {
                return Err(format!("the server sent {columns} columns in place of {}", self.columns.len()));
            }
            for (place, column) in self.columns.iter_mut().enumerate() {
                let value = rest.length()?.map(|length| rest.take(length)).transpose()?;
                let pushed = column.push(value);
                pushed.map_err(|wrong| format!("column {} {wrong}", self.schema.field(place).name()))?;
            }
            self.rows += 1;
        }
        self.bytes += message.len();
        Ok(())
    }

    /// The rows collected so far.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<ArrayRef>, ArrowError> = self.columns.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options)
    }
}

impl Builder {
    fn new(shape: Shape) -> Self {
        let kind = match shape {
            Shape::One(kind) => kind,
            Shape::List(kind) => {
                let items = Box::new(Self::new(Shape::One(kind)));
                let (ends, valid) = (vec![0], NullBufferBuilder::new(0));
                return Self::List { items, item: kind.arrow(), ends, valid };
            }
        };
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int16 => Self::Int16(Int16Builder::new()),
            Kind::Int32 => Self::Int32(Int32Builder::new()),
            Kind::Int64 => Self::Int64(Int64Builder::new()),
            Kind::Float32 => Self::Float32(Float32Builder::new()),
            Kind::Float64 => Self::Float64(Float64Builder::new()),
            Kind::Text | Kind::Padded | Kind::Enum | Kind::Json => Self::Text(StringBuilder::new()),
            Kind::Jsonb => Self::Jsonb(StringBuilder::new()),
            Kind::Uuid => Self::Uuid(StringBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Moment | Kind::Clock => Self::Time(TimestampMicrosecondBuilder::new().with_data_type(kind.arrow())),
            Kind::Numeric { precision, scale } if precision <= 38 => {
                Self::Decimal128(Decimal128Builder::new().with_data_type(kind.arrow()), scale)
            }
            Kind::Numeric { precision, scale } => {
                Self::Decimal256(Decimal256Builder::new().with_data_type(kind.arrow()), precision, scale)
            }
        }
    }

    /// Adds a value as it was sent; the error goes behind the name of the column.
    fn push(&mut self, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            self.push_null();
            return Ok(());
        };
        match self {
            Self::Bool(column) => column.append_value(u8::from_be_bytes(exactly(value)?) != 0),
            Self::Int16(column) => column.append_value(i16::from_be_bytes(exactly(value)?)),
            Self::Int32(column) => column.append_value(i32::from_be_bytes(exactly(value)?)),
            Self::Int64(column) => column.append_value(i64::from_be_bytes(exactly(value)?)),
            Self::Float32(column) => column.append_value(f32::from_be_bytes(exactly(value)?)),
            Self::Float64(column) => column.append_value(f64::from_be_bytes(exactly(value)?)),
            Self::Text(column) => column.append_value(text(value)?),
            Self::Jsonb(column) => match value.split_first() {
                Some((1, document)) => column.append_value(text(document)?),
                _ => return Err("was sent in a version of jsonb that is not known".to_owned()),
            },
            Self::Uuid(column) => column.append_value(from_utf8(&hyphenated(exactly(value)?)).map_err(not_text)?),
            Self::Bytes(column) => column.append_value(value),
            Self::Date(column) => column.append_value(date(i32::from_be_bytes(exactly(value)?))?),
            Self::Time(column) => column.append_value(time(i64::from_be_bytes(exactly(value)?))?),
            Self::Decimal128(column, scale) => column.append_value(numeric::decode(value, *scale)?),
            Self::Decimal256(column, precision, scale) => {
                column.append_value(numeric::decode_wide(value, *precision, *scale)?);
            }
            Self::List { items, ends, valid, .. } => {
                let count = push_items(items, value)?;
                let end = ends.last().copied().unwrap_or(0).checked_add(count);
                ends.push(end.ok_or("has too many items in one batch")?);
                valid.append_non_null();
            }
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(column) => column.append_null(),
            Self::Int16(column) => column.append_null(),
            Self::Int32(column) => column.append_null(),
            Self::Int64(column) => column.append_null(),
            Self::Float32(column) => column.append_null(),
            Self::Float64(column) => column.append_null(),
            Self::Text(column) | Self::Jsonb(column) | Self::Uuid(column) => column.append_null(),
            Self::Bytes(column) => column.append_null(),
            Self::Date(column) => column.append_null(),
            Self::Time(column) => column.append_null(),
            Self::Decimal128(column, _) => column.append_null(),
            Self::Decimal256(column, ..) => column.append_null(),
            Self::List { ends, valid, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
                valid.append_null();
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Int16(column) => Arc::new(column.finish()),
            Self::Int32(column) => Arc::new(column.finish()),
            Self::Int64(column) => Arc::new(column.finish()),
            Self::Float32(column) => Arc::new(column.finish()),
            Self::Float64(column) => Arc::new(column.finish()),
            Self::Text(column) | Self::Jsonb(column) | Self::Uuid(column) => Arc::new(column.finish()),
            Self::Bytes(column) => Arc::new(column.finish()),
            Self::Date(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish()),
            Self::Decimal128(column, _) => Arc::new(column.finish()),
            Self::Decimal256(column, ..) => Arc::new(column.finish()),
            Self::List { items, item, ends, valid } => {
                let offsets = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                let field = Arc::new(Field::new("item", item.clone(), true));
                Arc::new(ListArray::try_new(field, offsets, items.finish()?, valid.finish())?)
            }
        })
    }
}

/// Adds the items of an array; how many there were.
fn push_items(items: &mut Builder, array: &[u8]) -> Result<i32, String> {
    let mut rest = Bytes(array);
    let dimensions = rest.int32()?;
    rest.take(8)?;
    match dimensions {
        0 => return Ok(0),
        1 => {}
        more => return Err(format!("has an array of {more} dimensions; only those of one can be read")),
    }
    // Where the first item stands does not matter; that it is the first does.
    let (count, _first) = (rest.int32()?, rest.int32()?);
    for _ in 0..count {
        let item = rest.length()?.map(|length| rest.take(length)).transpose()?;
        items.push(item)?;
    }
    Ok(count)
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], String> {
    value.try_into().map_err(|_| format!("was sent as {} bytes in place of {N}", value.len()))
}

fn text(value: &[u8]) -> Result<&str, String> {
    from_utf8(value).map_err(not_text)
}

fn not_text(_: std::str::Utf8Error) -> String {
    "holds text that is not UTF-8".to_owned()
}

fn date(days: i32) -> Result<i32, String> {
    match days {
        i32::MIN | i32::MAX => Err(infinite("date")),
        days => days.checked_add(EPOCH_DAYS).ok_or_else(|| "holds a date that is out of range".to_owned()),
    }
}

fn time(micros: i64) -> Result<i64, String> {
    match micros {
        i64::MIN | i64::MAX => Err(infinite("time")),
        micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| "holds a time that is out of range".to_owned()),
    }
}

fn infinite(what: &str) -> String {
    format!("holds an infinite {what}; leave such rows out in a view, or make the {what} null there")
}

/// As PostgreSQL writes a uuid.
fn hyphenated(uuid: [u8; 16]) -> [u8; 36] {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (place, byte) in uuid.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = b"0123456789abcdef"[usize::from(byte >> 4)];
        text[at + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("was not sent whole")?;
        self.0 = rest;
        Ok(taken)
    }

    fn int16(&mut self) -> Result<i16, String> {
        Ok(i16::from_be_bytes(exactly(self.take(2)?)?))
    }

    fn int32(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(exactly(self.take(4)?)?))
    }

    /// The length of a value; nothing for null.
    fn length(&mut self) -> Result<Option<usize>, String> {
        Ok(usize::try_from(self.int32()?).ok())
    }
}
