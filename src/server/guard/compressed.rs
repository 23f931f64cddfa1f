//! What a compressed buffer claims to be, and that it is not more than it claims.
//!
//! A buffer starts with its uncompressed length. The zstd decoder stops there; the LZ4 decoder reads to the end of the
//! frame, however long that is. So an LZ4 frame's blocks are counted first: no block gives more than the block size in
//! the frame's head (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>).

use arrow::ipc::CompressionType;

use super::{Error, at_most, damaged};
use crate::limits::ARROW_MESSAGE_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Lz4,
    Zstd,
}

impl Codec {
    pub(super) fn of(stated: CompressionType) -> Result<Self, Error> {
        match stated {
            CompressionType::LZ4_FRAME => Ok(Self::Lz4),
            CompressionType::ZSTD => Ok(Self::Zstd),
            other => Err(damaged(&format!("its compression is number {}, which nobody knows", other.0))),
        }
    }
}

/// The bytes that a buffer decompresses to, at most.
pub(super) fn claimed(buffer: &[u8], codec: Codec) -> Result<u64, Error> {
    /// What stands for "not compressed".
    const STORED: i64 = -1;
    let Some((prefix, frame)) = buffer.split_first_chunk::<8>() else {
        return Err(damaged("a compressed buffer is shorter than its length"));
    };
    match i64::from_le_bytes(*prefix) {
        STORED => Ok(frame.len() as u64),
        0 => Ok(0),
        length => {
            let length = u64::try_from(length).map_err(|_| damaged("a compressed buffer has a negative length"))?;
            at_most("bytes in one message", length, ARROW_MESSAGE_BYTES_MAX)?;
            if codec == Codec::Lz4 {
                check_lz4(frame, length)?;
            }
            Ok(length)
        }
    }
}

/// Checks that the blocks of a frame cannot give more than `length` bytes, the last block's rest aside.
fn check_lz4(frame: &[u8], length: u64) -> Result<(), Error> {
    let Some((block_bytes_max, blocks)) = lz4_blocks(frame) else {
        return Err(damaged("an LZ4 buffer does not end where it should"));
    };
    if blocks.saturating_sub(1) * block_bytes_max >= length {
        return Err(damaged(&format!("an LZ4 buffer holds more than the {length} bytes it claims")));
    }
    Ok(())
}

/// `(bytes of a block at most, blocks)` of the one frame at the start of `frame`.
fn lz4_blocks(frame: &[u8]) -> Option<(u64, u64)> {
    const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
    const STORED_BIT: u32 = 1 << 31;
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    let (&[flags, sizes], rest) = rest.split_first_chunk::<2>()?;
    if *magic != MAGIC || flags >> 6 != 1 {
        return None;
    }
    let has = |bit: u8| usize::from(flags >> bit & 1);
    let block_bytes_max = match sizes >> 4 & 7 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return None,
    };
    // The content's size, a dictionary's id and the head's checksum.
    let mut rest = rest.get(8 * has(3) + 4 * has(0) + 1..)?;
    let mut blocks = 0;
    loop {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            return Some((block_bytes_max, blocks));
        }
        let checksum = 4 * has(4);
        rest = after.get((size & !STORED_BIT) as usize + checksum..)?;
        blocks += 1;
    }
}
