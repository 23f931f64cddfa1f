//! frame/1, the bytes in which rows cross to a plugin and back: [`write`] and [`read`]. wit/vectors/README.md is the
//! format on one page, and the files beside it are its test vectors, which the guest SDK runs too.
//!
//! The form is canonical: equal values have equal bytes, so that two answers are compared with one `memcmp`. What a
//! plugin sends back is believed in nothing; reading it can fail but not panic, and its values come out normalised.
//!
//! # Why not Arrow IPC
//! A guest would need a flatbuffers reader and schemas would cross in every call; of the two, only the buffers are
//! of use. Fifty columns of one row cost 1 µs this way and ten times that as Arrow IPC or as lists of WIT values.

mod read;
#[cfg(test)]
mod tests;
mod write;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, make_array};
use arrow::datatypes::{DataType, TimeUnit};

use crate::catalog::{DType, Field, Scalar};

pub use read::{BadFrame, read};
pub use write::{Refused, write};

/// The version that a plugin's `describe` must name.
pub const VERSION: u32 = 1;

const MAGIC: u32 = u32::from_le_bytes(*b"LSF1");
pub(in crate::transform) const HEADER_BYTES: usize = 16;
pub(in crate::transform) const DESCRIPTOR_BYTES: usize = 32;
const HAS_VALIDITY: u8 = 1;
const ALIGNMENT: usize = 8;

/// One column of a frame: its field, and how its values lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub field: Field,
    layout: Layout,
    tag: u8,
    data_type: DataType,
}

/// How the values of a column lie in its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Bits,
    Items(Item),
    /// Offsets and bytes.
    Text,
    /// So many `float32` in each row.
    FixedList(usize),
    /// Offsets and bits.
    BitList,
    /// Offsets and items.
    ItemList(Item),
}

/// A value of fixed width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Bytes4,
    Bytes8,
    Float4,
    Float8,
}

/// Where the buffers of one column are; a buffer of length 0 is at 0.
#[derive(Clone, Copy, Debug, Default)]
struct Descriptor {
    tag: u8,
    flags: u8,
    null_count: u32,
    validity: Place,
    values: Place,
    offsets: Place,
}

/// Start and length, in one word as the frame has them: two halves that are stored apart and loaded together make the
/// processor wait, which for fifty columns of one row was a tenth of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place(u64);

impl Column {
    /// `None` if frame/1 cannot carry the type: lists of strings, bytes and dates.
    pub fn new(field: Field) -> Option<Self> {
        let (tag, layout) = match field.dtype {
            DType::One(scalar) => match scalar {
                Scalar::Bool => (0, Layout::Bits),
                Scalar::Int32 => (1, Layout::Items(Item::Bytes4)),
                Scalar::Int64 => (2, Layout::Items(Item::Bytes8)),
                Scalar::Float32 => (3, Layout::Items(Item::Float4)),
                Scalar::Float64 => (4, Layout::Items(Item::Float8)),
                Scalar::String => (5, Layout::Text),
                Scalar::Bytes => (6, Layout::Text),
                Scalar::Timestamp => (7, Layout::Items(Item::Bytes8)),
                Scalar::Date => (8, Layout::Items(Item::Bytes4)),
            },
            DType::Embedding(width) => (9, Layout::FixedList(width as usize)),
            DType::List(item) => match item {
                Scalar::Bool => (10, Layout::BitList),
                Scalar::Int32 => (11, Layout::ItemList(Item::Bytes4)),
                Scalar::Int64 => (12, Layout::ItemList(Item::Bytes8)),
                Scalar::Float32 => (13, Layout::ItemList(Item::Float4)),
                Scalar::Float64 => (14, Layout::ItemList(Item::Float8)),
                Scalar::Timestamp => (15, Layout::ItemList(Item::Bytes8)),
                Scalar::String | Scalar::Bytes | Scalar::Date => return None,
            },
        };
        Some(Self { data_type: field.dtype.arrow(), field, layout, tag })
    }

    /// Whether an array of this type can be written as this column.
    pub fn fits(&self, data_type: &DataType) -> bool {
        match (self.field.dtype, data_type) {
            (DType::One(Scalar::Timestamp), other) => is_timestamp(other),
            (DType::List(Scalar::Timestamp), DataType::List(item)) => is_timestamp(item.data_type()),
            (DType::List(wanted), DataType::List(item)) => *item.data_type() == wanted.arrow(),
            (DType::Embedding(width), DataType::FixedSizeList(item, is)) => {
                *item.data_type() == DataType::Float32 && u32::try_from(*is) == Ok(width)
            }
            _ => self.data_type == *data_type,
        }
    }

