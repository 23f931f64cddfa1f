//! Columns become packed rows.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use super::schema::{Holds, RowSchema};
use super::{Header, Position, Version};
use crate::batch::FeatureRows;
use crate::catalog::{DType, Field, Scalar};
use crate::limits::STORED_ROW_BYTES_MAX;
use crate::online::{Error, OnlineView};

/// Packs the rows of one batch, one at a time, into one buffer.
#[derive(Debug)]
pub(crate) struct RowEncoder<'a> {
    view: &'a OnlineView,
    schema: &'a RowSchema,
    rows: &'a FeatureRows,
    columns: Vec<Column<'a>>,
    digest_prefix: Option<[u8; 8]>,
    row: Vec<u8>,
}

#[derive(Debug)]
struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

/// The values of a column, seen as bytes, so that no bit of a float can change on the way.
#[derive(Debug)]
enum Values<'a> {
    One(Scalars<'a>),
    List { ends: &'a [i32], items: Scalars<'a>, item_nulls: Option<&'a NullBuffer> },
    Embedding { width: usize, items: &'a [u8], item_nulls: Option<&'a NullBuffer> },
}

#[derive(Debug)]
enum Scalars<'a> {
    Bool(&'a BooleanBuffer),
    Fixed { width: usize, bytes: &'a [u8] },
    Varying { ends: &'a [i32], bytes: &'a [u8] },
}

impl<'a> RowEncoder<'a> {
    /// `schema` is the schema of `view`.
    pub fn new(view: &'a OnlineView, schema: &'a RowSchema, rows: &'a FeatureRows) -> Result<Self, Error> {
        let unstorable = |detail: String| Error::Unstorable { view: view.name.clone(), detail };
        if rows.features.len() != view.features.len() {
            let (has, wanted) = (rows.features.len(), view.features.len());
            return Err(unstorable(format!("they have {has} features, the view has {wanted}")));
        }
        if rows.event_time.null_count() > 0 {
            return Err(unstorable("a row has no event time".to_owned()));
        }
        let offsets = rows.origin.as_ref().map(|origin| origin.offsets.len());
        let deleted = rows.deleted.as_ref().map(|deleted| deleted.len());
        if let Some(has) = offsets.into_iter().chain(deleted).find(|has| *has != rows.rows()) {
            return Err(unstorable(format!("they are {} with offsets or tombstones for {has}", rows.rows())));
        }
        let columns = view.features.iter().zip(&rows.features).map(|(field, array)| {
            let values = Values::of(field, array).ok_or_else(|| {
                unstorable(format!("feature {} is {}, not {}", field.name, array.data_type(), field.dtype))
            })?;
            Ok(Column { nulls: array.nulls(), values })
        });
        let columns = columns.collect::<Result<_, Error>>()?;
        let digest_prefix = view.digest.map(|digest| digest.prefix());
        Ok(Self { view, schema, rows, columns, digest_prefix, row: Vec::new() })
    }

    pub fn version(&self, row: usize) -> Version {
        let created = &self.rows.created_time;
        let origin = self.rows.origin.as_ref();
        Version::new(
            self.rows.event_time.value(row),
            created.is_valid(row).then(|| created.value(row)),
            origin.map(|origin| Position { partition: origin.partition, offset: origin.offsets[row] }),
        )
    }

    /// The bytes of one row, until the next one is encoded.
    pub fn encode(&mut self, row: usize) -> Result<&[u8], Error> {
        let header = Header {
            schema_id: self.schema.id,
            digest_prefix: self.digest_prefix,
            version: self.version(row),
            deleted: self.rows.is_deleted(row),
        };
        self.row.clear();
        header.write(&mut self.row);
        if !header.deleted {
            self.encode_values(row)?;
        }
        header.write_origin(&mut self.row);
        Ok(&self.row)
    }

    fn encode_values(&mut self, row: usize) -> Result<(), Error> {
        let layout = self.schema.layout();
        let bitmap_at = self.row.len();
        self.row.resize(layout.heap_at, 0);
        for ((column, slot), field) in self.columns.iter().zip(&layout.slots).zip(&self.view.features) {
            let valid = column.nulls.is_none_or(|nulls| nulls.is_valid(row));
            if valid {
                self.row[bitmap_at + slot.bit / 8] |= 1 << (slot.bit % 8);
            }
            match slot.holds {
                Holds::Value(width) if valid => column.values.copy(row, &mut self.row[slot.at..slot.at + width]),
                Holds::Value(_) => {}
                Holds::End { .. } => {
                    if valid && !column.values.append(row, &mut self.row) {
                        return Err(Error::Unstorable {
                            view: self.view.name.clone(),
                            detail: format!("a list of feature {} has a null among its items", field.name),
                        });
                    }
                    let end = position(self.row.len() - layout.heap_at);
                    self.row[slot.at..slot.at + end.len()].copy_from_slice(&end);
                }
            }
            if self.row.len() > STORED_ROW_BYTES_MAX {
                let detail = format!("a row of it is longer than {STORED_ROW_BYTES_MAX} bytes");
                return Err(Error::TooLarge { view: self.view.name.clone(), detail });
            }
        }
        Ok(())
    }
}

impl<'a> Values<'a> {
    fn of(field: &Field, array: &'a ArrayRef) -> Option<Self> {
        Some(match field.dtype {
            DType::One(scalar) => Self::One(Scalars::of(scalar, array)?),
            DType::List(item) => {
                let list = array.as_list_opt::<i32>()?;
                let items = Scalars::of(item, list.values())?;
                Self::List { ends: list.value_offsets(), items, item_nulls: list.values().nulls() }
            }
            DType::Embedding(width) => {
                let list = array.as_fixed_size_list_opt()?;
                if u32::try_from(list.value_length()) != Ok(width) {
                    return None;
                }
                let items = bytes_of::<Float32Type>(list.values())?;
                Self::Embedding { width: width as usize, items, item_nulls: list.values().nulls() }
            }
        })
    }

    /// Copies a value of fixed width to its slot.
    fn copy(&self, row: usize, slot: &mut [u8]) {
        match self {
            Self::One(Scalars::Bool(bits)) => slot[0] = u8::from(bits.value(row)),
            Self::One(Scalars::Fixed { width, bytes }) => slot.copy_from_slice(&bytes[row * width..][..*width]),
            Self::One(Scalars::Varying { .. }) | Self::List { .. } | Self::Embedding { .. } => {
                unreachable!("the layout keeps values of varying width in the heap")
            }
        }
    }

    /// Appends a value to the heap; false where an item of it is null.
    fn append(&self, row: usize, heap: &mut Vec<u8>) -> bool {
        let whole = |nulls: &Option<&NullBuffer>, start: usize, end: usize| {
            nulls.is_none_or(|nulls| nulls.slice(start, end - start).null_count() == 0)
        };
        match self {
            Self::One(values) => values.append(row, row + 1, heap),
            Self::List { ends, items, item_nulls } => {
                let (start, end) = (ends[row] as usize, ends[row + 1] as usize);
                if !whole(item_nulls, start, end) {
                    return false;
                }
                if let Scalars::Varying { ends, .. } = items {
                    heap.extend_from_slice(&position(end - start));
                    for item in start..end {
                        heap.extend_from_slice(&position((ends[item + 1] - ends[start]) as usize));
                    }
                }
                items.append(start, end, heap);
            }
            Self::Embedding { width, items, item_nulls } => {
                if !whole(item_nulls, row * width, (row + 1) * width) {
                    return false;
                }
                let bytes = width * size_of::<f32>();
                heap.extend_from_slice(&items[row * bytes..][..bytes]);
            }
        }
        true
    }
}

impl<'a> Scalars<'a> {
    fn of(scalar: Scalar, array: &'a ArrayRef) -> Option<Self> {
        let fixed = |bytes: Option<&'a [u8]>| Some(Self::Fixed { width: scalar.width()?, bytes: bytes? });
        match scalar {
            Scalar::Bool => Some(Self::Bool(array.as_boolean_opt()?.values())),
            Scalar::Int32 => fixed(bytes_of::<Int32Type>(array)),
            Scalar::Int64 => fixed(bytes_of::<Int64Type>(array)),
            Scalar::Float32 => fixed(bytes_of::<Float32Type>(array)),
            Scalar::Float64 => fixed(bytes_of::<Float64Type>(array)),
            Scalar::Timestamp => fixed(bytes_of::<TimestampMicrosecondType>(array)),
            Scalar::Date => fixed(bytes_of::<Date32Type>(array)),
            Scalar::String => {
                let text = array.as_string_opt::<i32>()?;
                Some(Self::Varying { ends: text.value_offsets(), bytes: text.value_data() })
            }
            Scalar::Bytes => {
                let binary = array.as_binary_opt::<i32>()?;
                Some(Self::Varying { ends: binary.value_offsets(), bytes: binary.value_data() })
            }
        }
    }

    /// Appends the bytes of the values from `start` to `end`, one after another.
    fn append(&self, start: usize, end: usize, heap: &mut Vec<u8>) {
        match self {
            Self::Bool(bits) => heap.extend((start..end).map(|item| u8::from(bits.value(item)))),
            Self::Fixed { width, bytes } => heap.extend_from_slice(&bytes[start * width..end * width]),
            Self::Varying { ends, bytes } => {
                heap.extend_from_slice(&bytes[ends[start] as usize..ends[end] as usize]);
            }
        }
    }
}

fn bytes_of<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&[u8]> {
    Some(array.as_primitive_opt::<T>()?.values().inner().as_slice())
}

/// A position in the heap. One that does not fit belongs to a row that is refused for its length right after.
fn position(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}
