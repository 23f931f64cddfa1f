//! The small shop with its history in PostgreSQL: the same features as from files, by the commands of a user.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use lockstep::catalog::Selection;
use lockstep::error::{ErrorKind, chain};
use lockstep::flow::sync::{Range, progress, sync};
use lockstep::flow::train::{Labels, Options, train};
use lockstep::offline::read_parquet;
use lockstep::registry::Outcome;
use lockstep::training::write_training_set;
use serde_json::json;

use crate::command::{json_of, refused, succeed};
use crate::light::{NOW, batch, floats_of, integers, times};
use crate::postgres_server::Postgres;
use crate::shop::{SHOP, SHOP_AS_OF, shop_of, synced_shop};
use crate::world::World;

/// The shop's definitions, with tables in place of files.
fn definitions() -> String {
    SHOP.replace(
        "type: parquet, path: data/orders.parquet",
        "type: postgres, connection: warehouse, table: shop.orders",
    )
    .replace("path: data/visits", "postgres: {connection: warehouse, table: shop.visits}")
}

fn make_orders(server: &Postgres, database: &str) {
    server.run(
        database,
        "CREATE SCHEMA shop;
         CREATE TABLE shop.orders (customer_id bigint, amount double precision, city text, paid_at timestamptz,
                                   ordered_at timestamp, weight interval);
         INSERT INTO shop.orders VALUES
             (1, 10.5, 'Berlin', '2024-01-11 00:00+00', '2024-01-10'), (1, 20, 'Köln', '2024-01-20 00:00+00', '2024-01-20'),
             (2, 'NaN', NULL, '2024-01-15 00:00+00', '2024-01-15'), (3, 13, 'Bonn', '2024-01-16 00:00+00', '2024-01-16'),
             (NULL, 1, NULL, '2024-01-16 00:00+00', '2024-01-16')",
    );
}

/// The project's file, with the password in a file of its own.
fn configure(folder: &Path, server: &Postgres, database: &str) {
    fs::write(folder.join("password"), Postgres::PASSWORD).expect("a file");
    fs::copy(server.file("ca.crt"), folder.join("ca.crt")).expect("a file");
    let path = folder.join("lockstep.yaml");
    let text = fs::read_to_string(&path).expect("the project's file");
    let postgres = format!(
        "postgres:\n  warehouse: {{host: localhost, port: {}, database: {database}, user: {}, password_file: password, \
         tls: {{ca: ca.crt}}}}\n",
        server.port(),
        Postgres::USER
    );
    fs::write(path, format!("{text}\n{postgres}")).expect("the project's file");
}

#[test]
fn features_from_postgres_are_those_from_files() {
    let server = Postgres::shared();
    let database = server.database();
    make_orders(&server, &database);
    let (of_tables, of_files) = (shop_of(&definitions()), synced_shop());
    configure(of_tables.path(), &server, &database);
    succeed(of_tables.path(), &["apply"]);
    for folder in [of_tables.path(), of_files.path()] {
        succeed(folder, &["push", "visits", "visits.parquet"]);
        succeed(folder, &["sync"]);
    }
    for customer in ["1", "2", "3"] {
        let ask = |folder: &Path| {
            json_of(folder, &["get", "customer_model", &format!("customer_id={customer}"), "--as-of", SHOP_AS_OF])
        };
        assert_eq!(ask(of_tables.path()), ask(of_files.path()), "customer {customer}");
    }
    let train = |folder: &Path| {
        succeed(folder, &["train", "customer_model", "--labels", "labels.parquet", "--to", "set.parquet"]);
        let file = read_parquet(&folder.join("set.parquet")).expect("a training set");
        arrow::compute::concat_batches(&file.schema, &file.batches).expect("one table").columns().to_vec()
    };
    assert_eq!(train(of_tables.path()), train(of_files.path()));
    assert_eq!(server.run(&database, "SELECT customer_id, pages FROM shop.visits ORDER BY 1"), "1|7\n2|");
}

#[test]
fn rows_that_tie_in_a_table_are_served_as_they_are_trained() {
    let server = Postgres::shared();
    let database = server.database();
    // The larger values stand first, last and between; no amount is less than any.
    server.run(
        &database,
        "CREATE SCHEMA shop;
         CREATE TABLE shop.orders (customer_id bigint, amount double precision, city text, paid_at timestamptz,
                                   ordered_at timestamp);
         INSERT INTO shop.orders SELECT customer, amount, city, NULL::timestamptz, '2024-01-10'::timestamp FROM (VALUES
             (1, 30, 'a'), (1, 20, 'b'), (1, 10, 'c'), (2, 10, 'a'), (2, 10, 'c'), (2, 10, 'b'), (9, 10, 'a'), (9, NULL, 'b')
         ) AS orders (customer, amount, city)",
    );
    let folder = shop_of(&definitions());
    let folder = folder.path();
    configure(folder, &server, &database);
    succeed(folder, &["apply"]);
    succeed(folder, &["push", "visits", "visits.parquet"]);
    succeed(folder, &["sync"]);
    succeed(folder, &["train", "customer_model", "--labels", "labels.parquet", "--to", "set.parquet"]);
    let set = read_parquet(&folder.join("set.parquet")).expect("a training set").batches;
    let trained =
        |row: usize| (floats_of(&set[0], "amount")[row], set[0]["city"].as_string::<i32>().value(row).to_owned());
    // The labels of customers 1, 2 and 9.
    for (customer, row, expected) in [("1", 0, (30.0, "a")), ("2", 2, (10.0, "c")), ("9", 3, (10.0, "a"))] {
        assert_eq!(trained(row), (Some(expected.0), expected.1.to_owned()), "customer {customer}");
        let served =
            json_of(folder, &["get", "customer_model", &format!("customer_id={customer}"), "--as-of", SHOP_AS_OF]);
        let value = |feature: &str| {
            let all = served.as_array().expect("a list");
            all.iter().find(|one| one["feature"] == feature).expect("the feature")["value"].clone()
        };
        assert_eq!((value("amount"), value("city")), (json!(expected.0), json!(expected.1)), "customer {customer}");
    }
}

