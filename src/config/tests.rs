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
                offline_store: Parquet,
                object_stores: {},
                plugins: "/project/plugins",
                cache: "/project/.lockstep/cache",
                listen: Listen {
                    http: 127.0.0.1:6566,
                    flight: 127.0.0.1:8815,
                    admin: 127.0.0.1:6567,
                },
                serve_deadline: 5s,
                sync: Sync {
                    schedules: true,
                    memory_bytes: 1073741824,
                    checkpoint_every: 10s,
                    spool: "/project/.lockstep/sync",
                },
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
                offline_store: Parquet,
                object_stores: {},
                plugins: "/project/wasm",
                cache: "/project/.cache",
                listen: Listen {
                    http: 127.0.0.1:1,
                    flight: [::1]:2,
                    admin: 127.0.0.1:0,
                },
                serve_deadline: 250ms,
                sync: Sync {
                    schedules: true,
                    memory_bytes: 1073741824,
                    checkpoint_every: 10s,
                    spool: "/project/.lockstep/sync",
                },
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
            "lockstep.yaml:2:1: the file has the unknown key online; it may have cache, hot_cache, listen, object_stores, offline_store, online_store, plugins, project, registry, serve, sync"
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
    assert_eq!(config.plugins, Path::new("/project/a$b$c/var/store"));
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

/// The settings of a Redis store with these keys beside its type.
fn redis(keys: &str) -> Result<RedisSettings, String> {
    let text = format!("project: taxi\nonline_store:\n  type: redis\n{keys}");
    let environment = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    match parse(Path::new("/project"), &text, &environment) {
        Ok(Config { online_store: OnlineStore::Redis(settings), .. }) => Ok(*settings),
        Ok(other) => panic!("{other:?}"),
        Err(mistakes) => Err(mistakes.to_string()),
    }
}

