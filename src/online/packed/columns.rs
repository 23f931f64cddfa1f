//! The columns of an answer while rows are read into them.
//!
//! # Why one allocation for all fixed-width columns
//! An answer of one row and 50 features would otherwise be 100 small buffers, each with its own allocation; making and
//! freeing them took longer than everything else in decoding. So values of a fixed width, and the bits that say which
//! values there are, stand in one buffer, column after column, and every finished column is a slice of it.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, BooleanArray, BooleanBufferBuilder, PrimitiveArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use super::read_u32;
use crate::catalog::{DType, Field, Scalar};

/// Where a column begins in the shared buffer: values and bits of any kind may stand there.
const ALIGNMENT: usize = size_of::<u64>();

/// The wanted features of a fixed number of rows; a row that nothing is set in is null.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    rows: usize,
    columns: Vec<Column<'a>>,
    /// Positions in `columns` of those that have a place of their own for every value and must hear of each null.
    varying: Vec<usize>,
    shared: MutableBuffer,
}

#[derive(Debug)]
struct Column<'a> {
    field: &'a Field,
    /// Where the bits stand that say which values there are.
    valid_at: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// In the shared buffer, from `at` on.
    Fixed {
        at: usize,
        width: usize,
    },
    /// One bit each in the shared buffer, from `at` on.
    Bool {
        at: usize,
    },
    One(Scalars),
    List {
        ends: Vec<i32>,
        items: Scalars,
    },
    Embedding {
        bytes: usize,
        items: MutableBuffer,
    },
}

/// Values one after another, each in as much room as it takes.
#[derive(Debug)]
enum Scalars {
    Bool(BooleanBufferBuilder),
    Fixed { width: usize, bytes: MutableBuffer },
    Varying { ends: Vec<i32>, bytes: MutableBuffer },
}

impl<'a> Columns<'a> {
    pub fn new(fields: impl ExactSizeIterator<Item = &'a Field>, rows: usize) -> Self {
        let mut bytes = 0;
        let mut place = |wanted: usize| {
            let at = bytes;
            bytes += wanted.next_multiple_of(ALIGNMENT);
            at
        };
        let bits = rows.div_ceil(8);
        let mut columns = Vec::with_capacity(fields.len());
        let mut varying = Vec::new();
        for (position, field) in fields.enumerate() {
            let valid_at = place(bits);
            let values = match field.dtype {
                DType::One(Scalar::Bool) => Values::Bool { at: place(bits) },
                DType::One(scalar) => match scalar.width() {
                    Some(width) => Values::Fixed { at: place(rows * width), width },
                    None => Values::One(Scalars::new(scalar, rows)),
                },
                DType::List(item) => Values::List { ends: first_end(rows), items: Scalars::new(item, rows) },
                DType::Embedding(width) => {
                    let bytes = width as usize * size_of::<f32>();
                    Values::Embedding { bytes, items: MutableBuffer::new(rows * bytes) }
                }
            };
            if !matches!(values, Values::Fixed { .. } | Values::Bool { .. }) {
                varying.push(position);
            }
            columns.push(Column { field, valid_at, values });
        }
        Self { rows, columns, varying, shared: MutableBuffer::from_len_zeroed(bytes) }
    }

    pub fn name(&self, column: usize) -> &'a str {
        &self.columns[column].field.name
    }

    /// A row of nulls.
    pub fn push_null_row(&mut self) {
        for &column in &self.varying {
            self.columns[column].values.push_null();
        }
    }

    pub fn push_null(&mut self, column: usize) {
        self.columns[column].values.push_null();
    }

    /// The value of `row`, as it stands in a stored row. Rows come in order, every row once in every column.
    pub fn push(&mut self, column: usize, row: usize, value: &[u8]) -> Result<(), &'static str> {
        let Column { valid_at, values, .. } = &mut self.columns[column];
        let bit = 1 << (row % 8);
        self.shared[*valid_at + row / 8] |= bit;
        match values {
            Values::Fixed { at, width } => {
                self.shared[*at + row * *width..][..*width].copy_from_slice(value);
                Ok(())
            }
            Values::Bool { at } => match value {
                [0] => Ok(()),
                [1] => {
                    self.shared[*at + row / 8] |= bit;
                    Ok(())
                }
                _ => Err("a bool is neither true nor false"),
            },
            Values::One(values) => values.push_value(value),
            Values::List { ends, items } => items.push_items(value).map(|()| ends.push(items.end())),
            Values::Embedding { bytes, .. } if value.len() != *bytes => Err("it has another number of items"),
            Values::Embedding { items, .. } => {
                items.extend_from_slice(value);
                Ok(())
            }
        }
    }

    /// The columns, or the name of the one that is not what its type says and why. Arrow checks the text of a whole
    /// column at once here.
    pub fn finish(self) -> Result<Vec<ArrayRef>, (&'a str, String)> {
        let (rows, shared) = (self.rows, Buffer::from(self.shared));
        let finish = |column: Column<'a>| {
            column
                .values
                .finish(column.field.dtype, rows, &shared, nulls(&shared, column.valid_at, rows))
                .map_err(|detail| (column.field.name.as_str(), detail))
        };
        self.columns.into_iter().map(finish).collect()
    }
}

/// Which of `rows` rows have no value; none where all have one.
fn nulls(shared: &Buffer, valid_at: usize, rows: usize) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(bits(shared, valid_at, rows));
    (nulls.null_count() > 0).then_some(nulls)
}

fn bits(shared: &Buffer, at: usize, rows: usize) -> BooleanBuffer {
    BooleanBuffer::new(shared.slice_with_length(at, rows.div_ceil(8)), 0, rows)
}

