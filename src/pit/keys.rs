//! Entity keys as small numbers: the labels' keys are numbered once, then every feature row asks for its number.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::batch::KeyBatch;

/// The numbers `0..count` of the distinct label keys.
#[derive(Debug)]
pub(super) enum KeyNumbers {
    /// Every key is 8 bytes long: one `int64` or `timestamp` join key, or two of 4 bytes.
    Eight(HashMap<[u8; 8], u32, FoldState>),
    Any(HashMap<Box<[u8]>, u32, FoldState>),
}

impl KeyNumbers {
    /// Numbers the keys in order of appearance; a null key has no number.
    pub(super) fn of(keys: &KeyBatch) -> (Self, Vec<Option<u32>>) {
        let all_eight = (0..keys.rows()).all(|row| keys.is_null(row) || keys.get(row).len() == 8);
        let mut numbers = if all_eight { Self::Eight(HashMap::default()) } else { Self::Any(HashMap::default()) };
        let number = |row| (!keys.is_null(row)).then(|| numbers.add(keys.get(row)));
        let by_row = (0..keys.rows()).map(number).collect();
        (numbers, by_row)
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Eight(numbers) => numbers.len(),
            Self::Any(numbers) => numbers.len(),
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        match self {
            Self::Eight(numbers) => numbers.get(<&[u8; 8]>::try_from(key).ok()?).copied(),
            Self::Any(numbers) => numbers.get(key).copied(),
        }
    }

    fn add(&mut self, key: &[u8]) -> u32 {
        if let Some(number) = self.find(key) {
            return number;
        }
        let number = u32::try_from(self.count()).expect("there are fewer keys than labels, which are numbered by u32");
        match self {
            Self::Eight(numbers) => numbers.insert(key.try_into().expect("all keys are 8 bytes long"), number),
            Self::Any(numbers) => numbers.insert(key.into(), number),
        };
        number
    }
}

/// A hash that is one multiplication for each 8 bytes; the standard one takes longer than everything else that happens
/// to a row. Seeded at random, so that nobody can send labels whose keys all collide.
#[derive(Debug, Clone)]
pub(super) struct FoldState {
    seed: u64,
}

impl Default for FoldState {
    fn default() -> Self {
        Self { seed: RandomState::new().build_hasher().finish() }
    }
}

impl BuildHasher for FoldState {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher { state: self.seed }
    }
}

pub(super) struct FoldHasher {
    state: u64,
}

impl FoldHasher {
    /// Both halves of the product, so that every bit of the word reaches every bit of the state.
    fn fold(&mut self, word: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.state ^ word).wrapping_mul(ODD);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for FoldHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.fold(u64::from_le_bytes(last));
        }
    }

    /// The length that goes before a key of any length.
    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
