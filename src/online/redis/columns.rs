//! The values of Arrow columns one at a time, for layouts that keep each value under a field of its own.
//!
//! [`SourceColumn`] takes a column apart, [`ColumnBuilder`] puts one together; both know every type that a feature can
//! have, so that a layout only says how one item is written and read. Nothing is allocated for a value.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, BooleanBufferBuilder, Date32Array, FixedSizeListArray,
    Float32Array, Float64Array, Int32Array, Int64Array, ListArray, NullBufferBuilder, PrimitiveArray, StringBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use crate::batch::{FeatureRows, StoredRows, timestamps};
use crate::catalog::{DType, Field, Scalar};
use crate::limits::STORED_READ_BYTES_MAX;
use crate::online::{Error, OnlineView};

/// A column of rows on their way to the store.
#[derive(Debug)]
pub(super) struct SourceColumn<'a> {
    pub field: &'a Field,
    nulls: Option<&'a NullBuffer>,
    shape: Shape<'a>,
    pub items: Items<'a>,
}

#[derive(Debug)]
enum Shape<'a> {
    One,
    List { ends: &'a [i32], item_nulls: Option<&'a NullBuffer> },
    Embedding { width: usize, item_nulls: Option<&'a NullBuffer> },
}

/// The items of a column: its values, or what is in its lists.
#[derive(Debug)]
pub(super) enum Items<'a> {
    Bool(&'a BooleanBuffer),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    String(&'a arrow::array::StringArray),
    Bytes(&'a arrow::array::BinaryArray),
    Timestamp(&'a [i64]),
    Date(&'a [i32]),
}

/// What a row has in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    /// The item at this position.
    One(usize),
    /// A list of the items at these positions.
    List(Range<usize>),
}

/// The columns of `rows`, which must fit `view`.
pub(super) fn source_columns<'a>(view: &'a OnlineView, rows: &'a FeatureRows) -> Result<Vec<SourceColumn<'a>>, Error> {
    let unstorable = |detail: String| Error::Unstorable { view: view.name.clone(), detail };
    if rows.features.len() != view.features.len() {
        let (has, wanted) = (rows.features.len(), view.features.len());
        return Err(unstorable(format!("they have {has} features, the view has {wanted}")));
    }
    if rows.event_time.null_count() > 0 {
        return Err(unstorable("a row has no event time".to_owned()));
    }
    let column = |(field, array): (&'a Field, &'a ArrayRef)| {
        SourceColumn::of(field, array)
            .ok_or_else(|| unstorable(format!("feature {} is {}, not {}", field.name, array.data_type(), field.dtype)))
    };
    view.features.iter().zip(&rows.features).map(column).collect()
}

impl<'a> SourceColumn<'a> {
    /// Nothing where the array does not have the field's type.
    pub fn of(field: &'a Field, array: &'a ArrayRef) -> Option<Self> {
        let (shape, items) = match field.dtype {
            DType::One(scalar) => (Shape::One, Items::of(scalar, array)?),
            DType::List(item) => {
                let list = array.as_list_opt::<i32>()?;
                let item_nulls = list.values().nulls();
                (Shape::List { ends: list.value_offsets(), item_nulls }, Items::of(item, list.values())?)
            }
            DType::Embedding(width) => {
                let list = array.as_fixed_size_list_opt()?;
                if u32::try_from(list.value_length()) != Ok(width) {
                    return None;
                }
                let item_nulls = list.values().nulls();
                let items = Items::of(Scalar::Float32, list.values())?;
                (Shape::Embedding { width: width as usize, item_nulls }, items)
            }
        };
        Some(Self { field, nulls: array.nulls(), shape, items })
    }

    /// What `row` has; an error is the end of a sentence about the rows.
    pub fn cell(&self, row: usize) -> Result<Cell, String> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(Cell::Null);
        }
        let (items, item_nulls) = match &self.shape {
            Shape::One => return Ok(Cell::One(row)),
            Shape::List { ends, item_nulls } => (ends[row] as usize..ends[row + 1] as usize, item_nulls),
            Shape::Embedding { width, item_nulls } => (row * width..(row + 1) * width, item_nulls),
        };
        if item_nulls.is_some_and(|nulls| items.clone().any(|item| nulls.is_null(item))) {
            return Err(format!("a list of feature {} has a null among its items", self.field.name));
        }
        Ok(Cell::List(items))
    }
}

