//! The value of one feature as a small JSON text.
//!
//! | type | text |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `int32`, `int64` | an integer: `-5` |
//! | `float32`, `float64` | a number with the fewest digits that give the same value again: `0.1`, `-0.0`, `1e+22`; `"Infinity"`, `"-Infinity"`, `"NaN"` |
//! | `string` | a text |
//! | `bytes` | a text in standard base64 with padding |
//! | `timestamp` | a text `"2026-11-20T02:00:00.000000Z"`; an integer of microseconds outside of the years 0 to 9999 |
//! | `date` | a text `"2026-11-20"`; an integer of days outside of those years |
//! | `list<…>` | an array |
//! | a null | `null`, or no field at all |
//!
//! Reading is strict: an integer is written as one and is in range, a list has no nulls, nothing is cast. Any other way
//! to write the same JSON value is read (spaces, escapes, `1E2` for a float), and so is any offset from UTC.
//!
//! # NaN
//! There are many, and which one it is must not get lost: the same rows must give the same bits here and in training.
//! `"NaN"` is the one that calculations in Rust and in plugins make; any other is written with its bits, as
//! `"NaN(0xfff8000000000000)"`.

use std::fmt;
use std::io::Write;

use arrow::temporal_conversions::UNIX_EPOCH_DAY;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::columns::{Cell, ColumnBuilder, ItemBuilder, Items, SourceColumn};

/// The years that a date or time can be written in as text.
const CALENDAR: std::ops::RangeInclusive<i32> = 0..=9999;

/// Appends the value of `row`. An error is the end of a sentence about the rows.
pub(in crate::online::redis) fn write(column: &SourceColumn<'_>, row: usize, text: &mut Vec<u8>) -> Result<(), String> {
    match column.cell(row)? {
        Cell::Null => text.extend_from_slice(b"null"),
        Cell::One(item) => write_item(&column.items, item, text),
        Cell::List(items) => {
            text.push(b'[');
            let first = items.start;
            for item in items {
                if item > first {
                    text.push(b',');
                }
                write_item(&column.items, item, text);
            }
            text.push(b']');
        }
    }
    Ok(())
}

/// Reads one value into `column`. An error says what is wrong with it, as the end of a sentence about the value.
pub(in crate::online::redis) fn read(text: &[u8], column: &mut ColumnBuilder<'_>) -> Result<(), String> {
    let value: &RawValue = serde_json::from_slice(text).map_err(|_| "is not JSON".to_owned())?;
    let value = value.get();
    if value == "null" {
        column.push_null();
        return Ok(());
    }
    if column.is_list() {
        if !value.starts_with('[') {
            return Err(format!("is {}, not a list", kind(value)));
        }
        let mut list = serde_json::Deserializer::from_str(value);
        List(&mut column.items).deserialize(&mut list).map_err(|_| "is not JSON".to_owned())??;
    } else {
        read_item(value, &mut column.items)?;
    }
    column.end_value()
}

fn write_item(items: &Items<'_>, item: usize, text: &mut Vec<u8>) {
    match items {
        Items::Bool(bits) => text.extend_from_slice(if bits.value(item) { b"true" } else { b"false" }),
        Items::Int32(numbers) => text.extend_from_slice(itoa::Buffer::new().format(numbers[item]).as_bytes()),
        Items::Int64(numbers) => text.extend_from_slice(itoa::Buffer::new().format(numbers[item]).as_bytes()),
        Items::Float32(numbers) => match numbers[item] {
            number if number.is_finite() => {
                text.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
            }
            number if number.is_nan() && number.to_bits() != f32::NAN.to_bits() => {
                append(text, format_args!("\"NaN({:#010x})\"", number.to_bits()));
            }
            number => write_special(number.into(), text),
        },
        Items::Float64(numbers) => match numbers[item] {
            number if number.is_finite() => {
                text.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
            }
            number if number.is_nan() && number.to_bits() != f64::NAN.to_bits() => {
                append(text, format_args!("\"NaN({:#018x})\"", number.to_bits()));
            }
            number => write_special(number, text),
        },
        Items::String(texts) => {
            serde_json::to_writer(text, texts.value(item)).expect("a text is written to memory without failing");
        }
        Items::Bytes(values) => {
            let value = values.value(item);
            text.push(b'"');
            let start = text.len();
            text.resize(start + value.len().div_ceil(3) * 4, 0);
            let written = BASE64.encode_slice(value, &mut text[start..]);
            text.truncate(start + written.expect("base64 has four characters for three bytes"));
            text.push(b'"');
        }
        Items::Timestamp(times) => write_quoted_unless_number(text, |text| push_time(times[item], text)),
        Items::Date(days) => write_quoted_unless_number(text, |text| push_date(days[item], text)),
    }
}

/// The infinities, and the usual NaN.
fn write_special(number: f64, text: &mut Vec<u8>) {
    let name: &[u8] = match number {
        f64::INFINITY => b"\"Infinity\"",
        f64::NEG_INFINITY => b"\"-Infinity\"",
        _ => b"\"NaN\"",
    };
    text.extend_from_slice(name);
}

fn append(text: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to memory does not fail");
}

fn write_quoted_unless_number(text: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = text.len();
    text.push(b'"');
    match push(text) {
        true => text.push(b'"'),
        false => {
            text.remove(start);
        }
    }
}

/// Appends an RFC 3339 time and gives true, or the microseconds and false where no calendar shows them.
pub(super) fn push_time(micros: i64, text: &mut Vec<u8>) -> bool {
    match DateTime::from_timestamp_micros(micros) {
        Some(time) if CALENDAR.contains(&time.year()) => {
            let (date, clock) = (time.date_naive(), time.time());
            push_day(date, text);
            let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
            append(text, format_args!("T{hour:02}:{minute:02}:{second:02}.{:06}Z", clock.nanosecond() / 1_000));
            true
        }
        _ => {
            text.extend_from_slice(itoa::Buffer::new().format(micros).as_bytes());
            false
        }
    }
}

