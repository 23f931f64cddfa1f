//! All rows of a run against all expectations of a view: batches go in, verdicts come out.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::rows::{Failed, RowChecks};
use super::verdict::Verdict;
use crate::batch::KeyBatch;
use crate::cast::to_text;
use crate::catalog::{Check, DType, Expectation, FeatureView, Field, Scalar};
use crate::clock::Micros;
use crate::document::duration_text;
use crate::limits::{EXPECTATION_EXAMPLES, UNIQUE_VALUES_MAX};
use crate::statistics::Numbers;
use crate::statistics::distinct::{AsItIs, hash_bits, hash_bytes};

/// Times the distance of the quartiles beyond which a value is an outlier.
const OUTLIER_TIMES: f64 = 3.0;

/// The rows of a run so far.
#[derive(Debug)]
pub struct Examination {
    view: Arc<FeatureView>,
    fields: Vec<Field>,
    row_checks: RowChecks,
    /// By expectation, what was seen of it.
    seen: Vec<Seen>,
    rows: u64,
    newest: Option<Micros>,
    /// Whether only what is expected of each row by itself is looked at.
    each_row_only: bool,
    scratch: Vec<f64>,
}

#[derive(Debug, Default)]
struct Seen {
    failed: u64,
    examples: Vec<String>,
    /// Of `unique`: hashes of the values.
    values: HashSet<u64, BuildHasherDefault<AsItIs>>,
    /// Of `unique`: there were more values than can be told apart.
    overflown: bool,
    /// Of `variance` and `outlier_ratio`.
    numbers: Numbers,
}

/// Which time the rows of a run are from, for saying how fresh they are.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub now: Micros,
    /// Rows before it were not looked at.
    pub from: Option<Micros>,
    /// Whether rows up to now were looked at.
    pub reaches_now: bool,
}

impl Examination {
    /// Of batches whose columns are `fields`: the join keys of the view, then some of its features, among them those that
    /// [`needed`](super::needed) names.
    pub fn new(view: Arc<FeatureView>, fields: Vec<Field>) -> Self {
        let row_checks = RowChecks::of(&view.expectations, &fields, |_| true);
        let seen = view.expectations.iter().map(|_| Seen::default()).collect();
        Self { view, fields, row_checks, seen, rows: 0, newest: None, each_row_only: false, scratch: Vec::new() }
    }

    /// As [`Examination::new`], of rows that are not a whole run: only what is expected of each row by itself counts.
    pub fn of_each_row(view: Arc<FeatureView>, fields: Vec<Field>) -> Self {
        Self { each_row_only: true, ..Self::new(view, fields) }
    }

    /// Looks at a batch, and says which of its rows are not as expected of each row.
    pub fn push(&mut self, columns: &[ArrayRef], event_time: &TimestampMicrosecondArray) -> Vec<Failed> {
        self.rows += event_time.len() as u64;
        self.newest = self.newest.max(arrow::compute::max(event_time));
        let failed = self.row_checks.failed(columns);
        for Failed { expectation, rows } in &failed {
            self.seen[*expectation].failed += rows.count_set_bits() as u64;
            let room = EXPECTATION_EXAMPLES - self.seen[*expectation].examples.len();
            for row in rows.set_indices().take(room) {
                let example = self.example(*expectation, columns, event_time, row);
                self.seen[*expectation].examples.push(example);
            }
        }
        if self.each_row_only {
            return failed;
        }
        let view = Arc::clone(&self.view);
        for (number, expectation) in view.expectations.iter().enumerate() {
            self.look_at_all(number, expectation, columns, event_time);
        }
        failed
    }

