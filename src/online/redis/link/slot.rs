//! In which of the 16,384 slots of a cluster a key lies.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use redis::{Arg, Cmd};

pub(super) const SLOTS: usize = 16_384;

/// CRC16-XMODEM, which the cluster's slots are made of.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// A key with a part in braces lies where that part alone would.
pub fn of_key(key: &[u8]) -> u16 {
    let tagged = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[start..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[start..start + length])
    };
    crc16(tagged().unwrap_or(key)) % SLOTS as u16
}

/// The slot of a command's first key; none for a command without keys.
pub(super) fn of_command(command: &Cmd) -> Option<u16> {
    let text = |at: usize| match command.args_iter().nth(at) {
        Some(Arg::Simple(text)) => Some(text),
        _ => None,
    };
    let at = if text(0).is_some_and(|name| name.starts_with(b"EVAL")) { 3 } else { 1 };
    text(at).map(of_key)
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(of_key(b"foo"), 12_182);
        for same in ["{user1000}.following", "{user1000}.followers", "user1000"] {
            assert_eq!(of_key(same.as_bytes()), of_key(b"user1000"));
        }
        assert_eq!(of_key(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384, "an empty tag is none");
        assert_eq!(of_key(b"foo{{bar}}zap"), of_key(b"{bar"));
    }

    #[test]
    fn the_key_of_a_script_stands_behind_its_name_and_their_count() {
        let mut script = redis::cmd("EVALSHA");
        script.arg("hash").arg(1).arg("foo").arg("argument");
        assert_eq!(of_command(&script), Some(12_182));
        assert_eq!(of_command(redis::cmd("GET").arg("foo")), Some(12_182));
        assert_eq!(of_command(&redis::cmd("PING")), None);
    }
}
