//! Two versions of a plugin: the second is the committed component with a few bytes exchanged.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};

use super::*;

const NAME: &str = "taxi_quote";
/// The city's meter starts at 3.25; in the changed plugin at 3.5.
const METER: (f64, f64) = (3.25, 3.5);

fn of_version(component: &[u8], version: &str) -> Vec<u8> {
    patched(component, b"1.0.0", version.as_bytes())
}

fn with_another_meter(component: &[u8]) -> Vec<u8> {
    patched(component, &METER.0.to_le_bytes(), &METER.1.to_le_bytes())
}

fn quotes() -> Case {
    case(
        "quotes",
        r#"{"inputs": {
            "area_fare_30d": [20, null, 10], "area_miles_30d": [10, null, 0], "hour": [8, 9, 10],
            "payment_type": ["Cash", "Cash", null], "planned_miles": [3, 3, 1]
        }}"#,
    )
}

fn compared(old: &[u8], new: &[u8], cases: &[Case], rows: Option<&RecordBatch>) -> Comparison {
    let stage = stage();
    let (old_digest, old_signature) = stage.load(NAME, old).unwrap();
    let (new_digest, new_signature) = stage.load(NAME, new).unwrap();
    let old = Side { plugin: NAME, component: old_digest, signature: &old_signature };
    let new = Side { plugin: NAME, component: new_digest, signature: &new_signature };
    compare_versions(&stage, old, new, cases, rows, &[]).unwrap()
}

#[test]
fn a_patch_that_answers_the_same_may_have_its_number() {
    let old = component(NAME);
    let comparison = compared(&old, &of_version(&old, "1.0.1"), &[quotes()], None);
    assert_eq!((comparison.step, comparison.refused), (Step::Patch, None));
    assert_eq!((comparison.rows, comparison.signature.len(), comparison.outputs.len()), (3, 0, 5));
}

#[test]
fn a_patch_or_a_minor_version_that_answers_otherwise_is_refused_and_a_major_one_is_not() {
    let old = component(NAME);
    let changed = with_another_meter(&old);
    for (version, says) in
        [("1.0.1", Some("a patch changes no answer")), ("1.1.0", Some("a minor version")), ("2.0.0", None)]
    {
        let comparison = compared(&old, &of_version(&changed, version), &[quotes()], None);
        match says {
            None => assert_eq!(comparison.refused, None),
            Some(says) => {
                let refused = comparison.refused.expect("it is refused");
                assert!(refused.starts_with("output expected_fare differs in 2 rows"), "{refused}");
                assert!(refused.contains(says) && refused.ends_with("call it 2.0.0"), "{refused}");
            }
        }
        let fare = &comparison.outputs[0];
        assert_eq!(
            (fare.output.as_str(), fare.differing_rows, fare.largest_difference),
            ("expected_fare", 2, Some(0.25))
        );
        let example = Example { case: "quotes".to_owned(), row: 1, old: "10.0".to_owned(), new: "10.25".to_owned() };
        assert_eq!(fare.examples[0], example);
        assert!(comparison.outputs[1..].iter().all(|output| output.differing_rows == 0));
    }
}

#[test]
fn real_rows_show_what_golden_cases_do_not() {
    let old = component(NAME);
    let new = of_version(&with_another_meter(&old), "1.0.1");
    let floats = |value: f64| Arc::new(Float64Array::from(vec![Some(value), None])) as ArrayRef;
    let columns = |hour: i32| {
        RecordBatch::try_from_iter([
            ("trip", floats(1.0)),
            ("planned_miles", Arc::new(Float64Array::from(vec![2.0, 2.0])) as ArrayRef),
            ("payment_type", Arc::new(StringArray::from(vec!["Cash", "x"])) as ArrayRef),
            ("hour", Arc::new(Int32Array::from(vec![hour, hour])) as ArrayRef),
            ("area_miles_30d", floats(4.0)),
            ("area_fare_30d", floats(9.0)),
        ])
        .unwrap()
    };
    let comparison = compared(&old, &new, &[], Some(&columns(7)));
    assert_eq!((comparison.rows, comparison.outputs[0].differing_rows), (2, 1));
    assert_eq!(comparison.outputs[0].examples[0].case, "rows");
    assert!(comparison.refused.is_some());
    // Rows that both refuse do not differ.
    assert_eq!(compared(&old, &new, &[], Some(&columns(24))).refused, None);

    let without = columns(7).project(&[0, 1]).unwrap();
    let stage = stage();
    let (digest, signature) = stage.load(NAME, &old).unwrap();
    let side = Side { plugin: NAME, component: digest, signature: &signature };
    let error = compare_versions(&stage, side, side, &[], Some(&without), &[]).unwrap_err();
    assert_eq!(error.to_string(), "column area_fare_30d of the input: it is missing");
}

#[test]
fn a_number_that_does_not_go_up_is_refused() {
    let old = component(NAME);
    let lower = compared(&of_version(&old, "1.2.0"), &of_version(&old, "1.1.9"), &[], None);
    assert_eq!(lower.refused.unwrap(), "1.1.9 is lower than 1.2.0");
    let same = compared(&old, &with_another_meter(&old), &[quotes()], None);
    assert!(same.refused.unwrap().contains("both are version 1.0.0 and have different bytes"));
    assert_eq!(compared(&old, &old, &[quotes()], None).refused, None);
}

#[test]
fn another_signature_needs_another_number() {
    let old = component(NAME);
    // The same length, another name: the old output is gone and a new one has come.
    let renamed = patched(&old, b"pays_by_card", b"pays_by_cart");
    let comparison = compared(&old, &of_version(&renamed, "1.1.0"), &[quotes()], None);
    let told: Vec<&str> = comparison.signature.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(told, ["output pays_by_cart (bool) is new", "output pays_by_card is gone"]);
    assert_eq!(comparison.outputs.len(), 4);
    let refused = comparison.refused.unwrap();
    assert!(refused.starts_with("output pays_by_card is gone in 1.1.0 after 1.0.0"), "{refused}");
    assert_eq!(compared(&old, &of_version(&renamed, "2.0.0"), &[quotes()], None).refused, None);

    // A request field under another name: the cases of the one are not those of the other.
    let asks_otherwise = of_version(&patched(&old, b"planned_miles", b"planned_steps"), "1.0.1");
    let comparison = compared(&old, &asks_otherwise, &[quotes()], None);
    assert_eq!((comparison.rows, comparison.not_compared.len()), (0, 1));
    assert!(comparison.refused.unwrap().contains("planned_steps (float64) is new"));
}
