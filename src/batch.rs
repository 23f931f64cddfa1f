//! The shapes in which rows move between stages: entity keys, stored rows, and rows on their way to a store.
//!
//! Plain Arrow data without IO. A column is an Arrow array everywhere; what this module adds is the part that Arrow
//! does not know: which columns identify a row, when it became true, and whether it was there at all.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch,
    StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};

use crate::catalog::{DType, Field, Scalar};

/// One encoded entity key per row, in row order. Equal keys have equal bytes.
///
/// A key is the concatenation of its join-key values in the view's order: integers and times big-endian with the sign
/// bit flipped (so that byte order is value order), booleans one byte, strings and bytes with a `u32` length in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBatch {
    bytes: Vec<u8>,
    /// `rows + 1` positions into `bytes`.
    ends: Vec<u32>,
    /// Rows in which a join key was null; their key is empty.
    nulls: Option<BooleanBuffer>,
}

impl KeyBatch {
    /// Encodes `columns`, which have the types of `fields`.
    ///
    /// # Panics
    /// If a column's Arrow type is not its field's; callers cast at the edge.
    pub fn encode(fields: &[Field], columns: &[ArrayRef], rows: usize) -> Self {
        debug_assert_eq!(fields.len(), columns.len());
        let mut keys = Self { bytes: Vec::with_capacity(rows * 16), ends: Vec::with_capacity(rows + 1), nulls: None };
        let null = |row: usize| columns.iter().any(|column| column.is_null(row));
        if columns.iter().any(|column| column.null_count() > 0) {
            keys.nulls = Some(BooleanBuffer::collect_bool(rows, null));
        }
        keys.ends.push(0);
        for row in 0..rows {
            if !keys.is_null(row) {
                for (field, column) in fields.iter().zip(columns) {
                    push_key_value(&mut keys.bytes, field.dtype, column, row);
                }
            }
            keys.ends.push(u32::try_from(keys.bytes.len()).expect("keys of one batch stay under 4 GiB"));
        }
        keys
    }

    pub fn rows(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.ends[row] as usize..self.ends[row + 1] as usize]
    }

    /// The keys of these rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut keys = Self { bytes: Vec::with_capacity(rows.len() * 16), ends: vec![0], nulls: None };
        if self.nulls.is_some() {
            keys.nulls = Some(BooleanBuffer::collect_bool(rows.len(), |place| self.is_null(rows[place])));
        }
        for row in rows {
            keys.bytes.extend_from_slice(self.get(*row));
            keys.ends.push(u32::try_from(keys.bytes.len()).expect("keys of one batch stay under 4 GiB"));
        }
        keys
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.value(row))
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.rows()).map(|row| self.get(row))
    }
}

fn push_key_value(bytes: &mut Vec<u8>, dtype: DType, column: &ArrayRef, row: usize) {
    let mut length_and = |value: &[u8]| {
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(value);
    };
    match dtype {
        DType::One(Scalar::String) => length_and(column.as_string::<i32>().value(row).as_bytes()),
        DType::One(Scalar::Bytes) => length_and(column.as_binary::<i32>().value(row)),
        DType::One(Scalar::Bool) => bytes.push(u8::from(column.as_boolean().value(row))),
        DType::One(Scalar::Int32) => push_i32(bytes, column.as_primitive::<Int32Type>().value(row)),
        DType::One(Scalar::Date) => push_i32(bytes, column.as_primitive::<Date32Type>().value(row)),
        DType::One(Scalar::Int64) => push_i64(bytes, column.as_primitive::<Int64Type>().value(row)),
        DType::One(Scalar::Timestamp) => push_i64(bytes, column.as_primitive::<TimestampMicrosecondType>().value(row)),
        other => unreachable!("the catalog refuses join keys of type {other}"),
    }
}

fn push_i32(bytes: &mut Vec<u8>, value: i32) {
    bytes.extend_from_slice(&(value as u32 ^ 1 << 31).to_be_bytes());
}

fn push_i64(bytes: &mut Vec<u8>, value: i64) {
    bytes.extend_from_slice(&(value as u64 ^ 1 << 63).to_be_bytes());
}

