//! What holds for every command: help, exit codes, messages, pipes; and the commands that need no applied project.

use std::io::Read;
use std::process::Stdio;

use jsonschema::validator_for;
use lockstep::document::{Document, Shape};
use lockstep::error::ErrorKind;
use serde_json::{Value, json};

use crate::command::{Up, command, json_of, refused, run, succeed};
use crate::shop::{SHOP, shop, shop_of, synced_shop};
use crate::world::{built_plugins, repository};

const COMMANDS: [&str; 27] = [
    "quickstart",
    "init",
    "plan",
    "apply",
    "rollback",
    "shadow",
    "reload",
    "history",
    "lineage",
    "services",
    "deprecations",
    "sync",
    "syncs",
    "serve",
    "get",
    "train",
    "push",
    "stats",
    "check",
    "online",
    "compact",
    "vacuum",
    "parity",
    "replay",
    "plugin",
    "schema",
    "completions",
];

#[test]
fn the_help_of_every_command_has_an_example() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = succeed(folder.path(), &["--help"]);
    let named: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert_eq!(named, COMMANDS, "the list of this test and that of the binary");
    for name in COMMANDS {
        let under: &[&str] = match name {
            "shadow" => &["start", "status", "promote", "drop"],
            "plugin" => &[
                "inspect", "new", "build", "test", "bench", "run", "diff", "watch", "publish", "sign", "lock",
                "update", "list",
            ],
            "online" => &["set", "delete", "health", "stats", "snapshot"],
            _ => &[],
        };
        let of = |words: &[&str]| {
            let help = succeed(folder.path(), &[words, &["--help"]].concat());
            let example = format!("lockstep {}", words.join(" "));
            assert!(help.contains("\nExample") && help.contains(&example), "{words:?}: {help}");
        };
        match under {
            [] => of(&[name]),
            under => under.iter().for_each(|word| of(&[name, word])),
        }
    }
}

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = succeed(folder.path(), &["--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    let kinds = [
        (ErrorKind::Invalid, "invalid input"),
        (ErrorKind::NotFound, "not found"),
        (ErrorKind::Conflict, "conflict"),
        (ErrorKind::TooLarge, "too large"),
        (ErrorKind::PluginFault, "a plugin failed"),
        (ErrorKind::Exhausted, "exhausted"),
        (ErrorKind::Late, "too late"),
        (ErrorKind::Unavailable, "unavailable"),
        (ErrorKind::Internal, "internal"),
    ];
    for (kind, words) in kinds {
        let (_, _, code) = kind.codes();
        assert!(help.contains(&format!("{code} {words}")), "{code} {words} is not in: {help}");
    }
}

#[test]
fn commands_fail_with_the_code_of_their_mistake_and_one_message() {
    let folder = shop();
    let folder = folder.path();
    let check = |words: &[&str], code: i32, says: &str| {
        let message = refused(folder, words, code);
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(says), "{words:?} says: {message}");
    };
    check(&["-C", "nowhere", "plan"], 3, "there is no project in nowhere");
    check(&["init", "."], 4, "lockstep.yaml already");
    for words in [vec!["get", "customer_model"], vec!["sync"], vec!["serve"], vec!["parity"], vec!["lineage", "a:b"]] {
        check(&words, 4, "nothing is applied yet; run lockstep apply");
    }
    check(&["quickstart", "-o", "json"], 2, "quickstart is a tour for people");
    check(&["plugin", "inspect", "nonesuch"], 3, "there is no file ./plugins/nonesuch.wasm");
    check(&["plugin", "inspect", "other/nonesuch.wasm"], 3, "there is no file other/nonesuch.wasm");
    check(&["plugin", "inspect", "lockstep.yaml"], 2, "the file is no WebAssembly");
    check(&["plugin", "inspect", "fault_import"], 2, "imports wasi:random");

    succeed(folder, &["apply"]);
    check(&["get", "customer_modle", "customer_id=1"], 3, "feature service customer_modle does not exist");
    check(&["lineage", "customer_orders:amuont"], 3, "did you mean customer_orders:amount?");
    check(&["lineage", "amount"], 2, "write it as view:feature");
    check(&["sync", "nonesuch"], 3, "feature view nonesuch does not exist");
    check(&["sync", "--from", "2024-02-01", "--until", "2024-01-01"], 2, "the range is empty");
    check(&["push", "visits", "nonesuch.parquet"], 3, "there is no file nonesuch.parquet");
    check(&["push", "visits", "lockstep.yaml"], 2, "file lockstep.yaml cannot be read");
    check(&["push", "orders", "visits.parquet"], 3, "push source \"orders\" is not defined");
    check(&["push", "visits", "labels.parquet"], 2, "column");
    check(&["parity", "nonesuch"], 3, "feature service nonesuch does not exist");
    let train = ["train", "customer_model", "--labels", "labels.parquet", "--to"];
    check(&[&train[..], &["no/where.parquet"]].concat(), 3, "there is no folder no to write no/where.parquet to");
    let time = ["out.parquet", "--time-column", "when"];
    check(&[&train[..], &time].concat(), 2, "labels.parquet has no column when, which --time-column names");
    assert!(!folder.join("out.parquet").exists());
}

#[test]
fn a_plugin_that_fails_is_told_by_its_own_exit_code() {
    let mischief = "derived_views:\n  - {name: mischief, plugin: fault_trap, inputs: {x: 'customer_orders:amount'}}\n";
    let folder = shop_of(&format!("{SHOP}{mischief}"));
    succeed(folder.path(), &["apply"]);
    succeed(folder.path(), &["sync"]);
    let ask = |customer: &'static str| vec!["get", "mischief:y", customer, "--as-of", "2024-01-21"];
    assert!(succeed(folder.path(), &ask("customer_id=1")).contains("20"));
    let message = refused(folder.path(), &ask("customer_id=3"), 6);
    assert!(message.contains("mischief") && message.contains("plugin fault_trap trapped"), "{message}");
}

