//! Whole examinations of committed components.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::super::corpus::Corpus;
use super::super::edges;
use super::*;
use crate::catalog::{DType, Field, Scalar};
use crate::limits::FRAME_ROWS_MAX;

fn examined(plugin: &str, cases: &[Case]) -> Report {
    examine(plugin, &component(plugin), cases, &Settings::default(), &mut |_| {}).unwrap()
}

/// The checks that failed, with what they say.
fn failed(report: &Report) -> Vec<(&str, &str)> {
    let failed = report.checks.iter().filter(|check| check.verdict == Verdict::Failed);
    failed.map(|check| (check.name.as_str(), check.detail.as_str())).collect()
}

fn verdict(report: &Report, check: &str) -> Verdict {
    report.check(check).unwrap_or_else(|| panic!("there is no check {check}")).verdict
}

#[test]
fn a_healthy_plugin_passes_every_check() {
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote", "haversine", "arithmetic"] {
        let report = examined(plugin, &[]);
        assert!(report.passed(), "{plugin}: {:#?}", failed(&report));
        assert_eq!(report.plugin, plugin);
        assert_eq!(report.digest, Digest::of(&component(plugin)).to_string());
        assert_eq!(verdict(&report, "goldens"), Verdict::Warned, "there are none");
        let uses_time = plugin == "taxi_recency";
        assert_eq!(verdict(&report, "time") == Verdict::Skipped, !uses_time, "{plugin}");
        for check in ["answers", "row counts", "chunks", "order", "fuel", "warm", "parallel", "memory", "cost"] {
            assert_eq!(verdict(&report, check), Verdict::Passed, "{plugin}: {:?}", report.check(check));
        }
        // A careless reader is no fault, a trusting one is.
        assert_ne!(verdict(&report, "frames"), Verdict::Failed, "{plugin}: {:?}", report.check("frames"));
        assert!(report.rows > 64, "{plugin} was tried with {} rows", report.rows);
        assert!(report.measured.memory_bytes_max >= report.measured.memory_bytes_bound);
        assert_eq!(report.measured.leak_bytes_per_call, Some(0.0));
        assert!(report.fuel_per_row().is_some_and(|fuel| fuel > 0));
        assert_eq!(report.measured.sizes.len(), 6);
    }
}

#[test]
fn a_report_is_the_same_after_it_was_written_down() {
    let report = examined("haversine", &[]);
    let written = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report);
}

#[test]
fn fuel_and_its_budget_are_the_same_in_every_examination() {
    let (first, second) = (examined("taxi_company", &[]), examined("taxi_company", &[]));
    assert_eq!(first.fuel, second.fuel);
    assert_eq!(first.engine, second.engine);
    let measured = &first.measured;
    assert_eq!(first.fuel.per_row, (measured.fuel_per_row_max * 4).max(1_000_000));
    assert_eq!(first.fuel.per_call, (measured.fuel_per_call_max * 4).max(1_000_000));
    let most = measured.sizes.iter().map(|timed| timed.fuel);
    assert!(most.max().unwrap() < first.fuel.per_call + FRAME_ROWS_MAX as u64 * first.fuel.per_row);
}

/// The check that finds the fault, what it says, and that no check before it did.
fn check_found(plugin: &str, check: &str, says: &str) {
    let report = examined(plugin, &[]);
    let failed = failed(&report);
    let Some((first, detail)) = failed.first() else { panic!("{plugin} passed: {:#?}", report.checks) };
    assert_eq!(*first, check, "{plugin}: {failed:#?}");
    assert!(detail.contains(says), "{plugin} says {detail}");
}

#[test]
fn a_plugin_that_remembers_is_found_by_its_used_instance() {
    check_found("fault_impure", "warm", "it remembers");
    check_found("fault_drift", "warm", "it remembers");
}

#[test]
fn a_fault_at_a_value_is_found_with_the_smallest_input() {
    // The guests go wrong where the first x of a call is 13, among ordinary values.
    check_found("fault_trap", "answers", "smallest input: x = 13.0");
    check_found("fault_rows", "answers", "smallest input: x = 13.0");
    check_found("fault_type", "answers", "answered column y as int64");
    check_found("fault_huge", "answers", "smallest input: x = 13.0");
    check_found("fault_hoard", "answers", "smallest input: x = 13.0");
    check_found("fault_endless", "answers", "endless loop · smallest input: x = 13.0");
}

#[test]
fn what_follows_a_fault_is_not_looked_at() {
    let report = examined("fault_trap", &[]);
    assert_eq!(verdict(&report, "chunks"), Verdict::Skipped);
    assert_eq!(verdict(&report, "cost"), Verdict::Skipped);
    assert_ne!(verdict(&report, "frames"), Verdict::Skipped);
    assert!(report.measured.sizes.is_empty());
}

