//! Entity keys as small numbers: the labels' keys are numbered once, then every feature row asks for its number.
//!
//! One `int64`, `timestamp`, `string` or `bytes` join key, which is what most views have, is looked up as it stands in
//! its column; only keys of several columns are encoded first.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::batch::KeyBatch;
use crate::catalog::{DType, Field, Scalar};

/// The keys of some rows. Keys of the same fields compare; a row with a null in any of them has none.
#[derive(Clone, Debug)]
pub struct Keys {
    rows: usize,
    form: Form,
    nulls: Option<NullBuffer>,
}

#[derive(Clone, Debug)]
enum Form {
    Numbers(ScalarBuffer<i64>),
    Bytes(OffsetBuffer<i32>, arrow::buffer::Buffer),
    Encoded(KeyBatch),
}

impl Keys {
    /// The keys in `columns`, which have the types of `fields`.
    ///
    /// # Panics
    /// If a column's Arrow type is not its field's; callers cast at the edge.
    pub fn of(fields: &[Field], columns: &[ArrayRef], rows: usize) -> Self {
        let form = match (fields, columns) {
            ([field], [column]) => match field.dtype {
                DType::One(Scalar::Int64) => Form::Numbers(column.as_primitive::<Int64Type>().values().clone()),
                DType::One(Scalar::Timestamp) => {
                    Form::Numbers(column.as_primitive::<TimestampMicrosecondType>().values().clone())
                }
                DType::One(Scalar::String) => {
                    let texts = column.as_string::<i32>();
                    Form::Bytes(texts.offsets().clone(), texts.values().clone())
                }
                DType::One(Scalar::Bytes) => {
                    let bytes = column.as_binary::<i32>();
                    Form::Bytes(bytes.offsets().clone(), bytes.values().clone())
                }
                _ => Form::Encoded(KeyBatch::encode(fields, columns, rows)),
            },
            _ => Form::Encoded(KeyBatch::encode(fields, columns, rows)),
        };
        let nulls = columns.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.nulls()));
        Self { rows, form, nulls: nulls.filter(|nulls| nulls.null_count() > 0) }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The hash of each row's key by `state`; that of a row without a key means nothing.
    pub(super) fn hashes(&self, state: &FoldState) -> Vec<u64> {
        match &self.form {
            Form::Numbers(numbers) => numbers.iter().map(|number| state.hash_one(number)).collect(),
            Form::Bytes(offsets, bytes) => {
                (0..self.rows).map(|row| state.hash_one(slice(offsets, bytes, row))).collect()
            }
            Form::Encoded(keys) => keys.iter().map(|key| state.hash_one(key)).collect(),
        }
    }
}

fn slice<'a>(offsets: &OffsetBuffer<i32>, bytes: &'a [u8], row: usize) -> &'a [u8] {
    &bytes[offsets[row] as usize..offsets[row + 1] as usize]
}

/// The numbers `0..count` of the distinct label keys.
#[derive(Debug)]
pub(super) struct KeyNumbers {
    count: usize,
    table: Table,
}

#[derive(Debug)]
enum Table {
    /// Numbers that lie close together: number `n` is at `n - first`; [`NONE`] where there is no such key.
    Near {
        first: i64,
        numbers: Vec<u32>,
    },
    Numbers(HashMap<i64, u32, FoldState>),
    Bytes(HashMap<Box<[u8]>, u32, FoldState>),
}

const NONE: u32 = u32::MAX;
/// A table of numbers is as long as this many times the labels at most; it takes less memory than a hash map of them.
const NEAR_PER_LABEL: usize = 4;

impl KeyNumbers {
    /// Numbers the keys in order of appearance; a null key has no number.
    pub(super) fn of(keys: &Keys) -> (Self, Vec<Option<u32>>) {
        match &keys.form {
            Form::Numbers(numbers) => Self::of_numbers(keys, numbers),
            Form::Bytes(offsets, bytes) => Self::of_bytes(keys, |row| slice(offsets, bytes, row)),
            Form::Encoded(encoded) => Self::of_bytes(keys, |row| encoded.get(row)),
        }
    }

