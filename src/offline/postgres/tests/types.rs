//! Every type, both ways: the same bits, or a refusal that names the column.

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int16Array,
    Int32Array, ListArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type, i256};
use proptest::prelude::*;

use super::super::numeric;
use super::*;

fn times(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn texts(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).expect("decimals"))
}

/// Values in the form of SQL, and what they are here.
fn matrix() -> Vec<(&'static str, &'static str, ArrayRef)> {
    let power = |of: u32| i256::from_i128(10).wrapping_pow(of);
    let wides = |values: Vec<Option<i256>>| -> ArrayRef {
        Arc::new(Decimal256Array::from(values).with_precision_and_scale(76, 38).expect("decimals"))
    };
    let list = |values: Vec<Option<Vec<Option<i32>>>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(values))
    };
    vec![
        ("boolean", "true, false, NULL", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("smallint", "-32768, 32767, NULL", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]))),
        (
            "integer",
            "-2147483648, 2147483647, NULL",
            Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
        ),
        (
            "bigint",
            "-9223372036854775808, 9223372036854775807, NULL",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        ),
        (
            "real",
            "'NaN', '-0', '-Infinity', 1e-45, 3.4028235e38, NULL",
            Arc::new(Float32Array::from(vec![
                Some(f32::NAN),
                Some(-0.0),
                Some(f32::NEG_INFINITY),
                Some(1e-45),
                Some(f32::MAX),
                None,
            ])),
        ),
        (
            "double precision",
            "'NaN', '-0', 'Infinity', 5e-324, 0.1, NULL",
            Arc::new(Float64Array::from(vec![
                Some(f64::NAN),
                Some(-0.0),
                Some(f64::INFINITY),
                Some(5e-324),
                Some(0.1),
                None,
            ])),
        ),
        ("text", "'', 'Grüße 🦀', NULL", texts(vec![Some(""), Some("Grüße 🦀"), None])),
        ("varchar(5)", "'ab ', NULL", texts(vec![Some("ab "), None])),
        ("char(5)", "'ab', NULL", texts(vec![Some("ab   "), None])),
        ("mood", "'sad', 'happy', NULL", texts(vec![Some("sad"), Some("happy"), None])),
        ("json", "'{\"a\" : 1}', NULL", texts(vec![Some("{\"a\" : 1}"), None])),
        ("jsonb", "'{\"a\" : 1}', NULL", texts(vec![Some("{\"a\": 1}"), None])),
        (
            "uuid",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', NULL",
            texts(vec![Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), None]),
        ),
        (
            "bytea",
            "'\\x00ff', '\\x', NULL",
            Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0_u8, 255][..]), Some(&[][..]), None])),
        ),
        (
            "date",
            "'1970-01-01', '4714-11-24 BC', '5874897-12-31', NULL",
            Arc::new(Date32Array::from(vec![Some(0), Some(-2_440_588), Some(2_145_042_905), None])),
        ),
        (
            "timestamptz",
            "'1970-01-01 00:00:00.000001+00', '2024-07-01 12:00:00+02', '0044-03-15 12:00:00+00 BC', NULL",
            times(vec![Some(1), Some(1_719_828_000_000_000), Some(-63_517_780_800_000_000), None]),
        ),
        (
            "timestamp",
            "'1969-12-31 23:59:59.999999', '2024-07-01 12:00:00', NULL",
            times(vec![Some(-1), Some(1_719_835_200_000_000), None]),
        ),
        (
            "numeric(10,2)",
            "0, 0.01, -12345678.90, 99999999.99, 100, NULL",
            decimals(vec![Some(0), Some(1), Some(-1_234_567_890), Some(9_999_999_999), Some(10_000), None], 10, 2),
        ),
        (
            "numeric(38,0)",
            "99999999999999999999999999999999999999, -10000, NULL",
            decimals(vec![Some(10_i128.pow(38) - 1), Some(-10_000), None], 38, 0),
        ),
        ("numeric(3,-2)", "12300, -99900, NULL", decimals(vec![Some(12_300), Some(-99_900), None], 5, 0)),
        ("numeric(3,5)", "0.00123, NULL", decimals(vec![Some(123), None], 5, 5)),
        (
            "numeric",
            "0.00000000000000000000000000000000000001, 12345678901234567890.5, -1e37, NULL",
            wides(vec![
                Some(i256::ONE),
                Some(i256::from_i128(123_456_789_012_345_678_905).wrapping_mul(power(37))),
                Some(-power(75)),
                None,
            ]),
        ),
        ("positive", "1, 7, NULL", Arc::new(Int32Array::from(vec![Some(1), Some(7), None]))),
        ("price", "1.50, NULL", decimals(vec![Some(150), None], 6, 2)),
        (
            "integer[]",
            "'{1,NULL,3}', '{}', '[5:6]={8,9}', NULL",
            list(vec![Some(vec![Some(1), None, Some(3)]), Some(vec![]), Some(vec![Some(8), Some(9)]), None]),
        ),
        ("positive[]", "'{1,2}', NULL", list(vec![Some(vec![Some(1), Some(2)]), None])),
        (
            "double precision[]",
            "'{0.1,-0,NaN}'",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![
                Some(0.1),
                Some(-0.0),
                Some(f64::NAN),
            ])])),
        ),
    ]
}

