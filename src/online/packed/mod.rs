//! The packed row: everything a store keeps of one entity in one view, as one run of bytes.
//!
//! Written by [`RowEncoder`] from columns, read by [`RowsDecoder`] back into columns, with no allocation per value
//! either way; [`Version`] says which of two rows stays, [`Tally`] what is in many. Knows nothing of keys or of where
//! the bytes are kept. `docs/packed-rows.md` says the same for those who read rows in other languages.
//!
//! # The bytes
//! All numbers are little-endian. `n` is the number of features in the row's own schema.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | format version, 1 |
//! | 1 | 1 | flags; bit 0: a transform computed the row, bit 1: it came from a stream, bit 2: it is a tombstone. The other bits are zero |
//! | 2 | 3 | schema id, first part: the digest of the join keys; rows with equal parts describe the same entities |
//! | 5 | 5 | schema id, second part: the digest of join keys and features, see [`RowSchema`] |
//! | 10 | 8 | first 8 bytes of the transform's digest; zero without a transform |
//! | 18 | 8 | event time, i64 µs since 1970 UTC |
//! | 26 | 8 | created time, the same; `i64::MIN` where there is none |
//! | 34 | ⌈n/8⌉ | bit i (lowest bit first) is set where feature i has a value; spare bits are zero |
//! | .. | | one slot per feature, in order and without padding |
//! | .. | | the heap |
//! | end − 12 | 4 | only if the row came from a stream: the partition, u32 |
//! | end − 8 | 8 | only if the row came from a stream: the offset, u64 |
//!
//! A tombstone has neither bits nor slots nor heap: after its header comes its place in the stream or nothing.
//!
//! A slot holds the value itself (`bool` 1 byte, 0 or 1; `int32`, `float32`, `date` 4; `int64`, `float64`,
//! `timestamp` 8), or, for every other type, a u32: the position in the heap at which the value ends. It starts where
//! the value before it in the heap ends, the first one at 0. A null has zeros in its slot, or an empty place in the heap.
//! In the heap, `string` and `bytes` are themselves; an embedding and a list of fixed-width items are their items one
//! after another; a list of strings or bytes is a u32 count, so many u32 ends, then the items' bytes. Nothing follows the
//! heap but the place in the stream.
//!
//! # Why slots at fixed places
//! Where a feature stands follows from the schema alone, so a reader that wants 3 of 200 features touches 3 of 200.
//!
//! # Why the schema is not in the row
//! Names and types are longer than most rows. A store keeps each schema once, under its id, before the first row of it.

mod columns;
mod decode;
mod encode;
mod newer;
mod schema;
mod tally;

#[cfg(test)]
mod tests;

pub(crate) use decode::RowsDecoder;
pub(crate) use encode::RowEncoder;
pub(crate) use newer::{NO_CREATED_TIME, Position, Version};
pub(crate) use schema::RowSchema;
pub(crate) use tally::Tally;

#[cfg(target_endian = "big")]
compile_error!(
    "values are copied between Arrow buffers and stored rows as they are, which needs a little-endian machine"
);

const FORMAT: u8 = 1;
const FLAG_TRANSFORM: u8 = 1;
const FLAG_ORIGIN: u8 = 1 << 1;
const FLAG_DELETED: u8 = 1 << 2;
const FLAGS: u8 = FLAG_TRANSFORM | FLAG_ORIGIN | FLAG_DELETED;
const HEADER_BYTES: usize = 34;
const ORIGIN_BYTES: usize = 12;

/// The part of a row that does not depend on its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub schema_id: u64,
    /// The transform that computed the row.
    pub digest_prefix: Option<[u8; 8]>,
    pub version: Version,
    /// Nothing is true of the entity any more.
    pub deleted: bool,
}

/// What is wrong with the bytes of a row, in a sentence's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub String);

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
        if flags & !FLAGS != 0 {
            return Err(Damage(format!("it has unknown flags {flags:#04x}")));
        }
        let position = match row[HEADER_BYTES..].last_chunk::<ORIGIN_BYTES>() {
            _ if flags & FLAG_ORIGIN == 0 => None,
            Some(origin) => Some(Position::read(origin)),
            None => return Err(Damage(format!("it ends after {} bytes, within its place in a stream", row.len()))),
        };
        let eight = |at: usize| -> [u8; 8] { std::array::from_fn(|byte| header[at + byte]) };
        let header = Self {
            schema_id: u64::from_le_bytes(eight(2)),
            digest_prefix: (flags & FLAG_TRANSFORM != 0).then(|| eight(10)),
            version: Version {
                event_time: i64::from_le_bytes(eight(18)),
                created_time: i64::from_le_bytes(eight(26)),
                position,
            },
            deleted: flags & FLAG_DELETED != 0,
        };
        match header.without_origin(row).len() {
            bytes if header.deleted && bytes != HEADER_BYTES => {
                Err(Damage(format!("it is a tombstone and has {} bytes of values", bytes - HEADER_BYTES)))
            }
            _ => Ok(header),
        }
    }

    /// The row that this header was read from, up to its place in a stream.
    fn without_origin<'r>(&self, row: &'r [u8]) -> &'r [u8] {
        let origin = if self.version.position.is_some() { ORIGIN_BYTES } else { 0 };
        &row[..row.len() - origin]
    }

    fn write(&self, row: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        row.push(FORMAT);
        row.push(
            flag(self.digest_prefix.is_some(), FLAG_TRANSFORM)
                | flag(self.version.position.is_some(), FLAG_ORIGIN)
                | flag(self.deleted, FLAG_DELETED),
        );
        row.extend_from_slice(&self.schema_id.to_le_bytes());
        row.extend_from_slice(&self.digest_prefix.unwrap_or_default());
        row.extend_from_slice(&self.version.event_time.to_le_bytes());
        row.extend_from_slice(&self.version.created_time.to_le_bytes());
    }

    /// What stands at the very end of the row.
    fn write_origin(&self, row: &mut Vec<u8>) {
        if let Some(position) = self.version.position {
            row.extend_from_slice(&position.partition.to_le_bytes());
            row.extend_from_slice(&position.offset.to_le_bytes());
        }
    }
}

impl Position {
    fn read(origin: &[u8; ORIGIN_BYTES]) -> Self {
        Self {
            partition: u32::from_le_bytes(std::array::from_fn(|byte| origin[byte])),
            offset: u64::from_le_bytes(std::array::from_fn(|byte| origin[4 + byte])),
        }
    }
}

/// The u32 at `at`, which the caller has checked to be inside.
fn read_u32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte])) as usize
}
