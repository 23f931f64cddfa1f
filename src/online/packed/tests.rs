use std::slice;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::{Header, Position, RowEncoder, RowSchema, RowsDecoder};
use crate::batch::{FeatureRows, Origin, StoredRows, timestamps};
use crate::catalog::{DType, Digest, Field, Scalar};
use crate::online::{Error, OnlineView, samples};

const EVENT_TIME: i64 = 1_700_000_000_000_000;

fn pack(view: &OnlineView, rows: &FeatureRows) -> Vec<Vec<u8>> {
    let schema = RowSchema::of(view);
    let mut encoder = RowEncoder::new(view, &schema, rows).unwrap();
    (0..rows.rows()).map(|row| encoder.encode(row).unwrap().to_vec()).collect()
}

/// Reads rows that were written under `written` as rows of `view`.
fn unpack(written: &OnlineView, view: &OnlineView, wanted: &[usize], rows: &[Vec<u8>]) -> Result<StoredRows, Error> {
    let mut decoder = RowsDecoder::new(view, wanted, rows.len());
    decoder.learn(&Arc::new(RowSchema::of(written)));
    for row in rows {
        decoder.push(row)?;
    }
    decoder.finish()
}

fn one(name: &str, dtype: DType, values: ArrayRef) -> (OnlineView, FeatureRows) {
    let view = OnlineView {
        name: "companies".to_owned(),
        entities: vec!["company".to_owned()],
        join_keys: vec![Field::new("id", DType::One(Scalar::Int64))],
        features: vec![Field::new(name, dtype)],
        digest: None,
    };
    let rows = values.len();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let rows = FeatureRows {
        keys: vec![ids],
        features: vec![values],
        event_time: timestamps(vec![Some(EVENT_TIME); rows]),
        created_time: timestamps(vec![None; rows]),
        deleted: None,
        origin: None,
    };
    (view, rows)
}

fn list(item: Scalar, lengths: [usize; 1], items: ArrayRef) -> ArrayRef {
    let DataType::List(field) = DType::List(item).arrow() else { panic!("a list is a list") };
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None))
}

/// The row of the golden bytes: every way in which a value can stand in a row.
fn golden_row() -> (OnlineView, FeatureRows) {
    let features: [(&str, DType, ArrayRef); 9] = [
        ("flag", DType::One(Scalar::Bool), Arc::new(BooleanArray::from(vec![true]))),
        ("count", DType::One(Scalar::Int32), Arc::new(Int32Array::from(vec![-2]))),
        ("name", DType::One(Scalar::String), Arc::new(StringArray::from(vec!["Zürich"]))),
        ("missing", DType::One(Scalar::Float64), Arc::new(Float64Array::from(vec![None]))),
        ("vector", DType::Embedding(2), {
            let DataType::FixedSizeList(field, width) = DType::Embedding(2).arrow() else { panic!("it has a width") };
            let items = Arc::new(Float32Array::from(vec![1.0, -0.0]));
            Arc::new(FixedSizeListArray::new(field, width, items, None))
        }),
        ("tags", DType::List(Scalar::String), list(Scalar::String, [2], Arc::new(StringArray::from(vec!["a", "bc"])))),
        ("longs", DType::List(Scalar::Int64), new_null_array(&DType::List(Scalar::Int64).arrow(), 1)),
        (
            "score",
            DType::One(Scalar::Float64),
            Arc::new(Float64Array::from(vec![f64::from_bits(0x7ff8_0000_0000_0123)])),
        ),
        ("day", DType::One(Scalar::Date), Arc::new(Date32Array::from(vec![19_000]))),
    ];
    let view = OnlineView {
        name: "companies".to_owned(),
        entities: vec!["company".to_owned()],
        join_keys: vec![Field::new("id", DType::One(Scalar::Int64))],
        features: features.iter().map(|(name, dtype, _)| Field::new(*name, *dtype)).collect(),
        digest: Some(Digest([0xab; 32])),
    };
    let rows = FeatureRows {
        keys: vec![Arc::new(Int64Array::from(vec![1]))],
        features: features.into_iter().map(|(_, _, values)| values).collect(),
        event_time: timestamps(vec![Some(EVENT_TIME)]),
        created_time: timestamps(vec![None]),
        deleted: None,
        origin: None,
    };
    (view, rows)
}

/// Rows that are out there have these bytes: when one of these files must change, the format needs a new version.
const GOLDEN: &str = include_str!("../../../tests/golden/packed/row.hex");
const GOLDEN_OF_A_STREAM: &str = include_str!("../../../tests/golden/packed/row_of_a_stream.hex");
const GOLDEN_TOMBSTONE: &str = include_str!("../../../tests/golden/packed/tombstone.hex");
const GOLDEN_SCHEMA: &str = include_str!("../../../tests/golden/packed/schema.json");

