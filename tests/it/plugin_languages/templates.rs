//! `lockstep plugin new` in Python and JavaScript: what it writes passes its own tests and its golden case; and what
//! `lockstep plugin build` says when it cannot build.

use std::path::Path;
use std::process::Command;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use lockstep::catalog::Parameter;
use lockstep::toolchain::Folder;
use lockstep::toolchain::Language::{Js, Python};
use serde_json::Value;

use super::built::kept;
use super::{apply, bound, stage, succeeds};
use crate::command::{command, succeed};

const NATIVE_TESTS: [(&str, &[&str]); 2] = [("python3", &["tests/test_mine.py"]), ("npm", &["test", "--silent"])];

fn floats(case: &Value, side: &str, column: &str) -> Float64Array {
    case[side][column].as_array().expect("a column").iter().map(Value::as_f64).collect()
}

#[test]
fn a_new_plugin_passes_its_native_test_and_its_golden_case() {
    let stage = stage(0);
    for (language, (program, arguments)) in [Python, Js].into_iter().zip(NATIVE_TESTS) {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(folder.path(), &["plugin", "new", "mine", "--lang", language.name()]);
        let mine = folder.path().join("mine");
        succeeds(Command::new(program).args(arguments).current_dir(&mine));

        let case = std::fs::read_to_string(mine.join("goldens/usual.json")).expect("a golden case");
        let case: Value = serde_json::from_str(&case).expect("JSON");
        let component = kept(&format!("template-{language}"), &Folder::open(&mine).expect("a plugin"));
        let most = case["parameters"]["most"].as_f64().expect("a number");
        let transform = bound(&stage, "mine", &component, &[("most".to_owned(), Parameter::Float(most))]);
        let inputs = ["usual_fare", "planned_fare"]
            .map(|column| -> ArrayRef { std::sync::Arc::new(floats(&case, "inputs", column)) });
        let answer = apply(&stage, &transform, &inputs).expect("an answer").rows;
        let ratios = answer.column(0).as_primitive::<Float64Type>();
        assert_eq!(ratios, &floats(&case, "outputs", "fare_ratio"), "{language}");
        let refused = stage.bind("mine", transform.component, &[("most".to_owned(), Parameter::Float(0.0))], None);
        assert!(refused.unwrap_err().to_string().ends_with("is not above 0"), "{language}");
    }
}

/// What `lockstep plugin build mine` says where it must fail.
fn refused(folder: &Path, code: i32, environment: &[(&str, &Path)]) -> String {
    let output = command(folder, &["plugin", "build", "mine"]).envs(environment.iter().copied()).output();
    let output = output.expect("the binary runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!folder.join("mine/mine.wasm").exists());
    said
}

#[test]
fn a_tool_that_is_missing_is_named_with_the_command_that_installs_it() {
    let nothing = tempfile::tempdir().expect("a folder");
    let wanted = [
        ("python", "componentize-py 0.25.1 is needed", "/bin/pip install componentize-py==0.25.1"),
        ("js", "componentize-js 0.23.0 is needed", "npm install --prefix "),
    ];
    for (language, wanted, install) in wanted {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(folder.path(), &["plugin", "new", "mine", "--lang", language]);
        let said = refused(folder.path(), 9, &[("PATH", nothing.path()), ("XDG_CACHE_HOME", nothing.path())]);
        assert!(said.contains(wanted) && said.contains(install), "{said}");
    }
}

#[test]
fn what_a_module_does_at_its_top_is_an_error_of_the_build_with_its_advice() {
    let cases = [
        (
            "python",
            "src/mine.py",
            "import time\nSTARTED = time.time()\n",
            "Impure: time.time: a transform has no clock",
        ),
        ("js", "src/mine.js", "const STARTED = Date.now();\n", "Date.now: a transform has no clock"),
    ];
    for (language, file, line, advice) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(folder.path(), &["plugin", "new", "mine", "--lang", language]);
        let path = folder.path().join("mine").join(file);
        let source = std::fs::read_to_string(&path).expect("written by new");
        std::fs::write(&path, source + line).expect("written");
        let said = refused(folder.path(), 2, &[]);
        assert!(said.contains(advice) && !said.contains("Stack backtrace"), "{said}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    succeed(folder.path(), &["plugin", "new", "mine", "--lang", "python"]);
    std::fs::remove_file(folder.path().join("mine/src/mine.py")).expect("written by new");
    assert!(refused(folder.path(), 2, &[]).contains("there is no src/mine.py, which declares the transform"));
}
