//! Plugins that are caught remembering, and what becomes of them.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::transform::{Audited, OnImpure};

fn x() -> Vec<Vec<Value>> {
    vec![vec![json!(1.0)]]
}

fn audited(stage: &Transforms) -> (u64, u64, u64) {
    match &stage.audited()[..] {
        [] => (0, 0, 0),
        [Audited { plugin, compared, impure, quarantined }] => {
            assert_eq!(plugin, "fault_drift");
            (*compared, *impure, *quarantined)
        }
        more => panic!("{more:?}"),
    }
}

#[test]
fn a_plugin_in_quarantine_gets_fresh_instances_and_answers_rightly() {
    let stage = stage(Settings { compare_one_in: 2, on_impure: OnImpure::Quarantine, ..settings() });
    let transform = bound(&stage, "fault_drift", &[]);
    let first = applied(&stage, &transform, &x()).unwrap();
    assert_eq!(audited(&stage), (0, 0, 0), "the first call is not the second");
    assert_eq!(applied(&stage, &transform, &x()).unwrap().rows, first.rows);
    assert_eq!(audited(&stage), (1, 1, 1));
    let created = stage.stats().instances_created.load(Ordering::Relaxed);
    for _ in 0..5 {
        assert_eq!(applied(&stage, &transform, &x()).unwrap().rows, first.rows);
    }
    assert_eq!(stage.stats().instances_created.load(Ordering::Relaxed), created + 5);
    assert_eq!(audited(&stage), (1, 1, 1), "there is nothing left to compare");

    // It is the build that is in quarantine: taken away and loaded again it is so still.
    drop(transform);
    stage.drop_unused();
    assert_eq!(stage.loaded(), (0, 0));
    let transform = bound(&stage, "fault_drift", &[]);
    for _ in 0..3 {
        assert_eq!(applied(&stage, &transform, &x()).unwrap().rows, first.rows);
    }
    assert_eq!(audited(&stage), (1, 1, 1));
}

#[test]
fn a_plugin_that_is_only_warned_of_stays_warm_and_is_caught_again() {
    let stage = stage(Settings { compare_one_in: 2, on_impure: OnImpure::Warn, ..settings() });
    let transform = bound(&stage, "fault_drift", &[]);
    for _ in 0..4 {
        applied(&stage, &transform, &x()).unwrap();
    }
    assert_eq!(audited(&stage), (2, 2, 0));
}

#[test]
fn what_nobody_holds_is_dropped_and_what_somebody_holds_is_not() {
    let stage = stage(settings());
    let (kept, gone) = (bound(&stage, "haversine", &[]), bound(&stage, "fault_trap", &[]));
    assert_eq!(stage.loaded(), (2, 2));
    let again = bound(&stage, "haversine", &[]);
    assert!(Arc::ptr_eq(&kept, &again), "a transform that is bound twice is one");
    drop((again, gone));
    stage.drop_unused();
    assert_eq!(stage.loaded(), (1, 1));
    let row: Vec<Vec<Value>> = vec![vec![json!(1.0)]; 4];
    assert!(applied(&stage, &kept, &row).is_ok());
    drop(kept);
    stage.drop_unused();
    assert_eq!((stage.loaded(), stage.instances_alive()), ((0, 0), 0));
}
