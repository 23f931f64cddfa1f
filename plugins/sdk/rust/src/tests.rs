//! The vectors of wit/vectors: each file is read into its values, and the values are written into exactly that file.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bindings::lockstep::transform::types::{Dtype, NullPolicy, Scalar, TimeUse};
use crate::function::Computed;
use crate::glue::{self, BindError, Binding};
use crate::outputs::Output;
use crate::{Column, Failure, FixedValue, Items, Outputs, Rows, Type};

fn kind(name: &str) -> Type {
    match name {
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "float32" => Type::Float32,
        "float64" => Type::Float64,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "date" => Type::Date,
        "list<float32, 3>" => Type::Embedding(3),
        "list<bool>" => Type::BoolList,
        "list<int32>" => Type::Int32List,
        "list<int64>" => Type::Int64List,
        "list<float32>" => Type::Float32List,
        "list<float64>" => Type::Float64List,
        "list<timestamp>" => Type::TimestampList,
        other => panic!("{other}"),
    }
}

fn float(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        value if value.is_infinite() => json!(if value > 0.0 { "inf" } else { "-inf" }),
        value if value == 0.0 && value.is_sign_negative() => json!("-0"),
        value => json!(value),
    }
}

fn hex(bytes: &[u8]) -> Value {
    json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn items<'a, T: FixedValue + 'a>(items: Items<'a, T>, json: impl Fn(T) -> Value) -> Value {
    items.iter().map(json).collect()
}

/// The cell of a column as the vectors write it.
fn cell(rows: &Rows, column: usize, kind: Type, row: usize) -> Result<Value, Failure> {
    let value = match kind {
        Type::Bool => rows.bools(column)?.get(row).map(Value::from),
        Type::Int32 => rows.int32s(column)?.get(row).map(Value::from),
        Type::Int64 => rows.int64s(column)?.get(row).map(Value::from),
        Type::Float32 => rows.float32s(column)?.get(row).map(|value| float(f64::from(value))),
        Type::Float64 => rows.float64s(column)?.get(row).map(float),
        Type::String => rows.strings(column)?.get(row).map(Value::from),
        Type::Bytes => rows.bytes(column)?.bytes(row).map(hex),
        Type::Timestamp => rows.timestamps(column)?.get(row).map(Value::from),
        Type::Date => rows.dates(column)?.get(row).map(Value::from),
        Type::Embedding(_) => rows.embeddings(column)?.get(row).map(|row| items(row, |item| float(f64::from(item)))),
        Type::BoolList => rows.bool_lists(column)?.get(row).map(Value::from),
        Type::Int32List => rows.lists::<i32>(column)?.get(row).map(|row| items(row, Value::from)),
        Type::Int64List | Type::TimestampList => rows.lists::<i64>(column)?.get(row).map(|row| items(row, Value::from)),
        Type::Float32List => rows.lists::<f32>(column)?.get(row).map(|row| items(row, |item| float(f64::from(item)))),
        Type::Float64List => rows.lists::<f64>(column)?.get(row).map(|row| items(row, float)),
    };
    Ok(value.unwrap_or(Value::Null))
}

/// Writes a column of the same values again.
fn copy(rows: &Rows, column: usize, kind: Type, outputs: &mut Outputs) -> Result<(), Failure> {
    let name = "x";
    match kind {
        Type::Bool => outputs.bools(name, |row| rows.bools(column).ok()?.get(row)),
        Type::Int32 => outputs.int32s(name, |row| rows.int32s(column).ok()?.get(row)),
        Type::Int64 => outputs.int64s(name, |row| rows.int64s(column).ok()?.get(row)),
        Type::Float32 => outputs.float32s(name, |row| rows.float32s(column).ok()?.get(row)),
        Type::Float64 => outputs.float64s(name, |row| rows.float64s(column).ok()?.get(row)),
        Type::String => outputs.strings(name, |row| rows.strings(column).ok()?.get(row)),
        Type::Bytes => outputs.bytes(name, |row| rows.bytes(column).ok()?.bytes(row)),
        Type::Timestamp => outputs.timestamps(name, |row| rows.timestamps(column).ok()?.get(row)),
        Type::Date => outputs.dates(name, |row| rows.dates(column).ok()?.get(row)),
        Type::Embedding(_) => {
            outputs.embeddings(name, |row| Some(rows.embeddings(column).ok()?.get(row)?.iter().collect()))
        }
        Type::BoolList => outputs.bool_lists(name, |row| rows.bool_lists(column).ok()?.get(row)),
        Type::Int32List => outputs.lists(name, |row| Some(rows.lists::<i32>(column).ok()?.get(row)?.iter().collect())),
        Type::Int64List | Type::TimestampList => {
            outputs.lists(name, |row| Some(rows.lists::<i64>(column).ok()?.get(row)?.iter().collect()))
        }
        Type::Float32List => {
            outputs.lists(name, |row| Some(rows.lists::<f32>(column).ok()?.get(row)?.iter().collect()))
        }
        Type::Float64List => {
            outputs.lists(name, |row| Some(rows.lists::<f64>(column).ok()?.get(row)?.iter().collect()))
        }
    }
}

fn same(is: &Value, wanted: &Value) -> bool {
    match (is, wanted) {
        (Value::Array(is), Value::Array(wanted)) => {
            is.len() == wanted.len() && is.iter().zip(wanted).all(|(is, wanted)| same(is, wanted))
        }
        // The vectors may write a float without a fraction.
        (Value::Number(is), Value::Number(wanted)) if is.is_f64() => is.as_f64() == wanted.as_f64(),
        _ => is == wanted,
    }
}

#[test]
fn every_vector_is_read_and_written_to_the_byte() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../wit/vectors");
    let text = std::fs::read_to_string(folder.join("vectors.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() >= 34);
    for vector in vectors {
        let file = vector["file"].as_str().unwrap();
        let frame = std::fs::read(folder.join(file)).unwrap();
        let described = vector["columns"].as_array().unwrap();
        let columns: Vec<Column> = described
            .iter()
            .map(|column| Column { name: "x".into(), kind: kind(column["type"].as_str().unwrap()) })
            .collect();
        let rows = Rows::new(&frame, &columns).unwrap();
        assert_eq!(rows.len() as u64, vector["rows"].as_u64().unwrap(), "{file}");
        for (position, column) in columns.iter().enumerate() {
            for (row, wanted) in described[position]["values"].as_array().unwrap().iter().enumerate() {
                let is = cell(&rows, position, column.kind, row).unwrap();
                assert!(same(&is, wanted), "{file}: column {position}, row {row}: {is} instead of {wanted}");
            }
        }
        let declared: Vec<Output> =
            columns.iter().map(|column| Output { column: column.clone(), wanted: true }).collect();
        let mut outputs = Outputs::new(&declared, rows.len());
        for (position, column) in columns.iter().enumerate() {
            copy(&rows, position, column.kind, &mut outputs).unwrap();
        }
        assert_eq!(outputs.finish().unwrap().0, frame, "{file}");
    }
}

#[test]
fn an_output_that_is_not_wanted_is_not_computed() {
    let output =
        |name: &str, wanted| Output { column: Column { name: name.to_owned().into(), kind: Type::Int32 }, wanted };
    let declared = [output("a", false), output("b", true)];
    let mut outputs = Outputs::new(&declared, 1);
    outputs.int32s("a", |_| panic!("computed")).unwrap();
    outputs.int32s("b", |row| Some(row as i32)).unwrap();
    assert!(outputs.finish().is_ok());
}

#[test]
fn outputs_out_of_order_or_left_out_are_refused() {
    let output =
        |name: &str| Output { column: Column { name: name.to_owned().into(), kind: Type::Int32 }, wanted: true };
    let declared = [output("a"), output("b")];
    let mut outputs = Outputs::new(&declared, 1);
    assert!(matches!(outputs.int32s("b", |_| None), Err(Failure::Failed(_))));
    assert!(matches!(outputs.float64s("a", |_| None), Err(Failure::Failed(_))));
    outputs.int32s("a", |_| None).unwrap();
    assert!(matches!(outputs.finish(), Err(Failure::Failed(reason)) if reason == "output b was not written"));
}

#[test]
fn frames_cut_short_are_refused() {
    let columns = [Column { name: "x".into(), kind: Type::String }];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../wit/vectors");
    let frame = std::fs::read(folder.join("string-nulls.frame")).unwrap();
    let read = |frame: &[u8]| Rows::new(frame, &columns).and_then(|rows| rows.strings("x").map(|_| ()));
    assert_eq!(read(&frame), Ok(()));
    for end in 0..frame.len() - 8 {
        assert!(read(&frame[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_mapped_column_has_the_nulls_of_its_input() {
    let columns = [Column { name: "x".into(), kind: Type::Float64 }];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../wit/vectors");
    let declared = [Output { column: columns[0].clone(), wanted: true }];
    for file in ["float64.frame", "float64-nulls.frame"] {
        let frame = std::fs::read(folder.join(file)).unwrap();
        let rows = Rows::new(&frame, &columns).unwrap();
        let mut outputs = Outputs::new(&declared, rows.len());
        outputs.map("x", rows.float64s("x").unwrap(), |value: f64| value).unwrap();
        assert_eq!(outputs.finish().unwrap().0, frame, "{file}");
    }
    let frame = std::fs::read(folder.join("float64.frame")).unwrap();
    let rows = Rows::new(&frame, &columns).unwrap();
    let mut outputs = Outputs::new(&declared, rows.len());
    let of_another_type = outputs.map("x", rows.float64s("x").unwrap(), |value: f64| value as i32);
    assert!(matches!(of_another_type, Err(Failure::Failed(_))));
}

mod label {
    use crate::{Refuse, Timestamp};

    crate::transform! {
        name: "label", version: "1.2.3", doc: "Inputs, request fields, parameters and the time.",
        fn label(
            #[request] hour: i32,
            text: &str,
            as_of: Timestamp,
            #[parameter(default = "at", doc = "Stands before the hour.", valid = !word.is_empty())] word: &str,
            weight: Option<f64>,
            #[parameter(default = 2, doc = "A factor.")] times: i64,
        ) -> Result<Label { label: String, weight: Option<f64> }, Refuse> {
            if !(0..24).contains(&hour) {
                return Err(Refuse::new(1_000, format!("hour {hour} is not between 0 and 23")));
            }
            let label = format!("{text} {word} {hour} of {}", as_of.0);
            Ok(Label { label, weight: weight.map(|weight| weight * times as f64) })
        }
    }

    pub fn described() -> super::glue::Descriptor {
        super::glue::describe::<<Label as super::Computed>::By>()
    }

    pub fn bound(
        params: Vec<(String, super::Scalar)>,
        outputs: &[&str],
    ) -> Result<super::glue::Bound, super::BindError> {
        super::bound::<Label>(params, outputs)
    }
}

fn bound<T: Computed>(params: Vec<(String, Scalar)>, outputs: &[&str]) -> Result<glue::Bound, BindError> {
    let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
    glue::bind::<T::By>(Binding { params, outputs })
}

#[test]
fn a_functions_arguments_become_its_signature() {
    let descriptor = label::described();
    assert_eq!((descriptor.name.as_str(), descriptor.version.as_str()), ("label", "1.2.3"));
    assert!(matches!((descriptor.time, descriptor.nulls), (TimeUse::AsOf, NullPolicy::Handle)));
    let names = |fields: &[crate::bindings::lockstep::transform::types::Field]| {
        fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&descriptor.features), "text weight");
    assert_eq!(names(&descriptor.request), "hour");
    assert_eq!(names(&descriptor.outputs), "label weight");
    let parameters: Vec<_> = descriptor.params.iter().map(|spec| (spec.name.as_str(), spec.dtype)).collect();
    assert!(matches!(parameters[..], [("word", Dtype::Utf8), ("times", Dtype::Int64)]));
    assert!(matches!(&descriptor.params[0].default, Scalar::Utf8(word) if word == "at"));
}

#[test]
fn a_function_refuses_rows_skips_nulls_and_takes_the_nulls_it_asks_for() {
    let words = |word: &str| vec![("word".to_owned(), Scalar::Utf8(word.to_owned()))];
    let bound = label::bound(words("um"), &["label", "weight"]).unwrap();
    let kinds = [("as_of", Type::Timestamp), ("text", Type::String), ("weight", Type::Float64), ("hour", Type::Int32)];
    assert_eq!(bound.inputs.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), kinds.map(|(name, _)| name));
    let column = |(name, kind): (&str, Type)| Column { name: name.to_owned().into(), kind };
    let declared = kinds.map(|kind| Output { column: column(kind), wanted: true });
    let mut rows = Outputs::new(&declared, 4);
    rows.timestamps("as_of", |row| Some(row as i64)).unwrap();
    rows.strings("text", |row| [Some("a"), Some("b"), None, Some("d")][row]).unwrap();
    rows.float64s("weight", |row| [None, Some(1.0), Some(1.0), Some(1.5)][row]).unwrap();
    rows.int32s("hour", |row| Some([8, 24, 9, 23][row])).unwrap();

    let applied = glue::apply(&rows.finish().unwrap().0).unwrap();
    let refused: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code, error.message.as_str())).collect();
    assert_eq!(refused, [(1, 1_000, "hour 24 is not between 0 and 23")]);
    let columns = [("label", Type::String), ("weight", Type::Float64)].map(column);
    let answer = Rows::new(&applied.frame, &columns).unwrap();
    let labels: Vec<_> = (0..4).map(|row| answer.strings("label").unwrap().get(row)).collect();
    assert_eq!(labels, [Some("a um 8 of 0"), None, None, Some("d um 23 of 3")]);
    let weights: Vec<_> = (0..4).map(|row| answer.float64s("weight").unwrap().get(row)).collect();
    assert_eq!(weights, [None, None, None, Some(3.0)]);
}

#[test]
fn a_parameter_that_does_not_fulfil_its_condition_is_refused() {
    let refused = label::bound(vec![("word".to_owned(), Scalar::Utf8(String::new()))], &["label"]);
    let Err(BindError::BadParam((name, reason))) = refused else { panic!("it is bound") };
    assert_eq!((name.as_str(), reason.as_str()), ("word", "\"\" does not fulfil !word.is_empty()"));
    assert!(matches!(label::bound(Vec::new(), &["hour"]), Err(BindError::UnknownOutput(name)) if name == "hour"));
    let wrong = label::bound(vec![("times".to_owned(), Scalar::Float64(1.0))], &["label"]);
    assert!(matches!(wrong, Err(BindError::BadParam((name, _))) if name == "times"));
}