    /// Bytes of one row, if it is the same for every row and does not depend on the values.
    pub fn row_bytes_min(&self) -> usize {
        match self.layout {
            Layout::Bits => 0,
            Layout::Items(item) => item.width(),
            Layout::FixedList(width) => width * Item::Float4.width(),
            Layout::Text | Layout::BitList | Layout::ItemList(_) => 4,
        }
    }
}

/// The tag's type, for messages.
fn tag_name(tag: u8) -> &'static str {
    const NAMES: [&str; 16] = [
        "boolean",
        "int32",
        "int64",
        "float32",
        "float64",
        "utf8",
        "binary",
        "timestamp-us",
        "date32",
        "fixed-list-float32",
        "list-boolean",
        "list-int32",
        "list-int64",
        "list-float32",
        "list-float64",
        "list-timestamp-us",
    ];
    NAMES.get(usize::from(tag)).copied().unwrap_or("a type that does not exist")
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, Some(_)))
}

impl Item {
    fn width(self) -> usize {
        match self {
            Self::Bytes4 | Self::Float4 => 4,
            Self::Bytes8 | Self::Float8 => 8,
        }
    }

    /// Gives every NaN among `values` its one canonical form.
    fn normalise(self, values: &mut [u8]) {
        match self {
            Self::Bytes4 | Self::Bytes8 => {}
            Self::Float4 => {
                canonical(values, |place| f32::from_le_bytes(place).is_nan(), 0x7fc0_0000_u32.to_le_bytes())
            }
            Self::Float8 => {
                canonical(values, |place| f64::from_le_bytes(place).is_nan(), 0x7ff8_0000_0000_0000_u64.to_le_bytes());
            }
        }
    }
}

/// Puts `nan` in place of every NaN. Most columns have none; to look without writing takes a fraction of the time.
fn canonical<const BYTES: usize>(values: &mut [u8], is_nan: impl Fn([u8; BYTES]) -> bool, nan: [u8; BYTES]) {
    let places = values.as_chunks_mut::<BYTES>().0;
    if places.iter().fold(false, |any, place| any | is_nan(*place)) {
        places.iter_mut().filter(|place| is_nan(**place)).for_each(|place| *place = nan);
    }
}

impl Place {
    fn new(start: u32, length: u32) -> Self {
        Self(u64::from(length) << 32 | u64::from(start))
    }

    fn start(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn length(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start()..self.start() + self.length()
    }
}

impl Descriptor {
    fn to_bytes(self) -> [u8; DESCRIPTOR_BYTES] {
        let head = u64::from(self.tag) | u64::from(self.flags) << 8 | u64::from(self.null_count) << 32;
        let mut bytes = [0; DESCRIPTOR_BYTES];
        let words = [head, self.validity.0, self.values.0, self.offsets.0];
        for (at, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *at = word.to_le_bytes();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; DESCRIPTOR_BYTES]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let place = |at: usize| Place::new(word(at), word(at + 4));
        Self {
            tag: bytes[0],
            flags: bytes[1],
            null_count: word(4),
            validity: place(8),
            values: place(16),
            offsets: place(24),
        }
    }
}

/// Whether a null row of a column with offsets has items, which Arrow allows and a canonical frame does not.
fn hides_values(array: &ArrayRef) -> bool {
    let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else { return false };
    let offsets: &[i32] = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value_offsets(),
        DataType::Binary => array.as_binary::<i32>().value_offsets(),
        DataType::List(_) => array.as_list::<i32>().value_offsets(),
        _ => return false,
    };
    (0..array.len()).any(|row| nulls.is_null(row) && offsets[row] != offsets[row + 1])
}

/// The same column with nothing in its null rows.
fn without_hidden_values(array: &ArrayRef) -> ArrayRef {
    let data = array.to_data();
    let mut shown = MutableArrayData::new(vec![&data], true, array.len());
    for row in 0..array.len() {
        let copied = if array.is_null(row) { shown.try_extend_nulls(1) } else { shown.try_extend(0, row, row + 1) };
        copied.expect("a column does not grow when something is taken out of it");
    }
    make_array(shown.freeze())
}
