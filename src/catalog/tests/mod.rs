//! What definitions may say, and how each mistake in them is told.

mod aliases;
mod derived_views;
mod expectations;
mod feature_views;
mod names;
mod placement;
mod services;
mod sources;
mod splits;
mod versions;

use expect_test::{Expect, expect, expect_file};

use super::sample::{base_file, bind, columns, taxi, taxi_from, views_file};
use super::*;

fn file(path: &str, text: &str) -> DefinitionFile {
    DefinitionFile { path: format!("features/{path}.yaml"), text: text.to_owned() }
}

fn answer(files: &[DefinitionFile]) -> String {
    match Definitions::parse("taxi", files).and_then(|files| build(&files, &bind, &columns)) {
        Ok((_, warnings)) if warnings.is_empty() => "fine".to_owned(),
        Ok((_, warnings)) => {
            warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>().join("\n")
        }
        Err(mistakes) => mistakes.to_string().replace("features/test.yaml:", ""),
    }
}

/// `text` beside the sample's entities and sources.
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&answer(&[base_file(), file("test", text)]));
}

/// `text` beside the whole sample.
fn check_more(text: &str, expected: Expect) {
    expected.assert_eq(&answer(&[base_file(), views_file(), file("test", text)]));
}

fn check_derived(view: &str, expected: Expect) {
    check_more(&format!("derived_views:\n  - {{name: it, {view}}}\n"), expected);
}

fn check_service(service: &str, expected: Expect) {
    check_more(&format!("feature_services:\n  - {{name: it, {service}}}\n"), expected);
}

#[test]
fn the_sample_is_fine() {
    check_more("", expect!["fine"]);
    let catalog = taxi();
    assert_eq!(catalog.views.len(), 6);
    assert_eq!(catalog.services["tip_model_v1"].features.len(), 6);
    assert_eq!(catalog.feature_descriptions.len(), 1);
}

#[test]
fn mistakes_of_all_files_come_at_once_in_order() {
    let files = [
        base_file(),
        file("b", "entities: [{name: B, join_keys: [{name: k, type: int64}]}]"),
        file("a", "entities: [{name: A, join_keys: [{name: k, type: int64}]}]"),
    ];
    expect![[r#"
        features/a.yaml:1:19: the name of entity A must be snake_case (a–z, 0–9 and _, a letter first); write a
        features/b.yaml:1:19: the name of entity B must be snake_case (a–z, 0–9 and _, a letter first); write b"#]]
    .assert_eq(&answer(&files));
    let files = [file("b", "entitys: []"), file("a", "entities: [")];
    expect![[r#"
        features/a.yaml:2:1: this cannot be read as YAML: while parsing a node, did not find expected node content
        features/b.yaml:1:1: the file has the unknown key entitys; did you mean entities?"#]]
    .assert_eq(&answer(&files));
}

#[test]
fn definitions_tell_their_plugins_and_sources_before_they_are_built() {
    let definitions = Definitions::parse("taxi", &[base_file(), views_file()]).unwrap();
    assert_eq!(definitions.plugins().into_iter().collect::<Vec<_>>(), ["bucket", "ratio", "recency"]);
    let names: Vec<_> = definitions.sources().into_iter().map(|source| source.name).collect();
    assert_eq!(names, ["trips", "area_history", "rides"]);
}

#[test]
fn the_hash_is_of_the_content() {
    let hash = taxi().hash();
    assert_eq!(hash, taxi_from(&[views_file(), base_file()]).hash(), "the order of files");
    let commented = DefinitionFile { text: format!("# A comment\n{}", views_file().text), ..views_file() };
    assert_eq!(hash, taxi_from(&[base_file(), commented]).hash(), "a comment");
    for (from, to) in [
        ("ttl: 30d", "ttl: 31d"),
        ("Mean fare of a day", "Mean fare"),
        ("placement: sync", "placement: request"),
        ("plugin: bucket", "plugin: bucket, parameters: {buckets: 3}"),
        ("[company_stats, ", "["),
        ("online: false", "online: true"),
    ] {
        let text = views_file().text.replace(from, to);
        assert_ne!(text, views_file().text);
        let changed = taxi_from(&[base_file(), DefinitionFile { text, ..views_file() }]);
        assert_ne!(hash, changed.hash(), "{from} → {to}");
    }
    expect!["98d2db8264437a09ade662cfd0bd2c0fc5e3354157e4b94942df719a88dfd1ed"].assert_eq(&hash.to_string());
}

#[test]
fn a_view_reaches_through_derived_views() {
    let text = "derived_views:
  - {name: at_hour, plugin: hour_fare, inputs: {value: 'fare_ratio:ratio'}, request: {minute: m}}
";
    let catalog = taxi_from(&[base_file(), views_file(), file("test", text)]);
    let reach = catalog.reach("at_hour");
    let views: Vec<_> = reach.feature_views.iter().map(|view| view.name.as_str()).collect();
    let fields: Vec<_> = reach.request.iter().map(|(field, _)| field.name.as_str()).collect();
    assert_eq!((views, fields), (vec!["company_stats", "area_stats"], vec!["hour", "m"]));
}

#[test]
fn the_schema_is_stable() {
    let schema = serde_json::to_string_pretty(&schema()).unwrap();
    expect_file!["../schema.json"].assert_eq(&format!("{schema}\n"));
}
