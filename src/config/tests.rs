//! What `lockstep.yaml` may say, and how a mistake in it is told.

use expect_test::{Expect, expect, expect_file};

use super::*;

fn check(text: &str, expected: Expect) {
    let environment = |name: &str| (name == "STORE").then(|| "/var/store".to_owned());
    expected.assert_eq(&match parse(Path::new("/project"), text, &environment) {
        Ok(config) => format!("{config:#?}"),
        Err(mistakes) => mistakes.to_string(),
    });
}

#[test]
fn a_project_needs_only_a_name() {
    check("project: taxi", expect![""]);
}

#[test]
fn everything_can_be_said() {
    check(
        "project: taxi
registry: {path: /elsewhere/registry.db}
online_store: {type: embedded, path: '${STORE}/online'}
offline_store: {type: parquet}
plugins: wasm
cache: .cache
listen: {http: 'localhost:1', flight: '[::1]:2', admin: '127.0.0.1:0'}
serve: {deadline: 250ms}
",
        expect![""],
    );
    check("project: taxi\nonline_store: {type: memory}", expect![""]);
}

#[test]
fn unknown_keys_are_told_with_their_place() {
    check("project: taxi\nlisten:\n  htp: 127.0.0.1:1\nonline_store:\n  type: memory\n  path: x\n", expect![""]);
    check("project: taxi\nonline: {type: memory}\n", expect![""]);
    check("online_store: {type: redis}\noffline_store: {type: delta}\n", expect![""]);
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    check("project: taxi\nlisten: {http: '0.0.0.0:6566', admin: '192.168.1.5:1'}\n", expect![""]);
    check("project: taxi\nlisten: {http: 'example.com:80', flight: 8815}\n", expect![""]);
    check("project: taxi\nlisten: {http: here, flight: '127.0.0.1:70000'}\n", expect![""]);
}

#[test]
fn two_listeners_need_two_addresses() {
    check("project: taxi\nlisten: {http: '127.0.0.1:6567'}\n", expect![""]);
}

#[test]
fn a_variable_that_is_not_set_is_a_mistake_with_its_place() {
    check("project: taxi\nplugins: ${NO_SUCH}/plugins\ncache: ${STORE\nregistry: {path: '${a b}'}\n", expect![""]);
    check("project: taxi\nplugins: a$$b$c${STORE}\n", expect![""]);
}

#[test]
fn names_and_spans_of_time_are_checked() {
    check("project: My Project\nserve: {deadline: 5}\n", expect![""]);
    check("project: taxi\nserve: {deadline: 2m}\nplugins: ''\n", expect![""]);
}

#[test]
fn the_schema_is_stable() {
    let schema = serde_json::to_string_pretty(&schema()).unwrap();
    expect_file!["./schema.json"].assert_eq(&format!("{schema}\n"));
}

#[test]
fn a_folder_without_a_project_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = read(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("it has no lockstep.yaml"), "{error}");
    let error = definition_files(folder.path()).unwrap_err();
    assert!(error.to_string().contains("there are no definitions"), "{error}");
}

#[test]
fn a_project_is_read_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE_NAME), "project: taxi\n").unwrap();
    let features = folder.path().join(DEFINITIONS_FOLDER);
    std::fs::create_dir(&features).unwrap();
    for (name, text) in [("b.yaml", "b: 1"), ("a.yml", "a: 1"), ("notes.txt", "x"), (".hidden.yaml", "x")] {
        std::fs::write(features.join(name), text).unwrap();
    }
    assert_eq!(read(folder.path()).unwrap().registry, folder.path().join(".lockstep/registry.db"));
    let files = definition_files(folder.path()).unwrap();
    let names: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    assert_eq!(names, [("features/a.yml", "a: 1"), ("features/b.yaml", "b: 1")]);
}

#[test]
fn files_that_are_too_large_or_not_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE_NAME), vec![b' '; limits::DEFINITION_FILE_BYTES_MAX + 1]).unwrap();
    assert_eq!(read(folder.path()).unwrap_err().kind(), ErrorKind::TooLarge);
    std::fs::write(folder.path().join(FILE_NAME), [0xff, 0xfe]).unwrap();
    assert!(matches!(read(folder.path()).unwrap_err(), Error::NotText { .. }));
}
