//! The value of one feature as Feast keeps it: a `feast.types.Value` protobuf, and the time of a row: a
//! `google.protobuf.Timestamp`.
//!
//! Written straight from Arrow columns and read straight into them; there is no message type in between. A null is a
//! value of no bytes; Feast itself writes a missing time as the number that stands for NaT, which is read as a null too.
//!
//! # What is read that we would write otherwise
//! Feast has several types that hold the same thing: UUIDs, decimals and JSON are texts, sets are lists without order.
//! They are read into `string` and `list<…>` as what they are. What we write is always the plain text and the list.
//! Every other difference of type is an error, because a cast would make a value of serving differ from training's.

use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::super::columns::{Cell, ColumnBuilder, ItemBuilder, Items, SourceColumn};
use crate::catalog::{DType, Scalar};

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const COUNTED: u64 = 2;
const FIXED32: u64 = 5;

/// What Feast writes for a time that is missing: NaT, taken for a number.
const NO_TIME: i64 = i64::MIN;

/// Field numbers of `Value`: those of the scalars; their lists and sets come so much later.
const LIST: u64 = 10;
const SET: u64 = 21;
const NULL: u64 = 19;
/// JSON, UUID, time UUID, decimal.
const TEXTS: [u64; 4] = [32, 36, 37, 44];
/// Lists of them, and sets.
const TEXT_LISTS: [u64; 7] = [33, 38, 39, 40, 41, 45, 46];

/// Whether Feast has a type for these values; an error is the end of a sentence about the feature.
pub(super) fn check(dtype: DType) -> Result<(), String> {
    match dtype {
        DType::One(Scalar::Date) | DType::List(Scalar::Date) => {
            Err(format!("is {dtype}, and Feast has no dates; make it a timestamp or a string"))
        }
        _ => Ok(()),
    }
}

/// Appends the value of `row`. An error is the end of a sentence about the rows.
pub(super) fn write(column: &SourceColumn<'_>, row: usize, bytes: &mut Vec<u8>) -> Result<(), String> {
    let name = &column.field.name;
    let number = number(column.field.dtype).ok_or_else(|| format!("feature {name} has a type that Feast lacks"))?;
    match column.cell(row)? {
        Cell::Null => {}
        Cell::One(item) => write_one(&column.items, item, number, bytes).map_err(|detail| within(name, detail))?,
        Cell::List(items) if items.is_empty() => {
            encode_varint(number << 3 | COUNTED, bytes);
            bytes.push(0);
        }
        Cell::List(items) => {
            let length = list_length(&column.items, items.clone()).map_err(|detail| within(name, detail))?;
            encode_varint(number << 3 | COUNTED, bytes);
            match &column.items {
                // The items of a packed list stand in one field; texts and bytes are a field each.
                Items::String(_) | Items::Bytes(_) => encode_varint(length as u64, bytes),
                _ => {
                    encode_varint((1 + encoded_len_varint(length as u64) + length) as u64, bytes);
                    encode_varint(1 << 3 | COUNTED, bytes);
                    encode_varint(length as u64, bytes);
                }
            }
            for item in items {
                write_item(&column.items, item, bytes).map_err(|detail| within(name, detail))?;
            }
        }
    }
    Ok(())
}

/// Reads one value into `column`. An error says what is wrong with it, as the end of a sentence about the value.
pub(super) fn read(value: &[u8], column: &mut ColumnBuilder<'_>) -> Result<(), String> {
    let mut wire = Wire(value);
    if is_null(value) {
        column.push_null();
        return Ok(());
    }
    let (number, wire_type) = wire.tag()?;
    let wanted = column.field.dtype;
    if !holds(number, wanted) {
        return Err(format!("is of Feast's type {}, not {wanted}", name_of(number)));
    }
    if column.is_list() {
        let mut list = Wire(wire.counted(wire_type)?);
        while !list.0.is_empty() {
            let (number, wire_type) = list.tag()?;
            if number != 1 {
                return Err(format!("is damaged: its list has a field {number}"));
            }
            list.read_items(wire_type, &mut column.items)?;
        }
    } else {
        wire.read_item(wire_type, &mut column.items)?;
    }
    if !wire.0.is_empty() {
        return Err("is damaged: it goes on after its value".to_owned());
    }
    column.end_value()
}

/// No bytes, or a value that says that it is null.
pub(super) fn is_null(value: &[u8]) -> bool {
    let mut wire = Wire(value);
    value.is_empty()
        || wire.tag().is_ok_and(|(number, wire_type)| {
            let is_time = (Some(number), wire_type) == (scalar_number(Scalar::Timestamp), VARINT);
            number == NULL || (is_time && wire.varint() == Ok(NO_TIME as u64))
        })
}

/// A time in microseconds as a `google.protobuf.Timestamp`.
pub(super) fn write_time(micros: i64, bytes: &mut Vec<u8>) {
    let (seconds, nanos) =
        (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND) * NANOS_PER_MICRO);
    for (number, part) in [(1, seconds), (2, nanos)] {
        if part != 0 {
            encode_varint(number << 3 | VARINT, bytes);
            encode_varint(part as u64, bytes);
        }
    }
}