fn prepare(world: &World) {
    world.run(
        "CREATE TYPE mood AS ENUM ('sad', 'happy');
         CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
         CREATE DOMAIN price AS numeric(6,2);",
    );
}

#[tokio::test]
async fn every_type_is_read_as_what_it_is() {
    let world = World::new();
    prepare(&world);
    let tables = world.tables();
    for (place, (name, values, expected)) in matrix().into_iter().enumerate() {
        let table = format!("types_{place}");
        let values: Vec<String> =
            // Commas within braces belong to one array.
            split(values).into_iter().map(|value| format!("(CAST({value} AS {name}))")).collect();
        world.run(&format!("CREATE TABLE {table} (x {name}); INSERT INTO {table} VALUES {}", values.join(", ")));
        let read = raw(&tables, &table).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.column(0).data_type(), expected.data_type(), "{name}");
        // Floats by their bits: a NaN is a NaN, and there are two zeros.
        assert_eq!(read.column(0).to_data(), expected.to_data(), "{name}");
    }
}

fn split(values: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, letter) in values.char_indices() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.push(values[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(values[start..].trim());
    parts
}

#[tokio::test]
async fn what_was_read_can_be_written_and_is_the_same_again() {
    let world = World::new();
    prepare(&world);
    let tables = world.tables();
    for (place, (name, _, values)) in matrix().into_iter().enumerate() {
        // The check of a domain is no matter of types, and lists must not have nulls in them.
        if name.starts_with("positive") || name == "integer[]" {
            continue;
        }
        let table = format!("written_{place}");
        world.run(&format!("CREATE TABLE {table} (x {name})"));
        let rows = batch(vec![("x", Arc::clone(&values))]);
        tables.append(&table, &stored(&table), "one", &rows).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let read = raw(&tables, &table).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.column(0).to_data(), values.to_data(), "{name}");
    }
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_by_whoever_reads_it() {
    let world = World::new();
    world.run(
        "CREATE TABLE odd (x bigint, span interval, at_time time, point point, ip inet, bits bit(3), huge numeric(80,2),
                           words tsvector, t timestamptz);
         INSERT INTO odd (x, t) VALUES (7, to_timestamp(1))",
    );
    let store = world.store();
    assert_eq!(integers(&store, &source("odd"), &columns(&[("x", Scalar::Int64)])).await, [7]);
    for (column, name) in [
        ("span", "interval"),
        ("at_time", "time without time zone"),
        ("point", "point"),
        ("ip", "inet"),
        ("bits", "bit(3)"),
        ("huge", "numeric(80,2)"),
        ("words", "tsvector"),
    ] {
        let error = read(&store, &source("odd"), &columns(&[(column, Scalar::String)])).await.expect_err(column);
        let expected = format!(
            "source odd cannot be read: column {column} is of type {name}, which is not read; cast it in a view, such \
             as \"{column}\"::text"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_value_that_nothing_here_can_hold_is_refused_with_its_column() {
    let world = World::new();
    let tables = world.tables();
    for (place, (name, value, because)) in [
        ("timestamptz", "'infinity'", "holds an infinite time"),
        ("timestamp", "'-infinity'", "holds an infinite time"),
        ("date", "'infinity'", "holds an infinite date"),
        ("timestamptz", "'294276-12-31'", "holds a time that is out of range"),
        ("numeric(10,2)", "'NaN'", "is not a finite number"),
        ("numeric", "'Infinity'", "is not a finite number"),
        ("numeric", "1e-39", "more than 38 digits behind the point"),
        ("numeric", "1.000000000000000000000000000000000000000000000001", "more than 38 digits behind the point"),
        ("numeric", "1e38", "too many digits"),
        ("numeric", "1e100", "too many digits"),
        ("integer[]", "'{{1,2},{3,4}}'", "has an array of 2 dimensions"),
        ("date[]", "'{2024-01-01,infinity}'", "holds an infinite date"),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("wrong_{place}");
        world.run(&format!("CREATE TABLE {table} (bad {name}); INSERT INTO {table} VALUES ({value}::{name})"));
        let error = raw(&tables, &table).await.expect_err(value);
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        let start = format!("source {table} cannot be read: column bad ");
        assert!(error.to_string().starts_with(&start) && error.to_string().contains(because), "{value}: {error}");
    }
}

#[tokio::test]
async fn an_infinite_event_time_is_refused_where_it_is_asked_for() {
    let world = World::new();
    world.run(
        "CREATE TABLE ages (x bigint, t timestamptz);
         INSERT INTO ages VALUES (1, 'infinity'), (2, '-infinity'), (3, to_timestamp(5)), (4, NULL)",
    );
    let (store, ages, wanted) = (world.store(), source("ages"), columns(&[("x", Scalar::Int64)]));
    let range = |from, until| Scan { from, until, ..wanted.clone() };
    assert_eq!(integers(&store, &ages, &range(Some(0), Some(10_000_000))).await, [3]);
    for scan in [wanted.clone(), range(None, Some(0)), range(Some(6_000_000), None)] {
        let error = read(&store, &ages, &scan).await.expect_err("it has no such time");
        assert_eq!(
            error.to_string(),
            "source ages cannot be read: column t holds an infinite time; leave such rows out in a view, or make the \
             time null there"
        );
    }
}

#[tokio::test]
async fn a_value_that_the_table_cannot_hold_is_refused_and_nothing_is_written() {
    let world = World::new();
    world.run(
        "CREATE TABLE narrow (small smallint, short varchar(2), id uuid, at timestamptz, day date, price numeric(4,2),
                              needed bigint NOT NULL DEFAULT 1)",
    );
    let tables = world.tables();
    let wrong: Vec<(&str, ArrayRef, &str)> = vec![
        ("small", Arc::new(Int64Array::from(vec![1, 40_000])), "column small, row 1: 40000 is no smallint"),
        ("small", Arc::new(Float64Array::from(vec![0.5])), "0.5 is not a whole number"),
        ("small", Arc::new(StringArray::from(vec!["1"])), "column small, smallint in the table"),
        ("short", Arc::new(StringArray::from(vec!["abc"])), "value too long"),
        ("short", Arc::new(StringArray::from(vec!["a\0"])), "invalid byte sequence"),
        ("id", Arc::new(StringArray::from(vec!["a0eebc99"])), "\"a0eebc99\" is no uuid"),
        ("at", times(vec![Some(i64::MAX)]), "PostgreSQL has no such time"),
        ("day", Arc::new(Date32Array::from(vec![i32::MIN])), "PostgreSQL has no such date"),
        ("price", decimals(vec![Some(12_345)], 5, 2), "numeric field overflow"),
        ("price", Arc::new(Float64Array::from(vec![1.5])), "a float is not written as a numeric"),
        ("needed", Arc::new(Int64Array::from(vec![None])), "null value in column"),
    ];
    for (column, values, because) in wrong {
        let rows = batch(vec![(column, values)]);
        let error = tables.append("narrow", &stored("narrow"), because, &rows).await.expect_err(because);
        assert!(matches!(error, Error::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains(because), "{because}: {error}");
    }
    assert_eq!(world.run("SELECT count(*) FROM narrow"), "0");
    assert_eq!(world.run("SELECT to_regclass('lockstep_batches') IS NULL"), "t");
}

proptest! {
    #[test]
    fn a_numeric_is_the_same_after_a_round_trip(digits in any::<i128>(), cut in 0_u32..38, scale in 0_i8..39) {
        let digits = digits / 10_i128.pow(cut);
        let mut sent = Vec::new();
        numeric::encode(digits, scale, &mut sent).expect("it fits");
        prop_assert_eq!(numeric::decode(&sent[4..], scale), Ok(digits));
        let (wide, mut again) = (i256::from_i128(digits), Vec::new());
        numeric::encode(wide, scale, &mut again).expect("it fits");
        prop_assert_eq!(&sent, &again);
        prop_assert_eq!(numeric::decode_wide(&again[4..], 76, scale), Ok(wide));
    }

    #[test]
    fn bytes_that_are_no_numeric_are_an_error_and_no_more(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = numeric::decode(&bytes, 2);
        let _ = numeric::decode_wide(&bytes, 76, 38);
    }
}
