//! The keys of the packed layout.
//!
//! | key | holds |
//! |---|---|
//! | `<prefix>f:<view>:{<bucket>}:<entity key>` | one packed row |
//! | `<prefix>wm:{<bucket>}` | hash: `<view>/<stream>/<partition>` → how far the bucket has come in it, in decimal |
//! | `<prefix>lockstep:schemas` | hash: schema id in hex → the schema's text |
//!
//! # Why buckets
//! A script may touch keys of one slot only. An entity's bucket follows from its key alone, so its rows in all views
//! lie in one slot, and so do the watermarks of that bucket: rows and progress are written by one script call, are
//! replicated together and move to another node together. The braces make the bucket the part that a cluster hashes.
//!
//! # Why the view stands in front
//! Then all rows of a view have one prefix, which is what Redis can tell the changes of.

use super::link::crc16;
use crate::limits::REDIS_BUCKETS;

/// Builds the keys of one view's rows, one after another in one buffer.
#[derive(Debug)]
pub(super) struct RowKeys {
    key: Vec<u8>,
    /// What all keys of the view begin with.
    head: usize,
}

impl RowKeys {
    pub fn of(prefix: &str, view: &str) -> Self {
        let key = [prefix, "f:", view, ":{"].concat().into_bytes();
        Self { head: key.len(), key }
    }

    /// The key of an entity's row, until the next one is asked for.
    pub fn key(&mut self, entity: &[u8]) -> &[u8] {
        self.key_in(bucket_of(entity), entity)
    }

    /// As `key`, of an entity whose bucket is known.
    pub fn key_in(&mut self, bucket: usize, entity: &[u8]) -> &[u8] {
        self.key.truncate(self.head);
        self.key.extend_from_slice(itoa::Buffer::new().format(bucket).as_bytes());
        self.key.extend_from_slice(b"}:");
        self.key.extend_from_slice(entity);
        &self.key
    }

    /// Bytes of a key without the entity's own, at most.
    pub fn bytes_max(prefix: &str, view: &str) -> usize {
        prefix.len() + "f:".len() + view.len() + ":{255}:".len()
    }
}

pub(super) fn bucket_of(entity: &[u8]) -> usize {
    usize::from(crc16(entity)) % REDIS_BUCKETS
}

/// View and entity key of the row under a key.
pub(super) fn row_of<'k>(prefix: &str, key: &'k [u8]) -> Option<(&'k str, &'k [u8])> {
    let key = key.strip_prefix(prefix.as_bytes())?.strip_prefix(b"f:")?;
    let end = key.iter().position(|byte| *byte == b':')?;
    let (view, key) = (std::str::from_utf8(&key[..end]).ok()?, key[end..].strip_prefix(b":{")?);
    let bucket = key.iter().position(|byte| !byte.is_ascii_digit())?;
    Some((view, key[bucket..].strip_prefix(b"}:")?))
}

/// The hash of the watermarks of a bucket.
pub(super) fn watermarks(prefix: &str, bucket: usize) -> Vec<u8> {
    format!("{prefix}wm:{{{bucket}}}").into_bytes()
}

/// The field of a partition among the watermarks.
pub(super) fn watermark_field(view: &str, stream: &str, partition: u32) -> Vec<u8> {
    format!("{view}/{stream}/{partition}").into_bytes()
}

/// The hash of the schemas.
pub(super) fn schemas(prefix: &str) -> Vec<u8> {
    format!("{prefix}lockstep:schemas").into_bytes()
}

/// A pattern that matches the row keys of all views, for SCAN.
pub(super) fn rows_pattern(prefix: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 3);
    for byte in prefix.bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.extend_from_slice(b"f:*");
    pattern
}

/// The view whose row has this key.
pub(super) fn view_of<'k>(prefix: &str, key: &'k [u8]) -> Option<&'k [u8]> {
    let rest = key.strip_prefix(prefix.as_bytes())?.strip_prefix(b"f:")?;
    let end = rest.windows(2).position(|two| two == b":{")?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_view_bucket_and_entity() {
        let mut keys = RowKeys::of("shop:", "prices");
        assert_eq!(bucket_of(b"123456789"), 0x31c3 % 256);
        assert_eq!(keys.key(b"123456789"), b"shop:f:prices:{195}:123456789");
        assert_eq!(keys.key(b""), b"shop:f:prices:{0}:");
        assert_eq!(RowKeys::bytes_max("shop:", "prices"), keys.key(b"123456789").len() - 9);
        assert_eq!(view_of("shop:", b"shop:f:prices:{195}:12:{3"), Some(&b"prices"[..]));
        for other in [&b"shop:wm:{1}"[..], b"f:prices:{1}:x", b"shop:f:prices"] {
            assert_eq!(view_of("shop:", other), None);
        }
        assert_eq!(watermarks("shop:", 7), b"shop:wm:{7}");
        assert_eq!(watermark_field("prices", "clicks", 3), b"prices/clicks/3");
        assert_eq!(rows_pattern("a*b:"), b"a\\*b:f:*");
    }
}
