//! Values of each type: ordinary ones, and those at which code that was only tried with ordinary ones breaks.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array,
    Int32Array, Int64Array, ListArray, StringArray, UInt32Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, FieldRef};

use crate::batch::timestamps;
use crate::catalog::{DType, Scalar};

/// How many ordinary values there are of each type.
pub const ORDINARY: u32 = 32;
/// Bytes of a long text, and items of a long list.
const LONG_BYTES: usize = 64 << 10;
const LONG_ITEMS: u32 = 1_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 2023-11-14, in days and microseconds since 1970.
const ORDINARY_DAY: i32 = 19_675;

/// Values of one type.
pub struct Values {
    /// First the ordinary ones, then the edges.
    pub all: ArrayRef,
    /// The last one is so long that few rows can have it.
    pub has_long: bool,
}

/// Days that calendars get wrong: leap days, a century without one, the first and the last of a year, before 1970.
const DAYS: [i32; 8] = [0, -1, 19_782, 11_016, -25_509, 20_088, 20_089, -719_528];

pub fn values(dtype: DType) -> Values {
    match dtype {
        DType::One(scalar) => {
            let has_long = matches!(scalar, Scalar::String | Scalar::Bytes);
            Values { all: scalars(scalar), has_long }
        }
        DType::List(item) => Values { all: lists(dtype, &scalars(item), item), has_long: true },
        DType::Embedding(width) => Values { all: embeddings(dtype, width), has_long: false },
    }
}

fn scalars(scalar: Scalar) -> ArrayRef {
    let ordinary = 0..ORDINARY as i32;
    match scalar {
        Scalar::Bool => Arc::new(BooleanArray::from_iter(ordinary.chain([0, 1]).map(|k| Some(k % 2 == 1)))),
        Scalar::Int32 => Arc::new(Int32Array::from_iter_values(ordinary.chain([-1, 1_000, i32::MIN, i32::MAX]))),
        Scalar::Int64 => {
            let edges = [-1, i64::from(i32::MAX) + 1, 1 << 53, (1 << 53) + 1, i64::MIN, i64::MAX];
            Arc::new(Int64Array::from_iter_values(ordinary.map(i64::from).chain(edges)))
        }
        Scalar::Float32 => Arc::new(Float32Array::from_iter_values(ordinary.map(|k| k as f32).chain([
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            -0.0,
            f32::from_bits(1),
            -f32::from_bits(0x007f_ffff),
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::MIN,
            0.1,
            -1.5,
        ]))),
        Scalar::Float64 => Arc::new(Float64Array::from_iter_values(ordinary.map(f64::from).chain([
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            f64::from_bits(1),
            -f64::from_bits(0x000f_ffff_ffff_ffff),
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::MIN,
            0.1,
            -1.5,
        ]))),
        Scalar::String => {
            let ordinary =
                ordinary.map(|k| format!("{} {k}", ["a", "Flash Cab", "credit card", "12-34"][k as usize % 4]));
            Arc::new(StringArray::from_iter_values(ordinary.chain(texts())))
        }
        Scalar::Bytes => {
            let all: Vec<u8> = (0..=u8::MAX).collect();
            let edges = [Vec::new(), vec![0], vec![0xff; 3], vec![0xc3, 0x28], all, vec![0xa5; LONG_BYTES]];
            Arc::new(BinaryArray::from_iter_values(ordinary.map(|k| vec![k as u8; k as usize % 5]).chain(edges)))
        }
        Scalar::Timestamp => {
            let ordinary = ordinary.map(|k| (i64::from(ORDINARY_DAY + k) * 86_400 + i64::from(k) * 3_601) * 1_000_000);
            let edges = DAYS.iter().map(|day| i64::from(*day) * MICROS_PER_DAY).chain([
                // The last microsecond of a leap day, and of the year 9999.
                19_783 * MICROS_PER_DAY - 1,
                2_932_897 * MICROS_PER_DAY - 1,
                i64::MIN,
                i64::MAX,
            ]);
            Arc::new(timestamps(ordinary.chain(edges).map(Some).collect()))
        }
        Scalar::Date => {
            let ordinary = ordinary.map(|k| ORDINARY_DAY + k);
            Arc::new(Date32Array::from_iter_values(ordinary.chain(DAYS).chain([2_932_896, i32::MIN, i32::MAX])))
        }
    }
}

/// Texts at which code that counts bytes, characters or columns goes wrong; the long one comes last.
fn texts() -> Vec<String> {
    let edges = [
        "",
        " ",
        "\0",
        "\t\r\n",
        "🚕",
        "👩\u{200d}🔧",
        "e\u{301}",
        "\u{e9}",
        "İstanbul ß ﬁ",
        "\u{202e}abc",
        "\u{feff}x",
        "\u{10ffff}\u{fffd}",
        "NaN",
        "null",
        "-0",
        "1e400",
        "\"; -- \\",
    ];
    let mut long = "ab 🚕é ".repeat(LONG_BYTES / 11);
    long.push_str(&"x".repeat(LONG_BYTES - long.len()));
    edges.iter().map(|text| (*text).to_owned()).chain([long]).collect()
}

fn lists(dtype: DType, items: &ArrayRef, item: Scalar) -> ArrayRef {
    let item_count = items.len() as u32 - u32::from(matches!(item, Scalar::String | Scalar::Bytes));
    let mut rows: Vec<Vec<u32>> =
        (0..ORDINARY).map(|k| (0..k % 5).map(|place| (k + place) % ORDINARY).collect()).collect();
    rows.push(Vec::new());
    rows.extend((ORDINARY..item_count).map(|edge| vec![edge]));
    rows.push((0..item_count).collect());
    rows.push((0..LONG_ITEMS).map(|place| place % item_count).collect());
    let DataType::List(field) = dtype.arrow() else { return new_empty_array(&dtype.arrow()) };
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    let list = selected(items, rows.into_iter().flatten())
        .and_then(|items| ListArray::try_new(FieldRef::clone(&field), offsets, items, None).ok());
    list.map_or_else(|| new_empty_array(&dtype.arrow()), |list| Arc::new(list) as ArrayRef)
}

fn embeddings(dtype: DType, width: u32) -> ArrayRef {
    let items = scalars(Scalar::Float32);
    let item_count = items.len() as u32;
    // Ordinary vectors are not all the same; then one of zeros, and one for each edge in the midst of ordinary values.
    let ordinary = (0..ORDINARY).flat_map(|k| (0..width).map(move |place| (k + place) % ORDINARY));
    let zeros = (0..width).map(|_| 0);
    let edges = (ORDINARY..item_count)
        .flat_map(|edge| (0..width).map(move |place| if place == width / 2 { edge } else { place % ORDINARY }));
    let rows = (ORDINARY + 1 + item_count - ORDINARY) as usize;
    let DataType::FixedSizeList(field, width) = dtype.arrow() else { return new_empty_array(&dtype.arrow()) };
    let list = selected(&items, ordinary.chain(zeros).chain(edges))
        .and_then(|items| FixedSizeListArray::try_new_with_length(field, width, items, None, rows).ok());
    list.map_or_else(|| new_empty_array(&dtype.arrow()), |list| Arc::new(list) as ArrayRef)
}

fn selected(items: &ArrayRef, places: impl Iterator<Item = u32>) -> Option<ArrayRef> {
    take(items, &UInt32Array::from_iter_values(places), None).ok()
}

/// Two columns of one type, one below the other.
pub fn below(first: &ArrayRef, second: &ArrayRef) -> ArrayRef {
    let both: [&dyn Array; 2] = [first, second];
    concat(&both).unwrap_or_else(|_| Arc::clone(first))
}
