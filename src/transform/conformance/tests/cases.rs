//! Golden cases: what a file may say, what it may not, and that what is written is read again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::catalog::{DType, Field, NullPolicy, Scalar, Signature, TimeUse};
use crate::transform::input_fields;

/// A plugin with one input of each kind that cases write differently.
fn signature(fields: &[(&str, DType)]) -> Signature {
    Signature {
        name: "example".to_owned(),
        version: "1.0.0".parse().unwrap(),
        doc: String::new(),
        features: fields.iter().map(|(name, dtype)| Field::new(*name, *dtype)).collect(),
        request: Vec::new(),
        outputs: Vec::new(),
        parameters: Vec::new(),
        time: TimeUse::None,
        nulls: NullPolicy::Handle,
        frame_version: 1,
    }
}

fn xy() -> Signature {
    signature(&[("x", DType::One(Scalar::Float64)), ("name", DType::One(Scalar::String))])
}

fn check_refused(text: &str, says: Expect) {
    let refused = match try_case("odd", text) {
        Ok(case) => case.inputs(&xy()).expect_err("the case is wrong"),
        Err(error) => error,
    };
    assert_eq!(refused.kind(), crate::error::ErrorKind::Invalid);
    says.assert_eq(&refused.to_string());
}

#[test]
fn a_case_is_columns_of_values_as_requests_write_them() {
    let case = case(
        "edges",
        r#"{"doc": "d", "parameters": {"most": 5}, "inputs": {"name": ["a", null, "c"], "x": [1, "NaN", -0.0]}}"#,
    );
    assert_eq!(case.parameters, [("most".to_owned(), crate::catalog::Parameter::Int(5))]);
    let (columns, rows) = case.inputs(&xy()).unwrap();
    assert_eq!(rows, 3);
    let floats = columns[0].as_primitive::<Float64Type>();
    let bits: Vec<u64> = floats.values().iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [1.0_f64.to_bits(), f64::NAN.to_bits(), (-0.0_f64).to_bits()]);
    assert_eq!(columns[1].null_count(), 1);
}

