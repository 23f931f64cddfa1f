//! Arrow streams as strangers send them: honest, cut off, and forged.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::ipc::{self, CompressionType};
use arrow_flight::{FlightData, FlightDescriptor};

/// The columns that a question of the small project needs, `rows` times.
pub fn questions(rows: usize) -> RecordBatch {
    let columns: [(&str, ArrayRef); 5] = [
        ("company", Arc::new(StringArray::from(vec!["a"; rows]))),
        ("area", Arc::new(Int64Array::from(vec![8; rows]))),
        ("hour", Arc::new(Int32Array::from(vec![9; rows]))),
        ("payment_type", Arc::new(StringArray::from(vec!["Cash"; rows]))),
        ("planned_miles", Arc::new(Float64Array::from(vec![3.0; rows]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("a batch")
}

/// The same batch with one column in place of another.
pub fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, known)| {
        let column = if field.name() == name { Arc::clone(&column) } else { Arc::clone(known) };
        (field.name().as_str(), column, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
}

pub fn without_column(batch: &RecordBatch, name: &str) -> RecordBatch {
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|column| batch.schema().field(*column).name() != name).collect();
    batch.project(&kept).expect("a batch")
}

pub fn stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("a compression that is built in");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("a writer");
    writer.write(batch).expect("written");
    writer.into_inner().expect("finished")
}

/// A stream whose first compressed buffer claims to be `bytes` long.
pub fn forged_stream(compression: CompressionType, bytes: i64) -> Vec<u8> {
    let honest = stream(&questions(2_000), Some(compression));
    let mut forged = honest.clone();
    for (header, body) in messages(&honest) {
        if let Some(buffer) = first_buffer(header) {
            let at = body.as_ptr() as usize - honest.as_ptr() as usize + buffer;
            forged[at..at + 8].copy_from_slice(&bytes.to_le_bytes());
        }
    }
    assert_ne!(forged, honest);
    forged
}

/// A stream as the messages of a Flight upload; the descriptor goes with the first.
pub fn flight_messages(descriptor: &str, stream: &[u8]) -> Vec<FlightData> {
    let mut messages: Vec<FlightData> = messages(stream)
        .map(|(header, body)| FlightData {
            data_header: header.to_vec().into(),
            data_body: body.to_vec().into(),
            ..FlightData::default()
        })
        .collect();
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(descriptor.to_owned()));
    messages
}

/// `(header, body)` of each message: a mark, the header's length, the header, the body.
fn messages(stream: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        let (length, after) = rest.get(4..)?.split_first_chunk::<4>()?;
        let (header, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        if header.is_empty() {
            return None;
        }
        let message = ipc::root_as_message(header).expect("a message of ours");
        let (body, after) = after.split_at(usize::try_from(message.bodyLength()).expect("a length"));
        rest = after;
        Some((header, body))
    })
}

/// Where the first buffer of a batch stands in its body.
fn first_buffer(header: &[u8]) -> Option<usize> {
    let batch = ipc::root_as_message(header).expect("a message of ours").header_as_record_batch()?;
    let buffer = batch.buffers().expect("buffers").iter().find(|buffer| buffer.length() > 8).expect("a buffer");
    Some(usize::try_from(buffer.offset()).expect("a place"))
}
