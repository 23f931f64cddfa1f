//! The queue and the folder stay within their bounds, and what is written is read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{Float64Type, Schema};

use super::writer::{log_files, make_room};
use super::*;
use crate::catalog::{DType, Field, Scalar, Selection};
use crate::plan::{ColumnRef, InputKind, PlanInput, PlanOutput};

/// A plan that gives a request field back.
fn plan() -> Arc<FeaturePlan> {
    let field = Field::new("miles", DType::One(Scalar::Float64));
    let output = PlanOutput {
        field: Field::new("trip__miles", DType::One(Scalar::Float64)),
        view: "trip".to_owned(),
        feature: "miles".to_owned(),
        column: ColumnRef::Input(0),
        recipe: None,
    };
    Arc::new(FeaturePlan {
        service: None,
        service_version: None,
        inputs: vec![PlanInput { field, kind: InputKind::Request }],
        reads: Vec::new(),
        derivations: Vec::new(),
        outputs: vec![output],
    })
}

fn entry(plan: &Arc<FeaturePlan>, miles: &[f64]) -> Entry {
    let column: ArrayRef = Arc::new(Float64Array::from(miles.to_vec()));
    Entry {
        version: 7,
        schema: Arc::new(Schema::empty().with_metadata([("lockstep.service".to_owned(), "tips".to_owned())].into())),
        plan: Arc::clone(plan),
        rows: miles.len(),
        as_of: 5,
        served_at: 1_000,
        inputs: vec![Arc::clone(&column)],
        stored: Vec::new(),
        statuses: Vec::new(),
        outputs: vec![column],
    }
}

fn open(folder: &Path) -> RequestLog {
    let log = RequestLog::default();
    let settings = Settings { share: 1.0, folder: folder.to_owned(), bytes_max: 64 << 20, sensitive: false };
    log.open(settings).unwrap();
    log
}

fn note(log: &RequestLog, plan: &Arc<FeaturePlan>, miles: &[f64]) {
    let chosen = log.choose(&Catalog::empty("taxi"), plan).unwrap();
    log.note(&chosen, entry(plan, miles));
}

#[test]
fn what_is_logged_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (log, plan) = (open(folder.path()), plan());
    note(&log, &plan, &[1.0, 2.0]);
    note(&log, &plan, &[-0.0]);
    log.close();
    assert!(log.choose(&Catalog::empty("taxi"), &plan).is_none(), "a log that is closed chooses nothing");
    let files = files(folder.path()).unwrap();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!((file.version, file.provenance["lockstep.service"].as_str()), (7, "tips"));
    let Selection::Features { refs, full_feature_names: true } = &file.selection else { panic!("{file:?}") };
    assert_eq!(refs[0].to_string(), "trip:miles");
    let logged = file.rows(&plan).unwrap().next().unwrap().unwrap();
    let requests: Vec<i64> = logged.rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    assert_eq!(requests, [1_000, 1_000, 1_001]);
    let bits: Vec<u64> = logged.served[0].as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [1.0_f64, 2.0, -0.0].map(f64::to_bits));
}

#[test]
fn a_request_that_finds_the_queue_full_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (log, plan) = (open(folder.path()), plan());
    let large = vec![1.0; REQUEST_LOG_QUEUE_BYTES_MAX / 16 + 1];
    let chosen = log.choose(&Catalog::empty("taxi"), &plan).unwrap();
    // Input and output together are more than the queue may hold.
    log.note(&chosen, entry(&plan, &large));
    assert_eq!(log.counts.dropped.load(Ordering::Relaxed), 1);
    note(&log, &plan, &[1.0]);
    drop(chosen);
    log.close();
    assert_eq!(log.counts.requests.load(Ordering::Relaxed), 1);
    assert_eq!(log.counts.rows.load(Ordering::Relaxed), 1);
}

#[test]
fn the_oldest_files_make_room_and_what_is_not_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..5 {
        std::fs::write(folder.path().join(format!("requests-{number:020}.parquet")), [0; 100]).unwrap();
    }
    std::fs::write(folder.path().join("notes.parquet"), [0; 10_000]).unwrap();
    make_room(folder.path(), 250).unwrap();
    let names = || -> Vec<String> {
        let files = log_files(folder.path()).unwrap();
        files.iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(), ["requests-00000000000000000003.parquet", "requests-00000000000000000004.parquet"]);
    make_room(folder.path(), 0).unwrap();
    assert_eq!(names().len(), 1, "the newest one stays");
    assert!(folder.path().join("notes.parquet").exists());
}

#[test]
fn what_is_no_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests-1.parquet");
    crate::offline::write_parquet(&path, &Arc::new(Schema::empty()), &[], &[]).unwrap();
    let refused = files(&path).unwrap_err();
    assert!(crate::error::chain(&refused).contains("it is no request log"), "{refused}");
}
