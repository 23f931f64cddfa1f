//! `lockstep plugin test`, `bench`, `run`, `diff`, `watch`, and what `inspect` then knows: the real binary over committed
//! components.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use lockstep::offline::{read_parquet, write_parquet};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{Up, json_of, refused, run, succeed};
use crate::world::built_plugins;

const CASE: &str = r#"{
  "doc": "what companies are called",
  "inputs": {
    "company_name": ["Flash Cab", "12 - 34 Benny Jona, Inc.", null]
  }
}
"#;

/// A folder with one committed component, and golden cases beside it.
fn folder_with(plugin: &str, cases: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(plugin, &folder.path().join(format!("{plugin}.wasm")), &[]);
    for (name, text) in cases {
        let goldens = folder.path().join(format!("{plugin}.goldens"));
        fs::create_dir_all(&goldens).expect("a folder");
        fs::write(goldens.join(format!("{name}.json")), text).expect("a case");
    }
    folder
}

/// Copies a committed component, some of its bytes exchanged for as many others.
fn copy(plugin: &str, to: &Path, exchanged: &[(&[u8], &[u8])]) {
    let mut component = fs::read(built_plugins().join(format!("{plugin}.wasm"))).expect("a component");
    for (from, into) in exchanged {
        let places: Vec<usize> =
            (0..component.len() - from.len()).filter(|at| component[*at..].starts_with(from)).collect();
        assert!(!places.is_empty() && from.len() == into.len());
        places.into_iter().for_each(|at| component[at..at + into.len()].copy_from_slice(into));
    }
    fs::write(to, component).expect("written");
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let rows = RecordBatch::try_from_iter(columns).expect("columns of one length");
    write_parquet(path, rows.schema_ref(), std::slice::from_ref(&rows), &[]).expect("written");
}

fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

#[test]
fn a_golden_case_is_recorded_and_then_holds() {
    let folder = folder_with("taxi_company", &[("names", CASE)]);
    let folder = folder.path();
    let before = run(folder, &["plugin", "test", "taxi_company.wasm"]);
    assert_eq!(before.code, 1, "{before:?}");
    assert!(before.stdout.contains("✗ goldens     1 of 1 cases: case names, expected recorded outputs"), "{before:?}");
    assert!(before.stdout.contains("✓ chunks "), "what else there is to say is said: {before:?}");

    let recorded = succeed(folder, &["plugin", "test", "taxi_company.wasm", "--record"]);
    assert!(
        recorded.contains("names: written to") && recorded.contains("3 rows recorded for the first time"),
        "{recorded}"
    );
    let case = fs::read_to_string(folder.join("taxi_company.goldens/names.json")).expect("the case");
    assert!(case.starts_with(CASE.trim_end().trim_end_matches("}").trim_end()), "what was written stays: {case}");
    assert!(case.contains("\n    \"company_clean\": [\"flash cab\", \"benny jona\", null],\n"), "{case}");
    assert_eq!(succeed(folder, &["plugin", "test", "taxi_company.wasm", "--record"]), "names: as it was\n");

    let passed = succeed(folder, &["plugin", "test", "taxi_company.wasm"]);
    assert!(passed.contains("✓ goldens     1 cases, 3 rows"), "{passed}");
    assert!(passed.contains("\npassed  ·  ") && passed.contains("fuel budget "), "{passed}");

    fs::write(folder.join("taxi_company.goldens/names.json"), case.replace("benny jona\", null", "benny yona\", null"))
        .expect("written");
    let failed = run(folder, &["plugin", "test", "taxi_company.wasm"]);
    assert_eq!(failed.code, 1);
    let says = "case names, row 1, column company_clean, expected \"benny yona\", got \"benny jona\"";
    assert!(failed.stdout.contains(says) && failed.stdout.contains("\nfailed: goldens"), "{failed:?}");
    let recorded = succeed(folder, &["plugin", "test", "taxi_company.wasm", "--record"]);
    assert!(recorded.contains("row 1, column company_clean: \"benny jona\", was \"benny yona\""), "{recorded}");
}