    fn look_at_all(
        &mut self,
        number: usize,
        expectation: &Expectation,
        columns: &[ArrayRef],
        event_time: &TimestampMicrosecondArray,
    ) {
        let column =
            expectation.check.feature().and_then(|name| self.fields.iter().position(|field| field.name == name));
        match (&expectation.check, column) {
            (Check::NullRatio { .. }, Some(column)) => {
                self.seen[number].failed += columns[column].null_count() as u64;
            }
            (Check::Variance { .. } | Check::OutlierRatio { .. }, Some(column)) => {
                if let Some(values) = floats(&columns[column]) {
                    self.seen[number].numbers.push(&values, &mut self.scratch);
                }
            }
            (Check::Unique { feature: Some(_) }, Some(column)) => {
                let hashes = hashes(&columns[column], self.fields[column].dtype);
                self.look_for_twins(number, hashes.into_iter(), columns, event_time);
            }
            (Check::Unique { feature: None }, _) => {
                let keys = self.view.join_keys.len();
                let keys = KeyBatch::encode(&self.view.join_keys, &columns[..keys], event_time.len());
                let hash = |row: usize| {
                    let time = event_time.value(row) as u64;
                    (!keys.is_null(row)).then(|| hash_bits(hash_bytes(keys.get(row)) ^ time.rotate_left(32)))
                };
                let hashes: Vec<Option<u64>> = (0..event_time.len()).map(hash).collect();
                self.look_for_twins(number, hashes.into_iter(), columns, event_time);
            }
            _ => {}
        }
    }

    fn look_for_twins(
        &mut self,
        number: usize,
        hashes: impl Iterator<Item = Option<u64>>,
        columns: &[ArrayRef],
        event_time: &TimestampMicrosecondArray,
    ) {
        for (row, hash) in hashes.enumerate() {
            let Some(hash) = hash else { continue };
            let seen = &mut self.seen[number];
            if seen.values.contains(&hash) {
                seen.failed += 1;
                if seen.examples.len() < EXPECTATION_EXAMPLES {
                    let example = self.example(number, columns, event_time, row);
                    self.seen[number].examples.push(example);
                }
            } else if seen.values.len() < UNIQUE_VALUES_MAX {
                seen.values.insert(hash);
            } else {
                seen.overflown = true;
            }
        }
    }

