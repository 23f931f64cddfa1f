//! Columns of Arrow become rows as `COPY … FROM STDIN (FORMAT binary)` takes them, each value in the type of the table's
//! column: the same value, or an error that names the column.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType,
};

use super::columns::{Column, Kind, Shape};
use super::decode::{EPOCH_DAYS, EPOCH_MICROS};
use super::filter::{DAYS, MICROS};
use super::numeric;
use crate::cast;
use crate::catalog::{DType, Scalar};

/// What stands before the first row: a signature, no flags, no extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind the last one.
pub(super) const TAIL: &[u8] = &(-1_i16).to_be_bytes();

/// Rows that are ready to be sent.
#[derive(Debug)]
pub(super) struct Encoder {
    columns: Vec<(String, Cells)>,
}

/// The values of one column, in the type that they are sent as.
#[derive(Debug)]
enum Cells {
    Bool(BooleanArray),
    Int16(Int64Array),
    Int32(Int64Array),
    Int64(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Text(StringArray),
    Jsonb(StringArray),
    Uuid(StringArray),
    Bytes(BinaryArray),
    Date(Date32Array),
    Time(TimestampMicrosecondArray),
    /// A numeric that is whole.
    Whole(Int64Array),
    Decimal128(Decimal128Array, i8),
    Decimal256(Decimal256Array, i8),
    List {
        list: ListArray,
        items: Box<Cells>,
        oid: u32,
    },
}

impl Encoder {
    /// For these columns of a table, each with its values.
    pub fn new(columns: &[(&Column, &ArrayRef)]) -> Result<Self, String> {
        let cells = |(column, values): &(&Column, &ArrayRef)| {
            let shape = column
                .shape
                .ok_or_else(|| format!("column {} is of type {}, which is not written", column.name, column.shown))?;
            let cells = Cells::new(shape, column.oid, values);
            let cells =
                cells.map_err(|wrong| format!("column {}, {} in the table: {wrong}", column.name, column.shown));
            Ok((column.name.clone(), cells?))
        };
        Ok(Self { columns: columns.iter().map(cells).collect::<Result<_, String>>()? })
    }

    /// Appends a row.
    pub fn push(&self, row: usize, to: &mut Vec<u8>) -> Result<(), String> {
        to.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        for (name, cells) in &self.columns {
            cells.push(row, to).map_err(|wrong| format!("column {name}, row {row}: {wrong}"))?;
        }
        Ok(())
    }
}

impl Cells {
    fn new(shape: Shape, oid: u32, values: &ArrayRef) -> Result<Self, String> {
        let kind = match shape {
            Shape::One(kind) => kind,
            Shape::List(kind) => {
                let scalar = scalar(kind).ok_or("lists of numeric are not written")?;
                let list = exactly(values, DType::List(scalar))?.as_list::<i32>().clone();
                let items = Box::new(Self::new(Shape::One(kind), oid, list.values())?);
                return Ok(Self::List { list, items, oid });
            }
        };
        let Some(scalar) = scalar(kind) else { return Self::numeric(values) };
        let values = exactly(values, DType::One(scalar))?;
        Ok(match kind {
            Kind::Bool => Self::Bool(values.as_boolean().clone()),
            Kind::Int16 => Self::Int16(values.as_primitive::<Int64Type>().clone()),
            Kind::Int32 => Self::Int32(values.as_primitive::<Int64Type>().clone()),
            Kind::Int64 | Kind::Numeric { .. } => Self::Int64(values.as_primitive::<Int64Type>().clone()),
            Kind::Float32 => Self::Float32(values.as_primitive::<Float32Type>().clone()),
            Kind::Float64 => Self::Float64(values.as_primitive::<Float64Type>().clone()),
            Kind::Text | Kind::Padded | Kind::Enum | Kind::Json => Self::Text(values.as_string().clone()),
            Kind::Jsonb => Self::Jsonb(values.as_string().clone()),
            Kind::Uuid => Self::Uuid(values.as_string().clone()),
            Kind::Bytes => Self::Bytes(values.as_binary().clone()),
            Kind::Date => Self::Date(values.as_primitive::<Date32Type>().clone()),
            Kind::Moment | Kind::Clock => Self::Time(values.as_primitive::<TimestampMicrosecondType>().clone()),
        })
    }

    fn numeric(values: &ArrayRef) -> Result<Self, String> {
        match values.data_type() {
            DataType::Decimal128(_, scale) => {
                Ok(Self::Decimal128(values.as_primitive::<Decimal128Type>().clone(), *scale))
            }
            DataType::Decimal256(_, scale) => {
                Ok(Self::Decimal256(values.as_primitive::<Decimal256Type>().clone(), *scale))
            }
            other if other.is_floating() => Err("a float is not written as a numeric, which would round it".to_owned()),
            _ => Ok(Self::Whole(exactly(values, DType::One(Scalar::Int64))?.as_primitive::<Int64Type>().clone())),
        }
    }

