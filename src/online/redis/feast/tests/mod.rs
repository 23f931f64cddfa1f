//! Keys and values against what Feast 0.67.0 wrote, and round trips of everything else.

mod peer;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListBuilder,
    StringArray, StringBuilder,
};
use proptest::prelude::*;
use serde::Deserialize;

use super::super::Rows;
use super::super::columns::{ColumnBuilder, SourceColumn, source_columns};
use super::super::fields::Keys;
use super::super::settings::Expiry;
use super::key::{KeyShape, KeyVersion};
use super::{field, value};
use crate::batch::{KeyBatch, KeyColumns, timestamps};
use crate::catalog::{DType, Field, Scalar};
use crate::online::conformance::view_of;
use crate::online::samples;

#[derive(Deserialize)]
struct KeyGolden {
    name: String,
    join_keys: Vec<String>,
    values: Vec<TypedValue>,
    project: String,
    redis_key_v2_hex: String,
    redis_key_v3_hex: String,
}

#[derive(Deserialize)]
struct TypedValue {
    r#type: String,
    value: serde_json::Value,
}

impl TypedValue {
    fn dtype(&self) -> DType {
        DType::One(match self.r#type.as_str() {
            "int32_val" => Scalar::Int32,
            "int64_val" => Scalar::Int64,
            "string_val" => Scalar::String,
            "bytes_val" => Scalar::Bytes,
            "unix_timestamp_val" => Scalar::Timestamp,
            other => panic!("{other}"),
        })
    }

    fn array(&self) -> ArrayRef {
        let number = || self.value.as_i64().unwrap();
        let text = || self.value.as_str().unwrap();
        match self.dtype() {
            DType::One(Scalar::Int32) => Arc::new(Int32Array::from(vec![number() as i32])),
            DType::One(Scalar::Int64) => Arc::new(Int64Array::from(vec![number()])),
            DType::One(Scalar::String) => Arc::new(StringArray::from(vec![text()])),
            DType::One(Scalar::Bytes) => Arc::new(BinaryArray::from(vec![from_base64(text()).as_slice()])),
            _ => Arc::new(timestamps(vec![Some(number() * 1_000_000)])),
        }
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn golden<T: for<'a> Deserialize<'a>>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn keys_are_those_that_feast_makes_and_are_read_back() {
    let goldens: Vec<KeyGolden> = golden(include_str!("../../../../../tests/golden/feast/entity_keys.json"));
    assert_eq!(goldens.len(), 13);
    for golden in goldens {
        let without_entity = golden.name == "dummy";
        let keys = golden.join_keys.iter().zip(&golden.values).filter(|_| !without_entity);
        let keys: Vec<(&str, DType)> = keys.map(|(name, value)| (name.as_str(), value.dtype())).collect();
        let view = view_of("any", &keys, &[]);
        let columns: Vec<ArrayRef> = golden.values.iter().take(keys.len()).map(TypedValue::array).collect();
        let encoded = KeyBatch::encode(&view.join_keys, &columns, 1);
        for (version, expected) in
            [(KeyVersion::Two, &golden.redis_key_v2_hex), (KeyVersion::Three, &golden.redis_key_v3_hex)]
        {
            let shape = KeyShape::of(&view, &golden.project, version).unwrap();
            let written = shape.write(encoded.get(0)).unwrap();
            assert_eq!(&hex::encode(&written), expected, "{}", golden.name);
            let mut read = KeyColumns::new(&view.join_keys);
            assert!(shape.read(&written, &mut read), "{}", golden.name);
            assert_eq!(read.finish(), columns, "{}", golden.name);
        }
    }
}

#[test]
fn a_key_of_another_project_or_other_join_keys_is_not_read() {
    let view = view_of("any", &[("driver_id", DType::One(Scalar::Int64))], &[]);
    let key = KeyBatch::encode(&view.join_keys, &[Arc::new(Int64Array::from(vec![7]))], 1);
    let other = |keys: &[(&str, DType)], project: &str| {
        let view = view_of("any", keys, &[]);
        (KeyShape::of(&view, project, KeyVersion::Three).unwrap(), KeyColumns::new(&view.join_keys))
    };
    let int64 = DType::One(Scalar::Int64);
    let written = other(&[("driver_id", int64)], "proj_a").0.write(key.get(0)).unwrap();
    let read = |(shape, mut columns): (KeyShape, KeyColumns)| shape.read(&written, &mut columns);
    assert!(read(other(&[("driver_id", int64)], "proj_a")));
    assert!(!read(other(&[("driver_id", int64)], "a")), "the end of a project's name is another project");
    assert!(!read(other(&[("driver_id", int64)], "my_proj_a")));
    assert!(!read(other(&[("driver_id", DType::One(Scalar::Int32))], "proj_a")));
    assert!(!read(other(&[("driver", int64)], "proj_a")));
    assert!(!read(other(&[("driver_id", int64), ("x", int64)], "proj_a")));
    assert!(!read(other(&[], "proj_a")));
}

#[test]
fn a_key_with_a_part_of_a_second_is_no_key_of_feast() {
    let view = view_of("any", &[("at", DType::TIMESTAMP)], &[]);
    let shape = KeyShape::of(&view, "p", KeyVersion::Three).unwrap();
    let keys = KeyBatch::encode(&view.join_keys, &[Arc::new(timestamps(vec![Some(1), Some(-2_000_000)]))], 2);
    assert_eq!(shape.write(keys.get(0)), None);
    let mut columns = KeyColumns::new(&view.join_keys);
    assert!(shape.read(&shape.write(keys.get(1)).unwrap(), &mut columns));
    assert_eq!(columns.finish(), [Arc::new(timestamps(vec![Some(-2_000_000)])) as ArrayRef]);
}

#[test]
fn join_keys_that_feast_cannot_have_are_refused() {
    for scalar in [Scalar::Bool, Scalar::Date] {
        let view = view_of("any", &[("k", DType::One(scalar))], &[]);
        let refused = KeyShape::of(&view, "p", KeyVersion::Three).unwrap_err();
        assert!(refused.starts_with(&format!("join key k is {}", scalar.name())), "{refused}");
    }
}

#[derive(Deserialize)]
struct ValueGolden {
    value_type: String,
    proto_hex: String,
    json: serde_json::Value,
}

/// The column of one row that a golden value stands for; none where no feature of ours has its type.
fn golden_column(golden: &ValueGolden) -> Option<(DType, ArrayRef)> {
    let json = &golden.json;
    let number = |json: &serde_json::Value| match json.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => json.as_f64().unwrap(),
    };
    let integers = || json.as_array().unwrap().iter().map(|item| item.as_i64().unwrap());
    let texts = || json.as_array().unwrap().iter().map(|item| item.as_str().unwrap());
    let list = |items: ArrayRef, scalar: Scalar| {
        let arrow::datatypes::DataType::List(field) = DType::List(scalar).arrow() else { unreachable!() };
        let ends = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
        (DType::List(scalar), Arc::new(arrow::array::ListArray::new(field, ends, items, None)) as ArrayRef)
    };
    let one = |scalar: Scalar, array: ArrayRef| (DType::One(scalar), array);
    Some(match golden.value_type.as_str() {
        "INT32" => one(Scalar::Int32, Arc::new(Int32Array::from(vec![json.as_i64().unwrap() as i32]))),
        "INT64" => one(Scalar::Int64, Arc::new(Int64Array::from(vec![json.as_i64().unwrap()]))),
        "FLOAT" if json.is_null() => one(Scalar::Float32, Arc::new(Float32Array::from(vec![None]))),
        "FLOAT" => one(Scalar::Float32, Arc::new(Float32Array::from(vec![number(json) as f32]))),
        "DOUBLE" => one(Scalar::Float64, Arc::new(Float64Array::from(vec![number(json)]))),
        "STRING" | "JSON" | "UUID" | "TIME_UUID" | "DECIMAL" => {
            one(Scalar::String, Arc::new(StringArray::from(vec![json.as_str().unwrap()])))
        }
        "ANY" => one(Scalar::String, Arc::new(StringArray::from(vec![None::<&str>]))),
        "BYTES" => {
            let bytes = from_base64(json.as_str().unwrap());
            one(Scalar::Bytes, Arc::new(BinaryArray::from(vec![bytes.as_slice()])))
        }
        "BOOL" => one(Scalar::Bool, Arc::new(BooleanArray::from(vec![json.as_bool().unwrap()]))),
        "UNIX_TIMESTAMP" => {
            one(Scalar::Timestamp, Arc::new(timestamps(vec![Some(json.as_i64().unwrap() * 1_000_000)])))
        }
        "INT32_LIST" => list(Arc::new(Int32Array::from_iter_values(integers().map(|item| item as i32))), Scalar::Int32),
        "INT64_LIST" | "INT64_SET" => list(Arc::new(Int64Array::from_iter_values(integers())), Scalar::Int64),
        "FLOAT_LIST" => {
            let items = json.as_array().unwrap().iter().map(|item| number(item) as f32);
            list(Arc::new(Float32Array::from_iter_values(items)), Scalar::Float32)
        }
        "DOUBLE_LIST" => {
            let items = json.as_array().unwrap().iter().map(number);
            list(Arc::new(Float64Array::from_iter_values(items)), Scalar::Float64)
        }
        "STRING_LIST" | "STRING_SET" | "JSON_LIST" | "UUID_LIST" | "DECIMAL_LIST" => {
            list(Arc::new(StringArray::from_iter_values(texts())), Scalar::String)
        }
        "BYTES_LIST" => list(Arc::new(BinaryArray::from_iter_values(texts().map(from_base64))), Scalar::Bytes),
        "BOOL_LIST" => {
            let items: Vec<bool> = json.as_array().unwrap().iter().map(|item| item.as_bool().unwrap()).collect();
            list(Arc::new(BooleanArray::from(items)), Scalar::Bool)
        }
        "UNIX_TIMESTAMP_LIST" => {
            let times = timestamps(integers().map(|seconds| Some(seconds * 1_000_000)).collect());
            list(Arc::new(times), Scalar::Timestamp)
        }
        _ => return None,
    })
}

