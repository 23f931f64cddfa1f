//! What goes wrong is told, in time, and leaves nothing behind.

use super::*;
use crate::error::ErrorKind;

const MANY: &str = "CREATE VIEW many AS SELECT x::bigint, repeat('x', 200) AS text, to_timestamp(x) AS t
                    FROM (SELECT generate_series(1, 100000000) AS x) AS numbers";

async fn first_error(settings: Settings) -> Error {
    let tables = PostgresTables::new([settings]);
    tables.open("trips", &stored("trips"), None).await.expect_err("nobody is let in")
}

/// How many statements of ours the server is working on.
fn statements(world: &World) -> String {
    world.run(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockstep' AND state = 'active' AND datname = '{}'",
        world.database
    ))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !holds() {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_in_mid_scan_ends_the_scan_with_an_error() {
    let world = World::new();
    world.run(MANY);
    let store = world.store();
    let mut rows = store.scan(&source("many"), &columns(&[("text", Scalar::String)])).await.expect("a scan");
    assert!(rows.next().await.expect("a batch").expect("rows").num_rows() > 0);
    world.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = '{}'",
        world.database
    ));
    let error = loop {
        match rows.next().await.expect("the scan does not just end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Unreachable { source_name, .. } if source_name == "many"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(rows.next().await.is_none());
    world.run("CREATE TABLE few AS SELECT 1::bigint AS x, to_timestamp(1) AS t");
    assert_eq!(integers(&store, &source("few"), &columns(&[("x", Scalar::Int64)])).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_that_nobody_wants_any_more_ends_at_the_server_too() {
    let world = World::new();
    world.run(MANY);
    let store = world.store();
    let mut rows = store.scan(&source("many"), &columns(&[("text", Scalar::String)])).await.expect("a scan");
    assert!(rows.next().await.expect("a batch").is_ok());
    assert_eq!(statements(&world), "1");
    drop(rows);
    until("the statement is gone", || statements(&world) == "0").await;

    // One that has not answered a row yet: closing the socket alone would not end it.
    world.run("CREATE VIEW slow AS SELECT 1::bigint AS x, to_timestamp(1) AS t FROM pg_sleep(600)");
    let scan = columns(&[("x", Scalar::Int64)]);
    let slow = source("slow");
    let reading = tokio::spawn(async move { read(&store, &slow, &scan).await });
    until("the statement is under way", || statements(&world) == "1").await;
    reading.abort();
    until("the statement is gone", || statements(&world) == "0").await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_and_told() {
    let world = World::new();
    world.run("CREATE VIEW slow AS SELECT 1::bigint AS x, to_timestamp(1) AS t FROM pg_sleep(600)");
    let settings = Settings { statement_timeout: Duration::from_millis(300), ..world.settings() };
    let store = StoredSources::new(vec![Arc::new(PostgresTables::new([settings]))]);
    let error = read(&store, &source("slow"), &columns(&[("x", Scalar::Int64)])).await.expect_err("it takes too long");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("(statement_timeout)") || error.to_string().contains("statement_timeout is 300ms")
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_without_the_password() {
    let world = World::new();
    let wrong = Settings { password: Some(Secret::new("hunter2")), ..world.settings() };
    let error = first_error(wrong).await;
    assert!(error.to_string().contains("password authentication failed for user \"lockstep\""), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = first_error(Settings { password: None, ..world.settings() }).await;
    assert!(error.to_string().contains("password"), "{error}");
    let error = first_error(Settings { database: "nothing".to_owned(), ..world.settings() }).await;
    assert!(error.to_string().contains("database \"nothing\" does not exist"), "{error}");
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("its address");
    let error = first_error(Settings { port: closed.port(), ..world.settings() }).await;
    assert!(error.to_string().contains("Connection refused"), "{error}");
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("its address").port();
    let limit = Duration::from_millis(300);
    let error = first_error(Settings { port, connect_timeout: limit, ..world.settings() }).await;
    assert!(error.to_string().contains("no connection within 300ms (connect_timeout)"), "{error}");
}

#[tokio::test]
async fn an_encrypted_connection_wants_the_right_authority() {
    let world = World::new();
    world.run("CREATE TABLE trips AS SELECT 1::bigint AS x, to_timestamp(1) AS t");
    let with = |authority: Option<&str>, client| Settings {
        tls: Some(Tls { authority: authority.map(|name| world.server.file(name)), client }),
        ..world.settings()
    };
    let client = TlsClient { certificate: world.server.file("client.crt"), key: world.server.file("client.key") };
    for settings in [with(Some("ca.crt"), None), with(Some("ca.crt"), Some(client))] {
        let store = StoredSources::new(vec![Arc::new(PostgresTables::new([settings]))]);
        assert_eq!(integers(&store, &source("trips"), &columns(&[("x", Scalar::Int64)])).await, [1]);
    }
    world.run("CREATE VIEW encrypted AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let seen = raw(&PostgresTables::new([with(Some("ca.crt"), None)]), "encrypted").await.expect("rows");
    assert!(seen.column(0).as_boolean().value(0));
    let error = first_error(with(Some("other.crt"), None)).await;
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = first_error(with(Some("no-such-file"), None)).await;
    assert!(error.to_string().contains("no-such-file cannot be read"), "{error}");
    let error = first_error(with(Some("server.key"), None)).await;
    assert!(error.to_string().contains("has no certificate of an authority"), "{error}");
    let socket = Settings { host: world.server.socket(), password: None, ..with(None, None) };
    let store = StoredSources::new(vec![Arc::new(PostgresTables::new([socket]))]);
    assert_eq!(integers(&store, &source("trips"), &columns(&[("x", Scalar::Int64)])).await, [1]);
}

#[tokio::test]
async fn a_table_or_column_that_goes_away_is_told() {
    let world = World::new();
    world.run("CREATE TABLE going AS SELECT 1::bigint AS x, 2 AS y, to_timestamp(1) AS t");
    let (store, tables) = (world.store(), world.tables());
    let opened = tables.open("going", &stored("going"), None).await.expect("it opens").expect("it is there");
    world.run("ALTER TABLE going DROP COLUMN y");
    let rows = SessionContext::new().read_table(opened.provider).expect("a table").collect().await;
    let error = rows.expect_err("a column is gone");
    assert!(error.to_string().contains("column \"y\" does not exist"), "{error}");
    let error = read(&store, &source("going"), &columns(&[("y", Scalar::Int64)])).await.expect_err("there is no y");
    assert_eq!(error.to_string(), "source going has no column y; it has x, t");

    let opened = tables.open("going", &stored("going"), None).await.expect("it opens").expect("it is there");
    world.run("DROP TABLE going");
    let rows = SessionContext::new().read_table(opened.provider).expect("a table").collect().await;
    assert!(rows.expect_err("the table is gone").to_string().contains("source going is no longer as it was"));
    let error = read(&store, &source("going"), &columns(&[])).await.expect_err("there is no table");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let elsewhere = Source {
        kind: SourceKind::Stored(Stored::Postgres {
            connection: "elsewhere".to_owned(),
            schema: "public".to_owned(),
            table: "going".to_owned(),
        }),
        ..source("going")
    };
    let error = read(&store, &elsewhere, &columns(&[])).await.expect_err("there is no such database");
    let expected =
        "source going cannot be read: lockstep.yaml names no database elsewhere under postgres; it names warehouse";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn who_may_not_read_or_write_is_told() {
    let world = World::new();
    world.run(
        "CREATE TABLE secret AS SELECT 1::bigint AS x, to_timestamp(1) AS t;
         DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'guest'",
    );
    let guest = Settings { user: "guest".to_owned(), password: Some(Secret::new("guest")), ..world.settings() };
    let tables = PostgresTables::new([guest]);
    let error = raw(&tables, "secret").await.expect_err("it is not for guests");
    assert!(error.to_string().contains("permission denied for table secret"), "{error}");
    let error = tables.append("secret", &stored("secret"), "one", &rows(&[(1, 1)])).await.expect_err("nor is that");
    assert!(matches!(error, Error::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_gateway_takes_no_more_connections_than_it_may() {
    let world = World::new();
    world.run("CREATE TABLE one AS SELECT 1::bigint AS x, to_timestamp(1) AS t");
    let settings = Settings { connections: 1, connect_timeout: Duration::from_secs(2), ..world.settings() };
    let tables = PostgresTables::new([settings]);
    let first = tables.open("one", &stored("one"), None).await.expect("it opens");
    let error = tables.open("one", &stored("one"), None).await.expect_err("there is one connection only");
    assert!(error.to_string().contains("all 1 connections of this gateway are in use"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(first);
    tables.open("one", &stored("one"), None).await.expect("it is free again").expect("it is there");
    let ours =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockstep' AND datname = current_database()";
    assert_eq!(world.run(ours), "1");
    until("the transaction is ended", || world.run(&format!("{ours} AND state = 'idle'")) == "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_in_the_middle_of_a_write_leaves_nothing_half_done() {
    let world = World::new();
    let tables = Arc::new(world.tables());
    tables.append("broken", &stored("broken"), "zero", &rows(&[(0, 0)])).await.expect("it is written");
    // The writer stands in the middle of its rows until somebody ends it.
    world.run(
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN IF NEW.x = 2 THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$;
               CREATE TRIGGER stall BEFORE INSERT ON broken FOR EACH ROW EXECUTE FUNCTION stall()",
    );
    let writer = Arc::clone(&tables);
    let writing = tokio::spawn(async move {
        writer.append("broken", &stored("broken"), "one", &rows(&[(1, 1), (2, 2), (3, 3)])).await
    });
    until("the writer waits", || statements(&world) == "1").await;
    writing.abort();
    until("the statement is gone", || statements(&world) == "0").await;
    assert_eq!(world.run("SELECT x FROM broken"), "0");
    world.run("DROP TRIGGER stall ON broken");
    tables.append("broken", &stored("broken"), "one", &rows(&[(1, 1), (2, 2), (3, 3)])).await.expect("it is written");
    assert_eq!(world.run("SELECT count(*) FROM broken"), "4");
}