#[test]
fn words_that_are_no_command_are_refused_with_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for words in [vec!["synk"], vec!["sync", "--form", "2024-01-01"], vec!["sync", "--from", "soon"], vec![]] {
        let ran = run(folder.path(), &words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words:?}: {}", ran.stderr);
    }
    let ran = run(folder.path(), &["sync", "--from", "soon"]);
    assert!(ran.stderr.contains("write it like 2016-12-31T08:00:00Z"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = synced_shop();
    let words: [&[&str]; 5] =
        [&["completions", "bash"], &["schema"], &["history", "-o", "json"], &["plan"], &["parity", "--sample", "5"]];
    for words in words {
        let mut child = command(folder.path(), words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("UTF-8");
        assert!(child.wait().expect("it ends").success(), "{words:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("ipe"), "{words:?}: {stderr}");
    }
}

#[test]
fn the_printed_schemas_accept_the_examples_and_refuse_a_misspelt_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let anything = Shape::new(json!({}));
    let read = |path: &str| -> Value {
        let text = std::fs::read_to_string(repository().join("examples").join(path)).expect("an example");
        Document::parse(path, &text).and_then(|document| document.read(&anything)).expect("YAML")
    };
    for (kind, path) in [
        ("definitions", "chicago_taxi/features/taxi.yaml"),
        ("definitions", "chicago_taxi/features/trips.yaml"),
        ("definitions", "chicago_taxi/variants/delta/trips.yaml"),
        ("definitions", "chicago_taxi/variants/postgres/trips.yaml"),
        ("definitions", "minimal/features/features.yaml"),
        ("project", "chicago_taxi/lockstep.yaml"),
        ("project", "minimal/lockstep.yaml"),
    ] {
        let schema: Value = serde_json::from_str(&succeed(folder.path(), &["schema", kind])).expect("JSON");
        assert!(jsonschema::meta::is_valid(&schema), "{kind} is not a JSON Schema");
        let validator = validator_for(&schema).expect("a schema");
        let mut example = read(path);
        let mistakes: Vec<String> = validator.iter_errors(&example).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{path}: {mistakes:?}");
        example["sorces"] = json!([]);
        assert!(!validator.is_valid(&example), "{path} with a misspelt key");
    }
    let by_default = succeed(folder.path(), &["schema"]);
    assert_eq!(by_default, succeed(folder.path(), &["schema", "definitions"]));
}

#[test]
fn completions_know_every_command_in_each_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(folder.path(), &["completions", shell]);
        for name in COMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    let script = folder.path().join("completions.bash");
    std::fs::write(&script, succeed(folder.path(), &["completions", "bash"])).expect("written");
    let checked = std::process::Command::new("bash").arg("-n").arg(&script).output().expect("bash");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn init_writes_projects_that_can_be_planned_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, example, files) in [("small", "minimal", 2), ("taxi", "chicago-taxi", 15)] {
        let made = json_of(folder.path(), &["init", name, "--example", example]);
        assert_eq!(made["files"].as_array().map(Vec::len), Some(files), "{made}");
        let planned = succeed(folder.path(), &["-C", name, "plan"]);
        assert!(planned.lines().count() > 3 && planned.lines().all(|line| line.starts_with("  added: ")), "{planned}");
        let message = refused(folder.path(), &["init", name, "--example", example], 4);
        assert!(message.contains("already; nothing was written"), "{message}");
    }
    let precious = folder.path().join("mine/features/features.yaml");
    std::fs::create_dir_all(precious.parent().expect("a folder")).expect("a folder");
    std::fs::write(&precious, "# mine\n").expect("written");
    let message = refused(folder.path(), &["init", "mine"], 4);
    assert!(message.contains("mine has a features/features.yaml already"), "{message}");
    assert_eq!(std::fs::read_to_string(&precious).expect("still there"), "# mine\n");
    assert!(!folder.path().join("mine/lockstep.yaml").exists());
}

#[test]
fn plugins_are_inspected_by_name_and_by_path() {
    let folder = shop();
    let by_path = built_plugins().join("haversine.wasm");
    let by_path = succeed(folder.path(), &["plugin", "inspect", &by_path.to_string_lossy()]);
    assert_eq!(succeed(folder.path(), &["plugin", "inspect", "haversine"]), by_path);
    assert!(by_path.contains("imports nothing") && by_path.contains("float64"), "{by_path}");
    let shown = json_of(folder.path(), &["plugin", "inspect", "taxi_recency"]);
    assert_eq!(shown["name"], "taxi_recency");
    assert_eq!(shown["time"], "as-of");
    assert_eq!(shown["digest"].as_str().map(str::len), Some(64));
    assert_eq!(shown["outputs"][0], json!({"name": "days_since_last_trip", "dtype": "float64", "nullable": true}));
}

#[test]
fn while_a_gateway_runs_the_store_is_not_opened_a_second_time() {
    let folder = synced_shop();
    let mut gateway = Up::start_quiet(folder.path(), &["serve"]);
    gateway.wait_for("HTTP on http://127.0.0.1:");
    let message = refused(folder.path(), &["get", "customer_model", "customer_id=1"], 4);
    assert!(message.contains("in use by another gateway; stop it, or send it the request over HTTP"), "{message}");
    // What does not need the store works beside a gateway.
    succeed(folder.path(), &["plan"]);
    assert_eq!(gateway.interrupt(), 0);
    succeed(folder.path(), &["get", "customer_model", "customer_id=1"]);
}
