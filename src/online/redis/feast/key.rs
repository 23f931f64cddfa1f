//! The key of an entity as Feast makes it: join-key names, join-key values, project.
//!
//! | version 3 | version 2 |
//! |---|---|
//! | u32 count of join keys | |
//! | for each name, in byte order: u32 2, u32 length, the name | u32 2, the name |
//! | for each value, in the same order: u32 type, u32 length, the value | the same |
//! | the project's name | the same |
//!
//! All numbers are little-endian. The names of a view's join keys are known, so a key of either version is taken apart
//! without guessing: it begins with exactly the bytes of the names, its values say how long they are, and what is left
//! must be exactly the project.

use super::super::fields::Keys;
use crate::batch::{KeyColumns, KeyValue, key_values};
use crate::catalog::{DType, Field, Scalar};
use crate::online::OnlineView;

/// The join key of a view without entities, and its value.
const NO_ENTITY: (&str, &[u8]) = ("__dummy_id", b"");
const TYPE_OF_NAMES: u32 = 2;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// `entity_key_serialization_version` of `feature_store.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyVersion {
    Two,
    Three,
}

/// How the keys of one view's entities are written.
#[derive(Clone, Debug)]
pub(super) struct KeyShape {
    join_keys: Vec<Field>,
    /// Positions in `join_keys`, by name.
    order: Vec<usize>,
    /// Everything before the values.
    names: Vec<u8>,
    project: Vec<u8>,
}

impl KeyShape {
    /// An error is the end of a sentence about the view.
    pub fn of(view: &OnlineView, project: &str, version: KeyVersion) -> Result<Self, String> {
        for field in &view.join_keys {
            if type_number(field.dtype).is_none() {
                let taken = "string, bytes, int32, int64 and timestamp";
                return Err(format!("join key {} is {}; Feast has keys of {taken} only", field.name, field.dtype));
            }
        }
        let mut order: Vec<usize> = (0..view.join_keys.len()).collect();
        order.sort_by_key(|&position| &view.join_keys[position].name);
        let mut sorted: Vec<&str> = order.iter().map(|&position| view.join_keys[position].name.as_str()).collect();
        if sorted.is_empty() {
            sorted.push(NO_ENTITY.0);
        }
        let mut names = Vec::new();
        if version == KeyVersion::Three {
            names.extend_from_slice(&length(sorted.len()));
        }
        for name in sorted {
            names.extend_from_slice(&TYPE_OF_NAMES.to_le_bytes());
            if version == KeyVersion::Three {
                names.extend_from_slice(&length(name.len()));
            }
            names.extend_from_slice(name.as_bytes());
        }
        Ok(Self { join_keys: view.join_keys.clone(), order, names, project: project.as_bytes().to_vec() })
    }

    fn read_into<'k>(&self, redis_key: &'k [u8], values: &mut [KeyValue<'k>]) -> Option<()> {
        let mut rest = redis_key.strip_prefix(self.names.as_slice())?;
        for &position in &self.order {
            let dtype = self.join_keys[position].dtype;
            let (number, bytes) = take_counted(&mut rest)?;
            if number != type_number(dtype)? {
                return None;
            }
            values[position] = match dtype {
                DType::One(Scalar::Int32) => KeyValue::Int32(i32::from_le_bytes(bytes.try_into().ok()?)),
                DType::One(Scalar::Int64) => KeyValue::Int64(i64::from_le_bytes(bytes.try_into().ok()?)),
                DType::TIMESTAMP => {
                    let seconds = i64::from_le_bytes(bytes.try_into().ok()?);
                    KeyValue::Int64(seconds.checked_mul(MICROS_PER_SECOND)?)
                }
                _ => KeyValue::Bytes(bytes),
            };
        }
        if self.order.is_empty() && take_counted(&mut rest)? != (TYPE_OF_NAMES, NO_ENTITY.1) {
            return None;
        }
        (rest == self.project).then_some(())
    }
}

impl Keys for KeyShape {
    /// None for a time within a second, which Feast cannot have in a key.
    fn write(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut values = Vec::with_capacity(self.join_keys.len());
        if !key_values(&self.join_keys, key, &mut values) {
            return None;
        }
        let mut written = Vec::with_capacity(self.names.len() + key.len() + 16 * values.len() + self.project.len());
        written.extend_from_slice(&self.names);
        for &position in &self.order {
            let dtype = self.join_keys[position].dtype;
            written.extend_from_slice(&type_number(dtype)?.to_le_bytes());
            match values[position] {
                KeyValue::Bytes(bytes) => push_counted(&mut written, bytes),
                KeyValue::Int32(number) => push_counted(&mut written, &number.to_le_bytes()),
                KeyValue::Int64(number) if dtype == DType::TIMESTAMP => {
                    if number % MICROS_PER_SECOND != 0 {
                        return None;
                    }
                    push_counted(&mut written, &(number / MICROS_PER_SECOND).to_le_bytes());
                }
                KeyValue::Int64(number) => push_counted(&mut written, &number.to_le_bytes()),
                KeyValue::Bool(_) => return None,
            }
        }
        if self.order.is_empty() {
            written.extend_from_slice(&TYPE_OF_NAMES.to_le_bytes());
            push_counted(&mut written, NO_ENTITY.1);
        }
        written.extend_from_slice(&self.project);
        Some(written)
    }

    fn read(&self, redis_key: &[u8], columns: &mut KeyColumns) -> bool {
        let mut values = vec![KeyValue::Bool(false); self.join_keys.len()];
        self.read_into(redis_key, &mut values).is_some() && columns.push(&values)
    }

    /// Names and types: keys of the same names may still be of other values.
    fn entity(&self) -> Vec<u8> {
        let types = self.order.iter().filter_map(|&position| type_number(self.join_keys[position].dtype));
        self.names.iter().copied().chain(types.flat_map(u32::to_le_bytes)).collect()
    }
}

fn type_number(dtype: DType) -> Option<u32> {
    match dtype {
        DType::One(Scalar::Bytes) => Some(1),
        DType::One(Scalar::String) => Some(2),
        DType::One(Scalar::Int32) => Some(3),
        DType::One(Scalar::Int64) => Some(4),
        DType::One(Scalar::Timestamp) => Some(8),
        _ => None,
    }
}

/// A length that does not fit belongs to a key that no Redis takes: 512 MiB are its most.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn push_counted(key: &mut Vec<u8>, value: &[u8]) {
    key.extend_from_slice(&length(value.len()));
    key.extend_from_slice(value);
}

/// The type and the bytes of the next value.
fn take_counted<'k>(rest: &mut &'k [u8]) -> Option<(u32, &'k [u8])> {
    let number = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    let length = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    Some((number, rest.split_off(..length as usize)?))
}
