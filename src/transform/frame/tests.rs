//! Frames: round trips, one form only, hostile bytes, and the vectors that guest SDKs share.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::transform::tests::values::{array_of, json_of};

const BYTES_MAX: usize = 1 << 20;

const TYPES: [&str; 16] = [
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "string",
    "bytes",
    "timestamp",
    "date",
    "list<float32, 3>",
    "list<bool>",
    "list<int32>",
    "list<int64>",
    "list<float32>",
    "list<float64>",
    "list<timestamp>",
];

fn column(name: &str, dtype: &str) -> Column {
    Column::new(Field::new(name, dtype.parse().unwrap())).unwrap()
}

fn written(columns: &[Column], arrays: &[ArrayRef]) -> Vec<u8> {
    let mut frame = Vec::new();
    write(columns, arrays, 0..arrays[0].len(), BYTES_MAX, &mut frame).unwrap();
    frame
}

/// A value of a type as JSON, never null.
fn value(dtype: DType) -> BoxedStrategy<Value> {
    let float64 = prop_oneof![any::<f64>().prop_map(json_of), Just(json!("NaN")), Just(json!("-0"))];
    let float32 = any::<f32>().prop_map(|value| json_of(f64::from(value)));
    match dtype {
        DType::One(Scalar::Bool) => any::<bool>().prop_map(Value::from).boxed(),
        DType::One(Scalar::Int32 | Scalar::Date) => any::<i32>().prop_map(Value::from).boxed(),
        DType::One(Scalar::Int64 | Scalar::Timestamp) => any::<i64>().prop_map(Value::from).boxed(),
        DType::One(Scalar::Float32) => float32.boxed(),
        DType::One(Scalar::Float64) => float64.boxed(),
        DType::One(Scalar::String) => ".{0,12}".prop_map(Value::from).boxed(),
        DType::One(Scalar::Bytes) => {
            prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| json!(hex::encode(bytes))).boxed()
        }
        DType::Embedding(width) => prop::collection::vec(float32, width as usize).prop_map(Value::from).boxed(),
        DType::List(item) => prop::collection::vec(value(DType::One(item)), 0..5).prop_map(Value::from).boxed(),
    }
}

/// A type, and rows of it, some of them null.
fn rows() -> impl Strategy<Value = (DType, Vec<Value>)> {
    let dtype = prop::sample::select(TYPES.to_vec()).prop_map(|dtype| dtype.parse::<DType>().unwrap());
    dtype.prop_flat_map(|dtype| {
        let cell = prop_oneof![4 => value(dtype), 1 => Just(Value::Null)];
        (Just(dtype), prop::collection::vec(cell, 0..40))
    })
}

/// The same values in an array that holds them otherwise: within a larger one, and with values under its nulls.
fn held_otherwise(dtype: DType, values: &[Value]) -> ArrayRef {
    let other = values.iter().find(|value| !value.is_null()).cloned();
    let Some(other) = other else { return array_of(dtype, values) };
    let mut padded = vec![other.clone(); 3];
    padded.extend(values.iter().map(|value| if value.is_null() { other.clone() } else { value.clone() }));
    padded.push(other);
    let valid: BooleanBuffer =
        (0..padded.len()).map(|row| row < 3 || values.get(row - 3).is_none_or(|value| !value.is_null())).collect();
    let data = array_of(dtype, &padded).to_data().into_builder().nulls(Some(NullBuffer::new(valid)));
    make_array(data.build().unwrap()).slice(3, values.len())
}