/// The microseconds of a `google.protobuf.Timestamp`; what is finer is cut off. None where the bytes are none.
pub(super) fn read_time(value: &[u8]) -> Option<i64> {
    let (mut wire, mut seconds, mut nanos) = (Wire(value), 0, 0);
    while !wire.0.is_empty() {
        match wire.tag().ok()? {
            (1, VARINT) => seconds = wire.varint().ok()? as i64,
            (2, VARINT) => nanos = wire.varint().ok()? as i64,
            _ => return None,
        }
    }
    // Through i128, because the seconds of the earliest times alone are out of range.
    i64::try_from(i128::from(seconds) * i128::from(MICROS_PER_SECOND) + i128::from(nanos.div_euclid(NANOS_PER_MICRO)))
        .ok()
}

fn scalar_number(scalar: Scalar) -> Option<u64> {
    match scalar {
        Scalar::Bytes => Some(1),
        Scalar::String => Some(2),
        Scalar::Int32 => Some(3),
        Scalar::Int64 => Some(4),
        Scalar::Float64 => Some(5),
        Scalar::Float32 => Some(6),
        Scalar::Bool => Some(7),
        Scalar::Timestamp => Some(8),
        Scalar::Date => None,
    }
}

fn number(dtype: DType) -> Option<u64> {
    match dtype {
        DType::One(scalar) => scalar_number(scalar),
        DType::List(item) => Some(LIST + scalar_number(item)?),
        DType::Embedding(_) => Some(LIST + scalar_number(Scalar::Float32)?),
    }
}

fn holds(number: u64, wanted: DType) -> bool {
    let plain = self::number(wanted);
    Some(number) == plain
        || match wanted {
            DType::One(Scalar::String) => TEXTS.contains(&number),
            DType::List(Scalar::String) if TEXT_LISTS.contains(&number) => true,
            DType::List(item) => scalar_number(item).is_some_and(|scalar| number == SET + scalar),
            _ => false,
        }
}

/// What Feast calls the type of a value with this field number.
fn name_of(number: u64) -> String {
    const SCALARS: [&str; 8] = ["BYTES", "STRING", "INT32", "INT64", "DOUBLE", "FLOAT", "BOOL", "UNIX_TIMESTAMP"];
    const OTHERS: [(u64, &str); 21] = [
        (20, "MAP"),
        (21, "MAP_LIST"),
        (32, "JSON"),
        (33, "JSON_LIST"),
        (34, "STRUCT"),
        (35, "STRUCT_LIST"),
        (36, "UUID"),
        (37, "TIME_UUID"),
        (38, "UUID_LIST"),
        (39, "TIME_UUID_LIST"),
        (40, "UUID_SET"),
        (41, "TIME_UUID_SET"),
        (42, "LIST"),
        (43, "SET"),
        (44, "DECIMAL"),
        (45, "DECIMAL_LIST"),
        (46, "DECIMAL_SET"),
        (47, "SCALAR_MAP"),
        (48, "ZONED_TIMESTAMP"),
        (30, "PDF_BYTES"),
        (31, "IMAGE_BYTES"),
    ];
    let scalar = |first: u64| number.checked_sub(first + 1).and_then(|position| SCALARS.get(position as usize));
    match (scalar(0), scalar(LIST), scalar(SET)) {
        (Some(name), _, _) => (*name).to_owned(),
        (_, Some(name), _) => format!("{name}_LIST"),
        (_, _, Some(name)) => format!("{name}_SET"),
        _ => match OTHERS.iter().find(|(other, _)| *other == number) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("number {number}, which this version of Lockstep does not know"),
        },
    }
}

fn within(feature: &str, detail: &str) -> String {
    format!("feature {feature}: {detail}")
}

fn whole_seconds(micros: i64) -> Result<i64, &'static str> {
    match micros % MICROS_PER_SECOND {
        0 => Ok(micros / MICROS_PER_SECOND),
        _ => Err("Feast keeps timestamps in whole seconds, and one has a fraction; cut it off in the source"),
    }
}

fn write_one(items: &Items<'_>, item: usize, number: u64, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
    let wire_type = match items {
        Items::Bool(_) | Items::Int32(_) | Items::Int64(_) | Items::Timestamp(_) | Items::Date(_) => VARINT,
        Items::Float32(_) => FIXED32,
        Items::Float64(_) => FIXED64,
        Items::String(_) | Items::Bytes(_) => COUNTED,
    };
    encode_varint(number << 3 | wire_type, bytes);
    match items {
        Items::String(texts) => write_counted(texts.value(item).as_bytes(), bytes),
        Items::Bytes(values) => write_counted(values.value(item), bytes),
        _ => write_item(items, item, bytes)?,
    }
    Ok(())
}

