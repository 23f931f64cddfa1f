//! Rows without an answer: refused by the plugin, or null where the plugin takes no null.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::{BooleanBuffer, NullBuffer};

use crate::limits::{ROW_ERROR_MESSAGE_BYTES_MAX, ROW_ERRORS_MAX};

use super::wit::lockstep::transform::types;
use super::{Fault, RowError};

/// An input is null that the plugin declares as never null.
pub const CODE_NULL_INPUT: u32 = 1;
/// Codes from here on belong to plugins.
const CODE_PLUGIN_MIN: u32 = 1_000;

/// The row errors of one application.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The first ones.
    pub kept: Vec<RowError>,
    pub count: usize,
}

impl Refusals {
    /// Takes the errors of a call for `rows`; the rows that remain are those of `kept` without the refused ones.
    pub fn add(
        &mut self,
        errors: &[types::RowError],
        rows: Range<usize>,
        kept: Option<BooleanBuffer>,
    ) -> Result<Option<BooleanBuffer>, Fault> {
        if errors.is_empty() {
            return Ok(kept);
        }
        let mut remaining = BooleanBufferBuilder::new(rows.len());
        match kept {
            Some(kept) => remaining.append_buffer(&kept),
            None => remaining.append_n(rows.len(), true),
        }
        let mut refused = BTreeSet::new();
        for error in errors {
            let row = error.row as usize;
            if row >= rows.len() {
                return Err(Fault::BadOutput(format!("refuses row {row} of {}", rows.len())));
            }
            if error.code < CODE_PLUGIN_MIN {
                return Err(Fault::BadOutput(format!("refuses a row with code {}, which is the host's", error.code)));
            }
            remaining.set_bit(row, false);
            if refused.insert(row) {
                self.push(rows.start + row, error.code, &error.message);
            }
        }
        Ok(Some(remaining.finish()))
    }

    /// The rows that are null in a column that takes no null; `start` is the row of the first one.
    pub fn add_nulls(&mut self, column: &str, nulls: &NullBuffer, start: usize) {
        for row in (!nulls.inner()).set_indices() {
            self.push(start + row, CODE_NULL_INPUT, &format!("{column} is null, and the plugin takes no null there"));
        }
    }

    fn push(&mut self, row: usize, code: u32, message: &str) {
        self.count += 1;
        if self.kept.len() < ROW_ERRORS_MAX {
            self.kept.push(RowError { row, code, message: clipped(message, ROW_ERROR_MESSAGE_BYTES_MAX) });
        }
    }
}

/// A guest's words, short and printable.
pub fn clipped(message: &str, bytes_max: usize) -> String {
    let printable = message.chars().filter(|character| !character.is_control());
    let mut clipped = String::new();
    for character in printable {
        if clipped.len() + character.len_utf8() > bytes_max {
            break;
        }
        clipped.push(character);
    }
    clipped
}
