//! frame/1, the bytes in which rows cross: constants, the descriptor of a column, and sizes. The whole format is on one
//! page, wit/vectors/README.md; `rows.rs` reads it and `outputs.rs` writes it.

use crate::{Failure, Type};

pub const MAGIC: u32 = u32::from_le_bytes(*b"LSF1");
pub const HEADER_BYTES: usize = 16;
pub const DESCRIPTOR_BYTES: usize = 32;
const HAS_VALIDITY: u8 = 1;

/// Where the buffers of one column are. A buffer of length 0 is at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    pub tag: u8,
    pub has_validity: bool,
    pub null_count: u32,
    pub validity: (u32, u32),
    pub values: (u32, u32),
    pub offsets: (u32, u32),
}

impl Type {
    /// The position of the type in the WIT enum `dtype`.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Bool => 0,
            Self::Int32 => 1,
            Self::Int64 => 2,
            Self::Float32 => 3,
            Self::Float64 => 4,
            Self::String => 5,
            Self::Bytes => 6,
            Self::Timestamp => 7,
            Self::Date => 8,
            Self::Embedding(_) => 9,
            Self::BoolList => 10,
            Self::Int32List => 11,
            Self::Int64List => 12,
            Self::Float32List => 13,
            Self::Float64List => 14,
            Self::TimestampList => 15,
        }
    }
}

impl Descriptor {
    #[inline]
    pub fn to_bytes(self) -> [u8; DESCRIPTOR_BYTES] {
        let pair = |first: u32, second: u32| u64::from(second) << 32 | u64::from(first);
        let flags = if self.has_validity { u32::from(HAS_VALIDITY) } else { 0 };
        let head = pair(u32::from(self.tag) | flags << 8, self.null_count);
        let buffers = [self.validity, self.values, self.offsets].map(|(start, length)| pair(start, length));
        let mut bytes = [0; DESCRIPTOR_BYTES];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip([head, buffers[0], buffers[1], buffers[2]]) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    #[inline]
    pub fn of(frame: &[u8], column: usize) -> Result<Self, Failure> {
        let start = HEADER_BYTES + column * DESCRIPTOR_BYTES;
        let bytes = frame.get(start..start + DESCRIPTOR_BYTES).ok_or_else(|| bad("it ends within its descriptors"))?;
        let word =
            |place: usize| u32::from_le_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]]);
        Ok(Self {
            tag: bytes[0],
            has_validity: bytes[1] & HAS_VALIDITY != 0,
            null_count: word(4),
            validity: (word(8), word(12)),
            values: (word(16), word(20)),
            offsets: (word(24), word(28)),
        })
    }
}

/// The number of rows of a frame with `columns` columns.
pub fn rows(frame: &[u8], columns: usize) -> Result<usize, Failure> {
    let word = |place: usize| {
        let bytes = frame.get(place..place + 4).ok_or_else(|| bad("it ends within its header"))?;
        Ok::<_, Failure>(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if word(0)? != MAGIC {
        return Err(bad("it does not begin with LSF1"));
    }
    if word(8)? as usize != columns {
        return Err(bad("it has another number of columns than was agreed on"));
    }
    Ok(word(4)? as usize)
}

/// The bytes of one buffer of a frame, which must be exactly `wanted` long.
#[inline]
pub fn buffer(frame: &[u8], (start, length): (u32, u32), wanted: usize) -> Result<&[u8], Failure> {
    if length as usize != wanted {
        return Err(bad("a buffer has another length than its rows need"));
    }
    let end = (start as usize).checked_add(wanted).ok_or_else(|| bad("a buffer ends beyond it"))?;
    frame.get(start as usize..end).ok_or_else(|| bad("a buffer ends beyond it"))
}

#[cold]
pub fn bad(reason: &str) -> Failure {
    Failure::BadFrame(reason.to_owned())
}