    fn of_numbers(keys: &Keys, values: &[i64]) -> (Self, Vec<Option<u32>>) {
        let known = || (0..keys.rows).filter(|row| !keys.is_null(*row)).map(|row| values[row]);
        let first = known().min().unwrap_or_default();
        let span = known().max().unwrap_or_default().checked_sub(first).and_then(|span| usize::try_from(span).ok());
        let mut table = match span {
            Some(span) if span < NEAR_PER_LABEL * keys.rows + 1_024 => {
                Table::Near { first, numbers: vec![NONE; span + 1] }
            }
            _ => Table::Numbers(HashMap::default()),
        };
        let mut count = 0;
        let number = |row: usize| {
            if keys.is_null(row) {
                return None;
            }
            let number = match &mut table {
                Table::Near { first, numbers } => {
                    let number = &mut numbers[(values[row] - *first) as usize];
                    if *number == NONE {
                        *number = count;
                    }
                    *number
                }
                Table::Numbers(numbers) => *numbers.entry(values[row]).or_insert(count),
                Table::Bytes(_) => unreachable!("the table was made for numbers"),
            };
            count = count.max(number + 1);
            Some(number)
        };
        let by_row = (0..keys.rows).map(number).collect();
        (Self { count: count as usize, table }, by_row)
    }

    fn of_bytes<'a>(keys: &Keys, key: impl Fn(usize) -> &'a [u8]) -> (Self, Vec<Option<u32>>) {
        let mut numbers: HashMap<Box<[u8]>, u32, FoldState> = HashMap::default();
        let number = |row: usize| {
            if keys.is_null(row) {
                return None;
            }
            let next =
                u32::try_from(numbers.len()).expect("there are fewer keys than labels, which are numbered by u32");
            match numbers.get(key(row)) {
                Some(number) => Some(*number),
                None => {
                    numbers.insert(key(row).into(), next);
                    Some(next)
                }
            }
        };
        let by_row = (0..keys.rows).map(number).collect();
        (Self { count: numbers.len(), table: Table::Bytes(numbers) }, by_row)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Calls `found` with each row whose key has a number, and with the number. The way of looking up is chosen once and
    /// not for each row.
    pub(super) fn for_each(&self, keys: &Keys, mut found: impl FnMut(usize, u32)) {
        match (&self.table, &keys.form) {
            (Table::Near { first, numbers }, Form::Numbers(values)) => {
                // A value before the first wraps to one far behind the last.
                let number = |row: usize| {
                    let place = usize::try_from(values[row].wrapping_sub(*first) as u64).unwrap_or(usize::MAX);
                    numbers.get(place).copied().filter(|number| *number != NONE)
                };
                each(keys, number, &mut found);
            }
            (Table::Numbers(numbers), Form::Numbers(values)) => {
                each(keys, |row| numbers.get(&values[row]).copied(), &mut found);
            }
            (Table::Bytes(numbers), Form::Bytes(offsets, bytes)) => {
                each(keys, |row| numbers.get(slice(offsets, bytes, row)).copied(), &mut found);
            }
            (Table::Bytes(numbers), Form::Encoded(encoded)) => {
                each(keys, |row| numbers.get(encoded.get(row)).copied(), &mut found);
            }
            (Table::Near { .. } | Table::Numbers(_), Form::Bytes(..) | Form::Encoded(_))
            | (Table::Bytes(_), Form::Numbers(_)) => unreachable!("both sides have the join keys of one view"),
        }
    }
}

fn each(keys: &Keys, number: impl Fn(usize) -> Option<u32>, found: &mut impl FnMut(usize, u32)) {
    for row in 0..keys.rows {
        if !keys.is_null(row)
            && let Some(number) = number(row)
        {
            found(row, number);
        }
    }
}

/// A hash that is one multiplication for each 8 bytes; the standard one takes longer than everything else that happens
/// to a row. Seeded at random, so that nobody can send labels whose keys all collide.
#[derive(Debug, Clone)]
pub(super) struct FoldState {
    seed: u64,
}

impl Default for FoldState {
    fn default() -> Self {
        Self { seed: RandomState::new().build_hasher().finish() }
    }
}

impl BuildHasher for FoldState {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher { state: self.seed }
    }
}

pub(super) struct FoldHasher {
    state: u64,
}

impl FoldHasher {
    /// Both halves of the product, so that every bit of the word reaches every bit of the state.
    fn fold(&mut self, word: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.state ^ word).wrapping_mul(ODD);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.fold(u64::from_le_bytes(last));
        }
    }

    /// The length that goes before a key of any length.
    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
