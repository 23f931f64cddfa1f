//! What is known of one column while its batches go by.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::distinct::{hash_bits, hash_bytes};
use super::frequent::{Distinct, Frequent};
use super::numbers::{Numbers, Summary};
use super::report::{self, ColumnStatistics, Histogram, HistogramBin, Method, QuantileShown, Spread};
use crate::catalog::{DType, Field, Scalar};
use crate::limits::{STATISTICS_BINS, STATISTICS_TEXT_CHARACTERS, STATISTICS_TOP_VALUES};

/// The parts of the numbers below a quantile.
const SHARES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
const MEDIAN: f64 = 0.5;

#[derive(Debug)]
pub(super) struct Column {
    field: Field,
    rows: u64,
    nulls: u64,
    /// Of every type but lists.
    frequent: Option<Frequent>,
    /// Of numbers and times.
    numbers: Option<Numbers>,
    /// Of whole numbers and times: the extremes as they are, because a float does not hold all of them.
    extremes: Option<(i64, i64)>,
    /// Of text, bytes and lists.
    lengths: Option<Numbers>,
    /// Of embeddings.
    norms: Option<Numbers>,
    trues: u64,
    values: Vec<f64>,
    scratch: Vec<f64>,
}

impl Column {
    pub fn new(field: Field) -> Self {
        use Scalar::{Bool, Bytes, String};
        let is_text = matches!(field.dtype, DType::One(String | Bytes));
        let is_one = matches!(field.dtype, DType::One(_));
        let is_number = is_one && !is_text && field.dtype != DType::One(Bool);
        Self {
            rows: 0,
            nulls: 0,
            frequent: is_one.then(Frequent::default),
            numbers: is_number.then(Numbers::default),
            extremes: None,
            lengths: (is_text || matches!(field.dtype, DType::List(_))).then(Numbers::default),
            norms: matches!(field.dtype, DType::Embedding(_)).then(Numbers::default),
            trues: 0,
            values: Vec::new(),
            scratch: Vec::new(),
            field,
        }
    }

    /// `column` has the field's type.
    pub fn push(&mut self, column: &ArrayRef) {
        self.rows += column.len() as u64;
        self.nulls += column.null_count() as u64;
        match self.field.dtype {
            DType::One(Scalar::Bool) => self.push_bools(column),
            DType::One(Scalar::Int32) => self.push_whole::<Int32Type>(column.as_primitive(), |value| json!(value)),
            DType::One(Scalar::Int64) => self.push_whole::<Int64Type>(column.as_primitive(), |value| json!(value)),
            DType::One(Scalar::Date) => self.push_whole::<Date32Type>(column.as_primitive(), report::date),
            DType::One(Scalar::Timestamp) => {
                self.push_whole::<TimestampMicrosecondType>(column.as_primitive(), report::time);
            }
            DType::One(Scalar::Float32) => self.push_floats::<Float32Type>(column.as_primitive()),
            DType::One(Scalar::Float64) => self.push_floats::<Float64Type>(column.as_primitive()),
            DType::One(Scalar::String) => self.push_texts(column),
            DType::One(Scalar::Bytes) => self.push_bytes(column),
            DType::List(_) => {
                let list = column.as_list::<i32>();
                self.values.clear();
                let lengths = (0..list.len()).filter(|row| list.is_valid(*row));
                self.values.extend(lengths.map(|row| f64::from(list.value_length(row))));
                push(&mut self.lengths, &self.values, &mut self.scratch);
            }
            DType::Embedding(_) => self.push_embeddings(column),
        }
    }

    fn push_bools(&mut self, column: &ArrayRef) {
        let bools = column.as_boolean();
        self.trues += bools.true_count() as u64;
        let Some(frequent) = &mut self.frequent else { return };
        for value in bools.iter().flatten() {
            frequent.push(hash_bits(u64::from(value)), || json!(value));
        }
    }

    fn push_whole<T: ArrowPrimitiveType<Native: Into<i64>>>(
        &mut self,
        column: &PrimitiveArray<T>,
        shown: impl Fn(i64) -> Value,
    ) {
        if let (Some(low), Some(high)) = (arrow::compute::min(column), arrow::compute::max(column)) {
            let (low, high) = (low.into(), high.into());
            let (known_low, known_high) = self.extremes.unwrap_or((low, high));
            self.extremes = Some((known_low.min(low), known_high.max(high)));
        }
        self.values.clear();
        let Some(frequent) = &mut self.frequent else { return };
        for value in valid(column) {
            let value: i64 = value.into();
            self.values.push(value as f64);
            frequent.push(hash_bits(value as u64), || shown(value));
        }
        push(&mut self.numbers, &self.values, &mut self.scratch);
    }

    fn push_floats<T: ArrowPrimitiveType<Native: Into<f64>>>(&mut self, column: &PrimitiveArray<T>) {
        self.values.clear();
        let Some(frequent) = &mut self.frequent else { return };
        for value in valid(column) {
            // The two zeros are one value.
            let value: f64 = value.into() + 0.0;
            self.values.push(value);
            // NaN is no value that could be compared with another; it is counted apart.
            if !value.is_nan() {
                frequent.push(hash_bits(value.to_bits()), || report::number(value));
            }
        }
        push(&mut self.numbers, &self.values, &mut self.scratch);
    }

