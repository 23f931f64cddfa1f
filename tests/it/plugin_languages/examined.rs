//! The conformance suite over plugins in Python, JavaScript and C, with the golden cases of the Rust ones.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep::app::read_goldens;
use lockstep::toolchain::Language::{self, C, Js, Python};
use lockstep::transform::Settings;
use lockstep::transform::conformance::{Verdict, examine};

use super::built::{built, compiled};
use super::in_repository;

/// Every check passes, except for `warned`: what the author should know and nobody can change.
fn check(language: Language, plugin: &str, warned: &[&str]) {
    let cases = read_goldens(&in_repository("plugins/goldens").join(plugin)).unwrap();
    assert!(!cases.is_empty(), "{plugin} has golden cases");
    // Time is not what is tested, and these machines do much at once.
    let call_time_max = Duration::from_secs(60);
    let settings = Settings { cache: Some(compiled()), call_time_max, ..Settings::default() };
    let component = built(language, plugin);
    let report = examine(plugin, &component, &cases, &settings, &mut |_| {}).unwrap();
    let odd: BTreeMap<&str, (Verdict, &str)> = report
        .checks
        .iter()
        .filter(|check| !matches!(check.verdict, Verdict::Passed | Verdict::Skipped))
        .map(|check| (check.name.as_str(), (check.verdict, check.detail.as_str())))
        .collect();
    let is_expected = odd.values().all(|(verdict, _)| *verdict == Verdict::Warned) && odd.keys().eq(warned.iter());
    assert!(is_expected, "{plugin} in {language}: {odd:#?}");
    assert_eq!(report.golden_cases, cases.len());
}

#[test]
fn the_taxi_transforms_in_c_pass_the_conformance_suite() {
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote"] {
        check(C, plugin, &[]);
    }
}

// An instance of componentize-py keeps every answer that it gave, and one of SpiderMonkey what it has not collected yet.

#[test]
fn the_taxi_transforms_in_python_pass_the_conformance_suite() {
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote"] {
        check(Python, plugin, &["memory"]);
    }
}

#[test]
fn the_taxi_transforms_in_javascript_pass_the_conformance_suite() {
    for plugin in ["taxi_company", "taxi_recency", "taxi_quote"] {
        check(Js, plugin, &["memory"]);
    }
}
