//! Only the rows of some entities. What a reader can use to skip rows is told to it as a condition on the columns; which
//! rows are meant is then looked up exactly, so that every kind of source gives the same rows.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, sort_to_indices};
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, ident, lit};

use crate::cast::{CastError, exactly};
use crate::catalog::Field;
use crate::limits::PRUNED_KEYS_MAX;
use crate::offline::KeyFilter;

/// The entities whose rows a scan asks for.
#[derive(Debug)]
pub(super) struct Keys {
    /// The join keys, and where the column of each stands among those that are read.
    columns: Vec<(Field, usize)>,
    /// The values of each join key, in its own type.
    values: Vec<ArrayRef>,
    converter: RowConverter,
    wanted: HashSet<Box<[u8]>>,
}

impl Keys {
    /// `positions` says where each join key's column stands among those that are read.
    pub(super) fn new(filter: &KeyFilter, positions: Vec<usize>) -> Result<Self, (String, CastError)> {
        let mut values = Vec::with_capacity(filter.values.len());
        for (field, column) in filter.join_keys.iter().zip(&filter.values) {
            values.push(exactly(column, field.dtype).map_err(|error| (field.name.clone(), error))?);
        }
        let columns: Vec<(Field, usize)> = filter.join_keys.iter().cloned().zip(positions).collect();
        let sorts = columns.iter().map(|(field, _)| SortField::new(field.dtype.arrow())).collect();
        let converter = RowConverter::new(sorts).map_err(|error| (String::new(), unsupported(&error)))?;
        let mut keys = Self { columns, values, converter, wanted: HashSet::new() };
        let rows = keys.rows(&keys.values).map_err(|error| (String::new(), error))?;
        // No row is one of an entity without a value.
        let is_whole = |row: usize| keys.values.iter().all(|column| column.is_valid(row));
        let wanted = rows.iter().enumerate().filter(|(row, _)| is_whole(*row));
        keys.wanted = wanted.map(|(_, row)| Box::from(row.as_ref())).collect();
        Ok(keys)
    }

    /// A condition that no asked row fails, in the columns' own types.
    pub(super) fn coarse(&self, read: &[String], has: &Schema) -> Option<Expr> {
        let of_key = |((_, position), values): (&(Field, usize), &ArrayRef)| {
            let name = &read[*position];
            coarse(name, has.field_with_name(name).ok()?.data_type(), values)
        };
        self.columns.iter().zip(&self.values).filter_map(of_key).reduce(Expr::and)
    }

    /// Which rows of `batch` are asked for.
    pub(super) fn among(&self, batch: &RecordBatch) -> Result<BooleanBuffer, (String, CastError)> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (field, position) in &self.columns {
            let column = exactly(batch.column(*position), field.dtype);
            columns.push(column.map_err(|error| (field.name.clone(), error))?);
        }
        let rows = self.rows(&columns).map_err(|error| (String::new(), error))?;
        Ok(BooleanBuffer::collect_bool(batch.num_rows(), |row| self.wanted.contains(rows.row(row).as_ref())))
    }

    fn rows(&self, columns: &[ArrayRef]) -> Result<Rows, CastError> {
        self.converter.convert_columns(columns).map_err(|error| unsupported(&error))
    }
}

fn unsupported(error: &arrow::error::ArrowError) -> CastError {
    CastError { is: "no join key".to_owned(), wanted: "a join key".to_owned(), detail: error.to_string() }
}

/// What a column of type `is` must fulfil to have one of `values`; nothing where the types are compared in ways that
/// statistics do not know.
fn coarse(name: &str, is: &DataType, values: &ArrayRef) -> Option<Expr> {
    let plain = if let DataType::Dictionary(_, plain) = is { plain.as_ref() } else { is };
    let are_alike = plain == values.data_type()
        || plain.is_integer() && values.data_type().is_integer()
        || plain.is_string() && values.data_type().is_string();
    if !are_alike {
        return None;
    }
    // What does not fit into the column's type becomes null, and is in no row.
    let values = cast(values, plain).ok()?;
    let mut distinct: Vec<ScalarValue> = Vec::new();
    let order = sort_to_indices(&values, None, None).ok()?;
    let in_order = order.values().iter().map(|row| *row as usize).filter(|row| values.is_valid(*row));
    for row in in_order {
        let value = ScalarValue::try_from_array(&values, row).ok()?;
        if distinct.last() != Some(&value) {
            distinct.push(value);
        }
    }
    let column = || ident(name);
    match distinct.as_slice() {
        [] => Some(lit(false)),
        [first, .., last] if distinct.len() > PRUNED_KEYS_MAX => {
            Some(column().gt_eq(lit(first.clone())).and(column().lt_eq(lit(last.clone()))))
        }
        _ => Some(column().in_list(distinct.into_iter().map(lit).collect(), false)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::catalog::{DType, Scalar};

    fn shown(is: &DataType, values: ArrayRef) -> Option<String> {
        coarse("k", is, &values).map(|condition| condition.to_string())
    }

    #[test]
    fn few_keys_are_told_one_by_one_and_many_by_their_ends() {
        let few: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(1), None, Some(3), Some(5_000_000_000)]));
        assert_eq!(shown(&DataType::Int32, few).as_deref(), Some("k IN ([Int32(1), Int32(3)])"));
        let many: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1_000).rev()));
        assert_eq!(shown(&DataType::Int64, many).as_deref(), Some("k >= Int64(0) AND k <= Int64(999)"));
        let none: ArrayRef = Arc::new(Int64Array::from(vec![5_000_000_000]));
        assert_eq!(shown(&DataType::Int32, none).as_deref(), Some("Boolean(false)"));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert_eq!(shown(&DataType::Int64, text), None);
    }

    #[test]
    fn a_null_is_no_entity() {
        let join_keys = vec![Field::new("k", DType::One(Scalar::Int64))];
        let values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![Some(1), None]))];
        let keys = Keys::new(&KeyFilter { join_keys, values }, vec![0]).expect("keys");
        let column: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1), Some(2)]));
        let rows = RecordBatch::try_from_iter_with_nullable([("k", column, true)]).expect("one column");
        let among = keys.among(&rows).expect("they are of one type");
        assert_eq!(among.iter().collect::<Vec<_>>(), [false, true, false]);
    }
}