fn written(field: &Field, array: &ArrayRef, row: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    value::write(&SourceColumn::of(field, array).unwrap(), row, &mut bytes).map(|()| bytes)
}

fn read(field: &Field, values: &[&[u8]]) -> Result<ArrayRef, String> {
    let mut column = ColumnBuilder::new(field, values.len());
    for bytes in values {
        value::read(bytes, &mut column)?;
    }
    Ok(column.finish())
}

#[test]
fn values_are_those_that_feast_writes_and_are_read_back() {
    let goldens: Vec<ValueGolden> = golden(include_str!("../../../../../tests/golden/feast/values.json"));
    assert_eq!(goldens.len(), 44);
    let (mut both_ways, mut only_read, mut refused) = (0, 0, 0);
    for golden in goldens {
        let bytes = hex::decode(&golden.proto_hex).unwrap();
        let Some((dtype, array)) = golden_column(&golden) else {
            refused += 1;
            for scalar in [Scalar::String, Scalar::Int64, Scalar::Bytes] {
                for dtype in [DType::One(scalar), DType::List(scalar)] {
                    let error = read(&Field::new("f", dtype), &[&bytes]).unwrap_err();
                    let name = golden.value_type.trim_start_matches("VALUE_");
                    assert_eq!(error, format!("is of Feast's type {name}, not {dtype}"));
                }
            }
            continue;
        };
        let field = Field::new("f", dtype);
        assert_eq!(&read(&field, &[&bytes]).unwrap(), &array, "{}", golden.value_type);
        let plain = ["SET", "JSON", "UUID", "DECIMAL"].iter().all(|word| !golden.value_type.contains(word));
        if plain {
            both_ways += 1;
            assert_eq!(hex::encode(written(&field, &array, 0).unwrap()), golden.proto_hex, "{}", golden.value_type);
        } else {
            only_read += 1;
        }
    }
    assert_eq!((both_ways, only_read, refused), (27, 9, 8));
}

