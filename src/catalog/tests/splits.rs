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
    check_split("{by: company, other: a, share: 0.1}", expect![[""]]);
    check_split("{by: company, other: sane, share: 0.1}", expect![[""]]);
    check_split("{by: company, other: more, share: 0.1}", expect![[""]]);
    check_split("{by: company, other: renamed, share: 0.1}", expect![[""]]);
    check_split("{by: company, other: divided, share: 0.1}", expect![[""]]);
    check_split("{by: area, other: same, share: 0.1}", expect![[""]]);
    check_split("{by: company, other: same, share: 1}", expect![[""]]);
    check_split("{by: company, other: same, share: 0.0}", expect![[""]]);
}