/// The bytes of a file in which each line begins with some of them in hex and goes on with what they are.
fn bytes_of(file: &str) -> Vec<u8> {
    let hex: String = file.lines().filter_map(|line| line.split_whitespace().next()).collect();
    hex::decode(hex).unwrap()
}

fn golden_bytes() -> Vec<u8> {
    bytes_of(GOLDEN)
}

/// The golden row from a place in a stream, as a row and as a tombstone.
fn golden_rows_of_a_stream() -> (OnlineView, FeatureRows, FeatureRows) {
    let (view, rows) = golden_row();
    let origin = Origin { stream: "clicks".into(), partition: 7, offsets: vec![3_000_000_000] };
    let rows = FeatureRows { origin: Some(origin), ..rows };
    let deleted = FeatureRows { deleted: Some(BooleanBuffer::new_set(1)), ..rows.clone() };
    (view, rows, deleted)
}

#[test]
fn a_row_has_exactly_the_bytes_that_are_written_down() {
    let (view, rows) = golden_row();
    let (_, of_a_stream, deleted) = golden_rows_of_a_stream();
    for (rows, golden) in [(rows, GOLDEN), (of_a_stream, GOLDEN_OF_A_STREAM), (deleted, GOLDEN_TOMBSTONE)] {
        assert_eq!(hex::encode(&pack(&view, &rows)[0]), hex::encode(bytes_of(golden)));
    }
    assert_eq!(RowSchema::of(&view).text(), GOLDEN_SCHEMA.trim_end());
}

#[test]
fn the_page_for_other_readers_shows_the_same_bytes() {
    let page = include_str!("../../../docs/packed-rows.md");
    for golden in [GOLDEN, GOLDEN_OF_A_STREAM, GOLDEN_TOMBSTONE, GOLDEN_SCHEMA] {
        for line in golden.lines() {
            assert!(page.contains(line), "docs/packed-rows.md lacks {line:?}");
        }
    }
}

#[test]
fn the_bytes_that_are_written_down_are_read_back() {
    let (view, rows) = golden_row();
    let all: Vec<usize> = (0..view.features.len()).collect();
    let bytes = [golden_bytes(), bytes_of(GOLDEN_OF_A_STREAM), bytes_of(GOLDEN_TOMBSTONE)];
    for row in &bytes[..2] {
        let stored = unpack(&view, &view, &all, slice::from_ref(row)).unwrap();
        assert_eq!(stored.columns, rows.features);
        assert_eq!(stored.event_time, rows.event_time);
    }
    let headers = bytes.each_ref().map(|row| Header::read(row).unwrap());
    assert!(headers.iter().all(|header| header.digest_prefix == Some([0xab; 8])));
    let position = Some(Position { partition: 7, offset: 3_000_000_000 });
    assert_eq!(
        headers.map(|header| (header.version.position, header.deleted)),
        [(None, false), (position, false), (position, true)]
    );
}

#[test]
fn a_tombstone_is_a_row_that_is_not_there_whatever_the_columns() {
    let (view, _) = golden_row();
    let all: Vec<usize> = (0..view.features.len()).collect();
    let mut decoder = RowsDecoder::new(&view, &all, 1);
    let tombstone = bytes_of(GOLDEN_TOMBSTONE);
    assert_eq!(decoder.unknown_schema(&tombstone).unwrap(), None, "no schema is needed to read it");
    decoder.push(&tombstone).unwrap();
    let stored = decoder.finish().unwrap();
    assert!(!stored.present.value(0) && stored.columns.iter().all(|column| column.is_null(0)));
}

#[test]
fn a_plain_row_of_fifty_numbers_takes_441_bytes() {
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    let (mut view, mut rows) = one("f0", DType::One(Scalar::Float64), numbers);
    view.features = (0..50).map(|i| Field::new(format!("f{i}"), DType::One(Scalar::Float64))).collect();
    rows.features = vec![Arc::clone(&rows.features[0]); 50];
    assert_eq!(pack(&view, &rows)[0].len(), 441);
}

