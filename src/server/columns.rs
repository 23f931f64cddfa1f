//! The columns that a caller sends as Arrow, as a plan needs them: found by name, cast exactly, or refused.

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};

use crate::cast;
use crate::catalog::Field;
use crate::flow::Error;
use crate::plan::{FeaturePlan, InputKind, PlanInput};

/// The inputs of a plan out of `rows`, in the plan's order and types. Other columns are left aside.
pub fn plan_inputs(plan: &FeaturePlan, rows: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    let input = |input: &PlanInput| {
        let column = rows.column_by_name(&input.field.name).map(|column| {
            let taken = cast::exactly_by_row(column, input.field.dtype);
            taken.map_err(|error| Error::wrong_type(&input.field.name, error))
        });
        complete(input, column.transpose()?, rows.num_rows())
    };
    plan.inputs.iter().map(input).collect()
}

/// The column of an input: as it came, or nulls if it did not and may be left out.
pub fn complete(input: &PlanInput, column: Option<ArrayRef>, rows: usize) -> Result<ArrayRef, Error> {
    let Field { name, dtype, nullable } = &input.field;
    match (column, input.kind) {
        (Some(column), InputKind::Request) if !nullable && column.null_count() > 0 => {
            let row = (0..rows).find(|row| column.is_null(*row)).unwrap_or_default();
            Err(Error::Invalid(format!("row {row} has no value for request field {name}, which must have one")))
        }
        (Some(column), _) => Ok(column),
        (None, InputKind::Request) if *nullable => Ok(new_null_array(&dtype.arrow(), rows)),
        (None, InputKind::Request) => Err(Error::MissingColumn { column: name.clone(), what: "a request field" }),
        (None, InputKind::JoinKey) => Err(Error::MissingColumn { column: name.clone(), what: "a join key" }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int16Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::catalog::{DType, Scalar};

    fn plan() -> FeaturePlan {
        let input = |name: &str, scalar: Scalar, kind: InputKind, nullable: bool| PlanInput {
            field: Field { nullable, ..Field::new(name, DType::One(scalar)) },
            kind,
        };
        FeaturePlan {
            service: None,
            service_version: None,
            inputs: vec![
                input("company", Scalar::String, InputKind::JoinKey, true),
                input("hour", Scalar::Int64, InputKind::Request, false),
                input("miles", Scalar::Float64, InputKind::Request, true),
            ],
            reads: Vec::new(),
            derivations: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn inputs(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<ArrayRef>, String> {
        plan_inputs(&plan(), &RecordBatch::try_from_iter(columns).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_found_by_name_cast_and_filled() {
        let company: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let hour: ArrayRef = Arc::new(Int16Array::from(vec![3]));
        let inputs = inputs(vec![("label", Arc::clone(&hour)), ("hour", hour), ("company", company)]).unwrap();
        let types: Vec<&DataType> = inputs.iter().map(|column| column.data_type()).collect();
        assert_eq!(types, [&DataType::Utf8, &DataType::Int64, &DataType::Float64]);
        assert_eq!(inputs[2].null_count(), 1);
    }

    #[test]
    fn a_column_that_is_missing_or_of_another_kind_is_named() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["3"]));
        assert_eq!(
            inputs(vec![("company", text.clone())]).unwrap_err(),
            "column hour is missing; it holds a request field"
        );
        assert_eq!(inputs(vec![("hour", text.clone())]).unwrap_err(), "column company is missing; it holds a join key");
        let error = inputs(vec![("company", text.clone()), ("hour", text)]).unwrap_err();
        assert!(error.starts_with("column hour is string, it must be int64"), "{error}");
    }

    #[test]
    fn the_first_value_that_does_not_fit_is_named_by_its_row() {
        let company: ArrayRef = Arc::new(StringArray::from(vec!["a"; 100]));
        for wrong in [0, 1, 42, 99] {
            let hours = (0..100).map(|row| if row < wrong { 3.0 } else { 3.5 });
            let hour: ArrayRef = Arc::new(Float64Array::from_iter_values(hours));
            let error = inputs(vec![("company", Arc::clone(&company)), ("hour", hour)]).unwrap_err();
            assert!(error.contains(&format!(": row {wrong}: 3.5 is not a whole number")), "{error}");
        }
    }
}
