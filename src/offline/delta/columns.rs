//! Rows as a table takes them: its columns in its types, then the columns that it does not have yet.
//!
//! A column may come in another type as long as every value stays what it is: `int32` for `int64`, a dictionary for its
//! values, nanoseconds cut to the microsecond as everywhere. Anything else is refused with the column's name, before a
//! file is written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, max, min};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Schema, TimeUnit, TimestampMicrosecondType};

use super::super::Error;
use super::place::Place;
use crate::cast::{self, type_name};
use crate::catalog::DType;

/// 0001-01-01 and 10000-01-01, in days since 1970.
const FIRST_DAY: i64 = -719_162;
const DAY_AFTER_LAST: i64 = 2_932_897;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// `rows` as the table with the columns `has` takes them, and whether they bring it new columns.
pub(super) fn conform(place: &Place, has: &Schema, rows: &RecordBatch) -> Result<(RecordBatch, bool), Error> {
    let refused = |detail: String| Error::NotWritable { source_name: place.name.clone(), detail };
    let mut fields: Vec<FieldRef> = has.fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
    for field in has.fields() {
        let column = match rows.column_by_name(field.name()) {
            Some(column) => as_type(column, field.data_type()).map_err(|detail| Error::WrongType {
                source_name: place.name.clone(),
                column: field.name().clone(),
                is: type_name(column.data_type()),
                wanted: type_name(field.data_type()),
                detail,
            })?,
            None => new_null_array(field.data_type(), rows.num_rows()),
        };
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(refused(format!("column {} of {} may not be null", field.name(), place.path)));
        }
        columns.push(column);
    }
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        if has.field_with_name(field.name()).is_ok() {
            continue;
        }
        let same = |known: &&FieldRef| known.name().to_lowercase() == field.name().to_lowercase();
        if let Some(known) = fields.iter().find(same) {
            let detail = format!("column {} differs from its column {} only by case", field.name(), known.name());
            return Err(refused(detail));
        }
        let Some(data_type) = kept_as(column.data_type()) else {
            let is = type_name(column.data_type());
            return Err(refused(format!("column {} is {is}, which a Delta table has no type for", field.name())));
        };
        columns
            .push(as_type(column, &data_type).map_err(|detail| refused(format!("column {}: {detail}", field.name())))?);
        fields.push(Arc::new(Field::new(field.name(), data_type, true)));
    }
    for (field, column) in fields.iter().zip(&columns) {
        check_years(column).map_err(|detail| refused(format!("column {} {detail}", field.name())))?;
    }
    let grows = fields.len() > has.fields().len();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    Ok((rows.map_err(|error| refused(error.to_string()))?, grows))
}

/// The type in which a Delta table keeps values of this one; `None` where it cannot.
pub(super) fn kept_as(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Date32 | Utf8 | Binary => data_type.clone(),
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 | UInt64 => Int64,
        Float16 => Float32,
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        // A time without a zone is UTC here; Delta's own type for it would shut out older readers.
        Timestamp(..) | Date64 => Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) if *scale >= 0 => {
            Decimal128(*precision, *scale)
        }
        Dictionary(_, values) => kept_as(values)?,
        RunEndEncoded(_, values) => kept_as(values.data_type())?,
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) | FixedSizeList(item, _) => {
            List(Arc::new(Field::new("element", kept_as(item.data_type())?, true)))
        }
        Struct(fields) => {
            let kept = |field: &FieldRef| Some(Field::new(field.name(), kept_as(field.data_type())?, true));
            Struct(fields.iter().map(kept).collect::<Option<Vec<_>>>()?.into())
        }
        _ => return None,
    })
}

/// `column` as values of `wanted`, each of them as it was.
fn as_type(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    if column.data_type() == &DataType::Null {
        return Ok(new_null_array(wanted, column.len()));
    }
    if !keeps_values(column.data_type(), wanted) {
        return Err("a table's columns keep their types".to_owned());
    }
    if let DataType::Timestamp(TimeUnit::Microsecond, zone) = wanted {
        let times = cast::exactly(column, DType::TIMESTAMP).map_err(|error| error.detail)?;
        // The zone is a label; the moments stay.
        let times = times.as_primitive::<TimestampMicrosecondType>().clone();
        return Ok(Arc::new(times.with_timezone_opt(zone.clone())));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let plain = match column.data_type() {
        DataType::Dictionary(_, values) => cast_with_options(column, values, &strict),
        _ => Ok(Arc::clone(column)),
    };
    plain.and_then(|plain| cast_with_options(&plain, wanted, &strict)).map_err(|error| error.to_string())
}

/// Delta's log has the first and the last time of each file, as text that its readers understand from the year 1 to the
/// year 9999; a table with another one in it could not be read any more.
fn check_years(column: &ArrayRef) -> Result<(), String> {
    let has_others = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            min(times).is_some_and(|time| time < FIRST_DAY * MICROS_PER_DAY)
                || max(times).is_some_and(|time| time >= DAY_AFTER_LAST * MICROS_PER_DAY)
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            min(days).is_some_and(|day| i64::from(day) < FIRST_DAY)
                || max(days).is_some_and(|day| i64::from(day) >= DAY_AFTER_LAST)
        }
        DataType::Struct(_) => return column.as_struct().columns().iter().try_for_each(check_years),
        _ => false,
    };
    match has_others {
        true => Err("has a time before the year 1 or after the year 9999, which a Delta table cannot hold".to_owned()),
        false => Ok(()),
    }
}

/// Whether values of `from` stay what they are in `to`; single ones may turn out not to fit, such as a `uint64`.
fn keeps_values(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let Some(from) = kept_as(from) else { return false };
    match (&from, to) {
        (from, to) if from == to => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => true,
        (Timestamp(..) | Date32, Timestamp(TimeUnit::Microsecond, _)) => true,
        (Decimal128(precision, scale), Decimal128(wider, finer)) => {
            finer >= scale && i16::from(*wider) - i16::from(*finer) >= i16::from(*precision) - i16::from(*scale)
        }
        (List(from), List(to)) => keeps_values(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            let same = |(from, to): (&FieldRef, &FieldRef)| {
                from.name() == to.name() && keeps_values(from.data_type(), to.data_type())
            };
            from.len() == to.len() && from.iter().zip(to).all(same)
        }
        _ => false,
    }
}
