use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Builder, Int8Array,
    Int64Array, ListBuilder, NullArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::ipc::{self, CompressionType};

use super::{Decoder, Error, PANICKED, next_message, read_stream};
use crate::error::ErrorKind;

/// A column of every layout that comes through: fixed, bits, strings, views, lists, structs, a dictionary.
fn sample(rows: i64) -> RecordBatch {
    let mut lists = ListBuilder::new(Float32Builder::new());
    for row in 0..rows {
        lists.append_value([Some(row as f32), None]);
    }
    let text = |row: i64| (row % 5 != 0).then(|| format!("company number {}", row % 3));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("hour", Arc::clone(&numbers)),
        ("is_card", Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 2 == 0))))),
        ("company", Arc::new(StringArray::from_iter((0..rows).map(text)))),
        ("area", Arc::new(StringViewArray::from_iter((0..rows).map(text)))),
        ("embedding", Arc::new(lists.finish())),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(0..rows).with_timezone("UTC"))),
        ("trip", Arc::new(StructArray::from(vec![(Arc::new(Field::new("miles", DataType::Int64, true)), numbers)]))),
        ("payment", cast(&StringArray::from_iter((0..rows).map(text)), &dictionary).unwrap()),
        ("day", Arc::new(Date32Array::from_iter_values(0..rows as i32))),
        ("price", Arc::new(Decimal128Array::from_iter_values(0..i128::from(rows)))),
        ("nothing", Arc::new(NullArray::new(rows as usize))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// Where the first compressed buffer of the record batch stands in the stream.
fn first_buffer(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(message) = next_message(&mut rest).unwrap() {
        let stated = ipc::root_as_message(message.header).unwrap();
        if let Some(batch) = stated.header_as_record_batch() {
            let buffer = batch.buffers().unwrap().iter().find(|buffer| buffer.length() > 8).unwrap();
            let body = message.body.as_ptr() as usize - bytes.as_ptr() as usize;
            return body + usize::try_from(buffer.offset()).unwrap();
        }
    }
    panic!("the stream has no batch");
}

const COMPRESSIONS: [Option<CompressionType>; 3] =
    [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];

#[test]
fn honest_streams_come_through_with_plain_columns() {
    let batch = sample(200);
    for compression in COMPRESSIONS {
        let read = read_stream(&stream(&batch, compression)).unwrap();
        assert_eq!(read.len(), 1);
        for (column, expected) in read[0].columns().iter().zip(batch.columns()) {
            let plain = match expected.data_type() {
                DataType::Utf8View | DataType::Dictionary(..) => cast(expected, &DataType::Utf8).unwrap(),
                _ => Arc::clone(expected),
            };
            assert_eq!(column, &plain);
        }
    }
}

#[test]
fn a_stream_without_batches_still_says_its_columns() {
    let batch = sample(1);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.finish().unwrap();
    let read = read_stream(&writer.into_inner().unwrap()).unwrap();
    assert_eq!((read.len(), read[0].num_rows(), read[0].num_columns()), (1, 0, batch.num_columns()));
}

#[test]
fn bytes_that_are_no_stream_are_refused() {
    for bytes in [&b""[..], b"{}", b"PAR1 and more", &[0xff; 64], &[0; 64]] {
        assert_eq!(read_stream(bytes).unwrap_err().kind(), ErrorKind::Invalid, "{bytes:?}");
    }
}

/// Flips of single bytes in each of the three streams below.
const FLIPS: usize = 14_000;

/// Flips one byte after another: its lowest bit, then its highest, then all of them, then one in between.
///
/// An abort would end this very process, so that the test ends at all is most of what it says.
fn flip_bytes(compression: Option<CompressionType>) {
    let honest = stream(&sample(40), compression);
    let mut bytes = honest.clone();
    let mut refused = 0;
    for flip in 0..FLIPS {
        let position = flip % honest.len();
        let mask = [0x01, 0x80, 0xff, 0x10, 0x02, 0x40].into_iter().cycle().nth(flip / honest.len()).unwrap();
        bytes[position] ^= mask;
        if let Err(error) = read_stream(&bytes) {
            refused += 1;
            // The walk is meant to see everything before the decoder does; the net below it should stay empty.
            assert_ne!(error, Error::Damaged(PANICKED.to_owned()), "byte {position} flipped by {mask:#x}");
        }
        bytes[position] = honest[position];
    }
    assert!(refused > FLIPS / 10, "{refused} of {FLIPS} refused");
}

#[test]
fn no_flipped_byte_of_a_plain_stream_aborts_or_panics() {
    flip_bytes(None);
}

#[test]
fn no_flipped_byte_of_an_lz4_stream_aborts_or_panics() {
    flip_bytes(Some(CompressionType::LZ4_FRAME));
}

#[test]
fn no_flipped_byte_of_a_zstd_stream_aborts_or_panics() {
    flip_bytes(Some(CompressionType::ZSTD));
}

#[test]
fn a_forged_size_is_refused_before_anything_is_allocated() {
    for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let mut bytes = stream(&sample(200), Some(compression));
        let at = first_buffer(&bytes);
        bytes[at..at + 8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
        let error = read_stream(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert_eq!(
            error.to_string(),
            "the Arrow data has bytes in one message: 1099511627776, at most 67108864 are accepted"
        );
    }
}

#[test]
fn an_lz4_buffer_that_holds_more_than_it_claims_is_refused() {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 2 << 20]));
    let batch = RecordBatch::try_from_iter([("hour", zeros)]).unwrap();
    let mut bytes = stream(&batch, Some(CompressionType::LZ4_FRAME));
    assert!(read_stream(&bytes).is_ok());
    let at = first_buffer(&bytes);
    bytes[at..at + 8].copy_from_slice(&100_i64.to_le_bytes());
    let error = read_stream(&bytes).unwrap_err().to_string();
    assert_eq!(error, "the Arrow data is damaged: an LZ4 buffer holds more than the 100 bytes it claims");
}