    /// Appends one value, its length first.
    fn push(&self, row: usize, to: &mut Vec<u8>) -> Result<(), String> {
        if self.is_null(row) {
            to.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        match self {
            Self::Bool(values) => fixed(&[u8::from(values.value(row))], to),
            Self::Int16(values) => {
                let value = values.value(row);
                let narrow = i16::try_from(value).map_err(|_| format!("{value} is no smallint"))?;
                fixed(&narrow.to_be_bytes(), to);
            }
            Self::Int32(values) => {
                let value = values.value(row);
                let narrow = i32::try_from(value).map_err(|_| format!("{value} is no integer of 32 bits"))?;
                fixed(&narrow.to_be_bytes(), to);
            }
            Self::Int64(values) => fixed(&values.value(row).to_be_bytes(), to),
            Self::Float32(values) => fixed(&values.value(row).to_be_bytes(), to),
            Self::Float64(values) => fixed(&values.value(row).to_be_bytes(), to),
            Self::Text(values) => return sized(&[], values.value(row).as_bytes(), to),
            Self::Jsonb(values) => return sized(&[1], values.value(row).as_bytes(), to),
            Self::Bytes(values) => return sized(&[], values.value(row), to),
            Self::Uuid(values) => {
                let value = values.value(row);
                fixed(&uuid(value).ok_or_else(|| format!("{value:?} is no uuid"))?, to);
            }
            Self::Date(values) => {
                let day = values.value(row);
                if !DAYS.contains(&day) {
                    return Err("PostgreSQL has no such date".to_owned());
                }
                fixed(&(day - EPOCH_DAYS).to_be_bytes(), to);
            }
            Self::Time(values) => {
                let micros = values.value(row);
                if !MICROS.contains(&micros) {
                    return Err("PostgreSQL has no such time".to_owned());
                }
                fixed(&(micros - EPOCH_MICROS).to_be_bytes(), to);
            }
            Self::Whole(values) => {
                return numeric::encode(i128::from(values.value(row)), 0, to).map_err(|error| error.to_string());
            }
            Self::Decimal128(values, scale) => {
                return numeric::encode(values.value(row), *scale, to).map_err(|error| error.to_string());
            }
            Self::Decimal256(values, scale) => {
                return numeric::encode(values.value(row), *scale, to).map_err(|error| error.to_string());
            }
            Self::List { list, items, oid } => return push_list(list, items, *oid, row, to),
        }
        Ok(())
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(values) => values.is_null(row),
            Self::Int16(values) | Self::Int32(values) | Self::Int64(values) | Self::Whole(values) => {
                values.is_null(row)
            }
            Self::Float32(values) => values.is_null(row),
            Self::Float64(values) => values.is_null(row),
            Self::Text(values) | Self::Jsonb(values) | Self::Uuid(values) => values.is_null(row),
            Self::Bytes(values) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Time(values) => values.is_null(row),
            Self::Decimal128(values, _) => values.is_null(row),
            Self::Decimal256(values, _) => values.is_null(row),
            Self::List { list, .. } => list.is_null(row),
        }
    }
}

/// What a column of the table takes, in our words; nothing for numeric, which takes several.
fn scalar(kind: Kind) -> Option<Scalar> {
    Some(match kind {
        Kind::Bool => Scalar::Bool,
        Kind::Int16 | Kind::Int32 | Kind::Int64 => Scalar::Int64,
        Kind::Float32 => Scalar::Float32,
        Kind::Float64 => Scalar::Float64,
        Kind::Text | Kind::Padded | Kind::Enum | Kind::Json | Kind::Jsonb | Kind::Uuid => Scalar::String,
        Kind::Bytes => Scalar::Bytes,
        Kind::Date => Scalar::Date,
        Kind::Moment | Kind::Clock => Scalar::Timestamp,
        Kind::Numeric { .. } => return None,
    })
}

fn exactly(values: &ArrayRef, dtype: DType) -> Result<ArrayRef, String> {
    cast::exactly(values, dtype).map_err(|error| error.to_string())
}

fn fixed(value: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&(value.len() as i32).to_be_bytes());
    to.extend_from_slice(value);
}

fn sized(before: &[u8], value: &[u8], to: &mut Vec<u8>) -> Result<(), String> {
    let length = i32::try_from(before.len() + value.len()).map_err(|_| "a value is too long".to_owned())?;
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(before);
    to.extend_from_slice(value);
    Ok(())
}

fn push_list(list: &ListArray, items: &Cells, oid: u32, row: usize, to: &mut Vec<u8>) -> Result<(), String> {
    let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
    let length_at = to.len();
    to.extend_from_slice(&[0; 4]);
    // Dimensions, whether there are nulls, the type of the items; then how many there are and where the first stands.
    let dimensions = i32::from(end > start);
    to.extend_from_slice(&dimensions.to_be_bytes());
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&oid.to_be_bytes());
    if end > start {
        to.extend_from_slice(&(end - start).to_be_bytes());
        to.extend_from_slice(&1_i32.to_be_bytes());
    }
    for item in start..end {
        items.push(item as usize, to)?;
    }
    let length = i32::try_from(to.len() - length_at - 4).map_err(|_| "a list is too long".to_owned())?;
    to[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The bytes of a uuid as people write it.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut digits = text.bytes().filter(|letter| *letter != b'-');
    for byte in &mut bytes {
        let mut digit = || char::from(digits.next()?).to_digit(16);
        *byte = (digit()? * 16 + digit()?) as u8;
    }
    digits.next().is_none().then_some(bytes)
}