    fn push_texts(&mut self, column: &ArrayRef) {
        let texts = column.as_string::<i32>();
        self.values.clear();
        let Some(frequent) = &mut self.frequent else { return };
        for text in texts.iter().flatten() {
            self.values.push(text.chars().count() as f64);
            frequent.push(hash_bytes(text.as_bytes()), || json!(shortened(text)));
        }
        push(&mut self.lengths, &self.values, &mut self.scratch);
    }

    fn push_bytes(&mut self, column: &ArrayRef) {
        let binary = column.as_binary::<i32>();
        self.values.clear();
        let Some(frequent) = &mut self.frequent else { return };
        for bytes in binary.iter().flatten() {
            self.values.push(bytes.len() as f64);
            frequent.push(hash_bytes(bytes), || {
                json!(STANDARD.encode(&bytes[..bytes.len().min(STATISTICS_TEXT_CHARACTERS)]))
            });
        }
        push(&mut self.lengths, &self.values, &mut self.scratch);
    }

    fn push_embeddings(&mut self, column: &ArrayRef) {
        let lists = column.as_fixed_size_list();
        let width = lists.value_length() as usize;
        let items = lists.values().as_primitive::<Float32Type>().values();
        self.values.clear();
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            let start = lists.value_offset(row) as usize;
            let squares: f64 = items[start..start + width].iter().map(|item| f64::from(*item).powi(2)).sum();
            self.values.push(squares.sqrt());
        }
        push(&mut self.norms, &self.values, &mut self.scratch);
    }

    pub fn finish(self) -> ColumnStatistics {
        let Self { field, rows, nulls, frequent, numbers, extremes, lengths, norms, trues, .. } = self;
        let known = rows - nulls;
        let mut column = ColumnStatistics::new(&field, rows, nulls);
        if let Some(frequent) = &frequent {
            (column.distinct, column.distinct_method) = match frequent.distinct() {
                Distinct::Exact(distinct) => (Some(distinct), Some(Method::Exact)),
                Distinct::Estimated(distinct) => {
                    // An estimate may be above what there can be.
                    (Some((distinct.round() as u64).min(known)), Some(Method::HyperLogLog))
                }
            };
            column.top = frequent.top(STATISTICS_TOP_VALUES).into_iter().map(report::top).collect();
            column.top_count_error = frequent.missed();
        }
        if field.dtype == DType::One(Scalar::Bool) && known > 0 {
            column.mean = Some(trues as f64 / known as f64);
        }
        if let Some(numbers) = numbers {
            numeric(&mut column, field.dtype, numbers.finish(), extremes);
        }
        column.lengths = lengths.map(spread);
        column.norms = norms.map(spread);
        column
    }
}

/// The values that are there.
fn valid<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>) -> impl Iterator<Item = T::Native> {
    let nulls = column.nulls();
    column
        .values()
        .iter()
        .enumerate()
        .filter(move |(row, _)| nulls.is_none_or(|nulls| nulls.is_valid(*row)))
        .map(|(_, value)| *value)
}

fn push(numbers: &mut Option<Numbers>, values: &[f64], scratch: &mut Vec<f64>) {
    if let Some(numbers) = numbers {
        numbers.push(values, scratch);
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(STATISTICS_TEXT_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

fn numeric(column: &mut ColumnStatistics, dtype: DType, summary: Summary, extremes: Option<(i64, i64)>) {
    // Numbers in the column's own type: a time as text, a whole number as one.
    let shown = |value: f64| match dtype {
        DType::One(Scalar::Timestamp) => report::time(value.round() as i64),
        DType::One(Scalar::Date) => report::date(value.floor() as i64),
        _ => report::number(value),
    };
    let is_time = matches!(dtype, DType::One(Scalar::Timestamp | Scalar::Date));
    column.nans = summary.nans;
    column.infinities = summary.infinities;
    if !is_time {
        column.mean = summary.mean;
        column.std = summary.variance.map(f64::sqrt);
    }
    (column.min, column.max) = match extremes {
        Some((low, high)) => {
            let exact = |value: i64| match dtype {
                DType::One(Scalar::Timestamp) => report::time(value),
                DType::One(Scalar::Date) => report::date(value),
                _ => json!(value),
            };
            (Some(exact(low)), Some(exact(high)))
        }
        None => summary.extremes.map(|(low, high)| (report::number(low), report::number(high))).unzip(),
    };
    if summary.count == 0 {
        return;
    }
    let method = if summary.ordered.is_exact() { Method::Exact } else { Method::Sketch };
    column.median = summary.ordered.quantile(MEDIAN).map(shown);
    let at = |share: &f64| Some(QuantileShown { below: *share, value: shown(summary.ordered.quantile(*share)?) });
    column.quantiles = SHARES.iter().filter_map(at).collect();
    column.quantiles_method = Some(method);
    column.rank_error = summary.ordered.rank_error();
    let bins = summary.histogram(STATISTICS_BINS);
    let bins = bins.iter().map(|bin| HistogramBin { from: shown(bin.from), to: shown(bin.to), count: bin.count });
    column.histogram = Some(Histogram { method, bins: bins.collect() });
}

fn spread(numbers: Numbers) -> Spread {
    let summary = numbers.finish();
    Spread {
        min: summary.extremes.map(|(low, _)| low),
        max: summary.extremes.map(|(_, high)| high),
        mean: summary.mean,
        std: summary.variance.map(f64::sqrt),
        median: summary.ordered.quantile(MEDIAN),
    }
}