#[test]
fn a_value_of_another_type_is_named() {
    let int64 = written(&Field::new("f", DType::One(Scalar::Int64)), &(Arc::new(Int64Array::from(vec![5])) as _), 0);
    let double = Field::new("f", DType::One(Scalar::Float64));
    assert_eq!(read(&double, &[&int64.unwrap()]).unwrap_err(), "is of Feast's type INT64, not float64");
    let list = Field::new("f", DType::List(Scalar::Float32));
    let mut floats = ListBuilder::new(arrow::array::Float32Builder::new());
    floats.append_value([Some(1.0), Some(2.0)]);
    let bytes = written(&list, &(Arc::new(floats.finish()) as _), 0).unwrap();
    let embedding = Field::new("f", DType::Embedding(3));
    assert_eq!(read(&embedding, &[&bytes]).unwrap_err(), "it has 2 items, not 3");
    assert!(read(&Field::new("f", DType::Embedding(2)), &[&bytes]).is_ok());
}

#[test]
fn the_number_that_feast_writes_for_a_missing_time_is_a_null() {
    let mut bytes = vec![8 << 3];
    prost::encoding::encode_varint(i64::MIN as u64, &mut bytes);
    assert!(read(&Field::new("at", DType::TIMESTAMP), &[&bytes]).unwrap().is_null(0));
}

