//! JSON arrays and query text to Arrow columns: serde drives, a [`ColumnBuilder`] takes each value as it is read.

use std::fmt;

use arrow::array::ArrayRef;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Times;
use super::build::{ColumnBuilder, Literal, Refused, Wanted};
use super::time;
use crate::catalog::DType;
use crate::clock::Micros;

/// Reads a JSON array of at most `rows_max` values as a column.
pub fn json_column(json: &str, dtype: DType, times: Times, rows_max: usize) -> Result<ArrayRef, Refused> {
    let mut reading = Reading { builder: ColumnBuilder::new(dtype, times), rows_max, refused: None };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match (&mut deserializer).deserialize_seq(Rows(&mut reading)) {
        Ok(()) => Ok(reading.builder.finish()),
        // The text is JSON, or it would not have got here; without a refused value it can only be another thing.
        Err(_) => Err(reading.refused.unwrap_or(Refused::NotAnArray)),
    }
}

/// How many values a JSON array has.
pub fn json_length(json: &str) -> Result<usize, Refused> {
    serde_json::Deserializer::from_str(json).deserialize_seq(Length).map_err(|_| Refused::NotAnArray)
}

/// Reads texts, as a query has them, as a column. Lists are written as JSON; an empty text is null unless it is a string.
pub fn text_column(texts: &[String], dtype: DType, times: Times) -> Result<ArrayRef, Refused> {
    let mut reading = Reading { builder: ColumnBuilder::new(dtype, times), rows_max: texts.len(), refused: None };
    for text in texts {
        if text.is_empty() && !reading.builder.takes_empty_text() {
            reading.take(Literal::Null)?;
        } else if !reading.builder.is_list() {
            reading.take(Literal::Text(text))?;
        } else {
            let read = Cell::of(&mut reading).deserialize(&mut serde_json::Deserializer::from_str(text));
            if read.is_err() {
                let refused = reading.refused.take();
                return Err(refused.unwrap_or_else(|| reading.refuse(Literal::Text(text), reading.builder.wanted())));
            }
        }
    }
    Ok(reading.builder.finish())
}

/// Reads one JSON value as a time.
pub fn json_instant(json: &str, times: Times) -> Option<Micros> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => time::instant(&text, times),
        Err(_) => time::from_number(serde_json::from_str(json).ok()?, times),
    }
}

/// A column on its way, and why it was refused.
struct Reading {
    builder: ColumnBuilder,
    rows_max: usize,
    refused: Option<Refused>,
}

impl Reading {
    fn take(&mut self, literal: Literal<'_>) -> Result<(), Refused> {
        self.builder.push(literal).map_err(|wanted| self.refuse(literal, wanted))
    }

    fn refuse(&self, value: impl fmt::Display, wanted: Wanted) -> Refused {
        Refused::Value { row: self.builder.rows(), value: value.to_string(), wanted }
    }

    /// Notes a refusal beside serde's error, which has no room for it.
    fn give_up<E: serde::de::Error>(&mut self, value: impl fmt::Display, wanted: Wanted) -> E {
        self.refused = Some(self.refuse(value, wanted));
        E::custom(wanted)
    }
}

/// The array of all rows.
struct Rows<'b>(&'b mut Reading);

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Cell::of(self.0))?.is_some() {
            if self.0.builder.rows() > self.0.rows_max {
                self.0.refused = Some(Refused::TooLong { max: self.0.rows_max });
                return Err(A::Error::custom("too long"));
            }
        }
        Ok(())
    }
}

/// The value of one row, or one item of its list.
struct Cell<'b> {
    reading: &'b mut Reading,
    is_item: bool,
}

impl<'b> Cell<'b> {
    fn of(reading: &'b mut Reading) -> Self {
        Self { reading, is_item: false }
    }

    fn put<E: serde::de::Error>(self, literal: Literal<'_>) -> Result<(), E> {
        let Self { reading, is_item } = self;
        match is_item {
            false => reading.builder.push(literal).map_err(|wanted| reading.give_up(literal, wanted)),
            true => {
                let put = reading.builder.push_item(literal);
                put.map_err(|wanted| reading.give_up(format_args!("a list with the item {literal}"), wanted))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(Literal::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.put(Literal::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.put(Literal::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Literal::Large(value), Literal::Int))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.put(Literal::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.put(Literal::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { reading, is_item } = self;
        if is_item {
            return Err(reading.give_up("a list of lists", "a list of single values"));
        }
        if !reading.builder.is_list() {
            return Err(reading.give_up("an array", reading.builder.wanted()));
        }
        while items.next_element_seed(Cell { reading, is_item: true })?.is_some() {}
        reading.builder.end_list().map_err(|wanted| reading.give_up("a list of another length", wanted))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(match self.is_item {
            true => self.reading.give_up("a list of objects", "a list of single values"),
            false => self.reading.give_up("an object", self.reading.builder.wanted()),
        })
    }
}

/// Counts an array's values without reading them.
struct Length;

impl<'de> Visitor<'de> for Length {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<usize, A::Error> {
        let mut length = 0;
        while values.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(length)
    }
}
