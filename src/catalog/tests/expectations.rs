//! Expectations of feature views, and what is wrong with them.

use expect_test::{Expect, expect};

use super::{answer, base_file, check, file};
use crate::catalog::sample::taxi_from;
use crate::catalog::{Check, Expectation, Literal, OnFailure};

const VIEW: &str = "
feature_views:
  - name: v
    entities: [company]
    source: rides
    features:
      - {name: fare, type: float64}
      - {name: miles, type: int32}
      - {name: kind, type: string}
      - {name: paid, type: bool}
      - {name: day, type: date}
      - {name: seen, type: timestamp}
      - {name: raw, type: bytes}
      - {name: vector, type: 'list<float32, 4>'}
";

fn view(expectations: &[&str]) -> String {
    let items: String = expectations.iter().map(|expectation| format!("      - {{{expectation}}}\n")).collect();
    format!("{VIEW}    expectations:\n{items}")
}

fn refused(expectation: &str, expected: Expect) {
    expected.assert_eq(&answer(&[base_file(), file("test", &view(&[expectation]))]));
}

fn read(expectations: &[&str]) -> Vec<Expectation> {
    let catalog = taxi_from(&[base_file(), file("test", &view(expectations))]);
    catalog.feature_view("v").unwrap().expectations.clone()
}

