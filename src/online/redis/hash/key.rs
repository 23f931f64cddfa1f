//! The key of an entity's hash: `<prefix>features:<entity>:<id>`.
//!
//! An id is written as in JSON, without quotes: `1001`, `true`, a text as it is, bytes in base64, `2026-11-20`. The names
//! of several entities are joined by `,`, several ids by `:`; then `:` and `%` within an id are written `%3A` and `%25`.
//! One id stands as it is. So a key always says in one way only whose it is: no name holds a comma or a colon.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::fields::Keys;
use super::value::{parse_date, parse_time, push_date, push_time};
use crate::batch::{KeyColumns, KeyValue, key_values};
use crate::catalog::{DType, Field, Scalar};
use crate::online::OnlineView;

/// How the keys of one view's entities are written.
#[derive(Clone, Debug)]
pub(super) struct TextKeys {
    join_keys: Vec<Field>,
    /// Everything before the ids.
    start: Vec<u8>,
}

impl TextKeys {
    pub fn of(view: &OnlineView, prefix: &str) -> Self {
        let start = format!("{prefix}features:{}:", view.entities.join(",")).into_bytes();
        Self { join_keys: view.join_keys.clone(), start }
    }

    fn write_values(&self, values: &[KeyValue<'_>]) -> Vec<u8> {
        let mut key = self.start.clone();
        for (position, (field, value)) in self.join_keys.iter().zip(values).enumerate() {
            if position > 0 {
                key.push(b':');
            }
            let start = key.len();
            push_id(field.dtype, *value, &mut key);
            if self.join_keys.len() > 1 && key[start..].iter().any(|byte| matches!(byte, b':' | b'%')) {
                let id = key.split_off(start);
                for byte in id {
                    match byte {
                        b':' => key.extend_from_slice(b"%3A"),
                        b'%' => key.extend_from_slice(b"%25"),
                        byte => key.push(byte),
                    }
                }
            }
        }
        key
    }

    /// The ids of a key as they were before they were joined.
    fn ids<'k>(&self, ids: &'k [u8]) -> Vec<Cow<'k, [u8]>> {
        match self.join_keys.len() {
            0 => Vec::new(),
            1 => vec![Cow::Borrowed(ids)],
            _ => ids.split(|byte| *byte == b':').map(unescaped).collect(),
        }
    }
}

impl Keys for TextKeys {
    fn write(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut values = Vec::with_capacity(self.join_keys.len());
        key_values(&self.join_keys, key, &mut values).then(|| self.write_values(&values))
    }

    fn read(&self, redis_key: &[u8], columns: &mut KeyColumns) -> bool {
        let Some(rest) = redis_key.strip_prefix(self.start.as_slice()) else { return false };
        let ids = self.ids(rest);
        if ids.len() != self.join_keys.len() {
            return false;
        }
        let parse = |(field, id): (&Field, &Cow<'_, [u8]>)| Id::parse(field.dtype, id);
        let Some(ids) = self.join_keys.iter().zip(&ids).map(parse).collect::<Option<Vec<Id>>>() else { return false };
        let values: Vec<KeyValue<'_>> = ids.iter().map(Id::value).collect();
        // Ids that we would write otherwise (007, +7) are not found by a question, so they are not there.
        self.write_values(&values) == redis_key && columns.push(&values)
    }

    fn entity(&self) -> Vec<u8> {
        self.start.clone()
    }
}

fn push_id(dtype: DType, value: KeyValue<'_>, key: &mut Vec<u8>) {
    match (dtype, value) {
        (_, KeyValue::Bool(value)) => key.extend_from_slice(if value { b"true" } else { b"false" }),
        (DType::One(Scalar::Date), KeyValue::Int32(days)) => {
            push_date(days, key);
        }
        (_, KeyValue::Int32(number)) => key.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        (DType::TIMESTAMP, KeyValue::Int64(micros)) => {
            push_time(micros, key);
        }
        (_, KeyValue::Int64(number)) => key.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        (DType::One(Scalar::Bytes), KeyValue::Bytes(bytes)) => key.extend(BASE64.encode(bytes).into_bytes()),
        (_, KeyValue::Bytes(text)) => key.extend_from_slice(text),
    }
}

/// One id of a key that was read.
enum Id {
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Bytes(Vec<u8>),
}

impl Id {
    fn parse(dtype: DType, id: &[u8]) -> Option<Self> {
        let text = || str::from_utf8(id).ok();
        Some(match dtype {
            DType::One(Scalar::Bool) => Self::Bool(text()?.parse().ok()?),
            DType::One(Scalar::Int32) => Self::Int32(text()?.parse().ok()?),
            DType::One(Scalar::Int64) => Self::Int64(text()?.parse().ok()?),
            DType::One(Scalar::Date) => Self::Int32(parse_date(text()?).or_else(|| text()?.parse().ok())?),
            DType::TIMESTAMP => Self::Int64(parse_time(text()?).or_else(|| text()?.parse().ok())?),
            DType::One(Scalar::Bytes) => Self::Bytes(BASE64.decode(id).ok()?),
            _ => Self::Bytes(id.to_vec()),
        })
    }

    fn value(&self) -> KeyValue<'_> {
        match self {
            Self::Bool(value) => KeyValue::Bool(*value),
            Self::Int32(value) => KeyValue::Int32(*value),
            Self::Int64(value) => KeyValue::Int64(*value),
            Self::Bytes(value) => KeyValue::Bytes(value),
        }
    }
}

/// Whatever was not escaped by us is left as it is; the key is then not one that we would write.
fn unescaped(id: &[u8]) -> Cow<'_, [u8]> {
    if !id.contains(&b'%') {
        return Cow::Borrowed(id);
    }
    let mut plain = Vec::with_capacity(id.len());
    let mut rest = id;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (rest.strip_prefix(b"%3A"), rest.strip_prefix(b"%25")) {
            (Some(after), _) => (b':', after),
            (_, Some(after)) => (b'%', after),
            _ => (first, after),
        };
        plain.push(byte);
        rest = after;
    }
    Cow::Owned(plain)
}