#[test]
fn a_redis_store_needs_only_an_address() {
    let mut settings = redis("  addresses: ['redis:6379']\n").unwrap();
    assert!((1..=128).contains(&settings.server.connections));
    settings.server.connections = 2;
    expect![[r#"
        Settings {
            server: Server {
                mode: Standalone,
                addresses: [
                    Address {
                        host: "redis",
                        port: 6379,
                    },
                ],
                login: Login {
                    username: None,
                    password: None,
                },
                database: 0,
                tls: None,
                connections: 2,
                connect_timeout: 1s,
                response_timeout: 2s,
            },
            layout: Packed,
            project: "taxi",
            prefix: "",
            shared: false,
            expire: Expiry {
                all: None,
                views: {},
            },
        }"#]]
    .assert_eq(&format!("{settings:#?}"));
}

#[test]
fn everything_can_be_said_of_a_redis_store_and_its_passwords_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "hunter3\n").unwrap();
    let keys = "  addresses: ['[::1]:1', 'localhost:2']
  mode: sentinel
  master: features
  username: gateway
  password: ${PASSWORD}
  sentinel_username: watcher
  sentinel_password: hunter2
  database: 7
  tls: {ca: ca.pem, certificate: /keys/client.pem, key: client.key}
  layout: feast
  prefix: 'taxi:'
  shared: true
  connections: 3
  connect_timeout: 250ms
  response_timeout: 5s
  expire_after: 30d
  views: {rides: {expire_after: 7d}}
  feast: {project: old_taxi, key_version: 2}
";
    let settings = redis(keys).unwrap();
    expect![[r#"
        Settings {
            server: Server {
                mode: Sentinel {
                    master: "features",
                    login: Login {
                        username: Some(
                            "watcher",
                        ),
                        password: Some(
                            (secret),
                        ),
                    },
                },
                addresses: [
                    Address {
                        host: "::1",
                        port: 1,
                    },
                    Address {
                        host: "localhost",
                        port: 2,
                    },
                ],
                login: Login {
                    username: Some(
                        "gateway",
                    ),
                    password: Some(
                        (secret),
                    ),
                },
                database: 7,
                tls: Some(
                    Tls {
                        authority: Some(
                            "/project/ca.pem",
                        ),
                        client: Some(
                            TlsClient {
                                certificate: "/keys/client.pem",
                                key: "/project/client.key",
                            },
                        ),
                    },
                ),
                connections: 3,
                connect_timeout: 250ms,
                response_timeout: 5s,
            },
            layout: Feast {
                project: "old_taxi",
                key_version: 2,
            },
            project: "taxi",
            prefix: "taxi:",
            shared: true,
            expire: Expiry {
                all: Some(
                    2592000s,
                ),
                views: {
                    "rides": 604800s,
                },
            },
        }"#]]
    .assert_eq(&format!("{settings:#?}"));
    assert_eq!(settings.server.login.password, Some(crate::online::redis::Secret::new("hunter2")));
    let file = folder.path().join("password").display().to_string();
    let from_file = redis(&format!("  addresses: ['redis:6379']\n  password_file: {file}\n")).unwrap();
    assert_eq!(from_file.server.login.password, Some(crate::online::redis::Secret::new("hunter3")));
}

#[test]
fn mistakes_in_a_redis_store_are_told_with_their_place() {
    let check = |keys: &str, expected: Expect| expected.assert_eq(&redis(keys).unwrap_err());
    check(
        "  mode: solo\n  adresses: []\n",
        expect![[r#"
        lockstep.yaml:3:3: online_store lacks the key addresses
        lockstep.yaml:4:9: mode of online_store must be one of standalone, sentinel, cluster, it is the text "solo"
        lockstep.yaml:5:3: online_store has the unknown key adresses; did you mean addresses?"#]],
    );
    check(
        "  addresses: []\n  password: 123456\n",
        expect![[r#"
        lockstep.yaml:4:14: addresses of online_store must not be empty
        lockstep.yaml:5:13: password of online_store must be text, it is something else; put it in quotes"#]],
    );
    check(
        "  addresses: ['redis://:hunter2@redis:6379', 'redis']\n  username: gateway\n  master: features\n  database: -1\n",
        expect!["lockstep.yaml:7:13: database of online_store is not allowed: -1 is less than the minimum of 0"],
    );
    check(
        "  addresses: ['redis://:hunter2@redis:6379', 'redis']\n  username: gateway\n  master: features\n",
        expect![[r#"
            lockstep.yaml:4:15: an address is a host and a port, such as redis.example.com:6379; login and database have keys of their own
            lockstep.yaml:4:46: a standalone server has one address; for several, write mode: sentinel or mode: cluster
            lockstep.yaml:4:46: an address is a host and a port, such as redis.example.com:6379; login and database have keys of their own
            lockstep.yaml:5:13: a username needs a password
            lockstep.yaml:6:11: master is for mode: sentinel only"#]],
    );
    check(
        "  addresses: ['a:1']\n  mode: sentinel\n  sentinel_username: watcher\n",
        expect![[r#"
        lockstep.yaml:5:9: mode: sentinel needs master, the name by which the sentinels know the primary
        lockstep.yaml:6:22: a sentinel_username needs a sentinel_password"#]],
    );
    check(
        "  addresses: ['a:1']\n  mode: cluster\n  database: 1\n  sentinel_password: hunter2\n  feast: {}\n",
        expect![[r#"
            lockstep.yaml:5:9: sentinel_username and sentinel_password are for mode: sentinel only
            lockstep.yaml:6:13: a cluster has database 0 only; write a prefix to keep projects apart
            lockstep.yaml:8:10: feast is for layout: feast only"#]],
    );
    check(
        "  addresses: ['a:1']\n  tls: {certificate: c.pem}\n  connections: 0\n  connect_timeout: 2m\n  response_timeout: fast\n",
        expect![[r#"
            lockstep.yaml:5:8: certificate and key of tls belong together; write both or none
            lockstep.yaml:6:16: connections may be 1 to 128
            lockstep.yaml:7:20: connect_timeout may be 1m at most
            lockstep.yaml:8:21: "fast" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d"#]],
    );
    check(
        "  addresses: ['a:1']\n  prefix: '{taxi}'\n  expire_after: 0s\n  views: {rides: {expire_after: long}}\n  layout: feast\n  feast: {key_version: 4}\n",
        expect![[r#"
            lockstep.yaml:5:11: a prefix is made of letters, digits and : _ - . /, such as taxi:
            lockstep.yaml:6:17: "0s" is no time at all; leave the key out to have no bound
            lockstep.yaml:7:33: "long" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d
            lockstep.yaml:9:24: Feast's keys have version 2 or 3, as entity_key_serialization_version in feature_store.yaml"#]],
    );
    check(
        "  addresses: ['a:1']\n  password: ''\n  password_file: /no/such/file\n",
        expect![[r#"
        lockstep.yaml:5:13: a password must not be empty; leave it out where the server wants none
        lockstep.yaml:6:18: /no/such/file cannot be read: No such file or directory (os error 2)
        lockstep.yaml:6:18: there is a password already; leave password or password_file out"#]],
    );
}
