//! The rows that a plugin is tried with: what its signature asks for, and the rows of its golden cases.
//!
//! A row is kept as places in columns of values, so that one that makes a plugin fail can be made smaller: value by
//! value back to an ordinary one, for as long as it still fails.

use std::time::Duration;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;

use super::answer::shown;
use super::edges::{self, ORDINARY, Values};
use crate::catalog::{Field, Signature};
use crate::clock::Deadline;
use crate::limits::CONFORMANCE_ROWS_MAX;
use crate::transform::signature::input_fields;

/// Rows with an edge in one column and ordinary values in the others; beyond so many, edges are only tried together.
const SINGLE_EDGES_MAX: usize = 384;
/// Rows of golden cases.
const GOLDEN_ROWS_TRIED_MAX: usize = 256;
/// Nullable columns that are nulled alone.
const SINGLE_NULLS_MAX: usize = 128;
/// How often a failing input is made smaller, and how long at most.
const SHRINK_STEPS_MAX: usize = 4_000;
const SHRINK_TIME_MAX: Duration = Duration::from_secs(5);
/// Columns of a failing row that are named.
const SHOWN_COLUMNS_MAX: usize = 4;

/// One row: for each column the place of its value, or null.
pub type Row = Vec<Option<u32>>;

pub struct Corpus {
    fields: Vec<Field>,
    values: Vec<Values>,
    /// Places of edges end here; the values of golden cases follow.
    edges_end: Vec<u32>,
    pub rows: Vec<Row>,
}

impl Corpus {
    /// `golden` are input columns of golden cases.
    pub fn new(signature: &Signature, golden: &[Vec<ArrayRef>]) -> Self {
        let fields = input_fields(signature);
        let values: Vec<Values> = fields.iter().map(|field| edges::values(field.dtype)).collect();
        let edges_end = values.iter().map(|values| values.all.len() as u32).collect();
        let mut corpus = Self { fields, values, edges_end, rows: Vec::new() };
        corpus.add_ordinary();
        corpus.add_nulls();
        corpus.add_golden(golden);
        corpus.add_edges();
        corpus.rows.truncate(CONFORMANCE_ROWS_MAX);
        corpus
    }

    /// The input columns of these rows.
    pub fn columns(&self, rows: &[Row]) -> Vec<ArrayRef> {
        let column = |(position, values): (usize, &Values)| {
            let places: UInt32Array = rows.iter().map(|row| row[position]).collect();
            take(&values.all, &places, None).unwrap_or_else(|_| values.all.slice(0, 0))
        };
        self.values.iter().enumerate().map(column).collect()
    }

    /// The places of rows without a long value: thousands of them still fit into a frame.
    pub fn short_rows(&self) -> Vec<usize> {
        let is_long = |(position, place): (usize, &Option<u32>)| {
            self.values[position].has_long && *place == Some(self.edges_end[position] - 1)
        };
        let is_short = |row: &&Row| !row.iter().enumerate().any(is_long);
        self.rows.iter().enumerate().filter(|(_, row)| is_short(row)).map(|(place, _)| place).collect()
    }

    /// The fewest rows, and the most ordinary, for which `fails` still holds; it holds for `rows`.
    pub fn shrunk(&self, mut rows: Vec<Row>, fails: &mut dyn FnMut(&[Row]) -> bool) -> Vec<Row> {
        let deadline = Deadline::after(SHRINK_TIME_MAX);
        let mut steps = 0;
        let mut still_fails = |rows: &[Row]| {
            steps += 1;
            steps <= SHRINK_STEPS_MAX && !deadline.has_passed() && fails(rows)
        };
        let mut part = rows.len() / 2;
        while part > 0 {
            let mut start = 0;
            while start < rows.len() && rows.len() > 1 {
                let fewer = [&rows[..start], &rows[rows.len().min(start + part)..]].concat();
                match !fewer.is_empty() && still_fails(&fewer) {
                    true => rows = fewer,
                    false => start += part,
                }
            }
            part /= 2;
        }
        for row in 0..rows.len() {
            for column in 0..self.fields.len() {
                let was = rows[row][column].replace(0);
                if was != Some(0) && !still_fails(&rows) {
                    rows[row][column] = was;
                }
            }
        }
        rows
    }