#[test]
fn lists_are_read_packed_and_item_by_item() {
    // Field 14, a list of two fields 1: 5 and 6, each by itself.
    let bytes = [14 << 3 | 2, 4, 1 << 3, 5, 1 << 3, 6];
    let list = read(&Field::new("f", DType::List(Scalar::Int64)), &[&bytes]).unwrap();
    let mut expected = ListBuilder::new(arrow::array::Int64Builder::new());
    expected.append_value([Some(5), Some(6)]);
    assert_eq!(&*list, &expected.finish() as &dyn Array);
}

#[test]
fn a_list_with_a_null_and_a_time_with_a_fraction_are_refused() {
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value([Some("a"), None]);
    let list = Field::new("words", DType::List(Scalar::String));
    let refused = written(&list, &(Arc::new(texts.finish()) as _), 0).unwrap_err();
    assert_eq!(refused, "a list of feature words has a null among its items");
    let refused = written(&Field::new("at", DType::TIMESTAMP), &(Arc::new(timestamps(vec![Some(5)])) as _), 0);
    assert!(refused.unwrap_err().starts_with("feature at: Feast keeps timestamps in whole seconds"));
}

/// Times whose fraction is cut off, as Feast's are.
fn whole_seconds(array: &ArrayRef) -> ArrayRef {
    let data = array.to_data();
    let cut = |data: &arrow::array::ArrayData| -> arrow::array::ArrayData {
        let array = arrow::array::make_array(data.clone());
        let times = arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampMicrosecondType>(&*array);
        times
            .unary::<_, arrow::datatypes::TimestampMicrosecondType>(|time| time / 1_000_000 * 1_000_000)
            .with_timezone("UTC")
            .into_data()
    };
    let is_time = |dtype: &arrow::datatypes::DataType| matches!(dtype, arrow::datatypes::DataType::Timestamp(..));
    match data.data_type() {
        dtype if is_time(dtype) => arrow::array::make_array(cut(&data)),
        arrow::datatypes::DataType::List(item) if is_time(item.data_type()) => {
            let items = cut(&data.child_data()[0]);
            arrow::array::make_array(data.into_builder().child_data(vec![items]).build().unwrap())
        }
        _ => Arc::clone(array),
    }
}