/// One value of a key, as [`key_values`] finds it among the key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyValue<'a> {
    Bool(bool),
    /// An `int32`, or the days of a `date`.
    Int32(i32),
    /// An `int64`, or the microseconds of a `timestamp`.
    Int64(i64),
    /// A `string` (of a key that came from outside, maybe not UTF-8) or `bytes`.
    Bytes(&'a [u8]),
}

/// Appends the values of an encoded key to `values`; false where `key` is not a key of `fields`. The other direction of
/// [`KeyBatch::encode`].
pub fn key_values<'a>(fields: &[Field], key: &'a [u8], values: &mut Vec<KeyValue<'a>>) -> bool {
    let mut rest = key;
    for field in fields {
        let Some(value) = take_key_value(field.dtype, &mut rest) else { return false };
        values.push(value);
    }
    rest.is_empty()
}

fn take_key_value<'a>(dtype: DType, rest: &mut &'a [u8]) -> Option<KeyValue<'a>> {
    Some(match dtype {
        DType::One(Scalar::String | Scalar::Bytes) => {
            let length = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
            KeyValue::Bytes(rest.split_off(..length as usize)?)
        }
        DType::One(Scalar::Bool) => match rest.split_off_first()? {
            0 => KeyValue::Bool(false),
            1 => KeyValue::Bool(true),
            _ => return None,
        },
        DType::One(Scalar::Int32 | Scalar::Date) => {
            KeyValue::Int32((u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?) ^ 1 << 31) as i32)
        }
        DType::One(Scalar::Int64 | Scalar::Timestamp) => {
            KeyValue::Int64((u64::from_be_bytes(*rest.split_off(..8)?.first_chunk()?) ^ 1 << 63) as i64)
        }
        _ => return None,
    })
}

/// Collects keys, value by value, into the columns that they were encoded from.
#[derive(Debug)]
pub struct KeyColumns(Vec<KeyColumn>);

#[derive(Debug)]
enum KeyColumn {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Date(Vec<i32>),
    Int64(Vec<i64>),
    Timestamp(Vec<i64>),
    String(StringBuilder),
    Bytes(BinaryBuilder),
}

impl KeyColumns {
    /// # Panics
    /// If a field has a type that no join key has.
    pub fn new(fields: &[Field]) -> Self {
        let column = |field: &Field| match field.dtype {
            DType::One(Scalar::Bool) => KeyColumn::Bool(Vec::new()),
            DType::One(Scalar::Int32) => KeyColumn::Int32(Vec::new()),
            DType::One(Scalar::Date) => KeyColumn::Date(Vec::new()),
            DType::One(Scalar::Int64) => KeyColumn::Int64(Vec::new()),
            DType::One(Scalar::Timestamp) => KeyColumn::Timestamp(Vec::new()),
            DType::One(Scalar::String) => KeyColumn::String(StringBuilder::new()),
            DType::One(Scalar::Bytes) => KeyColumn::Bytes(BinaryBuilder::new()),
            other => unreachable!("the catalog refuses join keys of type {other}"),
        };
        Self(fields.iter().map(column).collect())
    }