    /// What is not ordinary in these rows.
    pub fn described(&self, rows: &[Row]) -> String {
        let row = |row: &Row| {
            let columns = self.columns(std::slice::from_ref(row));
            let unusual: Vec<String> = (0..self.fields.len())
                .filter(|column| row[*column] != Some(0))
                .map(|column| format!("{} = {}", self.fields[column].name, shown(&columns[column], 0)))
                .collect();
            match unusual.len() {
                0 => "ordinary values in every column".to_owned(),
                1..=SHOWN_COLUMNS_MAX => unusual.join(", "),
                more => format!("{} and {} more", unusual[..SHOWN_COLUMNS_MAX].join(", "), more - SHOWN_COLUMNS_MAX),
            }
        };
        match rows {
            [only] => row(only),
            [] => "a call without rows".to_owned(),
            many => format!("{} rows, the first with {}", many.len(), row(&many[0])),
        }
    }

    /// Rows of ordinary values, another one in each column.
    fn add_ordinary(&mut self) {
        let columns = self.fields.len() as u32;
        let row = |k: u32| (0..columns).map(|column| Some((k + 5 * column) % ORDINARY)).collect();
        self.rows.extend((0..ORDINARY).map(row));
    }

    /// No value at all, then each nullable column without one.
    fn add_nulls(&mut self) {
        let nullable: Vec<usize> = (0..self.fields.len()).filter(|column| self.fields[*column].nullable).collect();
        if nullable.is_empty() {
            return;
        }
        let ordinary: Row = vec![Some(1); self.fields.len()];
        let mut nulls = ordinary.clone();
        nullable.iter().for_each(|column| nulls[*column] = None);
        self.rows.push(nulls);
        for column in nullable.into_iter().take(SINGLE_NULLS_MAX) {
            let mut row = ordinary.clone();
            row[column] = None;
            self.rows.push(row);
        }
    }

    fn add_golden(&mut self, golden: &[Vec<ArrayRef>]) {
        let mut room = GOLDEN_ROWS_TRIED_MAX;
        for columns in golden {
            let rows = columns.first().map_or(0, |column| column.len()).min(room);
            room -= rows;
            let starts: Vec<u32> = self.values.iter().map(|values| values.all.len() as u32).collect();
            for (values, column) in self.values.iter_mut().zip(columns) {
                values.all = edges::below(&values.all, &column.slice(0, rows));
            }
            let cell = |column: usize, row: usize| columns[column].is_valid(row).then(|| starts[column] + row as u32);
            self.rows.extend((0..rows).map(|row| (0..columns.len()).map(|column| cell(column, row)).collect()));
        }
    }

    /// Each edge alone while there are not too many, then edges in all columns at once, with nulls among them.
    fn add_edges(&mut self) {
        let edges = |column: usize| ORDINARY..self.edges_end[column];
        let columns = 0..self.fields.len();
        if columns.clone().map(|column| edges(column).len()).sum::<usize>() <= SINGLE_EDGES_MAX {
            for column in columns.clone() {
                for (k, edge) in edges(column).enumerate() {
                    let mut row: Row = vec![Some(k as u32 % ORDINARY); self.fields.len()];
                    row[column] = Some(edge);
                    self.rows.push(row);
                }
            }
        }
        let most = columns.clone().map(|column| edges(column).len()).max().unwrap_or(0);
        let cell = |k: usize, column: usize| {
            let is_null = self.fields[column].nullable && (k + 3 * column).is_multiple_of(7);
            let edges = edges(column);
            (!is_null && !edges.is_empty()).then(|| edges.start + ((k + column) % edges.len()) as u32)
        };
        let together = (0..most).map(|k| columns.clone().map(|column| cell(k, column)).collect());
        self.rows.extend(together.collect::<Vec<Row>>());
    }
}
