//! The columns of a source whose parts were written at different times, by different programs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// A column whose types in two parts have nothing in common.
#[derive(Debug, PartialEq)]
pub(super) struct Conflict {
    pub column: String,
    pub before: DataType,
    pub now: DataType,
}

/// All columns of the parts, in order of first appearance, each of a type that holds the values of every part.
///
/// A part that lacks a column has nulls there, so every column is nullable. Metadata is left out: it says how a part was
/// written, and parts may differ in it.
#[derive(Debug, Default)]
pub(super) struct Merged {
    columns: Vec<(String, DataType)>,
}

impl Merged {
    pub(super) fn add(&mut self, part: &Schema) -> Result<(), Conflict> {
        for field in part.fields() {
            let Some((_, known)) = self.columns.iter_mut().find(|(name, _)| name == field.name()) else {
                self.columns.push((field.name().clone(), field.data_type().clone()));
                continue;
            };
            let both = common_type(known, field.data_type()).ok_or_else(|| Conflict {
                column: field.name().clone(),
                before: known.clone(),
                now: field.data_type().clone(),
            })?;
            *known = both;
        }
        Ok(())
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// The type that holds the values of both without changing one.
fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Date32, Date64, Dictionary, Float64, Int64, Null, Timestamp, Utf8};
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, values), other) | (other, Dictionary(_, values)) => common_type(values, other),
        // A value of 2⁶³ and above does not fit and is refused when it is read.
        (left, right) if left.is_integer() && right.is_integer() => Some(Int64),
        (left, right) if left.is_floating() && right.is_floating() => Some(Float64),
        (left, right) if is_text(left) && is_text(right) => Some(Utf8),
        (left, right) if is_bytes(left) && is_bytes(right) => Some(DataType::Binary),
        (Timestamp(..) | Date32 | Date64, Timestamp(..) | Date32 | Date64) => {
            Some(Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        }
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(types: &[DataType]) -> Result<DataType, Conflict> {
        let mut merged = Merged::default();
        for data_type in types {
            merged.add(&Schema::new(vec![Field::new("x", data_type.clone(), false)]))?;
        }
        Ok(merged.schema().field(0).data_type().clone())
    }

    #[test]
    fn parts_share_the_type_that_holds_both() {
        assert_eq!(merged(&[DataType::Int32, DataType::Int64]), Ok(DataType::Int64));
        assert_eq!(merged(&[DataType::Float64, DataType::Float32]), Ok(DataType::Float64));
        assert_eq!(merged(&[DataType::Null, DataType::Utf8View, DataType::Utf8]), Ok(DataType::Utf8));
        let zone = DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into()));
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(merged(&[zone, DataType::Timestamp(TimeUnit::Second, None)]), Ok(micros));
    }

    #[test]
    fn types_with_nothing_in_common_are_a_conflict() {
        let conflict = Conflict { column: "x".to_owned(), before: DataType::Int64, now: DataType::Utf8 };
        assert_eq!(merged(&[DataType::Int64, DataType::Utf8]), Err(conflict));
    }

    #[test]
    fn columns_stand_in_order_of_first_appearance() {
        let mut merged = Merged::default();
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        merged.add(&Schema::new(vec![field("b"), field("a")])).expect("no conflict");
        merged.add(&Schema::new(vec![field("c"), field("a")])).expect("no conflict");
        let names: Vec<_> = merged.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["b", "a", "c"]);
    }
}