impl Values {
    /// Columns in the shared buffer are null where nothing is set.
    fn push_null(&mut self) {
        match self {
            Self::Fixed { .. } | Self::Bool { .. } => {}
            Self::One(values) => values.push_null(),
            Self::List { ends, items } => ends.push(items.end()),
            Self::Embedding { bytes, items } => items.extend_zeros(*bytes),
        }
    }

    fn finish(self, dtype: DType, rows: usize, shared: &Buffer, nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
        let builder = match self {
            Self::Fixed { at, width } => return Ok(fixed(dtype, shared.slice_with_length(at, rows * width), nulls)),
            Self::Bool { at } => return Ok(Arc::new(BooleanArray::new(bits(shared, at, rows), nulls))),
            Self::One(values) => values.into_builder(dtype.arrow(), rows),
            Self::List { ends, items } => {
                let DType::List(item) = dtype else { unreachable!("values follow the field's type") };
                let count = items.end() as usize;
                let items = items.into_builder(item.arrow(), count).build().map_err(|error| error.to_string())?;
                let list = ArrayData::builder(dtype.arrow()).len(rows);
                list.add_buffer(Buffer::from_vec(ends)).add_child_data(items)
            }
            Self::Embedding { items, .. } => {
                let count = items.len() / size_of::<f32>();
                let items = ArrayData::builder(DataType::Float32).len(count).add_buffer(items.into());
                let items = items.build().map_err(|error| error.to_string())?;
                ArrayData::builder(dtype.arrow()).len(rows).add_child_data(items)
            }
        };
        builder.nulls(nulls).build().map(make_array).map_err(|error| error.to_string())
    }
}

fn fixed(dtype: DType, values: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    fn column<T: ArrowPrimitiveType>(values: Buffer, nulls: Option<NullBuffer>) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(values), nulls)
    }
    let DType::One(scalar) = dtype else { unreachable!("lists and embeddings have no fixed width") };
    match scalar {
        Scalar::Int32 => Arc::new(column::<Int32Type>(values, nulls)),
        Scalar::Int64 => Arc::new(column::<Int64Type>(values, nulls)),
        Scalar::Float32 => Arc::new(column::<Float32Type>(values, nulls)),
        Scalar::Float64 => Arc::new(column::<Float64Type>(values, nulls)),
        Scalar::Date => Arc::new(column::<Date32Type>(values, nulls)),
        Scalar::Timestamp => Arc::new(column::<TimestampMicrosecondType>(values, nulls).with_data_type(scalar.arrow())),
        Scalar::Bool | Scalar::String | Scalar::Bytes => unreachable!("their values have no fixed width"),
    }
}

impl Scalars {
    fn new(scalar: Scalar, rows: usize) -> Self {
        match (scalar, scalar.width()) {
            (Scalar::Bool, _) => Self::Bool(BooleanBufferBuilder::new(rows)),
            (_, Some(width)) => Self::Fixed { width, bytes: MutableBuffer::new(rows * width) },
            (_, None) => Self::Varying { ends: first_end(rows), bytes: MutableBuffer::new(0) },
        }
    }

    /// How many values there are.
    fn end(&self) -> i32 {
        let count = match self {
            Self::Bool(bits) => bits.len(),
            Self::Fixed { width, bytes } => bytes.len() / width,
            Self::Varying { ends, .. } => ends.len() - 1,
        };
        i32::try_from(count).expect("there are no more values than bytes of rows, which are bounded")
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(bits) => bits.append(false),
            Self::Fixed { width, bytes } => bytes.extend_zeros(*width),
            Self::Varying { ends, bytes } => ends.push(bytes.len() as i32),
        }
    }

    fn push_value(&mut self, value: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Bool(_) | Self::Fixed { .. } => self.push_items(value),
            Self::Varying { ends, bytes } => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as i32);
                Ok(())
            }
        }
    }

    /// Appends the items of a list as they stand in the heap.
    fn push_items(&mut self, items: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Bool(bits) => {
                for &item in items {
                    match item {
                        0 | 1 => bits.append(item == 1),
                        _ => return Err("a bool is neither true nor false"),
                    }
                }
            }
            Self::Fixed { width, bytes } => {
                if !items.len().is_multiple_of(*width) {
                    return Err("a list ends within an item");
                }
                bytes.extend_from_slice(items);
            }
            Self::Varying { ends, bytes } => {
                let (item_ends, data) = split_items(items)?;
                let start = bytes.len();
                let mut last = 0;
                for at in (0..item_ends.len()).step_by(size_of::<u32>()) {
                    let end = read_u32(item_ends, at);
                    if end < last || end > data.len() {
                        return Err("an item of a list stands outside of it");
                    }
                    last = end;
                    ends.push((start + end) as i32);
                }
                if last != data.len() {
                    return Err("a list has bytes after its last item");
                }
                bytes.extend_from_slice(data);
            }
        }
        Ok(())
    }

    fn into_builder(self, dtype: DataType, rows: usize) -> arrow::array::ArrayDataBuilder {
        let builder = ArrayData::builder(dtype).len(rows);
        match self {
            Self::Bool(mut bits) => builder.add_buffer(bits.finish().into_inner()),
            Self::Fixed { bytes, .. } => builder.add_buffer(bytes.into()),
            Self::Varying { ends, bytes } => builder.add_buffer(Buffer::from_vec(ends)).add_buffer(bytes.into()),
        }
    }
}

/// The ends and the bytes of a list of strings or bytes.
fn split_items(items: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let cut = "a list ends within its header";
    if items.len() < size_of::<u32>() {
        return Err(cut);
    }
    let count = read_u32(items, 0);
    items[size_of::<u32>()..].split_at_checked(count * size_of::<u32>()).ok_or(cut)
}

fn first_end(rows: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    ends
}