impl<'a> Items<'a> {
    fn of(scalar: Scalar, array: &'a ArrayRef) -> Option<Self> {
        fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&[T::Native]> {
            array.as_primitive_opt::<T>().map(|array| &**array.values())
        }
        Some(match scalar {
            Scalar::Bool => Self::Bool(array.as_boolean_opt()?.values()),
            Scalar::Int32 => Self::Int32(numbers::<Int32Type>(array)?),
            Scalar::Int64 => Self::Int64(numbers::<Int64Type>(array)?),
            Scalar::Float32 => Self::Float32(numbers::<Float32Type>(array)?),
            Scalar::Float64 => Self::Float64(numbers::<Float64Type>(array)?),
            Scalar::String => Self::String(array.as_string_opt()?),
            Scalar::Bytes => Self::Bytes(array.as_binary_opt()?),
            Scalar::Timestamp => Self::Timestamp(numbers::<TimestampMicrosecondType>(array)?),
            Scalar::Date => Self::Date(numbers::<Date32Type>(array)?),
        })
    }
}

/// The rows of an answer, while they are read.
#[derive(Debug)]
pub(super) struct AnswerBuilder<'a> {
    view: &'a OnlineView,
    event_times: Vec<Option<i64>>,
    pub columns: Vec<ColumnBuilder<'a>>,
    /// Rows whose server did not answer.
    unreachable: Vec<usize>,
    bytes: usize,
}

impl<'a> AnswerBuilder<'a> {
    /// `wanted` are positions in the view's features; `rows` is how many rows are expected.
    pub fn new(view: &'a OnlineView, wanted: &[usize], rows: usize) -> Self {
        let columns = wanted.iter().map(|&feature| ColumnBuilder::new(&view.features[feature], rows)).collect();
        Self { view, event_times: Vec::with_capacity(rows), columns, unreachable: Vec::new(), bytes: 0 }
    }

    pub fn push_absent(&mut self) {
        self.event_times.push(None);
        self.columns.iter_mut().for_each(ColumnBuilder::push_null);
    }

    pub fn push_unreachable(&mut self) {
        self.unreachable.push(self.event_times.len());
        self.push_absent();
    }

    /// A row is there; its columns are pushed by the caller.
    pub fn push_present(&mut self, event_time: i64) {
        self.event_times.push(Some(event_time));
    }

    /// Counts the stored bytes that were read, which bounds what every column holds.
    pub fn count(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        if self.bytes <= STORED_READ_BYTES_MAX {
            return Ok(());
        }
        let detail = format!("the asked rows hold more than {STORED_READ_BYTES_MAX} bytes; ask for fewer at a time");
        Err(Error::TooLarge { view: self.view.name.clone(), detail })
    }

    pub fn finish(self) -> StoredRows {
        let rows = self.event_times.len();
        let unreachable = (!self.unreachable.is_empty()).then(|| {
            let mut bits = BooleanBufferBuilder::new(rows);
            bits.append_n(rows, false);
            self.unreachable.iter().for_each(|&row| bits.set_bit(row, true));
            bits.finish()
        });
        StoredRows {
            present: BooleanBuffer::collect_bool(rows, |row| self.event_times[row].is_some()),
            event_time: timestamps(self.event_times),
            columns: self.columns.into_iter().map(ColumnBuilder::finish).collect(),
            unreachable,
        }
    }
}

/// A column of an answer, while it is read: for each row either [`ColumnBuilder::push_null`], or its items and then
/// [`ColumnBuilder::end_value`].
#[derive(Debug)]
pub(super) struct ColumnBuilder<'a> {
    pub field: &'a Field,
    valid: NullBufferBuilder,
    ends: Option<Vec<i32>>,
    pub items: ItemBuilder,
}

#[derive(Debug)]
pub(super) enum ItemBuilder {
    Bool(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    String(StringBuilder),
    Bytes(BinaryBuilder),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
}

impl<'a> ColumnBuilder<'a> {
    pub fn new(field: &'a Field, rows: usize) -> Self {
        let (ends, items) = match field.dtype {
            DType::One(scalar) => (None, ItemBuilder::new(scalar)),
            DType::List(item) => (Some(vec![0]), ItemBuilder::new(item)),
            DType::Embedding(_) => (None, ItemBuilder::new(Scalar::Float32)),
        };
        Self { field, valid: NullBufferBuilder::new(rows), ends, items }
    }

