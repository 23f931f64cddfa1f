//! Services whose callers are divided.

use expect_test::{Expect, expect};

use super::{bind, columns, file};
use crate::catalog::sample::{base_file, views_file};
use crate::catalog::{Definitions, build};

/// A service of one feature, split so, beside another one and one that answers the same.
fn check_split(split: &str, expected: Expect) {
    let text = format!(
        "feature_services:
  - {{name: a, features: ['company_stats:avg_fare'], split: {split}}}
  - {{name: same, features: ['company_stats:avg_fare']}}
  - {{name: more, features: [company_stats]}}
  - {{name: renamed, features: ['company_stats:avg_fare'], full_feature_names: true}}
  - {{name: divided, features: ['company_stats:avg_fare'], split: {{by: company, other: same, share: 0.5}}}}
"
    );
    let files = [base_file(), views_file(), file("test", &text)];
    expected.assert_eq(&match Definitions::parse("taxi", &files).and_then(|files| build(&files, &bind, &columns)) {
        Ok((catalog, _)) => catalog.services["a"].split.as_ref().map(ToString::to_string).unwrap_or_default(),
        Err(mistakes) => mistakes.to_string().replace("features/test.yaml:", ""),
    });
}

#[test]
fn callers_are_divided_between_services_that_take_and_answer_the_same() {
    check_split("{by: company, other: same, share: 0.1}", expect!["10 % by company to same"]);
    check_split(
        "{by: company, other: a, share: 0.1}",
        expect!["2:81: feature service a: it cannot be split between itself and itself"],
    );
    check_split(
        "{by: company, other: sane, share: 0.1}",
        expect![
            "2:81: feature service a: there is no feature service sane to answer a part of its callers; did you mean same?"
        ],
    );
    check_split(
        "{by: company, other: more, share: 0.1}",
        expect![
            "2:81: feature service a: more answers other columns, avg_fare (float64), last_trip_at (timestamp) in place of avg_fare (float64)"
        ],
    );
    check_split(
        "{by: company, other: renamed, share: 0.1}",
        expect![
            "2:81: feature service a: renamed answers other columns, company_stats__avg_fare (float64) in place of avg_fare (float64)"
        ],
    );
    check_split(
        "{by: company, other: divided, share: 0.1}",
        expect!["2:81: feature service a: divided is split itself; only one of the two can be"],
    );
    check_split(
        "{by: area, other: same, share: 0.1}",
        expect!["2:65: feature service a: it takes no area; it takes company (string)"],
    );
    check_split(
        "{by: company, other: same, share: 1}",
        expect!["2:94: feature service a: the share must be above 0 and below 1"],
    );
    check_split(
        "{by: company, other: same, share: 0.0}",
        expect!["2:94: feature service a: the share must be above 0 and below 1"],
    );
}
