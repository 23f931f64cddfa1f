//! What one plugin may use: what the project says, what its tests measured, what holds for all; changed while it runs.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::transform::conformance::FuelBudget;
use crate::transform::{Fault, PluginLimits, Reuse};

/// The value at which a fault of `plugins/faults` misbehaves.
const MISCHIEF: f64 = 13.0;

fn allow(stage: &Transforms, plugin: &str, limits: PluginLimits) {
    stage.set_limits(HashMap::from([(plugin.to_owned(), limits)]));
}

/// The fault of a call that the plugin misbehaves in.
fn fault(stage: &Transforms, transform: &Transform) -> Fault {
    match applied(stage, transform, &[vec![json!(MISCHIEF)]]).unwrap_err() {
        Error::Fault { fault, .. } => fault,
        other => panic!("{other:?}"),
    }
}

fn fuel(per_call: u64) -> PluginLimits {
    PluginLimits { fuel_per_call: Some(per_call), fuel_per_row: Some(0), ..PluginLimits::default() }
}

#[test]
fn limits_of_one_plugin_count_from_its_next_call_on() {
    let stage = stage(settings());
    let endless = bound(&stage, "fault_endless", &[]);
    for limit in [1_000_000, 2_000_000] {
        allow(&stage, "fault_endless", fuel(limit));
        assert_eq!(fault(&stage, &endless), Fault::Fuel { limit });
    }
    // Said of one plugin, it is not said of another; and what is not said any more does not count any more.
    allow(&stage, "haversine", fuel(1));
    let (per_call, per_row) = (settings().fuel_per_call, settings().fuel_per_row);
    assert_eq!(fault(&stage, &endless), Fault::Fuel { limit: per_call + per_row });
}

#[test]
fn limits_that_were_set_before_a_plugin_was_loaded_count_for_it() {
    let stage = stage(settings());
    allow(&stage, "fault_endless", fuel(1_500_000));
    let endless = bound(&stage, "fault_endless", &[]);
    assert_eq!(fault(&stage, &endless), Fault::Fuel { limit: 1_500_000 });
}

#[test]
fn time_and_memory_are_limited_for_one_plugin_too() {
    let stage = stage(Settings { fuel_per_call: u64::MAX / 2, ..settings() });
    let endless = bound(&stage, "fault_endless", &[]);
    let short = PluginLimits { call_time_max: Some(Duration::from_millis(30)), ..PluginLimits::default() };
    allow(&stage, "fault_endless", short);
    assert_eq!(fault(&stage, &endless), Fault::Deadline { limit_ms: 30 });

    let hoard = bound(&stage, "fault_hoard", &[]);
    for limit_bytes in [8 << 20, 96 << 20] {
        allow(&stage, "fault_hoard", PluginLimits { memory_bytes_max: Some(limit_bytes), ..PluginLimits::default() });
        assert_eq!(fault(&stage, &hoard), Fault::Memory { limit_bytes });
    }
}

#[test]
fn answers_that_are_larger_than_allowed_come_in_smaller_calls() {
    let stage = stage(settings());
    let haversine = bound(&stage, "haversine", &[]);
    let column: Vec<Value> = (0..1_000).map(|row| json!(f64::from(row) / 100.0)).collect();
    let columns = vec![column; haversine.signature.features.len() + haversine.signature.request.len()];
    let whole = applied(&stage, &haversine, &columns).unwrap().rows;
    let calls = stage.stats().calls.load(Ordering::Relaxed);
    let small = PluginLimits { output_bytes_max: Some(2 << 10), ..PluginLimits::default() };
    allow(&stage, "haversine", small);
    assert_eq!(applied(&stage, &haversine, &columns).unwrap().rows, whole);
    assert!(stage.stats().calls.load(Ordering::Relaxed) >= calls + 4);

    // One row alone does not fit.
    allow(&stage, "haversine", PluginLimits { output_bytes_max: Some(16), ..PluginLimits::default() });
    let error = applied(&stage, &haversine, &columns).unwrap_err();
    assert!(matches!(error, Error::Fault { fault: Fault::OutputTooLarge { max: 16 }, .. }), "{error:?}");
}

#[test]
fn what_tests_measured_counts_unless_the_project_says_more() {
    let stage = stage(settings());
    let endless = bound(&stage, "fault_endless", &[]);
    let component = endless.component;
    stage.set_fuel_budget(component, FuelBudget { per_call: 1_000_000, per_row: 500 });
    assert_eq!(fault(&stage, &endless), Fault::Fuel { limit: 1_000_500 });
    allow(&stage, "fault_endless", PluginLimits { fuel_per_row: Some(7), ..PluginLimits::default() });
    assert_eq!(fault(&stage, &endless), Fault::Fuel { limit: 1_000_007 });
    let limits = stage.limits("fault_endless", component);
    assert_eq!((limits.fuel_per_call, limits.fuel_per_row), (1_000_000, 7));
}

#[test]
fn a_report_of_tests_cannot_raise_what_holds_for_all_plugins() {
    let stage = stage(settings());
    let endless = bound(&stage, "fault_endless", &[]);
    stage.set_fuel_budget(endless.component, FuelBudget { per_call: u64::MAX / 2, per_row: u64::MAX / 2 });
    let limits = stage.limits("fault_endless", endless.component);
    assert_eq!((limits.fuel_per_call, limits.fuel_per_row), (settings().fuel_per_call, settings().fuel_per_row));
}

#[test]
fn instances_of_one_plugin_are_used_again_where_the_project_says_so_and_no_longer_than_it_does() {
    let stage = stage(Settings { reuse: Reuse::BySize, ..settings() });
    let transform = bound(&stage, "fault_trap", &[]);
    let created = || stage.stats().instances_created.load(Ordering::Relaxed);
    let created_by_calls = |reuse: Reuse| {
        allow(&stage, "fault_trap", PluginLimits { reuse, ..PluginLimits::default() });
        let before = created();
        for _ in 0..3 {
            applied(&stage, &transform, &[vec![json!(1.0)]]).unwrap();
        }
        created() - before
    };
    assert_eq!(created_by_calls(Reuse::BySize), 3);
    assert_eq!((created_by_calls(Reuse::Always), stage.slots.taken()), (1, 1));
    assert_eq!((created_by_calls(Reuse::Never), stage.slots.taken()), (3, 0));
}
