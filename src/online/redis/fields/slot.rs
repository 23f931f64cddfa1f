//! Which of a cluster's slots a key is in, so that the rows of one slot can be written by one call.

const SLOTS: u16 = 16_384;

/// CRC16 (XMODEM) of the key, or of what stands between its first `{` and the next `}` if that is not empty.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inner = &key[open + 1..];
        inner.iter().position(|byte| *byte == b'}').filter(|length| *length > 0).map(|length| &inner[..length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_that_redis_computes() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the specification's example");
        assert_eq!(slot(b"foo"), 12_182, "what CLUSTER KEYSLOT answers");
        assert_eq!(slot(b"a{foo}b{bar}"), 12_182);
        assert_eq!(slot(b"{}foo"), crc16(b"{}foo") % SLOTS, "an empty tag is none");
        assert_eq!(slot(b""), 0);
    }
}