#[test]
fn the_report_beside_a_plugin_is_what_inspect_tells_of_it() {
    let folder = folder_with("haversine", &[]);
    let folder = folder.path();
    let inspected = || json_of(folder, &["plugin", "inspect", "haversine.wasm"]);
    assert_eq!(inspected()["tested"], Value::Null);
    assert_eq!(inspected()["imports"], json!([]));
    assert_eq!(inspected()["kept_warm"], false);
    assert!(inspected()["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));

    let report = json_of(folder, &["plugin", "test", "haversine.wasm", "--json", "haversine.report.json"]);
    let written = fs::read_to_string(folder.join("haversine.report.json")).expect("the report");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), report);
    assert_eq!(report["digest"], inspected()["digest"]);
    assert_eq!(inspected()["tested"]["passed"], true);
    let fuel = inspected()["tested"]["fuel_per_row"].as_u64().expect("a number");
    assert!(fuel > 0 && fuel * 4 <= report["fuel"]["per_row"].as_u64().expect("a number"));
    let told = succeed(folder, &["plugin", "inspect", "haversine.wasm"]);
    assert!(told.contains(&format!("tests passed with 0 golden cases, {fuel} units of fuel a row")), "{told}");

    // A report of other bytes says nothing of these.
    copy("haversine", &folder.join("haversine.wasm"), &[(b"1.0.0", b"1.0.1")]);
    assert_eq!(inspected()["tested"], Value::Null);
}

