//! `lockstep plugin new` and `lockstep plugin build`: what they write builds with the real compilers, loads and serves.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::command::{Ran, Up, command, refused, succeed};
use crate::world::{http, repository};

/// What the compilers of plugins make, kept from test to test: crates are compiled once.
const PLUGINS_TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");

/// `lockstep plugin build`, which must succeed: what it prints for programs.
pub fn build(folder: &Path, words: &[&str]) -> Value {
    let mut command = command(folder, &[&["plugin", "build"][..], words, &["-o", "json"]].concat());
    let output = command.env("CARGO_TARGET_DIR", PLUGINS_TARGET).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn build_fails(folder: &Path, path: Option<&Path>) -> Ran {
    let mut command = command(folder, &["plugin", "build", "mine"]);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.env("CARGO_TARGET_DIR", PLUGINS_TARGET).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code().expect("an exit code"), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A project that pushes and whose one derived view is the template's ratio of the plugin `mine`.
fn project(folder: &Path) -> PathBuf {
    succeed(folder, &["init", "project"]);
    let project = folder.join("project");
    let listen = "listen: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n";
    let config = fs::read_to_string(project.join("lockstep.yaml")).expect("lockstep.yaml");
    fs::write(project.join("lockstep.yaml"), format!("{config}{listen}")).expect("written");
    let features = fs::read_to_string(project.join("features/features.yaml")).expect("features");
    let derived = "derived_views:\n  - name: mine_view\n    plugin: mine\n    parameters: {most: 2.0}\n    \
                   inputs: {usual_fare: 'customer_orders:last_order_amount'}\n";
    let features = features.replace("feature_services:\n", &format!("{derived}\nfeature_services:\n"));
    let features = features.replace("features: [customer_orders]", "features: [mine_view]");
    fs::write(project.join("features/features.yaml"), features).expect("written");
    fs::create_dir_all(project.join("plugins")).expect("a folder");
    project
}

/// A gateway of the project takes a push, and answers with what the plugin makes of it and of the request.
async fn serves(project: &Path) {
    succeed(project, &["apply"]);
    let mut gateway = Up::start_quiet(project, &["serve"]);
    let told = gateway.wait_for("HTTP on http://").to_owned();
    let address = told.split("HTTP on http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    let address = address.expect("an address").parse().expect("an address");

    let order = json!({"push_source_name": "orders", "to": "online_and_offline", "df": {
        "customer_id": [7], "last_order_amount": [10.0], "orders_total": [1], "event_time": ["2024-01-02T00:00:00Z"],
    }});
    let json = [("content-type", "application/json")];
    let pushed = http(address, Method::POST, "/push", &json, Bytes::from(order.to_string())).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    let path = "/v1/services/customer_model_v1/features?customer_id=7&planned_fare=15&as_of=2024-01-03T00:00:00Z";
    let reply = http(address, Method::GET, path, &[], Bytes::new()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["features"][0]["fare_ratio"], json!(1.5));
    let reply = http(address, Method::GET, &path.replace("=15&", "=500&"), &[], Bytes::new()).await;
    assert_eq!(reply.json()["features"][0]["fare_ratio"], json!(2.0), "cut at the parameter");
    assert_eq!(gateway.interrupt(), 0);
}

async fn a_new_plugin_builds_the_same_everywhere_and_serves(language: &str) {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let told = succeed(here.path(), &["plugin", "new", "mine", "--lang", language]);
    assert!(told.contains("next: lockstep plugin build mine && lockstep plugin test mine"), "{told}");
    succeed(there.path(), &["plugin", "new", "elsewhere/mine", "--lang", language]);

    let project = project(here.path());
    let built = build(here.path(), &["mine", "--out", "project/plugins/mine.wasm"]);
    assert_eq!(
        (&built["name"], &built["version"], &built["imports"]),
        (&json!("mine"), &json!("1.0.0"), &json!([])),
        "{built}"
    );
    let again = build(&there.path().join("elsewhere/mine"), &[]);
    assert_eq!(again["digest"], built["digest"], "the same source gives the same bytes in any folder");
    let component = fs::read(project.join("plugins/mine.wasm")).expect("built");
    assert_eq!(fs::read(there.path().join("elsewhere/mine/mine.wasm")).expect("built"), component);
    let machine = here.path().to_str().expect("UTF-8").as_bytes();
    assert!(!component.windows(machine.len()).any(|bytes| bytes == machine), "no path of this machine");
    serves(&project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plugin_in_rust_builds_the_same_everywhere_and_serves() {
    a_new_plugin_builds_the_same_everywhere_and_serves("rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plugin_in_c_builds_the_same_everywhere_and_serves() {
    a_new_plugin_builds_the_same_everywhere_and_serves("c").await;
}

#[test]
fn the_unit_test_of_a_new_plugin_in_rust_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    succeed(folder.path(), &["plugin", "new", "mine"]);
    let mut cargo = std::process::Command::new("cargo");
    cargo.current_dir(folder.path().join("mine")).arg("test").env("CARGO_TARGET_DIR", PLUGINS_TARGET);
    let output = cargo.output().expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn our_own_plugin_is_built_to_the_bytes_that_the_repository_builds() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("taxi_company.wasm");
    let plugin = repository().join("plugins/taxi_company");
    build(folder.path(), &[plugin.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")]);
    let built = crate::world::built_plugins().join("taxi_company.wasm");
    assert!(fs::read(&out).expect("built") == fs::read(built).expect("built by plugins/build"));
}

#[test]
fn a_name_that_cannot_be_one_and_a_folder_that_is_there_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = refused(folder.path(), &["plugin", "new", "Fare-Ratio"], 2);
    assert!(told.starts_with("a plugin cannot be called \"Fare-Ratio\": must be snake_case"), "{told}");
    assert!(refused(folder.path(), &["plugin", "new", "struct", "--lang", "c"], 2).contains("a word of a language"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);

    fs::create_dir(folder.path().join("mine")).expect("a folder");
    assert_eq!(refused(folder.path(), &["plugin", "new", "mine"], 4), "mine exists already; nothing was written");
    let told = refused(folder.path(), &["plugin", "build", "mine"], 3);
    assert_eq!(told, "mine is no plugin folder: it has no plugin.yaml; `lockstep plugin new NAME` makes one");
}

#[test]
fn a_missing_compiler_is_named_with_the_command_that_installs_it() {
    let nothing = tempfile::tempdir().expect("a folder");
    for (language, wanted, install) in
        [("rust", "rustc is needed", "https://sh.rustup.rs"), ("c", "wasm-ld is needed", "apt-get install clang lld")]
    {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(folder.path(), &["plugin", "new", "mine", "--lang", language]);
        let ran = build_fails(folder.path(), Some(nothing.path()));
        assert_eq!(ran.code, 9, "{ran:?}");
        assert!(ran.stderr.contains(wanted) && ran.stderr.contains(install), "{ran:?}");
    }
}

#[test]
fn what_is_wrong_with_a_plugin_is_told_and_nothing_is_written() {
    let cases: [(&str, &str, &str, &str); 4] = [
        ("return most > 0.0", "return mist > 0.0", "src/transform.c", "use of undeclared identifier 'mist'"),
        ("ls_min(ls", "__builtin_sin(fare) + ls_min(ls", "src/transform.c", "undefined symbol: sin"),
        (
            ".name = \"mine\"",
            ".name = \"yours\"",
            "src/transform.c",
            "its plugin.yaml calls the plugin mine, its source yours",
        ),
        ("language: c", "language: cobol", "plugin.yaml", "cobol"),
    ];
    for (from, to, file, told) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(folder.path(), &["plugin", "new", "mine", "--lang", "c"]);
        let path = folder.path().join("mine").join(file);
        let text = fs::read_to_string(&path).expect("written by new");
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replace(from, to)).expect("written");
        let ran = build_fails(folder.path(), None);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(told), "{ran:?}");
        assert!(!folder.path().join("mine/mine.wasm").exists());
    }
}
