//! Every way in which a guest misbehaves is an error of that call alone.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::transform::{Fault, FaultKind};

/// The `x` in the first row at which the misbehaving plugins misbehave.
const MISCHIEF: f64 = 13.0;

fn x(values: &[f64]) -> Vec<Vec<Value>> {
    vec![values.iter().map(|value| json!(value)).collect()]
}

fn fault(stage: &Transforms, transform: &Transform, columns: &[Vec<Value>]) -> Fault {
    match applied(stage, transform, columns) {
        Err(Error::Fault { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn check_healthy(stage: &Transforms, transform: &Transform) {
    let columns = x(&[1.0, 2.0]);
    let answer = applied(stage, transform, &columns).unwrap();
    assert_eq!(answer.rows.column(0), batch(transform, &columns).column(0));
}

/// The plugin answers, misbehaves, and answers again by another instance; so does another plugin.
fn check(plugin: &str, settings: Settings, kind: FaultKind, says: impl Fn(&Fault) -> bool) {
    let stage = stage(settings);
    let (transform, other) = (bound(&stage, plugin, &[]), bound(&stage, "haversine", &[]));
    check_healthy(&stage, &transform);
    let created = stage.stats().instances_created.load(Ordering::Relaxed);

    let fault = fault(&stage, &transform, &x(&[MISCHIEF, 2.0]));
    assert!(says(&fault), "{fault:?}");
    assert_eq!(fault.kind(), kind);
    assert_eq!(stage.stats().faults(kind), 1);

    check_healthy(&stage, &transform);
    assert!(stage.stats().instances_created.load(Ordering::Relaxed) > created, "the faulty instance was used again");
    let place = vec![json!(41.88), Value::Null];
    let answer = applied(&stage, &other, &[place.clone(), place.clone(), place.clone(), place]).unwrap();
    assert_eq!(values::cells(answer.rows.column(0)), "0.0, null");
}

#[test]
fn a_panic_is_a_trap() {
    check(
        "fault_trap",
        settings(),
        FaultKind::Trap,
        |fault| matches!(fault, Fault::Trap(text) if text.contains("unreachable")),
    );
}

#[test]
fn an_endless_loop_ends_at_its_fuel() {
    let settings = Settings { fuel_per_call: 1_000_000, fuel_per_row: 0, ..settings() };
    check("fault_endless", settings, FaultKind::Fuel, |fault| *fault == Fault::Fuel { limit: 1_000_000 });
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let settings = Settings { fuel_per_call: u64::MAX / 2, call_time_max: Duration::from_millis(50), ..settings() };
    check("fault_endless", settings, FaultKind::Deadline, |fault| *fault == Fault::Deadline { limit_ms: 50 });
}

#[test]
fn the_deadline_of_the_caller_ends_a_call_too() {
    let stage = stage(Settings { fuel_per_call: u64::MAX / 2, ..settings() });
    let transform = bound(&stage, "fault_endless", &[]);
    let rows = batch(&transform, &x(&[MISCHIEF]));
    let begun = Instant::now();
    let late = stage
        .apply(&transform, rows.columns(), rows.num_rows(), Deadline::after(Duration::from_millis(50)))
        .unwrap_err();
    assert!(matches!(&late, Error::Fault { fault: Fault::Deadline { limit_ms: 40..=50 }, .. }), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(1));

    let passed = Deadline::after(Duration::ZERO);
    assert_eq!(
        stage.apply(&transform, rows.columns(), rows.num_rows(), passed).unwrap_err(),
        Error::Late { plugin: "fault_endless".to_owned() }
    );
}

#[test]
fn a_hoarder_ends_at_its_memory() {
    let settings = Settings { memory_bytes_max: 16 << 20, ..settings() };
    check("fault_hoard", settings, FaultKind::Memory, |fault| *fault == Fault::Memory { limit_bytes: 16 << 20 });
}

#[test]
fn another_number_of_rows_is_refused() {
    check("fault_rows", settings(), FaultKind::BadOutput, |fault| *fault == Fault::WrongRows { is: 3, wanted: 2 });
}

#[test]
fn another_type_is_refused() {
    check("fault_type", settings(), FaultKind::BadOutput, |fault| {
        *fault == Fault::WrongType { column: "y".to_owned(), is: "int64", wanted: "float64" }
    });
}

#[test]
fn a_huge_answer_is_refused() {
    check("fault_huge", settings(), FaultKind::BadOutput, |fault| matches!(fault, Fault::OutputTooLarge { .. }));
}

#[test]
fn the_verdict_of_fuel_is_the_same_every_time() {
    let fuel = || {
        let stage = stage(settings());
        let transform = bound(&stage, "taxi_company", &[]);
        let names = vec![json!("2733 - 74600 Benny Jona, Inc."), Value::Null, json!("Flash Cab")];
        applied(&stage, &transform, &[names]).unwrap().fuel
    };
    let first = fuel();
    assert!(first > 0);
    assert_eq!(fuel(), first);

    // One unit less than a call needs is too little, on every run.
    let settings = Settings { fuel_per_call: 200_000, fuel_per_row: 0, ..settings() };
    let enough = stage(settings.clone());
    let transform = bound(&enough, "fault_endless", &[]);
    let spent = applied(&enough, &transform, &x(&[1.0])).unwrap().fuel;
    for _ in 0..2 {
        let tight = stage(settings.clone());
        let transform = bound(&tight, "fault_endless", &[]);
        assert_eq!(applied(&tight, &transform, &x(&[1.0])).unwrap().fuel, spent);
        assert_eq!(fault(&tight, &transform, &x(&[MISCHIEF])), Fault::Fuel { limit: 200_000 });
    }
}

#[test]
fn a_plugin_that_remembers_is_noticed_and_its_fresh_answer_counts() {
    for plugin in ["fault_impure", "fault_drift"] {
        let stage = stage(Settings { compare_one_in: 1, ..settings() });
        let transform = bound(&stage, plugin, &[]);
        let first = applied(&stage, &transform, &x(&[1.0])).unwrap();
        assert_eq!(stage.stats().impure.load(Ordering::Relaxed), 0);
        let second = applied(&stage, &transform, &x(&[1.0])).unwrap();
        assert_eq!(stage.stats().impure.load(Ordering::Relaxed), 1);
        assert_eq!(second.rows, first.rows);
        assert_eq!(stage.stats().compared.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn a_pure_plugin_passes_every_comparison() {
    let stage = stage(Settings { compare_one_in: 1, ..settings() });
    let transform = bound(&stage, "taxi_company", &[]);
    for name in ["Flash Cab", "6742 - 83735 Tasha ride inc", ""] {
        applied(&stage, &transform, &[vec![json!(name)]]).unwrap();
    }
    assert_eq!(stage.stats().compared.load(Ordering::Relaxed), 3);
    assert_eq!(stage.stats().impure.load(Ordering::Relaxed), 0);
}

#[test]
fn a_fresh_instance_for_each_call_leaves_nothing_to_remember() {
    let stage = stage(Settings { reuse: Reuse::Never, ..settings() });
    let transform = bound(&stage, "fault_drift", &[]);
    let first = applied(&stage, &transform, &x(&[1.0])).unwrap();
    assert_eq!(applied(&stage, &transform, &x(&[1.0])).unwrap().rows, first.rows);
    assert_eq!(stage.instances_alive(), 0);
}

#[test]
fn a_worn_instance_is_replaced() {
    let stage = stage(Settings { calls_per_instance_max: 2, ..settings() });
    let transform = bound(&stage, "fault_trap", &[]);
    let created = stage.stats().instances_created.load(Ordering::Relaxed);
    (0..4).for_each(|_| check_healthy(&stage, &transform));
    assert_eq!(stage.stats().instances_recycled.load(Ordering::Relaxed), 2);
    assert_eq!(stage.stats().instances_created.load(Ordering::Relaxed), created + 1);
}

#[test]
fn an_idle_instance_gives_way_to_another_transform() {
    let stage = stage(Settings { instances_max: 2, ..settings() });
    let (first, second) = (bound(&stage, "fault_trap", &[]), bound(&stage, "fault_type", &[]));
    let third = bound(&stage, "fault_rows", &[]);
    for transform in [&first, &second, &third, &first] {
        check_healthy(&stage, transform);
    }
    assert!(stage.instances_alive() <= 2);
}

#[test]
fn without_room_for_an_instance_the_caller_is_told_so() {
    let stage = stage(Settings { instances_max: 1, ..settings() });
    let transform = bound(&stage, "fault_trap", &[]);
    check_healthy(&stage, &transform);
    let instance = stage.pools.load()[&transform.digest].take(&stage).unwrap();
    assert_eq!(applied(&stage, &transform, &x(&[1.0])).unwrap_err(), Error::Exhausted { max: 1 });
    drop(instance);
    check_healthy(&stage, &transform);
}