/// Appends an ISO date and gives true, or the days since 1970 and false where no calendar shows them.
pub(super) fn push_date(days: i32, text: &mut Vec<u8>) -> bool {
    match days.checked_add(UNIX_EPOCH_DAY as i32).and_then(NaiveDate::from_num_days_from_ce_opt) {
        Some(date) if CALENDAR.contains(&date.year()) => {
            push_day(date, text);
            true
        }
        _ => {
            text.extend_from_slice(itoa::Buffer::new().format(days).as_bytes());
            false
        }
    }
}

fn push_day(date: NaiveDate, text: &mut Vec<u8>) {
    append(text, format_args!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()));
}

/// Microseconds of an RFC 3339 time. None where it is none, or finer than a microsecond.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let nanos = time.timestamp_subsec_nanos();
    (nanos % 1_000 == 0 && nanos < 1_000_000_000).then(|| time.timestamp_micros())
}

/// Days since 1970 of an ISO date.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let is_plain = text.len() == "2026-11-20".len() && CALENDAR.contains(&date.year());
    is_plain.then(|| date.num_days_from_ce() - UNIX_EPOCH_DAY as i32)
}

/// What a JSON value is, in words.
fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'"') => "a text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a bool",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn read_item(value: &str, items: &mut ItemBuilder) -> Result<(), String> {
    match items {
        ItemBuilder::Bool(items) => match value {
            "true" => items.append(true),
            "false" => items.append(false),
            _ => return Err(format!("is {}, not a bool", kind(value))),
        },
        ItemBuilder::Int32(items) => items.push(integer(value)?),
        ItemBuilder::Int64(items) => items.push(integer(value)?),
        ItemBuilder::Float32(items) => items.push(match is_number(value) {
            true => value.parse().ok().filter(|number: &f32| number.is_finite()).ok_or("is out of range")?,
            false => with_text(value, "a number", |text| match text.strip_prefix("NaN(0x") {
                Some(bits) => bits_of_nan(bits, 8).map(|bits| f32::from_bits(bits as u32)).filter(|nan| nan.is_nan()),
                None => special(text).map(|number| number as f32),
            })?,
        }),
        ItemBuilder::Float64(items) => items.push(match is_number(value) {
            true => value.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("is out of range")?,
            false => with_text(value, "a number", |text| match text.strip_prefix("NaN(0x") {
                Some(bits) => bits_of_nan(bits, 16).map(f64::from_bits).filter(|nan| nan.is_nan()),
                None => special(text),
            })?,
        }),
        ItemBuilder::String(items) => with_text(value, "a text", |text| {
            items.append_value(text);
            Some(())
        })?,
        ItemBuilder::Bytes(items) => {
            let bytes = with_text(value, "a text in base64", |text| BASE64.decode(text).ok())?;
            items.append_value(bytes);
        }
        ItemBuilder::Timestamp(items) => items.push(match is_number(value) {
            true => outside_calendar(integer(value)?, push_time, "timestamp")?,
            false => with_text(value, "an RFC 3339 time of whole microseconds", parse_time)?,
        }),
        ItemBuilder::Date(items) => items.push(match is_number(value) {
            true => outside_calendar(integer(value)?, push_date, "date")?,
            false => with_text(value, "a date such as 2026-11-20", parse_date)?,
        }),
    }
    Ok(())
}

fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn integer<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    if !is_number(value) {
        return Err(format!("is {}, not an integer", kind(value)));
    }
    if value.contains(['.', 'e', 'E']) {
        return Err(format!("is {value}, not an integer"));
    }
    value.parse().map_err(|_| format!("is {value}, out of range"))
}

/// A number where a text could stand is refused: it may be seconds, or milliseconds, and no one would notice.
fn outside_calendar<T: Copy>(number: T, push: fn(T, &mut Vec<u8>) -> bool, name: &str) -> Result<T, String> {
    let mut text = Vec::new();
    match push(number, &mut text) {
        false => Ok(number),
        true => Err(format!("is a number; write this {name} as \"{}\"", String::from_utf8_lossy(&text))),
    }
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn bits_of_nan(text: &str, digits: usize) -> Option<u64> {
    let hex = text.strip_suffix(')').filter(|hex| hex.len() == digits)?;
    u64::from_str_radix(hex, 16).ok()
}

/// What `take` makes of a JSON text without its quotes and escapes.
fn with_text<T>(value: &str, wanted: &str, take: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    struct Text<F>(F);
    impl<T, F: FnOnce(&str) -> Option<T>> Visitor<'_> for Text<F> {
        type Value = Option<T>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a text")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok((self.0)(text))
        }
    }
    if !value.starts_with('"') {
        return Err(format!("is {}, not {wanted}", kind(value)));
    }
    let taken = serde_json::Deserializer::from_str(value).deserialize_str(Text(take));
    // The value itself is not shown: it may be long, and it may be someone's name.
    taken.ok().flatten().ok_or_else(|| format!("is a text, but not {wanted}"))
}

/// The items of a JSON array, each read by itself.
struct List<'b>(&'b mut ItemBuilder);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = Result<(), String>;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Self::Value, D::Error> {
        list.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Result<(), String>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while let Some(item) = list.next_element::<&'de RawValue>()? {
            if let Err(detail) = read_item(item.get(), self.0) {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(format!("has an item that {detail}")));
            }
        }
        Ok(Ok(()))
    }
}
