//! The guard in front of the Arrow decoder: a stranger's IPC messages in, record batches or an error out.
//!
//! arrow-ipc trusts what a message says of itself. It allocates the size that a compressed buffer claims before it
//! decompresses (a 520-byte message can claim 1 TiB, and a failed allocation aborts the process), and it panics on many
//! damaged schemas. So every message is walked first: the schema in [`schema`], the nodes and buffers of a batch in
//! [`batch`], the claims of compressed buffers in [`compressed`]. Only a message whose every number is bounded reaches
//! the decoder, and the decoder runs inside `catch_unwind` in case the walk missed something.
//!
//! What comes out has no dictionaries and no view types: both let few bytes stand for many, and a later cast would pay
//! for it. [`unpack`] pays here, against the same bound.
//!
//! # Why not arrow-ipc's own `StreamReader`
//! It allocates the body length that a message claims, too. Framing is 30 lines, so [`read_stream`] does it itself and
//! both wires share one [`Decoder`].

mod batch;
mod compressed;
mod schema;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::{self, MessageHeader, MetadataVersion};

use crate::error::ErrorKind;
use crate::limits::{ARROW_HEADER_BYTES_MAX, ARROW_MESSAGE_BYTES_MAX};

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the Arrow data is damaged: {0}")]
    Damaged(String),
    #[error("column {column} is {what}, which is not accepted")]
    NotAccepted { column: String, what: String },
    #[error("the Arrow data has {what}: {is}, at most {max} are accepted")]
    TooLarge { what: &'static str, is: u64, max: u64 },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged(_) | Self::NotAccepted { .. } => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}

/// Reads a whole IPC stream, such as an HTTP body. The claims of all its messages together stay within
/// `ARROW_MESSAGE_BYTES_MAX`. A stream without a batch is one batch without rows, so its columns are known.
pub fn read_stream(bytes: &[u8]) -> Result<Vec<RecordBatch>, Error> {
    let mut decoder = Decoder::default();
    let mut batches = Vec::new();
    let mut rest = bytes;
    while let Some(message) = next_message(&mut rest)? {
        if let Some(batch) = decoder.decode(message.header, &Buffer::from(message.body))? {
            batches.push(batch);
        }
        at_most("bytes in all messages", decoder.bytes(), ARROW_MESSAGE_BYTES_MAX)?;
    }
    let Some(schema) = decoder.schema() else { return Err(damaged("it has no schema")) };
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(Arc::clone(schema)));
    }
    Ok(batches)
}

/// Decodes the messages of one stream, one after another: the schema, then dictionaries and batches.
#[derive(Debug, Default)]
pub struct Decoder {
    /// As the stream says it, dictionaries and views included.
    schema: Option<SchemaRef>,
    /// As the batches come out.
    plain: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// What each kept dictionary claimed.
    dictionary_bytes: HashMap<i64, u64>,
    bytes: u64,
}

