//! The settings of stores that are servers of their own.

use super::*;

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

fn postgres(keys: &str) -> Result<crate::offline::postgres::Settings, String> {
    let text = format!("project: taxi\npostgres:\n  warehouse:\n{keys}");
    let environment = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let config = parse(Path::new("/project"), &text, &environment).map_err(|mistakes| mistakes.to_string())?;
    Ok(config.postgres["warehouse"].clone())
}

#[test]
fn a_postgres_database_has_defaults_and_its_password_is_not_shown() {
    let settings = postgres("    {host: db, database: features, user: lockstep, password: '${PASSWORD}'}\n").unwrap();
    expect![[r#"
        Settings {
            name: "warehouse",
            host: "db",
            port: 5432,
            database: "features",
            user: "lockstep",
            password: Some(
                (secret),
            ),
            tls: Some(
                Tls {
                    authority: None,
                    client: None,
                },
            ),
            connections: 16,
            connect_timeout: 10s,
            statement_timeout: 3600s,
        }"#]]
    .assert_eq(&format!("{settings:#?}"));
    assert_eq!(settings.password, Some(crate::secret::Secret::new("hunter2")));
    let settings = postgres(
        "    {host: /run/postgresql, port: 5433, database: d, user: u, tls: off, connections: 3, connect_timeout: 1s, \
         statement_timeout: 5m}\n",
    );
    let settings = settings.unwrap();
    assert_eq!((settings.tls, settings.port, settings.connections), (None, 5433, 3));
    let settings =
        postgres("    {host: db, database: d, user: u, tls: {ca: ca.pem, certificate: c, key: /k}}\n").unwrap();
    let tls = settings.tls.unwrap();
    assert_eq!(tls.authority, Some("/project/ca.pem".into()));
    assert_eq!(tls.client.map(|client| (client.certificate, client.key)), Some(("/project/c".into(), "/k".into())));
}

#[test]
fn mistakes_in_a_postgres_database_are_told_with_their_place() {
    let check = |keys: &str, expected: Expect| expected.assert_eq(&postgres(keys).unwrap_err());
    check(
        "    host: db\n    usr: u\n",
        expect![[r#"
        lockstep.yaml:4:5: warehouse of postgres lacks the key database
        lockstep.yaml:4:5: warehouse of postgres lacks the key user
        lockstep.yaml:5:5: warehouse of postgres has the unknown key usr; did you mean user?"#]],
    );
    check(
        "    host: 'postgres://u:hunter2@db'\n    port: 0\n    database: ''\n    user: u\n    connections: 1000\n    \
         connect_timeout: 1h\n    statement_timeout: soon\n    tls: {key: k}\n    password_file: /no/such/file\n",
        expect![[r#"
            lockstep.yaml:4:11: a host is a name or a number, such as db.example.com; port, database, user and password have keys of their own
            lockstep.yaml:5:11: port 0 is no port; PostgreSQL's own is 5432
            lockstep.yaml:6:15: database must not be empty
            lockstep.yaml:8:18: connections may be 1 to 64
            lockstep.yaml:9:22: connect_timeout may be 5m at most
            lockstep.yaml:10:24: "soon" is not a span of time; write a whole number and ms, s, m, h, d or w, such as 30d
            lockstep.yaml:11:10: certificate and key of tls belong together; write both or none
            lockstep.yaml:12:20: /no/such/file cannot be read: No such file or directory (os error 2)"#]],
    );
    check(
        "    host: db\n    database: d\n    user: u\n    tls: on\n",
        expect![[r#"lockstep.yaml:7:10: tls of warehouse of postgres must be off, it is the text "on""#]],
    );
    check(
        "    host: db\n    database: d\n    user: u\n    tls: {authority: x}\n",
        expect![
            "lockstep.yaml:7:11: tls of warehouse of postgres has the unknown key authority; it may have ca, certificate, key"
        ],
    );
}