    /// A row in words: `company=Sun Taxi at 2016-12-31T00:00:00Z: fare is -3`.
    fn example(
        &self,
        expectation: usize,
        columns: &[ArrayRef],
        event_time: &TimestampMicrosecondArray,
        row: usize,
    ) -> String {
        let keys = self.view.join_keys.iter().zip(columns);
        let keys: Vec<String> = keys.map(|(key, column)| format!("{}={}", key.name, to_text(column, row))).collect();
        let time: ArrayRef = Arc::new(event_time.slice(row, 1));
        let whose = format!("{} at {}", keys.join(", "), to_text(&time, 0)).trim_start().to_owned();
        let feature = self.view.expectations[expectation].check.feature();
        let column = feature.and_then(|name| self.fields.iter().position(|field| field.name == name));
        match (feature, column) {
            (Some(name), Some(column)) => format!("{whose}: {name} is {}", to_text(&columns[column], row)),
            _ => whose,
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// One verdict for each expectation about each row by itself, in the order of the view.
    pub fn finish_each_row(self) -> Vec<Verdict> {
        let nowhen = Span { now: 0, from: None, reaches_now: false };
        let of_rows: Vec<bool> = self.view.expectations.iter().map(|expected| expected.check.is_of_rows()).collect();
        let verdicts = self.finish(nowhen).into_iter().zip(of_rows);
        verdicts.filter(|(_, of_rows)| *of_rows).map(|(verdict, _)| verdict).collect()
    }

    /// One verdict for each expectation of the view, in its order.
    pub fn finish(self, span: Span) -> Vec<Verdict> {
        let (rows, newest) = (self.rows, self.newest);
        let expectations = self.view.expectations.iter().zip(self.seen);
        expectations.map(|(expectation, seen)| verdict(expectation, seen, rows, newest, span)).collect()
    }
}

fn verdict(expectation: &Expectation, seen: Seen, rows: u64, newest: Option<Micros>, span: Span) -> Verdict {
    let mut verdict = Verdict::new(expectation, rows, seen.failed, seen.examples);
    let share = |part: u64| if rows == 0 { 0.0 } else { part as f64 / rows as f64 };
    (verdict.holds, verdict.found) = match &expectation.check {
        Check::NotNull { .. } | Check::Range { .. } | Check::InSet { .. } => {
            (seen.failed == 0, format!("{} of {rows} rows are otherwise", seen.failed))
        }
        Check::NullRatio { at_most, .. } => {
            let found = share(seen.failed);
            (found <= *at_most, format!("{found:.4} of {rows} rows are null"))
        }
        Check::Unique { .. } if seen.overflown && seen.failed == 0 => {
            (true, format!("more than {UNIQUE_VALUES_MAX} values came; no two of those are the same"))
        }
        Check::Unique { .. } => (seen.failed == 0, format!("{} of {rows} rows came before", seen.failed)),
        Check::Variance { above, .. } => match seen.numbers.finish().variance {
            Some(variance) => (variance > *above, format!("the variance is {variance:.6}")),
            None => (true, "there are fewer than two values".to_owned()),
        },
        Check::OutlierRatio { at_most, .. } => match seen.numbers.finish().outlier_ratio(OUTLIER_TIMES) {
            Some(ratio) => (ratio <= *at_most, format!("{ratio:.4} of the values are outliers")),
            None => (true, "there are no values".to_owned()),
        },
        Check::Freshness { at_most } => freshness(*at_most, newest, span),
    };
    if !expectation.check.is_of_rows() {
        verdict.failed = u64::from(!verdict.holds);
    }
    verdict
}

/// Rows that were not looked at are older than those that were; so much is known of them.
fn freshness(at_most: Duration, newest: Option<Micros>, span: Span) -> (bool, String) {
    let limit = i64::try_from(at_most.as_micros()).unwrap_or(i64::MAX);
    if !span.reaches_now {
        return (true, "the newest rows were not looked at".to_owned());
    }
    match (newest, span.from) {
        (Some(newest), _) => {
            let age = span.now.saturating_sub(newest);
            (age <= limit, format!("the newest row is {} old", shown(age)))
        }
        (None, Some(from)) => {
            let age = span.now.saturating_sub(from);
            (age <= limit, format!("no row is younger than {}", shown(age)))
        }
        (None, None) => (false, "there are no rows".to_owned()),
    }
}

/// An age in its two largest units, such as `3612d 22h`.
fn shown(micros: Micros) -> String {
    let seconds = u64::try_from(micros.max(0)).unwrap_or(0) / 1_000_000;
    let (unit, part) = match seconds {
        86_400.. => (86_400, 3_600),
        3_600.. => (3_600, 60),
        _ => (60, 1),
    };
    let parts = [seconds - seconds % unit, seconds % unit - seconds % part];
    let texts = parts.into_iter().filter(|seconds| *seconds > 0);
    let texts: Vec<String> = texts.map(|seconds| duration_text(Duration::from_secs(seconds))).collect();
    if texts.is_empty() { "0s".to_owned() } else { texts.join(" ") }
}

/// The values that are there, as floats.
fn floats(column: &ArrayRef) -> Option<Vec<f64>> {
    // A cast among numbers cannot fail.
    let column = cast(column, &DataType::Float64).ok()?;
    Some(column.as_primitive::<Float64Type>().iter().flatten().collect())
}

/// A hash for each value; none for a null.
fn hashes(column: &ArrayRef, dtype: DType) -> Vec<Option<u64>> {
    match dtype {
        DType::One(Scalar::String) => {
            column.as_string::<i32>().iter().map(|text| Some(hash_bytes(text?.as_bytes()))).collect()
        }
        DType::One(Scalar::Bytes) => column.as_binary::<i32>().iter().map(|bytes| Some(hash_bytes(bytes?))).collect(),
        DType::One(Scalar::Bool) => {
            column.as_boolean().iter().map(|value| Some(hash_bits(u64::from(value?)))).collect()
        }
        DType::One(Scalar::Float32 | Scalar::Float64) => {
            let Some(values) = cast(column, &DataType::Float64).ok() else { return Vec::new() };
            let values = values.as_primitive::<Float64Type>().iter();
            // The two zeros are one value.
            values.map(|value| Some(hash_bits((value? + 0.0).to_bits()))).collect()
        }
        DType::One(Scalar::Int32 | Scalar::Int64 | Scalar::Timestamp | Scalar::Date) => {
            use arrow::datatypes::Int64Type;
            // Dates go by their days, as 32 bits.
            let days = if column.data_type() == &DataType::Date32 { cast(column, &DataType::Int32).ok() } else { None };
            let Some(values) = cast(days.as_ref().unwrap_or(column), &DataType::Int64).ok() else { return Vec::new() };
            values.as_primitive::<Int64Type>().iter().map(|value| Some(hash_bits(value? as u64))).collect()
        }
        DType::List(_) | DType::Embedding(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
