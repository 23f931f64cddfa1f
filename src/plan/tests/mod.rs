//! Plans of the sample project, differences between versions of it, and lineage.

mod compare;
mod lineage;
mod random;
mod versions;

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::catalog::sample::{base_file, taxi, taxi_from, views_file};
use crate::catalog::{DefinitionFile, FeatureRef, View};

fn service(name: &str) -> Selection {
    Selection::Service { name: name.to_owned(), full_feature_names: None }
}

fn features(names: &[&str], full_feature_names: bool) -> Selection {
    let refs = names.iter().filter_map(|name| name.split_once(':'));
    Selection::Features {
        refs: refs.map(|(view, feature)| FeatureRef::new(view, feature)).collect(),
        full_feature_names,
    }
}

fn with(text: &str) -> Catalog {
    let more = DefinitionFile { path: "features/more.yaml".to_owned(), text: text.to_owned() };
    taxi_from(&[base_file(), views_file(), more])
}

fn written(plan: &FeaturePlan) -> String {
    let mut text = String::new();
    for input in &plan.inputs {
        let _ = writeln!(text, "input {:?} {}: {}", input.kind, input.field.name, input.field.dtype);
    }
    for read in &plan.reads {
        let columns: Vec<_> = read.columns.iter().map(|column| read.online.features[*column].name.as_str()).collect();
        let _ = writeln!(text, "read {} ({}) {columns:?} by {:?}", read.online.name, read.view.name, read.keys);
    }
    write_derivations(&mut text, &plan.derivations);
    for output in &plan.outputs {
        let _ = writeln!(text, "output {}: {} = {:?}", output.field.name, output.field.dtype, output.column);
    }
    text
}

fn write_derivations(text: &mut String, derivations: &[Derivation]) {
    for derivation in derivations {
        let Derivation { view, inputs, as_of, needs_any_of, .. } = derivation;
        let _ = writeln!(text, "derive {} from {inputs:?} as of {as_of:?}, needs {needs_any_of:?}", view.name);
    }
}

fn check_serving(catalog: &Catalog, selection: &Selection, expected: Expect) {
    expected.assert_eq(&serving(catalog, selection).map_or_else(|error| error.to_string(), |plan| written(&plan)));
}

fn check_training(catalog: &Catalog, selection: &Selection, expected: Expect) {
    expected.assert_eq(&training(catalog, selection).map_or_else(|error| error.to_string(), |plan| written(&plan)));
}

fn check_storing(catalog: &Catalog, view: &str, expected: Expect) {
    let answer = storing(catalog, view).map(|plan| {
        let mut text = format!("store {} {:?}\n", plan.online.name, plan.online.digest);
        write_derivations(&mut text, &plan.derivations);
        for derived in &plan.derived {
            let names: Vec<_> = derived.features.iter().map(|feature| feature.name.as_str()).collect();
            let _ = writeln!(text, "store {} {names:?} {}", derived.name, derived.digest.is_some());
        }
        text
    });
    expected.assert_eq(&answer.unwrap_or_else(|error| error.to_string()));
}

const DEEPER: &str = "derived_views:
  - {name: bucket_again, plugin: identity, inputs: {value: 'at_hour:fare_at_hour'}}
  - {name: at_hour, plugin: hour_fare, inputs: {value: 'fare_ratio:ratio'}, request: {minute: minute_of_day}}
  - name: frozen
    plugin: recency
    inputs: {last_trip_at: 'company_stats:last_trip_at'}
    placement: sync
    freeze_at_event_time: true
    features: [{output: is_recent, name: was_recent}]
  - {name: twice, plugin: identity, inputs: {value: 'once:value_again'}, placement: sync}
  - {name: once, plugin: identity, inputs: {value: 'company_stats:avg_fare'}, placement: sync}
  - {name: thrice, plugin: ratio, inputs: {left: 'twice:value_again', right: 'company_stats:avg_fare'}}
";

