//! Every type, both ways: by table, and by property.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::catalog::{DType, Scalar};

const SCALARS: [Scalar; 9] = [
    Scalar::Bool,
    Scalar::Int32,
    Scalar::Int64,
    Scalar::Float32,
    Scalar::Float64,
    Scalar::String,
    Scalar::Bytes,
    Scalar::Timestamp,
    Scalar::Date,
];

fn dtype(text: &str) -> DType {
    text.parse().unwrap()
}

fn decode(type_text: &str, json: &str, times: Times) -> Result<ArrayRef, Refused> {
    json_column(json, dtype(type_text), times, 1_000)
}

fn encode(array: &ArrayRef, times: Times) -> String {
    let mut out = Vec::new();
    let column = Column::of(array, times);
    for row in 0..array.len() {
        out.extend_from_slice(if row == 0 { b"[" } else { b"," });
        column.push(&mut out, row);
    }
    out.extend_from_slice(if array.is_empty() { b"[]" } else { b"]" });
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(type_text: &str, json: &str, expected: &str) {
    let array = decode(type_text, json, Times::Seconds).unwrap();
    assert_eq!(array.data_type(), &dtype(type_text).arrow());
    assert_eq!(encode(&array, Times::Seconds), expected, "{type_text} {json}");
}

#[test]
fn values_read_and_write_as_feast_does() {
    check("int64", r#"[1001, "1001", 1002.0, null, -5]"#, "[1001,1001,1002,null,-5]");
    check("int64", "[9223372036854775807, -9223372036854775808]", "[9223372036854775807,-9223372036854775808]");
    check("int32", "[-5, 2147483647]", "[-5,2147483647]");
    check(
        "float64",
        r#"[0.1, 1, "0.5", "NaN", "Infinity", "-Infinity"]"#,
        r#"[0.1,1.0,0.5,"NaN","Infinity","-Infinity"]"#,
    );
    check("float32", "[0.1, 1]", "[0.10000000149011612,1.0]");
    check("string", r#"["héllo", "", 1001, "a\"b\n"]"#, r#"["héllo","","1001","a\"b\n"]"#);
    check("bytes", r#"["AP8=", ""]"#, r#"["AP8=",""]"#);
    check("bool", "[true, false, null]", "[true,false,null]");
    check(
        "timestamp",
        r#"[1795140000, "2026-11-20T02:00:00Z", "2026-11-20T02:00:00"]"#,
        "[1795140000,1795140000,1795140000]",
    );
    check("timestamp", r#"["2026-11-20T03:00:00+01:00", 1795140000.75]"#, "[1795140000,1795140000]");
    check("date", r#"["2026-11-20", "1969-12-31", null]"#, r#"["2026-11-20","1969-12-31",null]"#);
    check("list<int64>", r#"[[1,2,300], [], null, ["7"]]"#, "[[1,2,300],[],null,[7]]");
    check("list<float32>", "[[0.5, 0.1]]", "[[0.5,0.10000000149011612]]");
    check("list<timestamp>", "[[1795140000]]", "[[1795140000]]");
    check("list<float32, 2>", "[[1, 2], null, [3, 4.5]]", "[[1.0,2.0],null,[3.0,4.5]]");
    check("int64", "[]", "[]");
}

#[test]
fn a_wrong_value_is_named_with_its_row() {
    let table = [
        ("int64", "[1, \"x\"]", "row 1 is \"x\"; it must be a whole number of 64 bits"),
        ("int64", "[1.5]", "row 0 is 1.5; it must be a whole number of 64 bits"),
        ("int64", "[true]", "row 0 is true; it must be a whole number of 64 bits"),
        ("int64", "[9223372036854775808]", "row 0 is 9223372036854775808; it must be a whole number of 64 bits"),
        ("int64", "[9223372036854775808.0]", "row 0 is 9223372036854776000; it must be a whole number of 64 bits"),
        ("int32", "[2147483648]", "row 0 is 2147483648; it must be a whole number from -2147483648 to 2147483647"),
        (
            "float32",
            "[1e39]",
            "row 0 is 1000000000000000000000000000000000000000; it must be a number that fits 32 bits",
        ),
        ("float64", "[\"much\"]", "row 0 is \"much\"; it must be a number"),
        ("string", "[1.5]", "row 0 is 1.5; it must be a string"),
        ("string", "[[]]", "row 0 is an array; it must be a single value"),
        ("string", "[\"a\", {}]", "row 1 is an object; it must be a single value"),
        ("bytes", "[\"?\"]", "row 0 is \"?\"; it must be bytes in base64"),
        ("bool", "[1]", "row 0 is 1; it must be true or false"),
        (
            "timestamp",
            "[\"soon\"]",
            "row 0 is \"soon\"; it must be a time such as 2026-11-20T02:00:00Z, or epoch seconds",
        ),
        (
            "timestamp",
            "[9223372036854775]",
            "row 0 is 9223372036854775; it must be a time such as 2026-11-20T02:00:00Z, or epoch seconds",
        ),
        ("date", "[20]", "row 0 is 20; it must be a day such as 2026-11-20"),
        ("list<int64>", "[[1], 2]", "row 1 is 2; it must be a list"),
        ("list<int64>", "[[1, null]]", "row 0 is a list with the item null; it must be a list without nulls"),
        ("list<int64>", "[[[1]]]", "row 0 is a list of lists; it must be a list of single values"),
        (
            "list<float32, 2>",
            "[[1.0]]",
            "row 0 is a list of another length; it must be a list of exactly as many numbers as the type says",
        ),
        ("int64", "{}", "it must be an array of values"),
        ("int64", "7", "it must be an array of values"),
    ];
    for (type_text, json, text) in table {
        assert_eq!(decode(type_text, json, Times::Seconds).unwrap_err().to_string(), text, "{type_text} {json}");
    }
    let long = format!("[\"{}\"]", "x".repeat(1_000));
    assert!(decode("int64", &long, Times::Seconds).unwrap_err().to_string().len() < 200);
}

#[test]
fn a_column_beyond_the_bound_is_refused_before_it_is_read_whole() {
    assert_eq!(json_column("[1,2,3", dtype("int64"), Times::Seconds, 2), Err(Refused::TooLong { max: 2 }));
    assert_eq!(json_length("[1, [2, 3], {\"a\": 4}]"), Ok(3));
    assert_eq!(json_length("\"abc\""), Err(Refused::NotAnArray));
}

#[test]
fn query_text_becomes_the_columns_type() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let read = |values: &[&str], type_text: &str| text_column(&texts(values), dtype(type_text), Times::Micros);
    assert_eq!(encode(&read(&["7", ""], "int64").unwrap(), Times::Micros), "[7,null]");
    assert_eq!(encode(&read(&["7", ""], "string").unwrap(), Times::Micros), r#"["7",""]"#);
    assert_eq!(encode(&read(&["true"], "bool").unwrap(), Times::Micros), "[true]");
    assert_eq!(encode(&read(&["[1,2]"], "list<int32>").unwrap(), Times::Micros), "[[1,2]]");
    assert_eq!(
        encode(&read(&["2026-11-20", "2026-11-20T02:30", "1795140000000001"], "timestamp").unwrap(), Times::Micros),
        r#"["2026-11-20T00:00:00Z","2026-11-20T02:30:00Z","2026-11-20T02:00:00.000001Z"]"#
    );
    assert_eq!(read(&["1", "[1"], "list<int32>").unwrap_err().to_string(), "row 0 is 1; it must be a list");
    assert!(read(&["[1"], "list<int32>").is_err());
}

#[test]
fn times_have_as_many_digits_as_they_need() {
    let shown = |micros| {
        let mut out = Vec::new();
        push_rfc3339(&mut out, micros);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(shown(0), "1970-01-01T00:00:00Z");
    assert_eq!(shown(1_795_140_000_123_000), "2026-11-20T02:00:00.123Z");
    assert_eq!(shown(1_795_140_000_000_007), "2026-11-20T02:00:00.000007Z");
    assert_eq!(shown(-1), "1969-12-31T23:59:59.999999Z");
    assert_eq!(json_instant("\"2026-11-20T02:00:00Z\"", Times::Micros), Some(1_795_140_000_000_000));
    assert_eq!(json_instant("1795140000000000", Times::Micros), Some(1_795_140_000_000_000));
    assert_eq!(json_instant("[]", Times::Micros), None);
}

/// One value of a type as JSON text that only that value is written as.
fn literal(scalar: Scalar) -> BoxedStrategy<String> {
    match scalar {
        Scalar::Bool => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        Scalar::Int32 => any::<i32>().prop_map(|value| value.to_string()).boxed(),
        Scalar::Int64 => any::<i64>().prop_map(|value| value.to_string()).boxed(),
        Scalar::Float32 => prop_oneof![
            any::<f32>()
                .prop_filter("finite", |value| value.is_finite())
                .prop_map(|value| { zmij::Buffer::new().format_finite(f64::from(value)).to_owned() }),
            select(vec!["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]).prop_map(str::to_owned),
        ]
        .boxed(),
        Scalar::Float64 => any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| zmij::Buffer::new().format_finite(value).to_owned())
            .boxed(),
        Scalar::String => ".*".prop_map(|value| serde_json::to_string(&value).unwrap()).boxed(),
        Scalar::Bytes => prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|value| {
                let array: ArrayRef = Arc::new(arrow::array::BinaryArray::from_vec(vec![&value[..]]));
                let text = encode(&array, Times::Micros);
                text[1..text.len() - 1].to_owned()
            })
            .boxed(),
        Scalar::Timestamp => (-62_000_000_000_000_000i64..250_000_000_000_000_000)
            .prop_map(|micros| {
                let mut out = vec![b'"'];
                push_rfc3339(&mut out, micros);
                out.push(b'"');
                String::from_utf8(out).unwrap()
            })
            .boxed(),
        Scalar::Date => (-700_000..2_900_000i32)
            .prop_map(|days| {
                let array: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![days]));
                let text = encode(&array, Times::Micros);
                text[1..text.len() - 1].to_owned()
            })
            .boxed(),
    }
}

fn column() -> BoxedStrategy<(DType, String)> {
    let one = |scalar: Scalar| {
        let cell = prop_oneof![4 => literal(scalar), 1 => Just("null".to_owned())];
        prop::collection::vec(cell, 0..8).prop_map(move |cells| (DType::One(scalar), format!("[{}]", cells.join(","))))
    };
    let list = |scalar: Scalar, lengths: std::ops::Range<usize>, dtype: DType| {
        let cell = prop_oneof![
            4 => prop::collection::vec(literal(scalar), lengths).prop_map(|items| format!("[{}]", items.join(","))),
            1 => Just("null".to_owned()),
        ];
        prop::collection::vec(cell, 0..5).prop_map(move |cells| (dtype, format!("[{}]", cells.join(","))))
    };
    prop_oneof![
        select(&SCALARS[..]).prop_flat_map(one),
        select(&SCALARS[..]).prop_flat_map(move |scalar| list(scalar, 0..4, DType::List(scalar))),
        list(Scalar::Float32, 3..4, DType::Embedding(3)),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same_column((dtype, json) in column()) {
        let array = json_column(&json, dtype, Times::Micros, 100).unwrap();
        prop_assert_eq!(array.data_type(), &dtype.arrow());
        let written = encode(&array, Times::Micros);
        prop_assert_eq!(&written, &json);
        let again = json_column(&written, dtype, Times::Micros, 100).unwrap();
        prop_assert_eq!(&again.to_data(), &array.to_data());
    }

    #[test]
    fn no_text_makes_the_decoder_panic(json in ".*", scalar in select(&SCALARS[..])) {
        let _ = json_column(&json, DType::List(scalar), Times::Seconds, 10);
        let _ = text_column(&[json], DType::One(scalar), Times::Micros);
    }

    #[test]
    fn a_string_column_is_written_as_serde_writes_it(values in prop::collection::vec(".*", 1..5)) {
        let array: ArrayRef = Arc::new(StringArray::from(values.clone()));
        prop_assert_eq!(encode(&array, Times::Micros), serde_json::to_string(&values).unwrap());
    }
}