    /// Appends one key; false, and nothing is appended, where its values are not of the columns' types.
    pub fn push(&mut self, values: &[KeyValue<'_>]) -> bool {
        if values.len() != self.0.len() || !self.0.iter().zip(values).all(|(column, value)| column.takes(value)) {
            return false;
        }
        for (column, value) in self.0.iter_mut().zip(values) {
            match (column, *value) {
                (KeyColumn::Bool(column), KeyValue::Bool(value)) => column.push(value),
                (KeyColumn::Int32(column) | KeyColumn::Date(column), KeyValue::Int32(value)) => column.push(value),
                (KeyColumn::Int64(column) | KeyColumn::Timestamp(column), KeyValue::Int64(value)) => column.push(value),
                (KeyColumn::String(column), KeyValue::Bytes(value)) => {
                    column.append_value(str::from_utf8(value).unwrap_or_default());
                }
                (KeyColumn::Bytes(column), KeyValue::Bytes(value)) => column.append_value(value),
                _ => unreachable!("every value was looked at before the first was taken"),
            }
        }
        true
    }

    pub fn finish(self) -> Vec<ArrayRef> {
        self.0.into_iter().map(KeyColumn::finish).collect()
    }
}

impl KeyColumn {
    fn takes(&self, value: &KeyValue<'_>) -> bool {
        match (self, value) {
            (Self::String(_), KeyValue::Bytes(text)) => str::from_utf8(text).is_ok(),
            (Self::Bool(_), KeyValue::Bool(_)) | (Self::Bytes(_), KeyValue::Bytes(_)) => true,
            (Self::Int32(_) | Self::Date(_), KeyValue::Int32(_)) => true,
            (Self::Int64(_) | Self::Timestamp(_), KeyValue::Int64(_)) => true,
            _ => false,
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(values) => Arc::new(BooleanArray::from(values)),
            Self::Int32(values) => Arc::new(Int32Array::from(values)),
            Self::Date(values) => Arc::new(Date32Array::from(values)),
            Self::Int64(values) => Arc::new(Int64Array::from(values)),
            Self::Timestamp(values) => Arc::new(timestamps(values.into_iter().map(Some).collect())),
            Self::String(mut values) => Arc::new(values.finish()),
            Self::Bytes(mut values) => Arc::new(values.finish()),
        }
    }
}

/// What a store (or the point-in-time join) knows of the asked keys: one row per key, in key order.
#[derive(Clone, Debug)]
pub struct StoredRows {
    /// Whether there was a row at all. Where not, `event_time` and every column are null.
    pub present: BooleanBuffer,
    pub event_time: TimestampMicrosecondArray,
    /// The asked features, in the asked order.
    pub columns: Vec<ArrayRef>,
    /// Rows of which the store cannot say now whether they are there; they are not `present`. None: it knew of all.
    pub unreachable: Option<BooleanBuffer>,
}

impl StoredRows {
    /// Some of the rows, without a copy.
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            present: self.present.slice(from, rows),
            event_time: self.event_time.slice(from, rows),
            columns: self.columns.iter().map(|column| column.slice(from, rows)).collect(),
            unreachable: self.unreachable.as_ref().map(|unreachable| unreachable.slice(from, rows)),
        }
    }

    /// No key was found.
    pub fn absent(features: &[Field], rows: usize) -> Self {
        Self {
            present: BooleanBuffer::new_unset(rows),
            event_time: timestamps(vec![None; rows]),
            columns: features.iter().map(|feature| new_null_array(&feature.dtype.arrow(), rows)).collect(),
            unreachable: None,
        }
    }
}

/// Rows of one stored view on their way to a store, in source order: of two rows that tie on event time and created
/// time, the later one wins.
#[derive(Clone, Debug)]
pub struct FeatureRows {
    /// The join keys, in the view's order.
    pub keys: Vec<ArrayRef>,
    /// The features, in the view's order.
    pub features: Vec<ArrayRef>,
    /// Never null.
    pub event_time: TimestampMicrosecondArray,
    /// Null sorts before every time.
    pub created_time: TimestampMicrosecondArray,
    /// Rows that say that nothing is true of their key any more (tombstones); their features are null. None: no row is.
    pub deleted: Option<BooleanBuffer>,
    /// Where the rows stood in the stream that they came from. None: they came from no stream.
    pub origin: Option<Origin>,
}

/// A stretch of one partition of a stream. Of rows that tie on both times, the one from further on wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub stream: Arc<str>,
    pub partition: u32,
    /// One for each row, ascending.
    pub offsets: Vec<u64>,
}

impl FeatureRows {
    /// Rows that came from no stream, none of them a tombstone.
    pub fn new(
        keys: Vec<ArrayRef>,
        features: Vec<ArrayRef>,
        event_time: TimestampMicrosecondArray,
        created_time: TimestampMicrosecondArray,
    ) -> Self {
        Self { keys, features, event_time, created_time, deleted: None, origin: None }
    }

    pub fn is_deleted(&self, row: usize) -> bool {
        self.deleted.as_ref().is_some_and(|deleted| deleted.value(row))
    }

    pub fn rows(&self) -> usize {
        self.event_time.len()
    }
}

