use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::{RowEncoder, RowSchema, RowsDecoder};
use crate::batch::{FeatureRows, StoredRows, timestamps};
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

/// Rows that are out there have these bytes: when this test must change, the format needs a new version.
const GOLDEN: [(&str, &str); 20] = [
    ("format version", "01"),
    ("flags: a transform", "01"),
    ("schema id", "5463db3bd45e0899"),
    ("digest", "abababababababab"),
    ("event time", "00401e18240a0600"),
    ("no created time", "0000000000000080"),
    ("values: all but missing and longs", "b701"),
    ("flag", "01"),
    ("count", "feffffff"),
    ("name ends at 7", "07000000"),
    ("missing", "0000000000000000"),
    ("vector ends at 15", "0f000000"),
    ("tags ends at 30", "1e000000"),
    ("longs, empty", "1e000000"),
    ("score", "230100000000f87f"),
    ("day", "384a0000"),
    ("heap: name", "5ac3bc72696368"),
    ("heap: vector", "0000803f00000080"),
    ("heap: tags, 2 of them, their ends", "020000000100000003000000"),
    ("heap: tags, their bytes", "616263"),
];

fn golden_bytes() -> Vec<u8> {
    hex::decode(GOLDEN.iter().map(|(_, bytes)| *bytes).collect::<String>()).unwrap()
}

#[test]
fn a_row_has_exactly_the_bytes_that_are_written_down() {
    let (view, rows) = golden_row();
    assert_eq!(hex::encode(&pack(&view, &rows)[0]), hex::encode(golden_bytes()));
}

#[test]
fn the_bytes_that_are_written_down_are_read_back() {
    let (view, rows) = golden_row();
    let all: Vec<usize> = (0..view.features.len()).collect();
    let stored = unpack(&view, &view, &all, &[golden_bytes()]).unwrap();
    assert_eq!(stored.columns, rows.features);
    assert_eq!(stored.event_time, rows.event_time);
    assert_eq!(super::Header::read(&golden_bytes()).unwrap().digest_prefix, Some([0xab; 8]));
}

#[test]
fn a_schema_is_read_back_from_its_text() {
    let (view, _) = golden_row();
    let schema = RowSchema::of(&view);
    assert_eq!(RowSchema::parse(&schema.text()), Some(schema));
    for text in ["", "[]]", "{}", r#"[["feature","a"]]"#, r#"[["feature","a","int128"]]"#, r#"[["value","a","bool"]]"#]
    {
        assert_eq!(RowSchema::parse(text), None, "{text}");
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
        (view, rows) in samples::views_with_rows(1),
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
        (view, rows) in samples::views_with_rows(1),
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
