//! The shapes in which rows move between stages: entity keys, stored rows, and rows on their way to a store.
//!
//! Plain Arrow data without IO. A column is an Arrow array everywhere; what this module adds is the part that Arrow
//! does not know: which columns identify a row, when it became true, and whether it was there at all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
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
pub fn null_where_not(column: &ArrayRef, keep: &BooleanBuffer) -> ArrayRef {
    let nulls = arrow::buffer::NullBuffer::new(keep.clone());
    let nulls = arrow::buffer::NullBuffer::union(column.logical_nulls().as_ref(), Some(&nulls));
    let data = column.to_data().into_builder().nulls(nulls);
    // The buffers are the column's own and only more rows are null, so the layout stays valid.
    Arc::new(arrow::array::make_array(data.build().expect("more nulls keep a column valid")))
}
