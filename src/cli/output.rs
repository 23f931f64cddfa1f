//! What commands print: results as tables for people or JSON for programs, notes, and progress for terminals.
//!
//! Results go to standard output; everything said about them goes to standard error. A reader that has seen enough
//! (`| head`) ends nothing: a command that was begun is done to its end, so a broken pipe is not an error here.

use std::fmt::Display;
use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Failure, Format};
use crate::error::ErrorKind;

/// A line under the header and nothing else: what is printed can be read by `awk` too.
const TABLE_LINES: &str = "     ──            ";

/// Prints `value` as JSON, or what `table` makes of it.
pub(super) fn print<T: Serialize>(format: Format, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    match format {
        Format::Json => say(serde_json::to_string_pretty(value).map_err(|error| Failure::invalid(error.to_string()))?),
        Format::Table => say(table(value)),
    }
}

/// One line, or a text of lines, of the result.
pub(super) fn say(text: impl Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
            Err(Failure { kind: ErrorKind::Unavailable, text: format!("the result cannot be printed: {error}") })
        }
        _ => Ok(()),
    }
}

/// One line about the result. Nobody may be listening, and there is nobody else to tell.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A table with a header line. Columns are as wide as they need to be: a name that is broken over two lines cannot be
/// copied. Columns of numbers end at the right.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let is_numeric = |column: usize| rows.iter().all(|row| row[column].parse::<f64>().is_ok());
    let mut table = Table::new();
    table.load_preset(TABLE_LINES).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows.iter().cloned());
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if is_numeric(position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A line that moves while something runs: on a terminal only, and on standard error, so that output stays clean.
pub(super) fn progress(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