#[test]
fn a_value_that_a_row_leaves_for_its_neighbour_is_found_by_cutting() {
    check_found("fault_neighbour", "row counts", "column y, expected");
}

#[test]
fn a_plugin_that_keeps_what_it_allocates_is_found_by_its_memory() {
    check_found("fault_leak", "memory", "the gateway replaces it after");
    let report = examined("fault_leak", &[]);
    assert!(report.measured.leak_bytes_per_call.is_some_and(|bytes| bytes > 4e6), "{:?}", report.measured);
}

#[test]
fn a_plugin_that_takes_any_frame_is_found_by_damaged_ones() {
    check_found("fault_trusting", "frames", "such as one with 0 of its");
}

#[test]
fn a_plugin_that_cannot_be_loaded_is_an_error_and_not_a_report() {
    for (plugin, says) in [("fault_import", "imports"), ("fault_describe", "differently"), ("fault_signature", "binds")]
    {
        let error = examine(plugin, &component(plugin), &[], &Settings::default(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(says), "{plugin}: {error}");
    }
}

#[test]
fn golden_cases_are_run_and_their_rows_are_tried_too() {
    let stage = stage();
    let (digest, _) = stage.load("taxi_company", &component("taxi_company")).unwrap();
    let bare = case("bare", r#"{"inputs": {"company_name": ["Flash Cab", null]}}"#);
    let recorded = record(&stage, "taxi_company", digest, &bare).unwrap();
    assert_eq!(recorded.changes, ["2 rows recorded for the first time"]);
    assert_eq!(record(&stage, "taxi_company", digest, &recorded.case).unwrap().changes, Vec::<String>::new());

    let with = examined("taxi_company", std::slice::from_ref(&recorded.case));
    assert_eq!(verdict(&with, "goldens"), Verdict::Passed, "{:?}", with.check("goldens"));
    let without = examined("taxi_company", &[]);
    assert_eq!(with.rows, without.rows + 2);
    assert_ne!(with.golden_hash, without.golden_hash);

    let text = recorded.case.text().replace("[\"Flash Cab\", null]", "[\"Flash Cab\", \"Nil\"]");
    let report = goldens(&stage, "taxi_company", digest, &[case("bare", &text)]).unwrap();
    assert_eq!(report.mismatches[0].difference.row, Some(1));
    assert_eq!((report.cases, report.rows), (1, 2));
}

#[test]
fn a_case_that_is_answered_otherwise_names_the_row_and_the_column() {
    let stage = stage();
    let (digest, _) = stage.load("taxi_quote", &component("taxi_quote")).unwrap();
    let rows = r#""inputs": {
        "area_fare_30d": [20, 20], "area_miles_30d": [10, 10], "hour": [8, 24],
        "payment_type": ["Cash", "Cash"], "planned_miles": [3, 3]
    }"#;
    let told = |outputs: &str, errors: &str| {
        let text = format!(
            r#"{{{rows}, "wanted": ["expected_fare"], "outputs": {{"expected_fare": {outputs}}}, "errors": {errors}}}"#
        );
        let report = goldens(&stage, "taxi_quote", digest, &[case("fares", &text)]).unwrap();
        report.mismatches.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let refused = r#"[{"row": 1, "code": 1000}]"#;
    assert_eq!(told("[6.0, null]", refused), Vec::<String>::new());
    assert_eq!(told("[6.5, null]", refused), ["case fares, row 0, column expected_fare, expected 6.5, got 6.0"]);
    assert_eq!(told("[6.0, 6.0]", refused), ["case fares, row 1, column expected_fare, expected 6.0, got null"]);
    assert_eq!(told("[6.0]", refused), ["case fares, expected 1 rows, got 2 rows"]);
    assert_eq!(told("[6.0, null]", "[]"), ["case fares, expected 0 refused rows, got 1 refused rows"]);
    assert_eq!(
        told("[6.0, null]", r#"[{"row": 1, "code": 1000, "message": "hm"}]"#),
        [
            "case fares, row 1, expected refused with code 1000: hm, got refused with code 1000: hour 24 is not between 0 and 23"
        ]
    );
    let bare = case("bare", &format!("{{{rows}}}"));
    let report = goldens(&stage, "taxi_quote", digest, &[bare]).unwrap();
    assert!(report.mismatches[0].to_string().contains("record them with --record"));
}

#[test]
fn recording_says_what_changed_and_keeps_the_rest_as_it_was_written() {
    let stage = stage();
    let (digest, _) = stage.load("haversine", &component("haversine")).unwrap();
    let signature = stage.load("haversine", &component("haversine")).unwrap().1;
    let inputs: Vec<String> =
        signature.features.iter().map(|field| format!("\"{}\": [1.5,   2]", field.name)).collect();
    let output = &signature.outputs[0].name;
    let text = format!(
        r#"{{"doc": "two places", "inputs": {{{}}}, "outputs": {{"{output}": [0.0, 3.5]}}}}"#,
        inputs.join(", ")
    );
    let recorded = record(&stage, "haversine", digest, &case("places", &text)).unwrap();
    assert_eq!(recorded.changes, [format!("row 1, column {output}: 0.0, was 3.5")]);
    assert!(recorded.case.text().contains("[1.5,   2]") && recorded.case.text().contains("two places"));
    let report = goldens(&stage, "haversine", digest, &[recorded.case]).unwrap();
    assert_eq!(report.mismatches, []);
}

#[test]
fn the_hash_of_golden_cases_is_of_what_they_say_and_not_of_how() {
    let stage = stage();
    let (digest, _) = stage.load("taxi_company", &component("taxi_company")).unwrap();
    let hash = |text: &str| goldens(&stage, "taxi_company", digest, &[case("one", text)]).unwrap().hash;
    let first = hash(r#"{"inputs": {"company_name": ["Flash Cab"]}}"#);
    assert_eq!(hash("{\n \"doc\": \"other\", \"inputs\": {\"company_name\":[ \"Flash Cab\" ]}}"), first);
    assert_ne!(hash(r#"{"inputs": {"company_name": ["Flash Cab "]}}"#), first);
}

#[test]
fn edges_of_every_type_fill_columns_of_that_type() {
    use Scalar::{Bool, Bytes, Date, Float32, Float64, Int32, Int64, String, Timestamp};
    let scalars = [Bool, Int32, Int64, Float32, Float64, String, Bytes, Timestamp, Date];
    let lists = [Bool, Int32, Int64, Float32, Float64, Timestamp];
    let types = scalars.map(DType::One).into_iter().chain(lists.map(DType::List)).chain([DType::Embedding(3)]);
    for dtype in types {
        let values = edges::values(dtype).all;
        assert_eq!(values.data_type(), &dtype.arrow());
        assert!(values.len() > edges::ORDINARY as usize, "{dtype} has no edges");
        assert_eq!(values.null_count(), 0, "{dtype}");
        let fields = [Field::new("x", dtype)];
        let bytes = crate::transform::probe::canonical(&fields, std::slice::from_ref(&values), 0..values.len());
        assert!(bytes.is_some(), "{dtype} cannot cross");
    }
    let floats = edges::values(DType::One(Float64)).all;
    let floats = floats.as_primitive::<Float64Type>().values();
    assert!(floats.iter().any(|value| value.is_nan()) && floats.iter().any(|value| value.is_subnormal()));
    let integers = edges::values(DType::One(Int64)).all;
    assert!(integers.as_primitive::<Int64Type>().values().contains(&i64::MIN));
    let texts = edges::values(DType::One(String)).all;
    assert!(texts.as_string::<i32>().iter().flatten().any(|text| text.len() == 64 << 10));
}

#[test]
fn rows_are_made_smaller_for_as_long_as_they_fail() {
    let stage = stage();
    let (_, signature) = stage.load("taxi_quote", &component("taxi_quote")).unwrap();
    let corpus = Corpus::new(&signature, &[]);
    // What fails is a NaN in the last column, beside a null in the first, in any row.
    let mut tried = 0;
    let mut fails = |rows: &[super::super::corpus::Row]| {
        tried += 1;
        let columns = corpus.columns(rows);
        let miles = columns[4].as_primitive::<Float64Type>();
        (0..rows.len()).any(|row| columns[0].is_null(row) && miles.is_valid(row) && miles.value(row).is_nan())
    };
    let mut nan = corpus.rows[0].clone();
    nan[0] = None;
    nan[4] = Some(edges::ORDINARY);
    let mut rows = corpus.rows.clone();
    rows.insert(17, nan);
    let smallest = corpus.shrunk(rows, &mut fails);
    assert_eq!(corpus.described(&smallest), "area_fare_30d = null, planned_miles = NaN");
    assert!(tried < 200, "{tried} steps");
}

#[test]
fn what_costs_a_quarter_more_than_before_is_told() {
    let before = examined("haversine", &[]).measured;
    assert_eq!(regressions(&before, &before), Vec::<String>::new());
    let mut now = before.clone();
    now.sizes[1].fuel = before.sizes[1].fuel * 4 / 3;
    now.memory_bytes_max = before.memory_bytes_max * 2;
    let told = regressions(&before, &now);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("1 rows burn") && told[1].starts_with("an instance has"), "{told:?}");
}