#[test]
fn a_plugin_that_remembers_fails_with_what_it_answered() {
    let folder = folder_with("fault_impure", &[]);
    let ran = run(folder.path(), &["plugin", "test", "fault_impure.wasm"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with('✗')).collect();
    assert!(
        matches!(lines.as_slice(), [warm] if warm.contains("✗ warm ") && warm.contains("column y, expected")),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("- parallel    an instance remembers"), "{ran:?}");

    let folder = folder_with("fault_import", &[]);
    let message = refused(folder.path(), &["plugin", "test", "fault_import.wasm"], 2);
    assert!(message.contains("imports wasi:random"), "{message}");
}

#[test]
fn a_case_that_is_wrong_is_told_with_its_file() {
    let folder = folder_with("taxi_company", &[("names", r#"{"inputs": {"company": ["a"]}}"#)]);
    let message = refused(folder.path(), &["plugin", "test", "taxi_company.wasm"], 2);
    assert_eq!(message, "golden case names: there is no input company; the inputs are company_name");
    let elsewhere = r#"{"inputs": "../secret.parquet"}"#;
    let folder = folder_with("taxi_company", &[("names", elsewhere)]);
    let message = refused(folder.path(), &["plugin", "test", "taxi_company.wasm"], 2);
    assert!(message.contains("../secret.parquet is not a file in the folder of the case"), "{message}");
    let message = refused(folder.path(), &["plugin", "test", "taxi_company.wasm", "--goldens", "nowhere"], 2);
    assert!(message.contains("nowhere"), "{message}");
    let folder = folder_with("haversine", &[]);
    let message = refused(folder.path(), &["plugin", "test", "haversine.wasm", "--record"], 3);
    assert!(message.contains("has no golden cases to record"), "{message}");
}

#[test]
fn cases_in_parquet_files_are_recorded_into_parquet_files() {
    let folder = folder_with("taxi_company", &[("many", r#"{"inputs": "many.parquet"}"#)]);
    let folder = folder.path();
    let names: StringArray = (0..500).map(|row| (row % 7 > 0).then(|| format!("{row} - 7 Cab {}", row % 50))).collect();
    parquet(&folder.join("taxi_company.goldens/many.parquet"), vec![("company_name", Arc::new(names))]);
    succeed(folder, &["plugin", "test", "taxi_company.wasm", "--record"]);
    let outputs = read_parquet(&folder.join("taxi_company.goldens/many.outputs.parquet")).expect("the outputs");
    assert_eq!(outputs.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 500);
    let passed = succeed(folder, &["plugin", "test", "taxi_company.wasm"]);
    assert!(passed.contains("✓ goldens     1 cases, 500 rows"), "{passed}");
}

#[test]
fn a_plugin_runs_over_the_rows_of_a_file() {
    let folder = folder_with("taxi_company", &[]);
    let folder = folder.path();
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("Flash Cab"), None]));
    parquet(&folder.join("rows.parquet"), vec![("trip", floats(&[1.0, 2.0])), ("company_name", names)]);
    let words = ["plugin", "run", "taxi_company.wasm", "--input", "rows.parquet"];
    let table = succeed(folder, &words);
    assert!(table.contains("→ company_clean") && table.contains("flash cab") && !table.contains("trip"), "{table}");

    let of = |parameters: &[&str]| json_of(folder, &[&words[..], parameters].concat());
    assert_eq!(of(&[])["outputs"]["company_clean"], json!(["flash cab", null]));
    assert_eq!(of(&["--param", "buckets=1"])["outputs"]["company_bucket"], json!([0, null]));
    let message = refused(folder, &[&words[..], &["--param", "buckets=many"]].concat(), 2);
    assert_eq!(message, "parameter buckets is int64, and \"many\" is none");
    let message = refused(folder, &[&words[..], &["--param", "bucket=1"]].concat(), 2);
    assert!(message.contains("has no parameter bucket; it has buckets"), "{message}");

    let ran = run(folder, &[&words[..], &["--to", "answers.parquet"]].concat());
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "wrote 2 rows to answers.parquet\n"));
    let answers = read_parquet(&folder.join("answers.parquet")).expect("the answers");
    let names: Vec<&str> = answers.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["company_clean", "company_bucket"]);
    assert!(answers.batches[0].column(1).as_primitive::<Int32Type>().is_null(1));

    parquet(&folder.join("other.parquet"), vec![("trip", floats(&[1.0]))]);
    let message = refused(folder, &["plugin", "run", "taxi_company.wasm", "--input", "other.parquet"], 2);
    assert_eq!(message, "column company_name of the input: it is missing");
}

#[test]
fn one_time_can_be_given_for_all_rows_and_refused_rows_are_told() {
    let folder = folder_with("taxi_recency", &[]);
    let times: ArrayRef = Arc::new(lockstep::batch::timestamps(vec![Some(1_700_000_000_000_000)]));
    parquet(&folder.path().join("rows.parquet"), vec![("last_trip_at", times)]);
    let words = ["plugin", "run", "taxi_recency.wasm", "--input", "rows.parquet"];
    let message = refused(folder.path(), &words, 2);
    assert_eq!(message, "column as_of of the input: it is missing");
    let answered = json_of(folder.path(), &[&words[..], &["--as-of", "2023-11-15T22:13:20Z"]].concat());
    assert_eq!(answered["outputs"]["days_since_last_trip"], json!([1.0]));

    let folder = folder_with("taxi_quote", &[]);
    let column = |name: &'static str, value: f64| (name, floats(&[value]));
    let hour: ArrayRef = Arc::new(Int32Array::from(vec![25]));
    let payment: ArrayRef = Arc::new(StringArray::from(vec!["Cash"]));
    let rows = vec![
        column("area_fare_30d", 1.0),
        column("area_miles_30d", 1.0),
        ("hour", hour),
        ("payment_type", payment),
        column("planned_miles", 1.0),
    ];
    parquet(&folder.path().join("rows.parquet"), rows);
    let ran = run(folder.path(), &["plugin", "run", "taxi_quote.wasm", "--input", "rows.parquet"]);
    assert_eq!(ran.code, 0, "a refused row is an answer: {ran:?}");
    let says = "1 of 1 rows were refused; the first: row 0 with code 1000: hour 25 is not between 0 and 23\n";
    assert_eq!(ran.stderr, says);
}

#[test]
fn a_patch_whose_answers_change_is_refused() {
    let case = r#"{"inputs": {"area_fare_30d": [null], "area_miles_30d": [null], "hour": [8], "payment_type": ["Cash"],
        "planned_miles": [3]}}"#;
    let folder = folder_with("taxi_quote", &[("meter", case)]);
    let folder = folder.path();
    let patch: (&[u8], &[u8]) = (b"1.0.0", b"1.0.1");
    let (was, is) = (3.25_f64.to_le_bytes(), 3.5_f64.to_le_bytes());
    copy("taxi_quote", &folder.join("same.wasm"), &[patch]);
    copy("taxi_quote", &folder.join("other.wasm"), &[patch, (&was, &is)]);

    let same = succeed(folder, &["plugin", "diff", "taxi_quote.wasm", "same.wasm"]);
    assert_eq!(same, "1.0.0 → 1.0.1: 0 of 5 outputs differ over 1 rows\nthe number fits\n");
    let ran = run(folder, &["plugin", "diff", "taxi_quote.wasm", "other.wasm"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let says = [
        "output expected_fare: 1 of 1 rows differ, at most by 0.25\n  meter, row 0: 10.0 → 10.25\n",
        "refused: output expected_fare differs in 1 rows in 1.0.1 after 1.0.0: a patch changes no answer and no column; call it 2.0.0",
    ];
    assert!(says.iter().all(|says| ran.stdout.contains(says)), "{}", ran.stdout);

    let columns = vec![
        ("area_fare_30d", floats(&[9.0, f64::NAN])),
        ("area_miles_30d", floats(&[3.0, 0.0])),
        ("hour", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
        ("payment_type", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
        ("planned_miles", floats(&[1.0, 2.0])),
    ];
    parquet(&folder.join("rows.parquet"), columns);
    let words = ["plugin", "diff", "taxi_quote.wasm", "other.wasm", "--input", "rows.parquet", "-o", "json"];
    let ran = run(folder, &words);
    let compared: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((ran.code, &compared["rows"], &compared["step"]), (1, &json!(3), &json!("patch")));
    assert_eq!(compared["outputs"][0]["examples"][1], json!({"case": "rows", "row": 1, "old": "7.75", "new": "8.0"}));
}

#[test]
fn what_calls_cost_is_measured() {
    let folder = folder_with("haversine", &[]);
    let table = succeed(folder.path(), &["plugin", "bench", "haversine.wasm"]);
    assert!(table.contains("ns a value") && table.contains("4 columns in, 1 out"), "{table}");
    let costs = json_of(folder.path(), &["plugin", "bench", "haversine.wasm"]);
    let sizes = costs["sizes"].as_array().expect("sizes");
    let rows: Vec<u64> = sizes.iter().filter_map(|size| size["rows"].as_u64()).collect();
    assert_eq!(rows, [1, 1, 200, 200, 8_192, 8_192]);
    assert!(
        sizes.iter().all(|size| size["p50_ns"].as_u64() <= size["p99_ns"].as_u64() && size["fuel"].as_u64() > Some(0))
    );
    let fuel = |place: usize| sizes[place]["fuel"].as_u64().expect("fuel");
    assert!(fuel(5) > 20 * fuel(3), "the fuel of 8,192 rows is far above that of 200");
}

#[test]
fn a_plugin_is_built_again_when_its_source_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = refused(folder.path(), &["plugin", "watch", "--once"], 3);
    assert!(message.contains("is no plugin folder"), "{message}");
    fs::write(folder.path().join("plugin.yaml"), "name: Mine\nlanguage: c\n").expect("written");
    let mut watching = Up::start_quiet(folder.path(), &["plugin", "watch"]);
    assert!(watching.wait_for("waiting for a change").contains("error: "), "{}", watching.read);
    let heard = watching.read.len();
    fs::write(folder.path().join("plugin.yaml"), "name: mine\nlanguage: cobol\n").expect("written");
    watching.wait_for("waiting for a change");
    let told = &watching.read[heard..];
    assert!(told.contains("error: ") && told.contains("cobol"), "{told}");
}

#[test]
fn the_golden_cases_of_the_committed_plugins_hold() {
    let goldens = crate::world::repository().join("plugins/goldens");
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote", "haversine"] {
        let component = built_plugins().join(format!("{plugin}.wasm"));
        let (component, goldens) = (component.to_string_lossy().into_owned(), goldens.join(plugin));
        let words = ["plugin", "test", &component, "--goldens", &goldens.to_string_lossy()];
        let told = succeed(Path::new("."), &words);
        assert!(told.contains("✓ goldens "), "{plugin}: {told}");
    }
}
