//! What `lockstep.yaml` may say, and how a mistake in it is told.

use expect_test::{Expect, expect, expect_file};

use super::*;
use crate::plugins::Place;

fn check(text: &str, expected: Expect) {
    let environment = |name: &str| (name == "STORE").then(|| "/var/store".to_owned());
    expected.assert_eq(&match parse(Path::new("/project"), text, &environment) {
        Ok(config) => format!("{config:#?}"),
        Err(mistakes) => mistakes.to_string(),
    });
}

#[test]
fn a_project_needs_only_a_name() {
    check(
        "project: taxi",
        expect![[r#"
            Config {
                folder: "/project",
                project: "taxi",
                registry: "/project/.lockstep/registry.db",
                online_store: Embedded {
                    path: "/project/.lockstep/online.db",
                },
                hot_cache: HotCache {
                    views: {},
                },
                object_stores: {},
                join_space: Space {
                    memory_bytes: 1073741824,
                    spill: "/project/.lockstep/spill",
                    spill_bytes_max: 214748364800,
                },
                postgres: {},
                plugins: Settings {
                    project: "/project",
                    usual: Folder(
                        "/project/plugins",
                    ),
                    from: {},
                    logins: {},
                    keys: {},
                    require_signature: false,
                    lock: "/project/plugins.lock",
                    cache: "/project/.lockstep/cache/plugins",
                },
                plugin_limits: {},
                cache: "/project/.lockstep/cache",
                audit: Audit {
                    compare_one_in: 10000,
                    on_impure: Quarantine,
                },
                listen: Listen {
                    http: 127.0.0.1:6566,
                    flight: 127.0.0.1:8815,
                    admin: 127.0.0.1:6567,
                },
                serve_deadline: 5s,
                sync: Sync {
                    schedules: true,
                    memory_bytes: 536870912,
                    checkpoint_every: 10s,
                    spool: "/project/.lockstep/sync",
                },
                request_log: None,
            }"#]],
    );
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
hot_cache: {views: {trips: {rows: 1000, max_age: 250ms, absent: false}, companies: {}}}
",
        expect![[r#"
            Config {
                folder: "/project",
                project: "taxi",
                registry: "/elsewhere/registry.db",
                online_store: Embedded {
                    path: "/var/store/online",
                },
                hot_cache: HotCache {
                    views: {
                        "companies": HotView {
                            rows: 100000,
                            max_age: 1s,
                            absent: true,
                        },
                        "trips": HotView {
                            rows: 1000,
                            max_age: 250ms,
                            absent: false,
                        },
                    },
                },
                object_stores: {},
                join_space: Space {
                    memory_bytes: 1073741824,
                    spill: "/project/.lockstep/spill",
                    spill_bytes_max: 214748364800,
                },
                postgres: {},
                plugins: Settings {
                    project: "/project",
                    usual: Folder(
                        "/project/wasm",
                    ),
                    from: {},
                    logins: {},
                    keys: {},
                    require_signature: false,
                    lock: "/project/plugins.lock",
                    cache: "/project/.cache/plugins",
                },
                plugin_limits: {},
                cache: "/project/.cache",
                audit: Audit {
                    compare_one_in: 10000,
                    on_impure: Quarantine,
                },
                listen: Listen {
                    http: 127.0.0.1:1,
                    flight: [::1]:2,
                    admin: 127.0.0.1:0,
                },
                serve_deadline: 250ms,
                sync: Sync {
                    schedules: true,
                    memory_bytes: 536870912,
                    checkpoint_every: 10s,
                    spool: "/project/.lockstep/sync",
                },
                request_log: None,
            }"#]],
    );
    let memory = parse(Path::new("/project"), "project: taxi\nonline_store: {type: memory}", &|_| None).unwrap();
    assert_eq!(memory.online_store, OnlineStore::Memory);
    let sync = "project: taxi\nsync: {schedules: off, memory_mib: 64, checkpoint_every: 250ms, spool: /var/spool}\n";
    let sync = parse(Path::new("/project"), sync, &|_| None).unwrap().sync;
    let (memory_bytes, checkpoint_every) = (64 << 20, Duration::from_millis(250));
    assert_eq!(sync, Sync { schedules: false, memory_bytes, checkpoint_every, spool: "/var/spool".into() });
}

#[test]
fn unknown_keys_are_told_with_their_place() {
    check(
        "project: taxi\nlisten:\n  htp: 127.0.0.1:1\nonline_store:\n  type: memory\n  path: x\n",
        expect![[r#"
        lockstep.yaml:3:3: listen has the unknown key htp; did you mean http?
        lockstep.yaml:6:3: online_store has the unknown key path; it may have type"#]],
    );
    check(
        "project: taxi\nonline: {type: memory}\n",
        expect![
            "lockstep.yaml:2:1: the file has the unknown key online; it may have audit, cache, hot_cache, listen, object_stores, offline_store, online_store, plugin_keys, plugin_limits, plugin_logins, plugins, postgres, project, registry, request_log, require_signature, serve, sync"
        ],
    );
    check(
        "online_store: {type: redis}\noffline_store: {type: delta}\n",
        expect![[r#"
            lockstep.yaml:1:1: the file lacks the key project
            lockstep.yaml:1:15: online_store lacks the key addresses
            lockstep.yaml:2:23: type of offline_store must be parquet, it is the text "delta""#]],
    );
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    check(
        "project: taxi\nlisten: {http: '0.0.0.0:6566', admin: '192.168.1.5:1'}\n",
        expect![[r#"
        lockstep.yaml:2:16: until Lockstep can authenticate callers it listens on loopback only; 0.0.0.0:6566 would let everybody in: write 127.0.0.1:6566 and put a proxy that authenticates in front
        lockstep.yaml:2:39: until Lockstep can authenticate callers it listens on loopback only; 192.168.1.5:1 would let everybody in: write 127.0.0.1:1 and put a proxy that authenticates in front"#]],
    );
    check(
        "project: taxi\nlisten: {http: 'example.com:80'}\n",
        expect![[
            r#"lockstep.yaml:2:16: "example.com:80" is not an address; write a host's number and a port, such as 127.0.0.1:6566"#
        ]],
    );
    check(
        "project: taxi\nlisten: {flight: 8815}\n",
        expect!["lockstep.yaml:2:18: flight of listen must be text, it is the number 8815; put it in quotes"],
    );
    check(
        "project: taxi\nlisten: {http: here, flight: '127.0.0.1:70000'}\n",
        expect![[r#"
        lockstep.yaml:2:16: "here" is not an address; write a host's number and a port, such as 127.0.0.1:6566
        lockstep.yaml:2:30: "127.0.0.1:70000" is not an address; write a host's number and a port, such as 127.0.0.1:6566"#]],
    );
}

#[test]
fn two_listeners_need_two_addresses() {
    check(
        "project: taxi\nlisten: {http: '127.0.0.1:6567'}\n",
        expect!["lockstep.yaml:2:9: 127.0.0.1:6567 is the address of http already; give admin another port"],
    );
}

#[test]
fn a_variable_that_is_not_set_is_a_mistake_with_its_place() {
    check(
        "project: taxi\nplugins: ${NO_SUCH}/plugins\ncache: ${STORE\nregistry: {path: '${a b}'}\n",
        expect![[r#"
        lockstep.yaml:2:10: the environment variable NO_SUCH is not set
        lockstep.yaml:3:8: a ${ has no }; write ${NAME} for an environment variable, or $$ for a dollar sign
        lockstep.yaml:4:18: ${a b} does not name an environment variable"#]],
    );
    let environment = |name: &str| (name == "STORE").then(|| "/var/store".to_owned());
    let config = parse(Path::new("/project"), "project: taxi\nplugins: a$$b$c${STORE}\n", &environment).unwrap();
    assert_eq!(config.plugins.usual, Place::Folder("/project/a$b$c/var/store".into()));
}

#[test]
fn names_and_spans_of_time_are_checked() {
    check(
        "project: My Project\nserve: {deadline: 5}\n",
        expect!["lockstep.yaml:2:19: deadline of serve must be text, it is the number 5; put it in quotes"],
    );
    check(
        "project: taxi\nserve: {deadline: 2m}\nplugins: ''\n",
        expect![[r#"
        lockstep.yaml:2:19: a deadline may be 1m at most
        lockstep.yaml:3:10: a path must not be empty"#]],
    );
    check(
        "project: taxi\nsync: {memory_mib: 15, checkpoint_every: often, spool: ''}\n",
        expect![[r#"
        lockstep.yaml:2:20: a sync needs 16 MiB at least
        lockstep.yaml:2:42: "often" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d
        lockstep.yaml:2:56: a path must not be empty"#]],
    );
}

#[test]
fn what_the_hot_cache_may_keep_is_bounded() {
    check(
        "project: taxi
hot_cache:
  views:
    trips: {rows: 0, max_age: 2h}
    companies: {max_age: soon}
    areas: {rows: many, ages: 1s}
",
        expect![[r#"
            lockstep.yaml:6:19: rows of areas of views of hot_cache must be a whole number, it is the text "many"
            lockstep.yaml:6:25: areas of views of hot_cache has the unknown key ages; it may have absent, max_age, rows"#]],
    );
    check(
        "project: taxi\nhot_cache:\n  views:\n    trips: {rows: 0, max_age: 2h}\n    areas: {max_age: soon}\n",
        expect![[r#"
            lockstep.yaml:4:19: 1 to 1048576 rows of a view can be kept; leave the view out to keep none
            lockstep.yaml:4:31: a row may be kept for 1m at most
            lockstep.yaml:5:22: "soon" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#]],
    );
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

mod plugins;
mod stores;