    pub fn is_list(&self) -> bool {
        !matches!(self.field.dtype, DType::One(_))
    }

    pub fn push_null(&mut self) {
        self.valid.append_null();
        match (&mut self.ends, self.field.dtype) {
            (Some(ends), _) => ends.push(self.items.end()),
            (None, DType::Embedding(width)) => (0..width).for_each(|_| self.items.push_default()),
            (None, _) => self.items.push_default(),
        }
    }

    /// The items pushed since the last value are one value; an error says why they are none.
    pub fn end_value(&mut self) -> Result<(), String> {
        self.valid.append_non_null();
        match (&mut self.ends, self.field.dtype) {
            (Some(ends), _) => ends.push(self.items.end()),
            (None, DType::Embedding(width)) => {
                let before = (self.valid.len() - 1) * width as usize;
                let items = self.items.len() - before;
                if items != width as usize {
                    return Err(format!("it has {items} items, not {width}"));
                }
            }
            (None, _) => {}
        }
        Ok(())
    }

    pub fn finish(mut self) -> ArrayRef {
        let nulls = self.valid.finish();
        match (self.field.dtype.arrow(), self.ends) {
            (DataType::List(item), Some(ends)) => {
                let ends = OffsetBuffer::new(ends.into());
                Arc::new(ListArray::new(item, ends, self.items.finish(None), nulls))
            }
            (DataType::FixedSizeList(item, width), _) => {
                Arc::new(FixedSizeListArray::new(item, width, self.items.finish(None), nulls))
            }
            _ => self.items.finish(nulls),
        }
    }
}

impl ItemBuilder {
    fn new(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool => Self::Bool(BooleanBufferBuilder::new(0)),
            Scalar::Int32 => Self::Int32(Vec::new()),
            Scalar::Int64 => Self::Int64(Vec::new()),
            Scalar::Float32 => Self::Float32(Vec::new()),
            Scalar::Float64 => Self::Float64(Vec::new()),
            Scalar::String => Self::String(StringBuilder::new()),
            Scalar::Bytes => Self::Bytes(BinaryBuilder::new()),
            Scalar::Timestamp => Self::Timestamp(Vec::new()),
            Scalar::Date => Self::Date(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match self {
            Self::Bool(items) => items.len(),
            Self::Int32(items) | Self::Date(items) => items.len(),
            Self::Int64(items) | Self::Timestamp(items) => items.len(),
            Self::Float32(items) => items.len(),
            Self::Float64(items) => items.len(),
            Self::String(items) => items.len(),
            Self::Bytes(items) => items.len(),
        }
    }

    fn end(&self) -> i32 {
        i32::try_from(self.len()).expect("there are no more items than bytes of stored values, which are bounded")
    }

    fn push_default(&mut self) {
        match self {
            Self::Bool(items) => items.append(false),
            Self::Int32(items) | Self::Date(items) => items.push(0),
            Self::Int64(items) | Self::Timestamp(items) => items.push(0),
            Self::Float32(items) => items.push(0.0),
            Self::Float64(items) => items.push(0.0),
            Self::String(items) => items.append_value(""),
            Self::Bytes(items) => items.append_value(b""),
        }
    }

    fn finish(self, nulls: Option<NullBuffer>) -> ArrayRef {
        match self {
            Self::Bool(mut items) => Arc::new(BooleanArray::new(items.finish(), nulls)),
            Self::Int32(items) => Arc::new(Int32Array::new(items.into(), nulls)),
            Self::Int64(items) => Arc::new(Int64Array::new(items.into(), nulls)),
            Self::Float32(items) => Arc::new(Float32Array::new(items.into(), nulls)),
            Self::Float64(items) => Arc::new(Float64Array::new(items.into(), nulls)),
            Self::Date(items) => Arc::new(Date32Array::new(items.into(), nulls)),
            Self::Timestamp(items) => {
                let times = PrimitiveArray::<TimestampMicrosecondType>::new(items.into(), nulls);
                Arc::new(times.with_timezone("UTC"))
            }
            Self::String(mut items) => {
                let (ends, text, _) = items.finish().into_parts();
                Arc::new(arrow::array::StringArray::new(ends, text, nulls))
            }
            Self::Bytes(mut items) => {
                let (ends, bytes, _) = items.finish().into_parts();
                Arc::new(arrow::array::BinaryArray::new(ends, bytes, nulls))
            }
        }
    }
}