#[test]
fn every_kind_of_expectation_is_read_in_the_type_of_its_feature() {
    let all = read(&[
        "feature: fare, not_null: true",
        "feature: fare, range: [0, 500.5], on_failure: quarantine",
        "feature: miles, at_least: 1",
        "feature: day, at_most: '2016-12-31'",
        "feature: seen, range: ['1970-01-01', '1970-01-01T00:00:01Z']",
        "feature: kind, in_set: [cash, card], on_failure: fail",
        "feature: paid, in_set: [true]",
        "feature: vector, null_ratio_at_most: 0.1",
        "feature: raw, unique: true",
        "unique: true",
        "feature: miles, variance_above: 0",
        "feature: fare, outlier_ratio_at_most: 0.01",
        "freshness_at_most: 2h, on_failure: fail",
    ]);
    let names: Vec<String> = all.iter().map(Expectation::name).collect();
    assert_eq!(
        names,
        [
            "fare.not_null",
            "fare.range",
            "miles.range",
            "day.range",
            "seen.range",
            "kind.in_set",
            "paid.in_set",
            "vector.null_ratio",
            "raw.unique",
            "unique",
            "miles.variance",
            "fare.outlier_ratio",
            "freshness"
        ]
    );
    let range = |of: usize| match &all[of].check {
        Check::Range { low, high, .. } => (low.clone(), high.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(range(1), (Some(Literal::Float(0.0)), Some(Literal::Float(500.5))));
    assert_eq!(range(2), (Some(Literal::Whole(1)), None));
    assert_eq!(range(3), (None, Some(Literal::Whole(17_166))));
    assert_eq!(range(4), (Some(Literal::Whole(0)), Some(Literal::Whole(1_000_000))));
    let outcomes = [all[0].on_failure, all[1].on_failure, all[5].on_failure];
    assert_eq!(outcomes, [OnFailure::Warn, OnFailure::Quarantine, OnFailure::Fail]);
}

#[test]
fn an_expectation_expects_one_thing_of_a_feature_that_there_is() {
    refused(
        "feature: fare",
        expect![
            "16:9: expectation number 1 of feature view v: it expects nothing; write one of not_null, range, at_least, at_most, in_set, null_ratio_at_most, unique, variance_above, outlier_ratio_at_most, freshness_at_most"
        ],
    );
    refused(
        "feature: fare, not_null: true, at_least: 0",
        expect![
            "16:51: expectation number 1 of feature view v: it has both not_null and at_least; write two expectations"
        ],
    );
    refused(
        "feature: fair, not_null: true",
        expect!["16:19: expectation number 1 of feature view v: the view has no feature fair"],
    );
    refused(
        "not_null: true",
        expect![
            "16:9: expectation number 1 of feature view v: not_null is about a feature; say which one with feature"
        ],
    );
    refused(
        "feature: fare, not_null: false",
        expect!["16:35: expectation number 1 of feature view v: not_null can only be true; leave the expectation out"],
    );
    refused(
        "feature: fare, freshness_at_most: 2h",
        expect!["16:19: expectation number 1 of feature view v: freshness is that of the view; leave feature out"],
    );
    refused(
        "feature: fare, positive: true",
        expect![
            "16:25: expectation number 1 of feature view v has the unknown key positive; it may have at_least, at_most, feature, freshness_at_most, in_set, not_null, null_ratio_at_most, on_failure, outlier_ratio_at_most, range, unique, variance_above"
        ],
    );
    refused(
        "feature: fare, not_null: true, on_failure: stop",
        expect![[
            r#"16:53: on_failure of expectation number 1 of feature view v must be one of warn, quarantine, fail, it is the text "stop""#
        ]],
    );
    check(
        &view(&["feature: fare, at_least: 0", "feature: fare, at_most: 9"]),
        expect!["17:9: expectation number 2 of feature view v: fare.range is expected twice; make one of the two"],
    );
}

#[test]
fn values_are_of_the_features_type() {
    refused(
        "feature: kind, range: [a, b]",
        expect!["16:32: expectation number 1 of feature view v: range is for numbers and times, and kind is string"],
    );
    refused(
        "feature: miles, range: [0, 1.5]",
        expect!["16:37: expectation number 1 of feature view v: range of miles: 1.5 is no int32"],
    );
    refused(
        "feature: fare, range: [9, 1]",
        expect!["16:32: expectation number 1 of feature view v: the range of fare is empty: 9 is more than 1"],
    );
    refused(
        "feature: fare, range: [9]",
        expect!["16:32: expectation number 1 of feature view v: range has 1 values; write the least and the largest"],
    );
    refused(
        "feature: fare, range: [9, null]",
        expect![
            "16:36: range number 2 of expectation number 1 of feature view v must be a number or text, it is empty"
        ],
    );
    refused(
        "feature: seen, at_least: yesterday",
        expect![[
            r#"16:35: expectation number 1 of feature view v: at_least of seen: "yesterday" cannot be read as timestamp"#
        ]],
    );
    refused(
        "feature: day, at_least: 2016",
        expect!["16:34: expectation number 1 of feature view v: at_least of day: 2016 is no date; write it in quotes"],
    );
    refused(
        "feature: fare, in_set: [1]",
        expect![
            "16:33: expectation number 1 of feature view v: in_set is for whole numbers, text, times and bools, and fare is float64"
        ],
    );
    refused(
        "feature: kind, in_set: [cash, 7]",
        expect!["16:40: expectation number 1 of feature view v: in_set of kind: 7 is no string"],
    );
    refused(
        "feature: vector, unique: true",
        expect![
            "16:35: expectation number 1 of feature view v: unique is for single values, and vector is list<float32, 4>"
        ],
    );
    refused(
        "feature: kind, variance_above: 0",
        expect!["16:41: expectation number 1 of feature view v: variance_above is for numbers, and kind is string"],
    );
    refused(
        "feature: fare, null_ratio_at_most: 10",
        expect![
            "16:45: expectation number 1 of feature view v: null_ratio_at_most is a part of the rows, from 0 to 1; it is 10"
        ],
    );
    refused(
        "freshness_at_most: 2 hours",
        expect![[
            r#"16:29: expectation number 1 of feature view v: "2 hours" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#
        ]],
    );
}

#[test]
fn only_what_is_about_single_rows_can_be_quarantined() {
    refused(
        "feature: fare, null_ratio_at_most: 0.1, on_failure: quarantine",
        expect![
            "16:62: expectation number 1 of feature view v: null_ratio_at_most is about all rows together, so none can be quarantined; write warn or fail"
        ],
    );
}

#[test]
fn quarantined_rows_go_to_a_source_that_takes_rows_and_is_another() {
    let quarantine = |name: &str| format!("{VIEW}    quarantine: {name}\n");
    check(
        &quarantine("rides"),
        expect!["15:17: feature view v would read its quarantined rows again; name another source than rides"],
    );
    check(
        &quarantine("area_history"),
        expect!["15:17: quarantined rows of feature view v cannot be written to area_history, which is a query"],
    );
    check(
        &quarantine("ride"),
        expect![
            "15:17: feature view v sends quarantined rows to source ride, which is not defined; did you mean rides?"
        ],
    );
    check(&quarantine("trips"), expect!["fine"]);
}

#[test]
fn the_hash_is_of_the_expectations_too() {
    let hash = |expectations: &[&str]| taxi_from(&[base_file(), file("test", &view(expectations))]).hash();
    let one = hash(&["feature: fare, at_least: 0"]);
    assert_ne!(one, hash(&["feature: fare, at_least: 1"]));
    assert_ne!(one, hash(&["feature: fare, at_least: 0, on_failure: fail"]));
    assert_eq!(one, hash(&["feature: fare, at_least: 0, on_failure: warn"]));
}
