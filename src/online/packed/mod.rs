//! The packed row: everything a store keeps of one entity in one view, as one run of bytes.
//!
//! Written by [`RowEncoder`] from columns, read by [`RowsDecoder`] back into columns, with no allocation per value
//! either way. Knows nothing of keys, of who is newer, or of where the bytes are kept.
//!
//! # The bytes
//! All numbers are little-endian. `n` is the number of features in the row's own schema.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | format version, 1 |
//! | 1 | 1 | flags; bit 0: a transform computed the row. The other bits are zero |
//! | 2 | 8 | schema id: which features the row has, see [`RowSchema`] |
//! | 10 | 8 | first 8 bytes of the transform's digest; zero without a transform |
//! | 18 | 8 | event time, i64 µs since 1970 UTC |
//! | 26 | 8 | created time, the same; `i64::MIN` where there is none |
//! | 34 | ⌈n/8⌉ | bit i (lowest bit first) is set where feature i has a value; spare bits are zero |
//! | .. | | one slot per feature, in order and without padding |
//! | .. | | the heap |
//!
//! A slot holds the value itself (`bool` 1 byte, 0 or 1; `int32`, `float32`, `date` 4; `int64`, `float64`,
//! `timestamp` 8), or, for every other type, a u32: the position in the heap at which the value ends. It starts where
//! the value before it in the heap ends, the first one at 0. A null has zeros in its slot, or an empty place in the heap.
//! In the heap, `string` and `bytes` are themselves; an embedding and a list of fixed-width items are their items one
//! after another; a list of strings or bytes is a u32 count, so many u32 ends, then the items' bytes. The row ends where
//! the heap ends.
//!
//! # Why slots at fixed places
//! Where a feature stands follows from the schema alone, so a reader that wants 3 of 200 features touches 3 of 200.
//!
//! # Why the schema is not in the row
//! Names and types are longer than most rows. A store keeps each schema once, under its id, before the first row of it.

mod columns;
mod decode;
mod encode;
mod schema;

#[cfg(test)]
mod tests;

pub(crate) use decode::RowsDecoder;
pub(crate) use encode::RowEncoder;
pub(crate) use schema::RowSchema;

#[cfg(target_endian = "big")]
compile_error!(
    "values are copied between Arrow buffers and stored rows as they are, which needs a little-endian machine"
);

const FORMAT: u8 = 1;
const FLAG_TRANSFORM: u8 = 1;
const HEADER_BYTES: usize = 34;
/// Stands for "no created time"; sorts before every time, as it should.
const NO_CREATED_TIME: i64 = i64::MIN;

/// When a row became true, and when it was written. The later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub event_time: i64,
    pub created_time: i64,
}

/// The part of a row that does not depend on its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub schema_id: u64,
    /// The transform that computed the row.
    pub digest_prefix: Option<[u8; 8]>,
    pub moment: Moment,
}

/// What is wrong with the bytes of a row, in a sentence's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub String);

impl Moment {
    pub fn new(event_time: i64, created_time: Option<i64>) -> Self {
        Self { event_time, created_time: created_time.unwrap_or(NO_CREATED_TIME) }
    }
}

impl Header {
    pub fn read(row: &[u8]) -> Result<Self, Damage> {
        let format = row.first().copied().unwrap_or_default();
        if !row.is_empty() && format != FORMAT {
            return Err(Damage(format!("it has row format {format}, this version of Lockstep knows {FORMAT}")));
        }
        let Some(header) = row.first_chunk::<HEADER_BYTES>() else {
            return Err(Damage(format!("it ends after {} bytes, within its header", row.len())));
        };
        let flags = header[1];
        if flags & !FLAG_TRANSFORM != 0 {
            return Err(Damage(format!("it has unknown flags {flags:#04x}")));
        }
        let eight = |at: usize| -> [u8; 8] { std::array::from_fn(|byte| header[at + byte]) };
        Ok(Self {
            schema_id: u64::from_le_bytes(eight(2)),
            digest_prefix: (flags & FLAG_TRANSFORM != 0).then(|| eight(10)),
            moment: Moment { event_time: i64::from_le_bytes(eight(18)), created_time: i64::from_le_bytes(eight(26)) },
        })
    }

    fn write(&self, row: &mut Vec<u8>) {
        row.push(FORMAT);
        row.push(if self.digest_prefix.is_some() { FLAG_TRANSFORM } else { 0 });
        row.extend_from_slice(&self.schema_id.to_le_bytes());
        row.extend_from_slice(&self.digest_prefix.unwrap_or_default());
        row.extend_from_slice(&self.moment.event_time.to_le_bytes());
        row.extend_from_slice(&self.moment.created_time.to_le_bytes());
    }
}

/// The u32 at `at`, which the caller has checked to be inside.
fn read_u32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte])) as usize
}
