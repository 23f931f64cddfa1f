//! Columns of a source against what is declared of them.
//!
//! Only what can never be read is refused here. Whether each value fits (an int64 column declared int32) shows when the
//! rows are read.

use arrow::datatypes::{DataType, Schema};

use crate::catalog::{DType, Field, Scalar};
use crate::document::did_you_mean;

/// Columns that a message lists.
const COLUMNS_SHOWN_MAX: usize = 20;

/// In the metadata of a column: why it cannot be read, whatever as. It stands among the others so that they can be.
pub const UNREADABLE: &str = "lockstep.unreadable";

/// What is wrong with reading `field` from a source with these columns.
pub(super) fn mistake(source: &str, schema: &Schema, field: &Field) -> Option<String> {
    let Ok(column) = schema.field_with_name(&field.name) else {
        return Some(missing(source, schema, &field.name));
    };
    if let Some(why) = column.metadata().get(UNREADABLE) {
        return Some(format!("source {source}: {why}"));
    }
    let is_readable = readable(column.data_type(), field.dtype);
    (!is_readable).then(|| {
        format!(
            "column {} of source {source} is {}, which cannot be read as {}",
            field.name,
            column.data_type(),
            field.dtype
        )
    })
}

/// What is wrong with `column` as the event time or created time of a source.
pub(super) fn time_mistake(source: &str, schema: &Schema, column: &str) -> Option<String> {
    let Ok(found) = schema.field_with_name(column) else {
        return Some(missing(source, schema, column));
    };
    if let Some(why) = found.metadata().get(UNREADABLE) {
        return Some(format!("of source {source}: {why}"));
    }
    let is_time = readable(found.data_type(), DType::TIMESTAMP);
    (!is_time).then(|| {
        format!("column {column} of source {source} is {}, it must be a timestamp or a date", found.data_type())
    })
}

fn missing(source: &str, schema: &Schema, column: &str) -> String {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let meant = did_you_mean(column, known.iter().copied());
    let more = if known.len() > COLUMNS_SHOWN_MAX { ", …" } else { "" };
    let shown = known[..known.len().min(COLUMNS_SHOWN_MAX)].join(", ");
    format!("source {source} has no column {column}; it has {shown}{more}{meant}")
}

fn readable(from: &DataType, to: DType) -> bool {
    match (from, to) {
        (DataType::Null, _) => true,
        (DataType::Dictionary(_, values), _) => readable(values, to),
        (
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::FixedSizeList(item, _),
            DType::List(scalar),
        ) => readable_scalar(item.data_type(), scalar),
        (DataType::FixedSizeList(item, width), DType::Embedding(wanted)) => {
            u32::try_from(*width) == Ok(wanted) && readable_scalar(item.data_type(), Scalar::Float32)
        }
        (DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item), DType::Embedding(_)) => {
            readable_scalar(item.data_type(), Scalar::Float32)
        }
        (_, DType::One(scalar)) => readable_scalar(from, scalar),
        _ => false,
    }
}

fn readable_scalar(from: &DataType, to: Scalar) -> bool {
    let is_text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_date = matches!(from, DataType::Date32 | DataType::Date64);
    match to {
        Scalar::Bool => *from == DataType::Boolean,
        Scalar::Int32 | Scalar::Int64 | Scalar::Float32 | Scalar::Float64 => from.is_numeric(),
        Scalar::String => is_text,
        Scalar::Bytes => {
            is_text
                || matches!(
                    from,
                    DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
                )
        }
        Scalar::Timestamp | Scalar::Date => is_date || matches!(from, DataType::Timestamp(_, _)),
    }
}
