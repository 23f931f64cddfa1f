//! Dictionaries and views become plain columns, as long as they are not much longer than they claimed.
//!
//! One long value can stand in every row of a dictionary or view column, so a few kilobytes can stand for terabytes.
//! Everything after this works on plain columns and need not think of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::{Error, at_most, guarded};
use crate::limits::ARROW_MESSAGE_BYTES_MAX;

/// The schema under which batches come out.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The batch under the `plain` schema, and its bytes: those `claimed` and those that unpacking added.
pub(super) fn unpack(batch: RecordBatch, plain: &SchemaRef, claimed: u64) -> Result<(RecordBatch, u64), Error> {
    if batch.schema_ref().fields() == plain.fields() {
        return Ok((batch, claimed));
    }
    let added: u64 = batch.columns().iter().map(packed_bytes).sum();
    at_most("bytes in one message, dictionaries unpacked", claimed + added, ARROW_MESSAGE_BYTES_MAX)?;
    let unpacked = guarded(|| {
        let columns = batch.columns().iter().zip(plain.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(plain), columns, &options)
    })?;
    Ok((unpacked, claimed + added))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    if plain == *field.data_type() {
        return Arc::clone(field);
    }
    let field = Field::new(field.name(), plain, field.is_nullable()).with_metadata(field.metadata().clone());
    Arc::new(field)
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, width) => DataType::FixedSizeList(plain_field(item), *width),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}

/// Bytes of the dictionary and view columns in `column` once they are plain.
fn packed_bytes(column: &ArrayRef) -> u64 {
    match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            if dictionary.values().is_empty() {
                return 8 * column.len() as u64;
            }
            let keys = dictionary.normalized_keys();
            keys.into_iter().map(|key| value_bytes(dictionary.values(), key)).sum()
        }
        DataType::Utf8View | DataType::BinaryView => (0..column.len()).map(|row| value_bytes(column, row)).sum(),
        DataType::List(_) => packed_bytes(column.as_list::<i32>().values()),
        DataType::LargeList(_) => packed_bytes(column.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => packed_bytes(column.as_fixed_size_list().values()),
        DataType::Struct(_) => column.as_struct().columns().iter().map(packed_bytes).sum(),
        _ => 0,
    }
}

/// Bytes of one value of a column that is not nested, its offset included.
fn value_bytes(column: &ArrayRef, row: usize) -> u64 {
    let length = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_length(row).unsigned_abs().into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value_length(row).unsigned_abs(),
        DataType::Binary => column.as_binary::<i32>().value_length(row).unsigned_abs().into(),
        DataType::LargeBinary => column.as_binary::<i64>().value_length(row).unsigned_abs(),
        DataType::Utf8View => u64::from(column.as_string_view().views()[row] as u32),
        DataType::BinaryView => u64::from(column.as_binary_view().views()[row] as u32),
        DataType::FixedSizeBinary(width) => u64::from(width.unsigned_abs()),
        // The widest number, Decimal256.
        _ => 32,
    };
    length.saturating_add(8)
}
