//! Answers, and where two of them differ: bit by bit, in the one form that equal columns have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use serde::Serialize;

use super::RefusedRow;
use crate::cast;
use crate::catalog::{Field, Transform};
use crate::clock::Deadline;
use crate::limits::CONFORMANCE_CALL_TIME_MAX;
use crate::transform::probe::canonical;
use crate::transform::{Applied, Error, Transforms};

/// Characters of a value that are shown.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// What a transform made of some rows.
#[derive(Clone, Debug)]
pub struct Answer {
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
    /// The refused rows; of a very large number of them only the first are kept.
    pub refused: BTreeMap<usize, (u32, String)>,
    pub refused_count: usize,
    pub fuel: u64,
}

/// The first place at which an answer is not the one that was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub row: Option<usize>,
    pub column: Option<String>,
    pub expected: String,
    pub got: String,
}

/// Applies `transform` as a flow does.
pub fn answer(stage: &Transforms, transform: &Transform, inputs: &[ArrayRef], rows: usize) -> Result<Answer, Error> {
    stage.apply(transform, inputs, rows, Deadline::after(CONFORMANCE_CALL_TIME_MAX)).map(Answer::from)
}

impl From<Applied> for Answer {
    fn from(applied: Applied) -> Self {
        let refused = applied.errors.into_iter().map(|error| (error.row, (error.code, error.message)));
        Self {
            rows: applied.rows.num_rows(),
            columns: applied.rows.columns().to_vec(),
            refused: refused.collect(),
            refused_count: applied.error_count,
            fuel: applied.fuel,
        }
    }
}

impl Answer {
    /// Answers of single rows, one below the other.
    pub fn of_rows(fields: &[Field], parts: &[Self]) -> Self {
        let column = |position: usize| -> ArrayRef {
            let parts: Vec<&dyn Array> = parts.iter().map(|part| part.columns[position].as_ref()).collect();
            let empty = || arrow::array::new_empty_array(&fields[position].dtype.arrow());
            if parts.is_empty() { empty() } else { concat(&parts).unwrap_or_else(|_| empty()) }
        };
        let mut whole = Self {
            columns: (0..fields.len()).map(column).collect(),
            rows: 0,
            refused: BTreeMap::new(),
            refused_count: 0,
            fuel: 0,
        };
        for part in parts {
            whole.refused.extend(part.refused.iter().map(|(row, why)| (whole.rows + row, why.clone())));
            whole.refused_count += part.refused_count;
            whole.rows += part.rows;
            whole.fuel += part.fuel;
        }
        whole
    }

    /// The answer that rows in these places must have, if a row's answer depends on the row alone. Every refused row of
    /// `self` is known.
    pub fn at(&self, places: &[usize]) -> Self {
        let refused =
            places.iter().enumerate().filter_map(|(row, place)| Some((row, self.refused.get(place)?.clone())));
        let refused: BTreeMap<usize, (u32, String)> = refused.collect();
        Self {
            columns: taken(&self.columns, places),
            rows: places.len(),
            refused_count: refused.len(),
            refused,
            fuel: 0,
        }
    }

    /// Where `got` is something else than `self`; fuel is not looked at.
    pub fn differs(&self, fields: &[Field], got: &Self) -> Option<Difference> {
        if self.rows != got.rows {
            return Some(Difference::of(format!("{} rows", self.rows), format!("{} rows", got.rows)));
        }
        let column = |((field, is), expected): ((&Field, &ArrayRef), &ArrayRef)| {
            let row = *differing_rows(field, expected, is, 1).first()?;
            let (expected, got) = (shown(expected, row), shown(is, row));
            Some(Difference { row: Some(row), column: Some(field.name.clone()), expected, got })
        };
        let mut columns = fields.iter().zip(&got.columns).zip(&self.columns);
        columns.find_map(column).or_else(|| self.differs_in_refusals(got))
    }

    fn differs_in_refusals(&self, got: &Self) -> Option<Difference> {
        if self.refused_count != got.refused_count {
            let rows = |answer: &Self| format!("{} refused rows", answer.refused_count);
            return Some(Difference::of(rows(self), rows(got)));
        }
        let (row, is) = got.refused.iter().find(|&(row, is)| {
            // What was not kept cannot be compared.
            let is_known = self.refused.len() == self.refused_count || self.refused.contains_key(row);
            is_known && self.refused.get(row) != Some(is)
        })?;
        let text = |refused: Option<&(u32, String)>| match refused {
            Some((code, message)) => format!("refused with code {code}: {message}"),
            None => "not refused".to_owned(),
        };
        Some(Difference { row: Some(*row), ..Difference::of(text(self.refused.get(row)), text(Some(is))) })
    }

    /// As a golden case writes the refused rows down.
    pub fn refusals(&self) -> Vec<RefusedRow> {
        let row = |(row, (code, message)): (&usize, &(u32, String))| RefusedRow {
            row: *row,
            code: *code,
            message: Some(message.clone()),
        };
        self.refused.iter().map(row).collect()
    }
}

impl Difference {
    pub fn of(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { row: None, column: None, expected: expected.into(), got: got.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}, ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "column {column}, ")?;
        }
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

/// The rows, at most `most` of them, in which two columns of the same type and length differ in any bit that counts.
pub fn differing_rows(field: &Field, left: &ArrayRef, right: &ArrayRef, most: usize) -> Vec<usize> {
    let field = std::slice::from_ref(field);
    let bytes = |array: &ArrayRef, rows| canonical(field, std::slice::from_ref(array), rows);
    let is_same = |rows: std::ops::Range<usize>| match (bytes(left, rows.clone()), bytes(right, rows.clone())) {
        (Some(left), Some(right)) => left == right,
        _ => left.slice(rows.start, rows.len()) == right.slice(rows.start, rows.len()),
    };
    if is_same(0..left.len()) {
        return Vec::new();
    }
    (0..left.len()).filter(|row| !is_same(*row..row + 1)).take(most).collect()
}

/// The rows in these places.
pub fn taken(columns: &[ArrayRef], places: &[usize]) -> Vec<ArrayRef> {
    let places = UInt32Array::from_iter_values(places.iter().map(|place| *place as u32));
    let column = |column: &ArrayRef| take(column, &places, None).unwrap_or_else(|_| Arc::clone(column));
    columns.iter().map(column).collect()
}

/// One value, short enough for a line.
pub fn shown(array: &ArrayRef, row: usize) -> String {
    let text = cast::to_text(array, row);
    let text = match array.data_type() {
        arrow::datatypes::DataType::Utf8 if array.is_valid(row) => format!("{text:?}"),
        _ => text,
    };
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