proptest! {
    #[test]
    fn what_is_written_is_read_again((dtype, values) in rows()) {
        let columns = [Column::new(Field::new("x", dtype)).unwrap()];
        let array = array_of(dtype, &values);
        let frame = written(&columns, &[Arc::clone(&array)]);
        let again = read(&columns, frame.clone(), values.len(), None).unwrap().remove(0);
        again.to_data().validate_full().unwrap();
        prop_assert_eq!(again.data_type(), array.data_type());
        prop_assert_eq!(&again, &array);
        prop_assert_eq!(written(&columns, &[again]), frame);
    }

    #[test]
    fn equal_values_have_equal_bytes((dtype, values) in rows()) {
        let columns = [Column::new(Field::new("x", dtype)).unwrap()];
        let plain = written(&columns, &[array_of(dtype, &values)]);
        prop_assert_eq!(written(&columns, &[held_otherwise(dtype, &values)]), plain);
    }

    #[test]
    fn a_part_of_the_rows_is_written_like_these_rows_alone((dtype, values) in rows(), cut in any::<prop::sample::Index>()) {
        let columns = [Column::new(Field::new("x", dtype)).unwrap()];
        let start = cut.index(values.len() + 1);
        let mut frame = Vec::new();
        write(&columns, &[array_of(dtype, &values)], start..values.len(), BYTES_MAX, &mut frame).unwrap();
        prop_assert_eq!(frame, written(&columns, &[array_of(dtype, &values[start..])]));
    }

    #[test]
    fn rows_that_are_not_kept_come_out_null_and_canonical((dtype, values) in rows(), seed in any::<u64>()) {
        let columns = [Column::new(Field::new("x", dtype)).unwrap()];
        let is_kept = |row: usize| seed >> (row % 64) & 1 == 1;
        let keep: BooleanBuffer = (0..values.len()).map(is_kept).collect();
        let frame = written(&columns, &[array_of(dtype, &values)]);
        let read = read(&columns, frame, values.len(), Some(&keep)).unwrap().remove(0);
        let wanted: Vec<Value> =
            values.iter().enumerate().map(|(row, value)| if is_kept(row) { value.clone() } else { Value::Null }).collect();
        let wanted = array_of(dtype, &wanted);
        let (is, said) = (read.to_data(), wanted.to_data());
        prop_assert_eq!(is.buffers(), said.buffers());
        prop_assert_eq!(&read, &wanted);
    }

    #[test]
    fn damaged_frames_are_refused_or_read_but_never_panic(
        (dtype, values) in rows(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keeps in any::<prop::sample::Index>(),
        rows_claimed in prop_oneof![3 => Just(None), 1 => (0_usize..100).prop_map(Some)],
    ) {
        let columns = [Column::new(Field::new("x", dtype)).unwrap(), column("y", "string")];
        let y = array_of("string".parse().unwrap(), &vec![json!("grüße"); values.len()]);
        let mut frame = written(&columns, &[array_of(dtype, &values), y]);
        for (place, byte) in flips {
            let place = place.index(frame.len());
            frame[place] = byte;
        }
        frame.truncate(frame.len() - keeps.index(frame.len() * 2).saturating_sub(frame.len()));
        if let Ok(arrays) = read(&columns, frame, rows_claimed.unwrap_or(values.len()), None) {
            for array in arrays {
                array.to_data().validate_full().unwrap();
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend(bytes);
        let _ = read(&[column("x", "list<bool>")], frame, 3, None);
    }
}

#[test]
fn nans_have_one_form_and_minus_zero_stays() {
    let columns = [column("x", "float64"), column("y", "float32")];
    let x = arrow::array::Float64Array::from(vec![f64::from_bits(0xfff0_0000_0000_0001), -0.0]);
    let y = arrow::array::Float32Array::from(vec![f32::from_bits(0xffc0_0001), -0.0]);
    let frame = written(&columns, &[Arc::new(x), Arc::new(y)]);
    let values = HEADER_BYTES + 2 * DESCRIPTOR_BYTES;
    assert_eq!(frame[values..values + 8], 0x7ff8_0000_0000_0000_u64.to_le_bytes());
    assert_eq!(frame[values + 8..values + 16], (-0.0_f64).to_le_bytes());
    assert_eq!(frame[values + 16..values + 20], 0x7fc0_0000_u32.to_le_bytes());

    // A guest's NaN with another payload comes out as the canonical one.
    let mut from_guest = frame;
    from_guest[values] = 0xff;
    let read = read(&columns, from_guest, 2, None).unwrap();
    let bits = read[0].as_primitive::<arrow::datatypes::Float64Type>().value(0).to_bits();
    assert_eq!(bits, 0x7ff8_0000_0000_0000);
}

#[test]
fn a_null_in_a_column_that_takes_none_is_refused() {
    let array = array_of("int32".parse().unwrap(), &[json!(1), Value::Null]);
    let frame = written(&[column("x", "int32")], &[array]);
    let strict = Column { field: Field { nullable: false, ..column("x", "int32").field }, ..column("x", "int32") };
    assert_eq!(read(&[strict], frame, 2, None), Err(BadFrame::Nulls("x".to_owned())));
}

#[test]
fn a_null_item_of_a_list_is_refused_unless_its_row_is_null() {
    let mut lists = arrow::array::ListBuilder::new(arrow::array::Int32Builder::new());
    lists.append_value([Some(1), None]);
    let array: ArrayRef = Arc::new(lists.finish());
    let columns = [column("x", "list<int32>")];
    let refused = write(&columns, &[Arc::clone(&array)], 0..1, BYTES_MAX, &mut Vec::new());
    assert_eq!(refused, Err(Refused::NullItem { column: 0 }));
    let hidden = array.to_data().into_builder().nulls(Some(NullBuffer::new_null(1))).build().unwrap();
    assert!(write(&columns, &[make_array(hidden)], 0..1, BYTES_MAX, &mut Vec::new()).is_ok());
}

#[test]
fn a_frame_beyond_the_bound_is_refused() {
    let array = array_of("string".parse().unwrap(), &vec![json!("a long enough value"); 100]);
    let refused = write(&[column("x", "string")], &[array], 0..100, 1_000, &mut Vec::new());
    assert_eq!(refused, Err(Refused::TooLarge));
}

#[test]
fn lists_of_strings_are_not_in_frame_1() {
    for dtype in ["list<string>", "list<bytes>", "list<date>"] {
        assert_eq!(Column::new(Field::new("x", dtype.parse().unwrap())), None);
    }
}

/// The vectors: every type with and without nulls, no rows at all, and the edges of floats.
fn vectors() -> Vec<(String, Vec<(String, Vec<Value>)>)> {
    let examples = |dtype: &str| -> Vec<Value> {
        match dtype {
            "bool" => vec![json!(true), json!(false), json!(true)],
            "int32" | "date" => vec![json!(0), json!(i32::MIN), json!(i32::MAX)],
            "int64" | "timestamp" => vec![json!(0), json!(i64::MIN), json!(i64::MAX)],
            "float32" => vec![json!(1.5), json!("-0"), json!("NaN")],
            "float64" => vec![json!("-inf"), json!("-0"), json!("NaN")],
            "string" => vec![json!("Grüße"), json!(""), json!("🚕 taxi")],
            "bytes" => vec![json!("00ff"), json!(""), json!("c328")],
            "list<float32, 3>" => vec![json!([0.0, 1.5, -2.0]), json!(["NaN", "inf", "-0"]), json!([1, 2, 3])],
            "list<bool>" => vec![json!([true, false, true]), json!([]), json!([false, true])],
            "list<float32>" | "list<float64>" => vec![json!([0.5, "NaN"]), json!([]), json!(["-0", "inf", 1])],
            _ => vec![json!([1, -1]), json!([]), json!([7, 8, 9])],
        }
    };
    let mut vectors = Vec::new();
    for dtype in TYPES {
        let name = dtype.replace(", 3", "-3").replace(['<', '>'], "-").trim_end_matches('-').replace("--", "-");
        let values = examples(dtype);
        let mut with_nulls = [values.clone(), values.clone(), values.clone()].concat();
        with_nulls.splice(1..1, [Value::Null, Value::Null]);
        with_nulls.push(Value::Null);
        vectors.push((name.clone(), vec![(dtype.to_owned(), values)]));
        vectors.push((format!("{name}-nulls"), vec![(dtype.to_owned(), with_nulls)]));
    }
    let all = |rows: usize| TYPES.map(|dtype| (dtype.to_owned(), examples(dtype)[..rows].to_vec())).to_vec();
    vectors.push(("all-types".to_owned(), all(3)));
    vectors.push(("no-rows".to_owned(), all(0)));
    vectors
}

#[test]
fn the_vectors_are_what_is_written_and_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("wit/vectors");
    let is_recording = std::env::var_os("LOCKSTEP_RECORD").is_some();
    let mut listed = Vec::new();
    for (name, columns) in vectors() {
        let rows = columns[0].1.len();
        let file = format!("{name}.frame");
        let described: Vec<Value> =
            columns.iter().map(|(dtype, values)| json!({ "type": dtype, "values": values })).collect();
        listed.push(json!({ "file": file, "rows": rows, "columns": described }));
        let arrays: Vec<ArrayRef> =
            columns.iter().map(|(dtype, values)| array_of(dtype.parse().unwrap(), values)).collect();
        let columns: Vec<Column> = columns.iter().map(|(dtype, _)| column("x", dtype)).collect();
        let frame = written(&columns, &arrays);
        if is_recording {
            std::fs::write(folder.join(&file), &frame).unwrap();
        }
        let kept = std::fs::read(folder.join(&file)).unwrap();
        assert_eq!(kept, frame, "{file}");
        assert_eq!(read(&columns, kept, rows, None).unwrap(), arrays, "{file}");
    }
    let lines: Vec<String> = listed.iter().map(|vector| format!("  {vector}")).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if is_recording {
        std::fs::write(folder.join("vectors.json"), &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(folder.join("vectors.json")).unwrap(), text);
}