#[test]
fn one_long_value_in_every_row_is_refused() {
    let long = "x".repeat(1 << 20);
    let values: ArrayRef = Arc::new(StringArray::from(vec![long.clone()]));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::new(Int8Array::from(vec![0; 1_000]), Arc::clone(&values)));
    let views: ArrayRef = Arc::new(StringViewArray::from(vec![long.as_str()]));
    let rows = arrow::array::UInt32Array::from(vec![0; 1_000]);
    let views = arrow::compute::take(&views, &rows, None).unwrap();
    for column in [dictionary, views] {
        let batch = RecordBatch::try_from_iter([("company", column)]).unwrap();
        let error = read_stream(&stream(&batch, None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
}

#[test]
fn rows_that_cost_no_bytes_are_bounded() {
    let many = i32::MAX as usize;
    let nulls: ArrayRef = Arc::new(NullArray::new(many));
    let nulls = RecordBatch::try_from_iter([("nothing", nulls)]).unwrap();
    let options = RecordBatchOptions::new().with_row_count(Some(many));
    let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    for batch in [nulls, empty] {
        assert_eq!(read_stream(&stream(&batch, None)).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn deep_nesting_and_too_many_columns_are_refused() {
    let deep = (0..40).fold(DataType::Int64, |inner, _| DataType::new_list(inner, true));
    let wide: Vec<Field> = (0..5_000).map(|column| Field::new(format!("c{column}"), DataType::Int64, true)).collect();
    for schema in [Schema::new(vec![Field::new("deep", deep, true)]), Schema::new(wide)] {
        let batch = RecordBatch::new_empty(Arc::new(schema));
        assert_eq!(read_stream(&stream(&batch, None)).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn a_type_that_no_feature_can_have_is_refused_by_name() {
    let runs = arrow::array::RunArray::<Int32Type>::from_iter(["a", "a"]);
    let batch = RecordBatch::try_from_iter([("company", Arc::new(runs) as ArrayRef)]).unwrap();
    let error = read_stream(&stream(&batch, None)).unwrap_err().to_string();
    assert_eq!(error, "column company is of type runendencoded, which is not accepted");
}

#[test]
fn a_decoder_takes_messages_one_by_one() {
    let bytes = stream(&sample(10), Some(CompressionType::ZSTD));
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&[], &Buffer::from(&[][..])), Ok(None));
    let mut rest = &bytes[..];
    let mut rows = 0;
    while let Some(message) = next_message(&mut rest).unwrap() {
        if let Some(batch) = decoder.decode(message.header, &Buffer::from(message.body)).unwrap() {
            rows += batch.num_rows();
            assert_eq!(batch.column_by_name("payment").unwrap().as_string::<i32>().value(1), "company number 1");
        }
    }
    assert_eq!(rows, 10);
    assert!(decoder.bytes() > 0);
}