#[test]
fn serving_reads_what_is_placed_at_sync() {
    check_serving(
        &taxi(),
        &service("tip_model_v1"),
        expect![[r#"
        input JoinKey company: string
        input JoinKey area: int64
        read company_stats (company_stats) ["last_trip_at", "avg_fare"] by [0]
        read area_stats (area_stats) ["avg_fare_30d"] by [1]
        read fare_bucket (company_stats) ["bucket"] by [0]
        derive company_recency from [Stored { read: 0, column: 0 }] as of Asked, needs [0]
        output avg_fare: float64 = Stored { read: 0, column: 1 }
        output last_trip_at: timestamp = Stored { read: 0, column: 0 }
        output avg_fare_30d: float64 = Stored { read: 1, column: 0 }
        output days_since_last_trip: float64 = Derived { derivation: 0, output: 0 }
        output is_recent: bool = Derived { derivation: 0, output: 1 }
        output bucket: int64 = Stored { read: 2, column: 0 }
    "#]],
    );
}

#[test]
fn training_computes_everything_derived() {
    check_training(
        &taxi(),
        &service("tip_model_v1"),
        expect![[r#"
        input JoinKey company: string
        input JoinKey area: int64
        read company_stats (company_stats) ["last_trip_at", "avg_fare"] by [0]
        read area_stats (area_stats) ["avg_fare_30d"] by [1]
        derive company_recency from [Stored { read: 0, column: 0 }] as of Asked, needs [0]
        derive fare_bucket from [Stored { read: 0, column: 1 }] as of Unused, needs [0]
        output avg_fare: float64 = Stored { read: 0, column: 1 }
        output last_trip_at: timestamp = Stored { read: 0, column: 0 }
        output avg_fare_30d: float64 = Stored { read: 1, column: 0 }
        output days_since_last_trip: float64 = Derived { derivation: 0, output: 0 }
        output is_recent: bool = Derived { derivation: 0, output: 1 }
        output bucket: int64 = Derived { derivation: 1, output: 0 }
    "#]],
    );
}

#[test]
fn only_the_needed_columns_are_read_and_each_once() {
    let asked = features(&["company_recency:is_recent", "company_stats:last_trip_at"], false);
    check_serving(
        &taxi(),
        &asked,
        expect![[r#"
        input JoinKey company: string
        read company_stats (company_stats) ["last_trip_at"] by [0]
        derive company_recency from [Stored { read: 0, column: 0 }] as of Asked, needs [0]
        output is_recent: bool = Derived { derivation: 0, output: 1 }
        output last_trip_at: timestamp = Stored { read: 0, column: 0 }
    "#]],
    );
}

#[test]
fn derived_views_run_after_those_they_read() {
    let asked = features(&["bucket_again:value_again", "at_hour:fare_at_hour"], false);
    check_serving(
        &with(DEEPER),
        &asked,
        expect![[r#"
        input JoinKey company: string
        input JoinKey area: int64
        input Request hour: int32
        input Request minute_of_day: int32
        read company_stats (company_stats) ["avg_fare"] by [0]
        read area_stats (area_stats) ["avg_fare_30d"] by [1]
        derive fare_ratio from [Stored { read: 0, column: 0 }, Stored { read: 1, column: 0 }] as of Unused, needs [0, 1]
        derive at_hour from [Derived { derivation: 0, output: 0 }, Input(2), Input(3)] as of Unused, needs []
        derive bucket_again from [Derived { derivation: 1, output: 0 }] as of Unused, needs []
        output value_again: float64 = Derived { derivation: 2, output: 0 }
        output fare_at_hour: float64 = Derived { derivation: 1, output: 0 }
    "#]],
    );
}

#[test]
fn a_frozen_view_takes_the_time_of_its_row() {
    let asked = features(&["frozen:was_recent"], false);
    check_serving(
        &with(DEEPER),
        &asked,
        expect![[r#"
        input JoinKey company: string
        read frozen (company_stats) ["was_recent"] by [0]
        output was_recent: bool = Stored { read: 0, column: 0 }
    "#]],
    );
    check_training(
        &with(DEEPER),
        &asked,
        expect![[r#"
        input JoinKey company: string
        read company_stats (company_stats) ["last_trip_at"] by [0]
        derive frozen from [Stored { read: 0, column: 0 }] as of EventTime { read: 0 }, needs [0]
        output was_recent: bool = Derived { derivation: 0, output: 0 }
    "#]],
    );
}

#[test]
fn a_stored_derived_view_is_an_input_like_any_other() {
    let asked = features(&["thrice:ratio"], true);
    check_serving(
        &with(DEEPER),
        &asked,
        expect![[r#"
        input JoinKey company: string
        read twice (company_stats) ["value_again"] by [0]
        read company_stats (company_stats) ["avg_fare"] by [0]
        derive thrice from [Stored { read: 0, column: 0 }, Stored { read: 1, column: 0 }] as of Unused, needs [0, 1]
        output thrice__ratio: float64 = Derived { derivation: 0, output: 0 }
    "#]],
    );
    check_training(
        &with(DEEPER),
        &asked,
        expect![[r#"
        input JoinKey company: string
        read company_stats (company_stats) ["avg_fare"] by [0]
        derive once from [Stored { read: 0, column: 0 }] as of Unused, needs [0]
        derive twice from [Derived { derivation: 0, output: 0 }] as of Unused, needs [0]
        derive thrice from [Derived { derivation: 1, output: 0 }, Stored { read: 0, column: 0 }] as of Unused, needs [0]
        output thrice__ratio: float64 = Derived { derivation: 2, output: 0 }
    "#]],
    );
}

#[test]
fn rows_of_a_feature_view_become_rows_of_all_views_that_are_synced_with_it() {
    check_storing(
        &with(DEEPER),
        "company_stats",
        expect![[r#"
        store company_stats None
        derive fare_bucket from [Stored { read: 0, column: 0 }] as of Unused, needs [0]
        derive frozen from [Stored { read: 0, column: 1 }] as of EventTime { read: 0 }, needs [0]
        derive once from [Stored { read: 0, column: 0 }] as of Unused, needs [0]
        derive twice from [Derived { derivation: 2, output: 0 }] as of Unused, needs [0]
        store fare_bucket ["bucket"] true
        store frozen ["was_recent"] true
        store once ["value_again"] true
        store twice ["value_again"] true
    "#]],
    );
    check_storing(
        &with(DEEPER),
        "area_stats",
        expect![[r#"
        store area_stats None
    "#]],
    );
    check_storing(&taxi(), "fare_ratio", expect!["feature view fare_ratio does not exist in project taxi"]);
}

#[test]
fn columns_are_named_as_the_question_wants() {
    let asked = Selection::Service { name: "tip_model_v1".to_owned(), full_feature_names: Some(true) };
    let plan = serving(&taxi(), &asked).unwrap();
    let names: Vec<_> = plan.outputs.iter().map(|output| output.field.name.as_str()).collect();
    expect!["company_stats__avg_fare company_stats__last_trip_at area_stats__avg_fare_30d company_recency__days_since_last_trip company_recency__is_recent fare_bucket__bucket"].assert_eq(&names.join(" "));
}

#[test]
fn a_feature_that_is_asked_twice_is_answered_once() {
    let plan = serving(&taxi(), &features(&["company_stats:avg_fare", "company_stats:avg_fare"], false)).unwrap();
    assert_eq!(plan.outputs.len(), 1);
}

#[test]
fn questions_without_an_answer_are_refused_in_words() {
    let catalog = with(
        "entities: [{name: zone, join_keys: [{name: area, type: string}]}]
feature_views:
  - {name: zone_stats, entities: [zone], source: rides, features: [{name: avg_fare, type: int64}, {name: company, type: int64}]}
",
    );
    check_serving(&catalog, &service("nothing"), expect!["feature service nothing does not exist in project taxi"]);
    check_serving(
        &catalog,
        &features(&["nothing:at_all"], false),
        expect!["feature view nothing does not exist in project taxi"],
    );
    check_serving(
        &catalog,
        &features(&["company_stats:avg_fair"], false),
        expect!["feature view company_stats has no feature avg_fair; it has avg_fare, last_trip_at"],
    );
    check_serving(&catalog, &features(&[], false), expect!["no feature was asked for"]);
    check_serving(
        &catalog,
        &features(&["company_stats:avg_fare", "zone_stats:avg_fare"], false),
        expect!["two columns of the answer would both be called avg_fare; ask with full_feature_names: true"],
    );
    check_serving(
        &catalog,
        &features(&["company_stats:avg_fare", "zone_stats:company"], false),
        expect!["two columns of the answer would both be called company; ask with full_feature_names: true"],
    );
    check_serving(
        &catalog,
        &features(&["area_stats:avg_fare_30d", "zone_stats:avg_fare"], false),
        expect!["area would be needed as int64 and as string; ask for these features in two requests"],
    );
    check_serving(
        &catalog,
        &features(&["archive:trip_count"], false),
        expect!["feature view archive is not kept online; it can be used for training only"],
    );
    check_training(
        &catalog,
        &features(&["archive:trip_count"], false),
        expect![[r#"
        input JoinKey company: string
        read archive (archive) ["trip_count"] by [0]
        output trip_count: int64 = Stored { read: 0, column: 0 }
    "#]],
    );
}

#[test]
fn a_request_is_for_a_bounded_number_of_features_and_a_training_set_is_not() {
    let columns: Vec<String> =
        (0..=limits::SERVE_FEATURES_MAX).map(|index| format!("{{name: f{index}, type: int64}}")).collect();
    let catalog = with(&format!(
        "feature_views: [{{name: wide, entities: [company], source: rides, features: [{}]}}]
feature_services: [{{name: all_of_it, features: [wide]}}]
",
        columns.join(", ")
    ));
    assert_eq!(
        serving(&catalog, &service("all_of_it")),
        Err(Error::TooManyFeatures { features: limits::SERVE_FEATURES_MAX + 1, max: limits::SERVE_FEATURES_MAX })
    );
    assert_eq!(training(&catalog, &service("all_of_it")).unwrap().outputs.len(), limits::SERVE_FEATURES_MAX + 1);
}