proptest! {
    #[test]
    fn every_value_comes_back((view, rows) in samples::views_with_rows(3)) {
        let mut rows = rows;
        rows.features = rows.features.iter().map(whole_seconds).collect();
        for (column, array) in source_columns(&view, &rows).unwrap().iter().zip(&rows.features) {
            if value::check(column.field.dtype).is_err() {
                continue;
            }
            let mut builder = ColumnBuilder::new(column.field, 3);
            for row in 0..3 {
                let mut bytes = Vec::new();
                value::write(column, row, &mut bytes).unwrap();
                value::read(&bytes, &mut builder).unwrap();
            }
            prop_assert_eq!(&builder.finish(), array);
        }
    }

    #[test]
    fn a_value_that_is_cut_off_is_no_value(array in samples::column(DType::List(Scalar::String), 1), cut in any::<prop::sample::Index>()) {
        let field = Field::new("f", DType::List(Scalar::String));
        let bytes = written(&field, &array, 0).unwrap();
        if bytes.len() > 1 {
            let cut = 1 + cut.index(bytes.len() - 1);
            prop_assert!(read(&field, &[&bytes[..cut]]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), dtype in samples::dtypes()) {
        let field = Field::new("f", dtype);
        if let Ok(column) = read(&field, &[&bytes]) {
            prop_assert_eq!(column.len(), 1);
        }
        value::read_time(&bytes);
    }

    #[test]
    fn every_time_comes_back(micros in any::<i64>()) {
        let mut bytes = Vec::new();
        value::write_time(micros, &mut bytes);
        prop_assert_eq!(value::read_time(&bytes), Some(micros));
    }
}

#[test]
fn features_whose_32_bit_hashes_collide_are_refused_with_both_names() {
    let mut met: HashMap<[u8; 4], String> = HashMap::new();
    let named = |view: &str| {
        let view = view.to_owned();
        (0..200_000).map(move |number| (view.clone(), format!("f{number}")))
    };
    let mut collisions = named("v").chain(named("w")).filter_map(|(view, feature)| {
        let name = format!("{view}:{feature}");
        met.insert(field::feature_field(&view, &feature), name.clone()).map(|first| (first, name))
    });
    let is_within = |(one, two): &(String, String)| one[..1] == two[..1];
    let within = collisions.find(is_within).expect("some names of so many have one hash");
    let across = collisions.find(|pair| !is_within(pair)).expect("of two views too");
    let check = |names: &[&str], join_key: &str| {
        let views = names.iter().map(|name| {
            let (view, feature) = name.split_once(':').unwrap();
            view_of(view, &[(join_key, DType::One(Scalar::Int64))], &[(feature, DType::One(Scalar::Int64))])
        });
        let views: Vec<_> = views.collect();
        let rows = super::rows("p", KeyVersion::Three, "", Expiry::default());
        rows.check(&views).map_err(|error| error.to_string())
    };
    let (one, two) = (across.0.as_str(), across.1.as_str());
    let error = check(&[one, two], "user").unwrap_err();
    let expected = format!("feature {} and feature {} of v have the same field", &two[2..], &one[2..]);
    assert!(error.contains(&expected), "{error}");
    let view = view_of(
        "v",
        &[("user", DType::One(Scalar::Int64))],
        &[(&within.0[2..], DType::One(Scalar::Int64)), (&within.1[2..], DType::One(Scalar::Int64))],
    );
    let view = Arc::new(crate::online::OnlineView { name: within.0[..1].to_owned(), ..(*view).clone() });
    let error = super::rows("p", KeyVersion::Three, "", Expiry::default()).check(&[view]).unwrap_err().to_string();
    assert!(error.contains(&format!("feature {} and feature {} have", &within.1[2..], &within.0[2..])), "{error}");
    let (one, item) = (check(&[one], "user"), check(&[two], "item"));
    assert_eq!((one, item), (Ok(()), Ok(())), "what does not share a hash may collide");
}

#[derive(Deserialize)]
struct DumpedHash {
    key_hex: String,
    fields: std::collections::BTreeMap<String, String>,
}

#[test]
fn a_hash_that_feast_wrote_is_read_field_by_field() {
    let dump: Vec<DumpedHash> = golden(include_str!("../../../../../tests/golden/feast/redis_dump.json"));
    let (int, float) = (DType::One(Scalar::Int64), DType::One(Scalar::Float32));
    let features = [("conv_rate", float), ("acc_rate", float), ("avg_daily_trips", int)];
    let view = view_of("driver_hourly_stats", &[("driver_id", int)], &features);
    let shape = KeyShape::of(&view, "proj_a", KeyVersion::Three).unwrap();
    let mut rows = Vec::new();
    for hash in &dump {
        let key = hex::decode(&hash.key_hex).unwrap();
        let mut ids = KeyColumns::new(&view.join_keys);
        let time = hash.fields.get(&hex::encode(field::timestamp_field(&view.name)));
        let (true, Some(time)) = (shape.read(&key, &mut ids), time) else { continue };
        let numbers = view.features.iter().map(|feature| {
            let bytes =
                hex::decode(&hash.fields[&hex::encode(field::feature_field(&view.name, &feature.name))]).unwrap();
            let column = read(feature, &[&bytes]).unwrap();
            arrow::util::display::array_value_to_string(&column, 0).unwrap()
        });
        let numbers = numbers.collect::<Vec<_>>().join(" ");
        let id = arrow::util::display::array_value_to_string(&ids.finish()[0], 0).unwrap();
        rows.push((id, value::read_time(&hex::decode(time).unwrap()).unwrap(), numbers));
    }
    expect_test::expect![[r#"
        ("6001", 1795154400000000, "0.25 0.5 6")
        ("5002", 1795150800000000, "0.5  4")
        ("1001", 1795140000000000, "0.875 0.5 777")
        ("1002", 1795140000000000, "0.75 0.5 1202")
    "#]]
    .assert_eq(&rows.iter().map(|row| format!("{row:?}\n")).collect::<String>());
}