#[test]
fn a_schema_is_read_back_from_its_text() {
    let (view, _) = golden_row();
    let schema = RowSchema::of(&view);
    let text = schema.text();
    assert_eq!(RowSchema::kept(schema.id, &text), Some(schema.clone()));
    assert_eq!(RowSchema::kept(schema.id ^ 1, &text), None, "a text under another's id is not its schema");
    let former_id = u64::from_le_bytes(Digest::of(text.as_bytes()).prefix());
    let former = RowSchema::kept(former_id, &text).unwrap();
    assert_eq!((former.id, former.text()), (former_id, text));
    for text in ["", "[]]", "{}", r#"[["feature","a"]]"#, r#"[["feature","a","int128"]]"#, r#"[["value","a","bool"]]"#]
    {
        assert_eq!(RowSchema::kept(0, text), None, "{text}");
    }
}

#[test]
fn the_id_of_a_schema_tells_whose_features_it_has() {
    let (view, _) = golden_row();
    let entities = |view: &OnlineView| RowSchema::of(view).id.to_le_bytes()[..3].to_vec();
    let with = |join_keys: &[(&str, Scalar)], features: usize| OnlineView {
        join_keys: join_keys.iter().map(|(name, scalar)| Field::new(*name, DType::One(*scalar))).collect(),
        features: view.features[..features].to_vec(),
        ..view.clone()
    };
    let fewer = with(&[("id", Scalar::Int64)], 3);
    assert_eq!(entities(&fewer), entities(&view));
    assert_ne!(RowSchema::of(&fewer).id, RowSchema::of(&view).id);
    for join_keys in [&[("user", Scalar::Int64)][..], &[("id", Scalar::String)], &[], &[("id", Scalar::Int64); 2]] {
        assert_ne!(entities(&with(join_keys, 9)), entities(&view), "{join_keys:?}");
    }
}

#[test]
fn rows_that_do_not_fit_their_places_cannot_be_stored() {
    let (view, rows, deleted) = golden_rows_of_a_stream();
    let origin = Origin { offsets: vec![1, 2], ..rows.origin.clone().unwrap() };
    let few = BooleanBuffer::new_set(0);
    for rows in [FeatureRows { origin: Some(origin), ..rows }, FeatureRows { deleted: Some(few), ..deleted }] {
        let error = RowEncoder::new(&view, &RowSchema::of(&view), &rows).unwrap_err();
        assert!(matches!(error, Error::Unstorable { .. }), "{error}");
    }
}

#[test]
fn a_row_of_another_schema_is_read_by_name_and_type() {
    let (old, rows) = golden_row();
    let mut new = old.clone();
    new.features = vec![
        Field::new("added", DType::One(Scalar::Int64)),
        Field::new("day", DType::One(Scalar::Date)),
        Field::new("count", DType::One(Scalar::Int64)),
        Field::new("name", DType::One(Scalar::String)),
    ];
    let stored = unpack(&old, &new, &[0, 1, 2, 3], &pack(&old, &rows)).unwrap();
    assert!(stored.present.value(0));
    assert!(stored.columns[0].is_null(0), "a feature that the row does not have is null");
    assert_eq!(&stored.columns[1], &rows.features[8]);
    assert!(stored.columns[2].is_null(0), "a value of another type is not this feature");
    assert_eq!(stored.columns[3].as_string::<i32>().value(0), "Zürich");
}

#[test]
fn a_null_inside_a_list_cannot_be_stored() {
    let items: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let (view, rows) = one("longs", DType::List(Scalar::Int64), list(Scalar::Int64, [2], items));
    let schema = RowSchema::of(&view);
    let error = RowEncoder::new(&view, &schema, &rows).unwrap().encode(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rows of companies cannot be stored: a list of feature longs has a null among its items"
    );
}

#[test]
fn a_column_of_another_type_cannot_be_stored() {
    let (view, rows) = one("name", DType::One(Scalar::String), Arc::new(Int64Array::from(vec![1])));
    let error = RowEncoder::new(&view, &RowSchema::of(&view), &rows).unwrap_err();
    assert_eq!(error.to_string(), "rows of companies cannot be stored: feature name is Int64, not string");
}

#[test]
fn a_row_that_is_too_long_is_refused() {
    let long = "x".repeat(crate::limits::STORED_ROW_BYTES_MAX);
    let (view, rows) = one("name", DType::One(Scalar::String), Arc::new(StringArray::from(vec![long])));
    let schema = RowSchema::of(&view);
    let error = RowEncoder::new(&view, &schema, &rows).unwrap().encode(0).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn text_that_is_not_utf_8_is_damage() {
    let (view, rows) = one("name", DType::One(Scalar::String), Arc::new(StringArray::from(vec!["text"])));
    let mut packed = pack(&view, &rows);
    *packed[0].last_mut().unwrap() = 0xff;
    assert!(matches!(unpack(&view, &view, &[0], &packed), Err(Error::Damaged { .. })));
}

#[test]
fn a_row_of_a_newer_format_says_so() {
    let (view, _) = golden_row();
    let mut row = golden_bytes();
    row[0] = 2;
    let error = unpack(&view, &view, &[0], &[row]).unwrap_err();
    assert!(error.to_string().contains("it has row format 2, this version of Lockstep knows 1"), "{error}");
}

/// As a row that came from a stream, as a tombstone, as both, or as it is.
fn placed((view, rows): (OnlineView, FeatureRows)) -> impl Strategy<Value = (OnlineView, FeatureRows)> {
    let count = rows.rows();
    let origin = (any::<u32>(), prop::collection::vec(any::<u64>(), count)).prop_map(|(partition, offsets)| Origin {
        stream: "clicks".into(),
        partition,
        offsets,
    });
    let deleted = prop::collection::vec(any::<bool>(), count).prop_map(BooleanBuffer::from);
    (prop::option::of(origin), prop::option::of(deleted))
        .prop_map(move |(origin, deleted)| (view.clone(), FeatureRows { origin, deleted, ..rows.clone() }))
}

fn placed_samples(rows: usize) -> impl Strategy<Value = (OnlineView, FeatureRows)> {
    samples::views_with_rows(rows).prop_flat_map(placed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_comes_back_bit_for_bit((view, rows) in samples::views_with_rows(4)) {
        let all: Vec<usize> = (0..view.features.len()).collect();
        let stored = unpack(&view, &view, &all, &pack(&view, &rows)).unwrap();
        prop_assert_eq!(stored.event_time, rows.event_time);
        prop_assert_eq!(stored.present.count_set_bits(), 4);
        for (is, was) in stored.columns.iter().zip(&rows.features) {
            prop_assert_eq!(is.data_type(), was.data_type());
            prop_assert_eq!(is, was);
        }
    }

    #[test]
    fn places_in_a_stream_and_tombstones_come_back((view, rows) in placed_samples(4)) {
        let all: Vec<usize> = (0..view.features.len()).collect();
        let packed = pack(&view, &rows);
        let stored = unpack(&view, &view, &all, &packed).unwrap();
        for (row, bytes) in packed.iter().enumerate() {
            let header = Header::read(bytes).unwrap();
            let position = rows.origin.as_ref().map(|origin| Position {
                partition: origin.partition,
                offset: origin.offsets[row],
            });
            prop_assert_eq!(header.version.position, position);
            prop_assert_eq!(header.deleted, rows.is_deleted(row));
            prop_assert_eq!(stored.present.value(row), !rows.is_deleted(row));
            for (is, was) in stored.columns.iter().zip(&rows.features) {
                if rows.is_deleted(row) {
                    prop_assert!(is.is_null(row));
                } else {
                    prop_assert_eq!(&is.slice(row, 1), &was.slice(row, 1));
                }
            }
        }
    }

    #[test]
    fn some_columns_are_the_same_as_among_all(
        (view, rows) in samples::views_with_rows(3),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        prop_assume!(!view.features.is_empty());
        let wanted: Vec<usize> = picks.iter().map(|pick| pick.index(view.features.len())).collect();
        let stored = unpack(&view, &view, &wanted, &pack(&view, &rows)).unwrap();
        for (column, feature) in stored.columns.iter().zip(wanted) {
            prop_assert_eq!(column, &rows.features[feature]);
        }
    }

    #[test]
    fn damaged_bytes_are_an_answer_or_an_error_but_never_a_panic(
        (view, rows) in placed_samples(1),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let mut packed = pack(&view, &rows);
        for (at, bit) in flips {
            let at = at.index(packed[0].len());
            packed[0][at] ^= 1 << bit;
        }
        let all: Vec<usize> = (0..view.features.len()).collect();
        match unpack(&view, &view, &all, &packed) {
            Ok(stored) => prop_assert_eq!(stored.columns.len(), all.len()),
            Err(error) => prop_assert!(matches!(error, Error::Damaged { .. }), "{}", error),
        }
    }

    #[test]
    fn a_row_that_is_cut_off_or_goes_on_is_damaged(
        (view, rows) in placed_samples(1),
        cut in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let packed = pack(&view, &rows);
        let cut = packed[0][..cut.index(packed[0].len())].to_vec();
        let longer = [packed[0].clone(), more].concat();
        for row in [cut, longer] {
            let is_damaged = matches!(unpack(&view, &view, &[], &[row]), Err(Error::Damaged { .. }));
            prop_assert!(is_damaged);
        }
    }
}
