//! Whatever a plugin answers with is refused, or read into arrays that hold what Arrow promises and that are written
//! again in exactly one form.
//!
//! The columns that are agreed on are those that the bytes themselves claim, so that the fuzzer gets past the first check
//! and every file of wit/vectors is a seed as it is.
#![no_main]
#![allow(dead_code, unused_imports)]

use arrow::buffer::BooleanBuffer;
use libfuzzer_sys::fuzz_target;

use catalog::{DType, Field, Scalar};
use transform::frame::{Column, read, write};

#[path = "../../src/catalog/dtype.rs"]
mod dtype;
mod limits;
mod transform;

/// What the frame module needs of the catalog.
mod catalog {
    pub use crate::dtype::{DType, Scalar};

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub struct Field {
        pub name: String,
        pub dtype: DType,
        pub nullable: bool,
    }
}

const COLUMNS_MAX: usize = 20;
const EMBEDDING_WIDTH: u32 = 3;

/// The type of a tag, as wit/vectors has it.
fn dtype(tag: u8) -> Option<DType> {
    use Scalar::{Bool, Bytes, Date, Float32, Float64, Int32, Int64, String, Timestamp};
    const SCALARS: [Scalar; 9] = [Bool, Int32, Int64, Float32, Float64, String, Bytes, Timestamp, Date];
    const ITEMS: [Scalar; 6] = [Bool, Int32, Int64, Float32, Float64, Timestamp];
    match usize::from(tag) {
        tag @ 0..9 => Some(DType::One(SCALARS[tag])),
        9 => Some(DType::Embedding(EMBEDDING_WIDTH)),
        tag @ 10..16 => Some(DType::List(ITEMS[tag - 10])),
        _ => None,
    }
}

/// The columns and the rows that the bytes claim to have.
fn claimed(bytes: &[u8], nullable: bool) -> Option<(Vec<Column>, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (rows, columns) = (word(4)?, word(8)?);
    if rows > limits::FRAME_ROWS_MAX || columns > COLUMNS_MAX {
        return None;
    }
    let column = |position: usize| {
        let dtype = dtype(*bytes.get(16 + position * 32)?)?;
        Column::new(Field { name: format!("column_{position}"), dtype, nullable })
    };
    Some(((0..columns).map(column).collect::<Option<_>>()?, rows))
}

fn check(bytes: &[u8], nullable: bool, keep: Option<fn(usize) -> bool>) {
    let Some((columns, rows)) = claimed(bytes, nullable) else { return };
    let keep: Option<BooleanBuffer> = keep.map(|keep| (0..rows).map(keep).collect());
    let Ok(arrays) = read(&columns, bytes.to_vec(), rows, keep.as_ref()) else { return };
    for array in &arrays {
        array.to_data().validate_full().expect("what was read holds what Arrow promises");
    }
    if keep.is_some() && !nullable {
        return;
    }
    let written = |arrays: &[_]| {
        let mut frame = Vec::new();
        write(&columns, arrays, 0..rows, limits::FRAME_BYTES_MAX, &mut frame).expect("what was read can be written");
        frame
    };
    let canonical = written(&arrays);
    let again = read(&columns, canonical.clone(), rows, None).expect("what was written can be read");
    assert_eq!(written(&again), canonical, "a frame has one form");
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes, true, None);
    check(bytes, false, None);
    check(bytes, true, Some(|row| row % 3 != 1));
});
