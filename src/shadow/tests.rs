//! Two builds of a plugin on the same columns.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array};

use super::*;
use crate::catalog::{DType, Field, Input, Placement, Scalar};
use crate::limits::SHADOW_EXAMPLES_MAX;
use crate::transform::Settings;

fn built(plugin: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/built/{plugin}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn stage() -> Arc<Transforms> {
    Arc::new(Transforms::start(Settings { instances_max: 8, ..Settings::default() }).unwrap())
}

/// A view that reads the features of the same names as the plugin's columns.
fn view(stage: &Transforms, plugin: &str) -> DerivedView {
    let (digest, signature) = stage.load(plugin, &built(plugin)).unwrap();
    let transform = stage.bind(plugin, digest, &[], None).unwrap();
    let input = |column: &Field| Input {
        column: column.clone(),
        from: InputSource::Feature { view: "ends".to_owned(), feature: column.name.clone() },
    };
    DerivedView {
        name: "distance".to_owned(),
        inputs: signature.features.iter().map(input).collect(),
        features: transform.outputs.clone(),
        transform,
        placement: Placement::Request,
        freeze_at_event_time: false,
        description: String::new(),
    }
}

fn columns(rows: usize) -> Vec<ArrayRef> {
    let values =
        |step: f64| Arc::new((0..rows).map(|row| Some(row as f64 * step)).collect::<Float64Array>()) as ArrayRef;
    vec![values(0.0), values(0.0), values(0.5), values(0.25)]
}

/// Waits until so many calls are compared or dropped.
fn found(shadows: &Shadows, calls: u64) -> Found {
    let begun = Instant::now();
    loop {
        let found = shadows.found(true).remove(0);
        if found.compared + found.dropped >= calls {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{found:?}");
        std::thread::yield_now();
    }
}

#[test]
fn values_that_differ_are_counted_and_the_last_ones_are_kept() {
    let stage = stage();
    let (old, new) = (view(&stage, "haversine"), view(&stage, "haversine_equatorial"));
    let shadows = Shadows::default();
    assert!(!shadows.any());
    shadows.set(vec![(Pair::new(&old, &new).unwrap(), 1.0)]);
    assert!(shadows.any());
    let shadow = shadows.due("distance", &old.transform).unwrap();
    shadows.compare(shadow, &stage, &columns(40), 40);
    let found = found(&shadows, 1);
    assert_eq!((found.compared, found.rows, found.dropped, found.failed), (1, 40, 0, 0));
    // The first row goes nowhere.
    assert_eq!((found.features[0].values, found.features[0].differ), (40, 39));
    assert_eq!(found.examples.len(), SHADOW_EXAMPLES_MAX);
    let last = found.examples.last().unwrap();
    let [old_km, new_km] = [&last.old, &last.new].map(|text| text.parse::<f64>().unwrap());
    assert_eq!(found.features[0].largest_difference, Some((old_km - new_km).abs()));
    assert_eq!(last.inputs["to_latitude"], "19.5");
    assert!(found.old_cost.fuel > 0 && found.new_cost.nanoseconds > 0);
}

#[test]
fn a_share_of_the_calls_is_due_and_only_those_of_the_build_that_answers() {
    let stage = stage();
    let (old, new) = (view(&stage, "haversine"), view(&stage, "haversine_equatorial"));
    let shadows = Shadows::default();
    shadows.set(vec![(Pair::new(&old, &new).unwrap(), 0.3)]);
    let due = (0..1_000).filter(|_| shadows.due("distance", &old.transform).is_some()).count();
    assert_eq!(due, 300);
    assert!((0..1_000).all(|_| shadows.due("distance", &new.transform).is_none()));
    assert!(shadows.due("other", &old.transform).is_none());
    // What goes on as it was keeps what it has found; another share begins anew.
    shadows.set(vec![(Pair::new(&old, &new).unwrap(), 0.3)]);
    assert_eq!(shadows.found(false)[0].calls, 1_000);
    shadows.set(vec![(Pair::new(&old, &new).unwrap(), 0.5)]);
    assert_eq!(shadows.found(false)[0].calls, 0);
}

#[test]
fn calls_beyond_the_queue_are_dropped_and_counted() {
    let stage = stage();
    let (old, new) = (view(&stage, "haversine"), view(&stage, "haversine_equatorial"));
    let shadows = Shadows::default();
    shadows.set(vec![(Pair::new(&old, &new).unwrap(), 1.0)]);
    let (calls, rows) = (20 * SHADOW_QUEUE_MAX as u64, SHADOW_ROWS_MAX);
    let columns = columns(4 * rows);
    for _ in 0..calls {
        let shadow = shadows.due("distance", &old.transform).unwrap();
        shadows.compare(shadow, &stage, &columns, 4 * rows);
    }
    let found = found(&shadows, calls);
    assert!(found.dropped > 0 && found.compared > 0, "{found:?}");
    assert_eq!(found.rows, found.compared * rows as u64, "of each call so many rows at most");
}

#[test]
fn a_build_that_reads_or_answers_something_else_is_refused() {
    let stage = stage();
    let (old, mut new) = (view(&stage, "haversine"), view(&stage, "haversine_equatorial"));
    let refused = |new: &DerivedView| Pair::new(&old, new).unwrap_err();
    new.inputs.swap(0, 3);
    assert!(Pair::new(&old, &new).is_ok(), "the order is the plugin's own affair");
    new.inputs[1].from = InputSource::Request { field: "from".to_owned() };
    assert_eq!(refused(&new), "the other build reads request field from, which distance does not read now");
    let mut new = view(&stage, "haversine_equatorial");
    new.features[0].dtype = DType::One(Scalar::Float32);
    assert_eq!(refused(&new), "the other build has no output for feature distance_km (float64) of distance");
}
