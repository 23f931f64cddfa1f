//! Walks a schema message and refuses what arrow-ipc would panic on, what nests too deep, and types that we never use.

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::{self, DateUnit, Endianness, Precision, TimeUnit, Type};

use super::{Error, at_most, damaged};
use crate::limits::{ARROW_COLUMNS_MAX, ARROW_DICTIONARIES_MAX, ARROW_NESTING_MAX, ARROW_SCHEMA_TEXT_BYTES_MAX};

/// Checks every field of a schema.
pub(super) fn check(schema: ipc::Schema<'_>) -> Result<(), Error> {
    if schema.endianness() != Endianness::Little {
        return Err(damaged("its bytes are not little-endian"));
    }
    let Some(fields) = schema.fields() else { return Err(damaged("its schema has no columns")) };
    let mut seen = Seen::default();
    seen.metadata(schema.custom_metadata().into_iter().flatten())?;
    for field in fields {
        check_field(field, 1, &mut seen)?;
    }
    Ok(())
}

/// The column of the batch in which the values of dictionary `id` arrive.
pub(super) fn dictionary_values(schema: &Schema, id: i64) -> Option<Field> {
    // Arrow keeps the id of a dictionary in its fields and marks reading it as deprecated, but has no other place yet.
    #[expect(deprecated)]
    let field = schema.fields_with_dict_id(id).into_iter().next()?;
    match field.data_type() {
        DataType::Dictionary(_, values) => Some(Field::new(field.name(), values.as_ref().clone(), true)),
        _ => None,
    }
}

/// What the walk has counted so far. Flatbuffers may point to the same bytes many times, so counts are of visits.
#[derive(Default)]
struct Seen {
    columns: usize,
    dictionaries: usize,
    text_bytes: usize,
}

impl Seen {
    fn metadata<'a>(&mut self, pairs: impl Iterator<Item = ipc::KeyValue<'a>>) -> Result<(), Error> {
        for pair in pairs {
            self.text(pair.key().unwrap_or_default().len() + pair.value().unwrap_or_default().len())?;
        }
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<(), Error> {
        self.text_bytes += bytes;
        at_most("bytes in names and metadata", self.text_bytes as u64, ARROW_SCHEMA_TEXT_BYTES_MAX as u64)
    }
}

fn check_field(field: ipc::Field<'_>, depth: usize, seen: &mut Seen) -> Result<(), Error> {
    at_most("levels of nested columns", depth as u64, ARROW_NESTING_MAX as u64)?;
    seen.columns += 1;
    at_most("columns", seen.columns as u64, ARROW_COLUMNS_MAX as u64)?;
    seen.text(field.name().unwrap_or_default().len())?;
    seen.metadata(field.custom_metadata().into_iter().flatten())?;
    check_type(field)?;
    if let Some(dictionary) = field.dictionary() {
        seen.dictionaries += 1;
        at_most("dictionaries", seen.dictionaries as u64, ARROW_DICTIONARIES_MAX as u64)?;
        if !dictionary.indexType().is_some_and(|index| is_int_width(index.bitWidth())) {
            return Err(refused(field, "a dictionary without an integer index"));
        }
        if field.children().is_some_and(|children| !children.is_empty()) {
            return Err(refused(field, "a dictionary of nested values"));
        }
    }
    for child in field.children().into_iter().flatten() {
        check_field(child, depth + 1, seen)?;
    }
    Ok(())
}

/// Refuses every type that arrow-ipc cannot turn into one of its own, and those whose layout lets few bytes stand for
/// many rows (list views, run-end encoding) or that no feature can have (unions, maps, intervals).
fn check_type(field: ipc::Field<'_>) -> Result<(), Error> {
    let children = field.children().map_or(0, |children| children.len());
    let is_known_unit = |unit: TimeUnit| unit.variant_name().is_some();
    let fits = match field.type_type() {
        Type::Null
        | Type::Bool
        | Type::Binary
        | Type::LargeBinary
        | Type::BinaryView
        | Type::Utf8
        | Type::LargeUtf8
        | Type::Utf8View => true,
        Type::Int => field.type_as_int().is_some_and(|int| is_int_width(int.bitWidth())),
        Type::FloatingPoint => field
            .type_as_floating_point()
            .is_some_and(|float| matches!(float.precision(), Precision::HALF | Precision::SINGLE | Precision::DOUBLE)),
        Type::FixedSizeBinary => field.type_as_fixed_size_binary().is_some_and(|binary| binary.byteWidth() > 0),
        Type::Date => {
            field.type_as_date().is_some_and(|date| matches!(date.unit(), DateUnit::DAY | DateUnit::MILLISECOND))
        }
        Type::Time => field.type_as_time().is_some_and(|time| {
            matches!(
                (time.bitWidth(), time.unit()),
                (32, TimeUnit::SECOND | TimeUnit::MILLISECOND) | (64, TimeUnit::MICROSECOND | TimeUnit::NANOSECOND)
            )
        }),
        Type::Timestamp => field.type_as_timestamp().is_some_and(|timestamp| is_known_unit(timestamp.unit())),
        Type::Duration => field.type_as_duration().is_some_and(|duration| is_known_unit(duration.unit())),
        Type::Decimal => field.type_as_decimal().is_some_and(|decimal| is_decimal(&decimal)),
        Type::List | Type::LargeList => children == 1,
        Type::FixedSizeList => children == 1 && field.type_as_fixed_size_list().is_some_and(|list| list.listSize() > 0),
        Type::Struct_ => children > 0,
        other => {
            let name = other.variant_name().unwrap_or("unknown type").to_lowercase();
            return Err(refused(field, &format!("of type {name}")));
        }
    };
    if fits { Ok(()) } else { Err(refused(field, "of a type that Arrow does not have")) }
}

fn is_int_width(bits: i32) -> bool {
    matches!(bits, 8 | 16 | 32 | 64)
}

fn is_decimal(decimal: &ipc::Decimal<'_>) -> bool {
    let digits_max = match decimal.bitWidth() {
        32 => 9,
        64 => 18,
        128 => 38,
        256 => 76,
        _ => return false,
    };
    (1..=digits_max).contains(&decimal.precision()) && i8::try_from(decimal.scale()).is_ok()
}

fn refused(field: ipc::Field<'_>, what: &str) -> Error {
    Error::NotAccepted { column: field.name().unwrap_or_default().to_owned(), what: what.to_owned() }
}