impl Decoder {
    /// The schema of the batches that come out, once it has arrived.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.plain.as_ref()
    }

    /// Bytes of all messages so far, decompressed and unpacked.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Decodes one message. Gives nothing for a schema, a dictionary, or a message without a header.
    pub fn decode(&mut self, header: &[u8], body: &Buffer) -> Result<Option<RecordBatch>, Error> {
        if header.is_empty() {
            return Ok(None);
        }
        at_most("bytes in a message's header", header.len() as u64, ARROW_HEADER_BYTES_MAX as u64)?;
        let message = ipc::root_as_message(header).map_err(|error| damaged(&format!("its header: {error}")))?;
        let version = message.version();
        if !matches!(version, MetadataVersion::V4 | MetadataVersion::V5) {
            return Err(damaged(&format!("its format version is {}", version.0)));
        }
        let missing = || damaged("a message has no content");
        match message.header_type() {
            MessageHeader::NONE => Ok(None),
            MessageHeader::Schema => self.take_schema(message.header_as_schema().ok_or_else(missing)?).map(|()| None),
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch().ok_or_else(missing)?;
                self.take_dictionary(dictionary, body, version).map(|()| None)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(missing)?;
                self.take_batch(batch, body, version).map(Some)
            }
            other => Err(damaged(&format!("messages of kind {other:?} are not accepted"))),
        }
    }

    fn take_schema(&mut self, stated: ipc::Schema<'_>) -> Result<(), Error> {
        if self.schema.is_some() {
            return Err(damaged("it has two schemas"));
        }
        schema::check(stated)?;
        let schema = guarded(|| Ok(ipc::convert::fb_to_schema(stated)))?;
        self.plain = Some(unpack::plain_schema(&schema));
        self.schema = Some(Arc::new(schema));
        Ok(())
    }

    fn take_dictionary(
        &mut self,
        dictionary: ipc::DictionaryBatch<'_>,
        body: &Buffer,
        version: MetadataVersion,
    ) -> Result<(), Error> {
        let id = dictionary.id();
        let (Some(schema), Some(values)) = (&self.schema, dictionary.data()) else {
            return Err(damaged("a dictionary comes before the schema, or has no values"));
        };
        let Some(field) = schema::dictionary_values(schema, id) else {
            return Err(damaged(&format!("no column has a dictionary with the id {id}")));
        };
        let claimed = batch::check(values, &[Arc::new(field)], body)?;
        let kept = if dictionary.isDelta() { self.dictionary_bytes.get(&id).copied().unwrap_or(0) } else { 0 };
        self.dictionary_bytes.insert(id, kept + claimed);
        at_most("bytes in its dictionaries", self.dictionary_bytes.values().sum(), ARROW_MESSAGE_BYTES_MAX)?;
        let dictionaries = &mut self.dictionaries;
        guarded(|| ipc::reader::read_dictionary(body, dictionary, schema, dictionaries, &version))?;
        self.bytes += claimed;
        Ok(())
    }

    fn take_batch(
        &mut self,
        stated: ipc::RecordBatch<'_>,
        body: &Buffer,
        version: MetadataVersion,
    ) -> Result<RecordBatch, Error> {
        let (Some(schema), Some(plain)) = (&self.schema, &self.plain) else {
            return Err(damaged("a batch comes before the schema"));
        };
        let claimed = batch::check(stated, schema.fields(), body)?;
        let batch = guarded(|| {
            ipc::reader::read_record_batch(body, stated, Arc::clone(schema), &self.dictionaries, None, &version)
        })?;
        let (batch, unpacked) = unpack::unpack(batch, plain, claimed)?;
        self.bytes += unpacked;
        Ok(batch)
    }
}

struct Message<'a> {
    header: &'a [u8],
    body: &'a [u8],
}

/// Cuts the next message off `rest`; nothing at the end-of-stream mark or at the end of the bytes.
fn next_message<'a>(rest: &mut &'a [u8]) -> Result<Option<Message<'a>>, Error> {
    const CONTINUATION: [u8; 4] = [0xff; 4];
    if rest.is_empty() {
        return Ok(None);
    }
    let mut length = take(rest, 4)?;
    if length == CONTINUATION {
        length = take(rest, 4)?;
    }
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    if length == 0 {
        return Ok(None);
    }
    let header = take(rest, length as usize)?;
    let message = ipc::root_as_message(header).map_err(|error| damaged(&format!("its header: {error}")))?;
    let body_bytes = usize::try_from(message.bodyLength()).map_err(|_| damaged("a message has a negative length"))?;
    Ok(Some(Message { header, body: take(rest, body_bytes)? }))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], Error> {
    match rest.split_at_checked(bytes) {
        Some((taken, left)) => {
            *rest = left;
            Ok(taken)
        }
        None => Err(damaged(&format!("a message needs {bytes} bytes and {} are left", rest.len()))),
    }
}

/// Runs the decoder so that a panic of it is an error of this message.
fn guarded<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|error| damaged(&error.to_string())),
        Err(_) => Err(damaged(PANICKED)),
    }
}

/// What a caught panic is called; the flips test counts these.
const PANICKED: &str = "it cannot be decoded";

fn damaged(detail: &str) -> Error {
    Error::Damaged(detail.to_owned())
}

fn at_most(what: &'static str, is: u64, max: u64) -> Result<(), Error> {
    if is > max { Err(Error::TooLarge { what, is, max }) } else { Ok(()) }
}