#[test]
fn a_plan_tells_what_is_wrong_with_a_table() {
    let server = Postgres::shared();
    let database = server.database();
    make_orders(&server, &database);
    let plan = |from: &str, to: &str| {
        let definitions = definitions();
        assert!(definitions.contains(from));
        let folder = shop_of(&definitions.replace(from, to));
        configure(folder.path(), &server, &database);
        refused(folder.path(), &["plan"], 2)
    };
    let told = plan("table: shop.orders", "table: orders");
    assert!(told.contains("warehouse: public.orders"), "{told}");
    let told = plan("{name: amount, type: float64}", "{name: weight, type: int64}");
    assert!(told.contains("source orders: column weight is of type interval, which is not read"), "{told}");
    let told = plan("connection: warehouse, table: shop.orders", "connection: lake, table: shop.orders");
    assert!(told.contains("lockstep.yaml names no database lake under postgres; it names warehouse"), "{told}");
}

/// A source that a test never comes to the end of, with a new key in each row.
const ENDLESS: &str = "
entities: [{name: trip, join_keys: [{name: trip, type: int64}]}]
sources: [{name: trips, type: postgres, connection: warehouse, table: trips, event_time: at}]
feature_views:
  - {name: stats, entities: [trip], source: trips, features: [{name: note, type: string}]}
feature_services: [{name: model, features: [stats]}]
";
const TRIPS: &str = "CREATE VIEW trips AS SELECT trip % 50000 AS trip, repeat('x', 200) AS note,
    to_timestamp(trip % 1000) AS at FROM (SELECT generate_series(1, 1000000000)::bigint AS trip) AS numbers";

/// Waits until a table is being read, and closes the connection that does so.
async fn cut_off(server: &Postgres, database: &str) {
    let reading = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'active' AND datname = '{database}'
         AND query LIKE 'COPY%' AND pid <> pg_backend_pid()"
    );
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let started = Instant::now();
    loop {
        look.tick().await;
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is read");
        if server.run(database, &reading) != "0" {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_mid_scan_ends_a_sync_and_a_training_set_with_nothing_half_done() {
    let server = Postgres::shared();
    let database = server.database();
    server.run(&database, TRIPS);
    let world = World::of(ENDLESS, |project| configure(project, &server, &database)).await;
    let gateway = Arc::clone(&world.gateway);

    let syncing = Arc::clone(&gateway);
    let syncing = tokio::spawn(async move { sync(&syncing, "stats", Range::Full, &|_| {}).await });
    cut_off(&server, &database).await;
    let error = syncing.await.expect("no panic").expect_err("the rows did not come to an end");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = chain(&error);
    assert!(text.contains("source trips cannot be reached: "), "{text}");
    let runs = gateway.registry.runs(Some("stats"), 2).await.expect("runs");
    assert_eq!((runs.len(), runs[0].rows_written), (1, 0));
    assert!(matches!(&runs[0].outcome, Outcome::Failed(why) if why.contains("source trips")), "{runs:?}");
    assert_eq!(progress(&gateway, "stats").await.expect("progress"), None);

    let labels = batch(&[("trip", integers(&[1, 2])), ("event_timestamp", times(&[NOW, NOW]))]);
    let set = world.folder.path().join("set.parquet");
    let (training, to) = (Arc::clone(&gateway), set.clone());
    let training = tokio::spawn(async move {
        let model = Selection::Service { name: "model".to_owned(), full_feature_names: None };
        write_training_set(&to, train(&training, &model, Labels::of(labels, None), Options::default()).await?).await
    });
    cut_off(&server, &database).await;
    let error = training.await.expect("no panic").expect_err("the rows did not come to an end");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = chain(&error);
    assert!(text.contains("source trips cannot be reached: "), "{text}");
    let files = fs::read_dir(world.folder.path()).expect("the project").map(|entry| entry.expect("an entry").path());
    let sets: Vec<_> = files.filter(|path| path.to_string_lossy().contains("set.parquet")).collect();
    assert!(sets.is_empty(), "{sets:?}");
    world.servers.stop().await.expect("stopped");
}