/// A UTC timestamp column.
pub fn timestamps(values: Vec<Option<i64>>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from(values).with_timezone("UTC")
}

/// A batch of `columns` under the names and types of `fields`.
///
/// # Panics
/// If a column has another type than its field; a caller's mistake, never a user's.
pub fn record_batch(fields: &[Field], columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let schema = crate::catalog::arrow_schema(fields);
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).expect("columns have the types of their fields")
}

/// What the rows of `columns` take. Columns may be slices of larger buffers; only their own part counts.
pub fn bytes(columns: &[ArrayRef]) -> usize {
    let of = |column: &ArrayRef| match column.data_type().primitive_width() {
        Some(width) => column.len() * width + column.nulls().map_or(0, |nulls| nulls.len().div_ceil(8)),
        None => column.to_data().get_slice_memory_size().unwrap_or(0),
    };
    columns.iter().map(of).sum()
}

/// The same column with every row where `keep` is false nulled.
///
/// # Panics
/// If `keep` is not as long as the column.
pub fn null_where_not(column: &ArrayRef, keep: &BooleanBuffer) -> ArrayRef {
    let gone = BooleanArray::new(!keep, None);
    arrow::compute::nullif(column, &gone).expect("the mask is as long as the column")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY_TYPES: [Scalar; 7] =
        [Scalar::Bool, Scalar::Int32, Scalar::Int64, Scalar::String, Scalar::Bytes, Scalar::Timestamp, Scalar::Date];

    fn decode(fields: &[Field], keys: &KeyBatch) -> Vec<ArrayRef> {
        let mut columns = KeyColumns::new(fields);
        for key in keys.iter() {
            let mut values = Vec::new();
            assert!(key_values(fields, key, &mut values));
            assert!(columns.push(&values));
        }
        columns.finish()
    }

    proptest! {
        #[test]
        fn keys_become_the_columns_that_they_were_encoded_from(
            columns in prop::collection::vec(prop::sample::select(KEY_TYPES.to_vec()), 1..4).prop_flat_map(|types| {
                let column = |scalar| crate::online::samples::column(DType::One(scalar), 5);
                (Just(types.clone()), types.into_iter().map(column).collect::<Vec<_>>())
            }),
            cut in any::<prop::sample::Index>(),
        ) {
            let (types, columns) = columns;
            let field = |(position, scalar): (usize, &Scalar)| Field::new(format!("k{position}"), DType::One(*scalar));
            let fields: Vec<Field> = types.iter().enumerate().map(field).collect();
            let whole: Vec<usize> = (0..5).filter(|&row| columns.iter().all(|column| column.is_valid(row))).collect();
            let places = Int64Array::from_iter_values(whole.iter().map(|&row| row as i64));
            let take = |column: &ArrayRef| arrow::compute::take(column, &places, None).unwrap();
            let columns: Vec<ArrayRef> = columns.iter().map(take).collect();
            let keys = KeyBatch::encode(&fields, &columns, whole.len());
            prop_assert_eq!(decode(&fields, &keys), columns);
            if let Some(key) = keys.iter().next() {
                let cut = &key[..cut.index(key.len())];
                prop_assert!(!key_values(&fields, cut, &mut Vec::new()), "a key that is cut off is not a key");
                prop_assert!(!key_values(&fields, &[key, &[0]].concat(), &mut Vec::new()));
            }
        }
    }

    #[test]
    fn rows_of_a_column_that_is_part_of_another_can_be_nulled() {
        let bools = BooleanArray::from((0..40).map(|bit| (bit % 7 != 0).then_some(bit % 3 == 0)).collect::<Vec<_>>());
        let longer: [ArrayRef; 2] = [Arc::new(bools), Arc::new(Int64Array::from_iter_values(0..40))];
        for column in longer.map(|column| column.slice(9, 30)) {
            let keep = BooleanBuffer::collect_bool(30, |row| row % 2 == 0);
            let kept = null_where_not(&column, &keep);
            for row in 0..30 {
                let expected = if row % 2 == 0 { column.slice(row, 1) } else { new_null_array(column.data_type(), 1) };
                assert_eq!(&kept.slice(row, 1), &expected, "row {row}");
            }
        }
    }
}
