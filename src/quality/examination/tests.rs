//! Verdicts over small runs.

use arrow::array::{Float64Array, StringArray};
use expect_test::{Expect, expect};

use super::*;
use crate::batch::timestamps;
use crate::catalog::OnFailure;

const HOUR: Micros = 3_600_000_000;

fn view(checks: Vec<Check>) -> Arc<FeatureView> {
    let expectations = checks.into_iter().map(|check| Expectation { check, on_failure: OnFailure::Warn }).collect();
    Arc::new(FeatureView {
        name: "rides".to_owned(),
        entities: vec!["company".to_owned()],
        join_keys: vec![Field::new("company", DType::One(Scalar::String))],
        source: "rides".to_owned(),
        features: vec![Field::new("fare", DType::One(Scalar::Float64))],
        ttl: None,
        online: true,
        sync_every: None,
        expectations,
        quarantine: None,
        description: String::new(),
    })
}

/// A row: company, fare, hours since the epoch.
type Row<'a> = (&'a str, Option<f64>, Micros);

fn verdicts(checks: Vec<Check>, batches: &[&[Row<'_>]], span: Span) -> Vec<Verdict> {
    let view = view(checks);
    let fields = view.join_keys.iter().chain(&view.features).cloned().collect();
    let mut examination = Examination::new(view, fields);
    for batch in batches {
        let companies: StringArray = batch.iter().map(|row| Some(row.0)).collect();
        let fares: Float64Array = batch.iter().map(|row| row.1).collect();
        let times = timestamps(batch.iter().map(|row| Some(row.2 * HOUR)).collect());
        examination.push(&[Arc::new(companies), Arc::new(fares)], &times);
    }
    examination.finish(span)
}

const NOW: Span = Span { now: 10 * HOUR, from: None, reaches_now: true };

fn check(check: Check, batches: &[&[Row<'_>]], expected: Expect) {
    let verdict = verdicts(vec![check], batches, NOW).remove(0);
    let word = if verdict.holds { "holds" } else { "does not hold" };
    expected.assert_eq(&format!("{verdict}: {word}, {}", verdict.failed));
}

fn fare() -> String {
    "fare".to_owned()
}

#[test]
fn rows_are_counted_and_shown_by_key_and_time() {
    let range = Check::Range { feature: fare(), low: Some(crate::catalog::Literal::Float(0.0)), high: None };
    let batches: [&[Row<'_>]; 2] = [&[("a", Some(1.0), 1), ("b", Some(-2.5), 2)], &[("c", Some(-1.0), 3)]];
    check(
        range,
        &batches,
        expect![
            "expectation fare.range (fare is 0 at least): 2 of 3 rows are otherwise; such as company=b at 1970-01-01T02:00:00Z: fare is -2.5; company=c at 1970-01-01T03:00:00Z: fare is -1.0: does not hold, 2"
        ],
    );
}

#[test]
fn the_part_of_nulls_is_that_of_all_rows_of_the_run() {
    let batches: [&[Row<'_>]; 2] = [&[("a", None, 1), ("b", None, 2)], &[("c", Some(1.0), 3), ("d", Some(1.0), 3)]];
    let ratio = |at_most| Check::NullRatio { feature: fare(), at_most };
    check(
        ratio(0.5),
        &batches,
        expect!["expectation fare.null_ratio (0.5 of fare is null at the most): 0.5000 of 4 rows are null: holds, 0"],
    );
    check(
        ratio(0.4),
        &batches,
        expect![
            "expectation fare.null_ratio (0.4 of fare is null at the most): 0.5000 of 4 rows are null: does not hold, 1"
        ],
    );
}

#[test]
fn twins_are_found_over_batches_by_value_or_by_key_and_time() {
    let batches: [&[Row<'_>]; 2] = [&[("a", Some(0.0), 1), ("b", None, 2)], &[("a", Some(-0.0), 2), ("b", None, 2)]];
    check(
        Check::Unique { feature: Some(fare()) },
        &batches,
        expect![
            "expectation fare.unique (no value of fare comes twice): 1 of 4 rows came before; such as company=a at 1970-01-01T02:00:00Z: fare is -0.0: does not hold, 1"
        ],
    );
    check(
        Check::Unique { feature: None },
        &batches,
        expect![
            "expectation unique (no two rows share keys and event time): 1 of 4 rows came before; such as company=b at 1970-01-01T02:00:00Z: does not hold, 1"
        ],
    );
}

#[test]
fn a_constant_column_has_no_variance() {
    let variance = || Check::Variance { feature: fare(), above: 0.0 };
    check(
        variance(),
        &[&[("a", Some(3.0), 1), ("b", Some(3.0), 1)]],
        expect![
            "expectation fare.variance (the variance of fare is above 0): the variance is 0.000000: does not hold, 1"
        ],
    );
    let both = verdicts(vec![variance()], &[&[("a", Some(3.0), 1)]], NOW);
    assert!(both[0].holds, "one value says nothing of it");
}

#[test]
fn outliers_are_far_outside_of_the_quartiles() {
    let rows: Vec<Row<'_>> = (0..100).map(|row| ("a", Some(if row == 7 { 1e6 } else { f64::from(row) }), 1)).collect();
    let outliers = |at_most| Check::OutlierRatio { feature: fare(), at_most };
    let found = |at_most| verdicts(vec![outliers(at_most)], &[&rows], NOW).remove(0);
    assert!(found(0.01).holds);
    assert!(!found(0.009).holds);
    assert_eq!(found(0.009).found, "0.0100 of the values are outliers");
}

#[test]
fn freshness_is_judged_by_the_newest_row_as_far_as_rows_were_looked_at() {
    let fresh = |hours: u64| Check::Freshness { at_most: Duration::from_secs(hours * 3_600) };
    let rows: &[Row<'_>] = &[("a", None, 7), ("b", None, 4)];
    let found = |hours: u64, rows: &[Row<'_>], span| verdicts(vec![fresh(hours)], &[rows], span).remove(0);
    assert!(found(3, rows, NOW).holds);
    assert_eq!((found(2, rows, NOW).holds, found(2, rows, NOW).found.as_str()), (false, "the newest row is 3h old"));
    assert!(found(2, rows, Span { reaches_now: false, ..NOW }).holds);
    assert!(!found(2, &[], NOW).holds, "no row at all is not fresh");
    let since = |from: Micros| Span { from: Some(from * HOUR), ..NOW };
    assert!(found(2, &[], since(9)).holds, "the rows before 9 were not looked at");
    assert!(!found(2, &[], since(7)).holds, "whatever there is is older than 7");
}

#[test]
fn an_age_is_told_in_its_two_largest_units() {
    let second = 1_000_000;
    for (age, text) in [
        (0, "0s"),
        (59 * second + 1, "59s"),
        (61 * second, "1m 1s"),
        (3 * HOUR, "3h"),
        (49 * HOUR + 59 * second, "2d 1h"),
        (312_159_119 * second, "3612d 22h"),
    ] {
        assert_eq!(shown(age), text);
    }
}
