//! Fresh instances that begin where a bound one stood.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;

fn fresh(snapshots: bool) -> Transforms {
    stage(Settings { reuse: Reuse::Never, snapshots, ..settings() })
}

fn has_snapshot(stage: &Transforms, transform: &Transform) -> bool {
    stage.pools.load()[&transform.digest].has_snapshot()
}

#[test]
fn an_instance_that_begins_bound_answers_as_one_that_was_bound_and_burns_the_same_fuel() {
    let names = vec![json!("3 - 4 Flash Cab, Inc."), Value::Null, json!("Ümlaut  Taxi")];
    let numbers = |columns: usize| (0..columns).map(|column| vec![json!(column as f64 * 0.3); 3]).collect::<Vec<_>>();
    let buckets = [("buckets".to_owned(), Parameter::Int(7))];
    let cases: [(&str, &[(String, Parameter)], Vec<Vec<Value>>); 3] =
        [("arithmetic", &[], numbers(50)), ("haversine", &[], numbers(4)), ("taxi_company", &buckets, vec![names])];
    let (bound_each, bound_once) = (fresh(false), fresh(true));
    for (plugin, parameters, columns) in cases {
        let [each, once] = [&bound_each, &bound_once].map(|stage| bound(stage, plugin, parameters));
        assert!(has_snapshot(&bound_once, &once) && !has_snapshot(&bound_each, &each), "{plugin}");
        for _ in 0..3 {
            let [each, once] = [(&bound_each, &each), (&bound_once, &once)]
                .map(|(stage, transform)| applied(stage, transform, &columns).unwrap());
            assert_eq!((once.rows, once.errors, once.fuel), (each.rows, each.errors, each.fuel), "{plugin}");
        }
    }
    assert_eq!(bound_once.instances_alive(), 0);
}

#[test]
fn parameters_and_chosen_outputs_have_snapshots_of_their_own() {
    let stage = fresh(true);
    let (digest, _) = stage.load("taxi_company", &component("taxi_company")).unwrap();
    let name = vec![json!("Flash Cab")];
    let bind = |buckets: i64| {
        let parameters = [("buckets".to_owned(), Parameter::Int(buckets))];
        let transform = stage.bind("taxi_company", digest, &parameters, Some(&["company_bucket".to_owned()])).unwrap();
        applied(&stage, &transform, std::slice::from_ref(&name)).unwrap().rows
    };
    let (one, many) = (bind(1), bind(1 << 20));
    assert_ne!(one, many);
    assert_eq!((bind(1), bind(1 << 20)), (one, many));
}

#[test]
fn a_snapshot_is_compiled_once_and_then_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        || Settings { cache: Some(folder.path().join("cache")), reuse: Reuse::Never, snapshots: true, ..settings() };
    let counts = |stage: &Transforms| {
        let stats = stage.stats();
        [&stats.compiled, &stats.cache_hits].map(|count| count.load(Ordering::Relaxed))
    };
    let first = stage(settings());
    let answer = |stage: &Transforms| {
        let transform = bound(stage, "haversine", &[]);
        assert!(has_snapshot(stage, &transform));
        applied(stage, &transform, &[0.1, 0.2, 0.3, 0.4].map(|degrees| vec![json!(degrees)])).unwrap().rows
    };
    let wanted = answer(&first);
    // The plugin, the same telling of its memory, and with the memory that it told of.
    assert_eq!(counts(&first), [3, 0]);
    let second = stage(settings());
    assert_eq!(answer(&second), wanted);
    assert_eq!(counts(&second), [0, 2]);
}

#[test]
fn what_a_guest_does_wrong_it_does_wrong_from_a_snapshot_too() {
    let stage = fresh(true);
    let transform = bound(&stage, "fault_trap", &[]);
    assert!(has_snapshot(&stage, &transform));
    let error = applied(&stage, &transform, &[vec![json!(13.0)]]).unwrap_err();
    assert!(matches!(error, Error::Fault { .. }), "{error}");
    assert_eq!(applied(&stage, &transform, &[vec![json!(1.0)]]).unwrap().rows.num_rows(), 1);
}