#[test]
fn what_a_case_gets_wrong_is_said() {
    check_refused(
        "[]",
        expect!["golden case odd: invalid length 0, expected struct File with 7 elements at line 1 column 2"],
    );
    check_refused("{}", expect!["golden case odd: missing field `inputs` at line 1 column 2"]);
    check_refused(
        r#"{"inputs": {}, "output": {}}"#,
        expect![
            "golden case odd: unknown field `output`, expected one of `doc`, `parameters`, `wanted`, `as_of`, `inputs`, `outputs`, `errors` at line 1 column 23"
        ],
    );
    check_refused(r#"{"inputs": {"x": [1]}}"#, expect!["golden case odd: input name is missing; it is string"]);
    check_refused(
        r#"{"inputs": {"x": [1], "nam": ["a"]}}"#,
        expect!["golden case odd: there is no input nam; the inputs are x, name"],
    );
    check_refused(
        r#"{"inputs": {"x": [1], "x": [2]}}"#,
        expect!["golden case odd: inputs must be columns or a file: x stands there twice at line 1 column 20"],
    );
    check_refused(
        r#"{"inputs": {"x": [1, "far"], "name": ["a", "b"]}}"#,
        expect![[r#"golden case odd: input x: row 1 is "far"; it must be a number"#]],
    );
    check_refused(
        r#"{"inputs": {"x": [1, 2], "name": ["a"]}}"#,
        expect!["golden case odd: input name has 1 values and input x has 2; all must have as many"],
    );
    check_refused(r#"{"inputs": "rows.parquet"}"#, expect!["golden case odd: inputs: there is no file rows.parquet"]);
    check_refused(
        r#"{"inputs": {"x": [1], "name": ["a"]}, "as_of": "2024-02-29"}"#,
        expect!["golden case odd: it has as_of, and the plugin uses no time"],
    );
}

#[test]
fn a_time_is_given_for_each_row_or_for_all() {
    let signature = Signature { time: TimeUse::AsOf, ..xy() };
    let times = |as_of: &str| {
        let text = format!(r#"{{"inputs": {{"x": [1, 2], "name": ["a", "b"]}}, "as_of": {as_of}}}"#);
        let columns = case("timed", &text).inputs(&signature)?.0;
        let times = columns[0].as_primitive::<TimestampMicrosecondType>();
        Ok::<_, Error>(times.values().to_vec())
    };
    assert_eq!(times(r#""1970-01-02""#).unwrap(), [86_400_000_000; 2]);
    assert_eq!(times(r#"["1970-01-02", 5]"#).unwrap(), [86_400_000_000, 5]);
    assert_eq!(times(r#"["1970-01-02"]"#).unwrap_err().to_string(), "golden case timed: as_of has 1 times for 2 rows");
}

#[test]
fn columns_may_be_in_a_parquet_file() {
    let mut asked = Vec::new();
    let mut read = |file: &str| {
        asked.push(file.to_owned());
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
        Ok(RecordBatch::try_from_iter([("other", Arc::clone(&column)), ("x", column)]).unwrap())
    };
    let case = Case::parse("file", r#"{"inputs": "rows.parquet", "outputs": "out.parquet"}"#, &mut read).unwrap();
    let signature = signature(&[("x", DType::One(Scalar::Int64))]);
    let (columns, rows) = case.inputs(&signature).unwrap();
    assert_eq!((columns[0].data_type(), rows), (&DataType::Int64, 2));
    assert_eq!(case.text(), "{\n  \"inputs\": \"rows.parquet\",\n  \"outputs\": \"out.parquet\"\n}\n");
    assert_eq!(asked, ["rows.parquet", "out.parquet"]);
}

#[test]
fn a_case_is_written_with_a_column_in_each_line() {
    let text = r#"{"errors": [{"row": 1, "code": 1000}], "outputs": {"y": [ 1.5,null ]},
        "inputs": {"x": [1, 2], "name": ["a\"", "b"]}, "doc": "a \"case\"", "wanted": ["y"], "parameters": {"k": null}}"#;
    expect![[r#"
        {
          "doc": "a \"case\"",
          "parameters": {"k": null},
          "wanted": ["y"],
          "inputs": {
            "x": [1, 2],
            "name": ["a\"", "b"]
          },
          "outputs": {
            "y": [ 1.5,null ]
          },
          "errors": [
            {"row": 1, "code": 1000}
          ]
        }
    "#]]
    .assert_eq(&case("written", text).text());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_stop(text in "\\PC{0,200}") {
        let _ = try_case("any", &text);
    }

    #[test]
    fn json_that_is_nearly_a_case_is_read_or_refused(
        name in prop::sample::select(vec!["inputs", "outputs", "errors", "as_of", "parameters", "wanted", "doc"]),
        value in prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "[[]]", "{\"x\":1}", "{\"x\":[{}]}", "[{\"row\":0}]"]),
    ) {
        let text = format!(r#"{{"inputs": {{"x": [1], "name": ["a"]}}, "{name}": {value}}}"#);
        if let Ok(case) = try_case("near", &text) {
            let _ = case.inputs(&xy());
        }
    }

    /// Whatever was answered, the recorded case expects exactly that.
    #[test]
    fn what_is_recorded_is_read_again(
        (dtype, column) in crate::online::samples::dtypes()
            .prop_filter("days and lists of times beyond the calendar have no text", |dtype| {
                !matches!(dtype, DType::One(Scalar::Date) | DType::List(Scalar::Date | Scalar::Timestamp))
            })
            .prop_flat_map(|dtype| (Just(dtype), crate::online::samples::column(dtype, 5))),
    ) {
        let mut signature = signature(&[("x", dtype)]);
        signature.outputs = input_fields(&signature);
        let transform = crate::catalog::Transform {
            plugin: "example".to_owned(),
            component: crate::catalog::Digest([0; 32]),
            parameters: Vec::new(),
            outputs: signature.outputs.clone(),
            signature,
            digest: crate::catalog::Digest([0; 32]),
        };
        let answered = crate::batch::record_batch(&transform.outputs, vec![Arc::clone(&column)], 5);
        let errors = vec![RefusedRow { row: 3, code: 1_001, message: Some("no \"sense\"\n".to_owned()) }];
        let recorded = case("kept", r#"{"inputs": {"x": []}}"#).recorded(&answered, errors, None);
        let read = case("kept", &recorded.text());
        prop_assert_eq!(&read, &recorded);
        prop_assert_eq!(&read.errors, &recorded.errors);
        let outputs = read.outputs(&transform).unwrap().unwrap();
        prop_assert_eq!(super::super::answer::differing_rows(&transform.outputs[0], &column, &outputs[0], 5), Vec::<usize>::new());
    }
}