/// An item of a list, or a scalar without its tag.
fn write_item(items: &Items<'_>, item: usize, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut field = |value: &[u8]| {
        encode_varint(1 << 3 | COUNTED, bytes);
        write_counted(value, bytes);
    };
    match items {
        Items::String(texts) => field(texts.value(item).as_bytes()),
        Items::Bytes(values) => field(values.value(item)),
        Items::Float32(numbers) => bytes.extend_from_slice(&numbers[item].to_le_bytes()),
        Items::Float64(numbers) => bytes.extend_from_slice(&numbers[item].to_le_bytes()),
        _ => encode_varint(varint(items, item)?, bytes),
    }
    Ok(())
}

/// Negative numbers are written as 64 bits, `int32` too.
fn varint(items: &Items<'_>, item: usize) -> Result<u64, &'static str> {
    Ok(match items {
        Items::Bool(bits) => u64::from(bits.value(item)),
        Items::Int32(numbers) | Items::Date(numbers) => i64::from(numbers[item]) as u64,
        Items::Int64(numbers) => numbers[item] as u64,
        Items::Timestamp(times) => whole_seconds(times[item])? as u64,
        Items::Float32(_) | Items::Float64(_) | Items::String(_) | Items::Bytes(_) => {
            unreachable!("these are not written as varints")
        }
    })
}

/// Bytes of the items of a list, with what stands in front of each.
fn list_length(items: &Items<'_>, range: std::ops::Range<usize>) -> Result<usize, &'static str> {
    let field = |length: usize| 1 + encoded_len_varint(length as u64) + length;
    Ok(match items {
        Items::Float32(_) => range.len() * size_of::<f32>(),
        Items::Float64(_) => range.len() * size_of::<f64>(),
        Items::String(texts) => range.map(|item| field(texts.value_length(item) as usize)).sum(),
        Items::Bytes(values) => range.map(|item| field(values.value_length(item) as usize)).sum(),
        _ => {
            let mut length = 0;
            for item in range {
                length += encoded_len_varint(varint(items, item)?);
            }
            length
        }
    })
}

fn write_counted(value: &[u8], bytes: &mut Vec<u8>) {
    encode_varint(value.len() as u64, bytes);
    bytes.extend_from_slice(value);
}

/// What is left to read of a message.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        decode_varint(&mut self.0).map_err(|_| cut_off())
    }

    /// Field number and wire type.
    fn tag(&mut self) -> Result<(u64, u64), String> {
        let tag = self.varint()?;
        Ok((tag >> 3, tag & 7))
    }

    fn counted(&mut self, wire_type: u64) -> Result<&'a [u8], String> {
        if wire_type != COUNTED {
            return Err(wrong_wire(wire_type));
        }
        let length = self.varint()?;
        usize::try_from(length).ok().and_then(|length| self.0.split_off(..length)).ok_or_else(cut_off)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.0.split_off(..N).and_then(|bytes| bytes.first_chunk().copied()).ok_or_else(cut_off)
    }

    /// The items of one field of a list: one of them, or all of them packed together.
    fn read_items(&mut self, wire_type: u64, items: &mut ItemBuilder) -> Result<(), String> {
        let one = match items {
            ItemBuilder::String(_) | ItemBuilder::Bytes(_) => COUNTED,
            ItemBuilder::Float32(_) => FIXED32,
            ItemBuilder::Float64(_) => FIXED64,
            _ => VARINT,
        };
        if wire_type == one {
            return self.read_item(wire_type, items);
        }
        let mut packed = Wire(self.counted(wire_type)?);
        while !packed.0.is_empty() {
            packed.read_item(one, items)?;
        }
        Ok(())
    }

    fn read_item(&mut self, wire_type: u64, items: &mut ItemBuilder) -> Result<(), String> {
        match (items, wire_type) {
            (ItemBuilder::String(items), COUNTED) => {
                let text = str::from_utf8(self.counted(wire_type)?);
                items.append_value(text.map_err(|_| "is damaged: it is not UTF-8".to_owned())?);
            }
            (ItemBuilder::Bytes(items), COUNTED) => items.append_value(self.counted(wire_type)?),
            (ItemBuilder::Float32(items), FIXED32) => items.push(f32::from_le_bytes(self.fixed()?)),
            (ItemBuilder::Float64(items), FIXED64) => items.push(f64::from_le_bytes(self.fixed()?)),
            (ItemBuilder::Bool(items), VARINT) => items.append(match self.varint()? {
                0 => false,
                1 => true,
                _ => return Err("is damaged: it is a bool that is neither true nor false".to_owned()),
            }),
            (ItemBuilder::Int32(items), VARINT) => {
                let number = i32::try_from(self.varint()? as i64);
                items.push(number.map_err(|_| "is damaged: it does not fit an int32".to_owned())?);
            }
            (ItemBuilder::Int64(items), VARINT) => items.push(self.varint()? as i64),
            (ItemBuilder::Timestamp(items), VARINT) => {
                let micros = (self.varint()? as i64).checked_mul(MICROS_PER_SECOND);
                items.push(micros.ok_or("is a time that is too far away to count in microseconds")?);
            }
            (_, wire_type) => return Err(wrong_wire(wire_type)),
        }
        Ok(())
    }
}

fn cut_off() -> String {
    "is damaged: it is cut off".to_owned()
}

fn wrong_wire(wire_type: u64) -> String {
    format!("is damaged: its wire type is {wire_type}")
}
