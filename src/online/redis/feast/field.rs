//! Under which fields of a hash Feast keeps a view: `_ts:<view>`, and four bytes of hash for each feature.
//!
//! Feast calls the version `company_stats@v2` of a view `company_stats_v2` there, and its first by the name alone.

use std::borrow::Cow;

use crate::catalog::split_version;

/// The field that holds the event time of a view's row.
pub(super) fn timestamp_field(view: &str) -> String {
    format!("_ts:{}", name_in_feast(view))
}

fn name_in_feast(view: &str) -> Cow<'_, str> {
    match split_version(view) {
        (_, 1) => Cow::Borrowed(view),
        (name, version) => Cow::Owned(format!("{name}_v{version}")),
    }
}

/// The field of a feature: MurmurHash3 (x86, 32 bit, seed 0) of `<view>:<feature>`, least significant byte first.
pub(super) fn feature_field(view: &str, feature: &str) -> [u8; 4] {
    murmur3(format!("{}:{feature}", name_in_feast(view)).as_bytes()).to_le_bytes()
}

fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = blocks.iter().fold(0_u32, |hash, block| {
        (hash ^ mix(u32::from_le_bytes(*block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    if !tail.is_empty() {
        hash ^= mix(tail.iter().rev().fold(0, |block, byte| block << 8 | u32::from(*byte)));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_a_view_has_the_fields_of_feasts_version() {
        assert_eq!(timestamp_field("trips"), "_ts:trips");
        assert_eq!(timestamp_field("trips@v2"), "_ts:trips_v2");
        assert_eq!(feature_field("trips@v2", "fare"), feature_field("trips_v2", "fare"));
        assert_ne!(feature_field("trips@v2", "fare"), feature_field("trips", "fare"));
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        input: String,
        u32: u32,
        field_hex: String,
    }

    #[test]
    fn hashes_are_those_that_feast_computes() {
        let goldens = include_str!("../../../../tests/golden/feast/field_hash.json");
        let goldens: Vec<Golden> = serde_json::from_str(goldens).unwrap();
        assert_eq!(goldens.len(), 13);
        for golden in goldens {
            assert_eq!(murmur3(golden.input.as_bytes()), golden.u32, "{}", golden.input);
            if let Some((view, feature)) = golden.input.split_once(':') {
                assert_eq!(hex::encode(feature_field(view, feature)), golden.field_hex);
            }
        }
    }
}
