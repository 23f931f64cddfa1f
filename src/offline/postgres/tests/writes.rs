//! Rows are written whole or not at all, and once.

use super::*;

#[tokio::test]
async fn a_table_that_is_not_there_is_made_in_the_right_types() {
    let world = World::new();
    let tables = world.tables();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let lists = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Float32Type, _, _>([Some(vec![
        Some(0.5),
        Some(1.5),
    ])]);
    let rows = batch(vec![
        ("Company \"x\"", Arc::clone(&texts)),
        ("is_new", Arc::new(arrow::array::BooleanArray::from(vec![true]))),
        ("fare", Arc::new(arrow::array::Float64Array::from(vec![2.5]))),
        ("embedding", Arc::new(lists)),
        ("raw", Arc::new(arrow::array::BinaryArray::from_vec(vec![b"a"]))),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![1]))),
        ("t", Arc::new(timestamps(vec![Some(1)]))),
    ]);
    tables.append("made", &stored("made"), "one", &rows).await.expect("it is written");
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = 'made'::regclass AND attnum > 0";
    let expected = "text,boolean,double precision,real[],bytea,date,timestamp with time zone";
    assert_eq!(world.run(types), expected);
    assert_eq!(world.run("SELECT \"Company \"\"x\"\"\", embedding FROM made"), "a|{0.5,1.5}");
    let nowhere = Stored::Postgres {
        connection: "warehouse".to_owned(),
        schema: "nowhere".to_owned(),
        table: "other".to_owned(),
    };
    let error = tables.append("other", &nowhere, "one", &rows).await.expect_err("there is no such schema");
    assert!(error.to_string().contains("schema \"nowhere\" does not exist"), "{error}");
}

#[tokio::test]
async fn a_new_column_is_added_and_older_rows_have_nothing_there() {
    let world = World::new();
    let tables = world.tables();
    tables.append("wider", &stored("wider"), "one", &rows(&[(1, 1)])).await.expect("it is written");
    let both = batch(vec![("y", Arc::new(StringArray::from(vec!["b"]))), ("t", Arc::new(timestamps(vec![Some(2)])))]);
    tables.append("wider", &stored("wider"), "two", &both).await.expect("it is written");
    assert_eq!(world.run("SELECT x, y FROM wider ORDER BY t"), "1|\n|b");
}

#[tokio::test]
async fn a_table_that_was_dropped_takes_its_batches_again() {
    let world = World::new();
    let tables = world.tables();
    for _ in 0..2 {
        tables.append("dropped", &stored("dropped"), "one", &rows(&[(1, 1)])).await.expect("it is written");
        tables.append("dropped", &stored("dropped"), "one", &rows(&[(1, 1)])).await.expect("nothing is done");
        assert_eq!(world.run("SELECT count(*) FROM dropped"), "1");
        world.run("DROP TABLE dropped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_write_each_batch_once() {
    let world = World::new();
    let tables: Vec<Arc<PostgresTables>> = (0..2).map(|_| Arc::new(world.tables())).collect();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let tables = Arc::clone(&tables[writer % 2]);
        writers.spawn(async move {
            for number in 0..6 {
                // Every batch is sent by two of them, in another order; nobody has made the table yet.
                let id = (writer / 2) * 6 + if writer % 2 == 0 { number } else { 5 - number };
                let rows: Vec<(i64, i64)> = (0..100).map(|row| (id as i64 * 100 + row, row)).collect();
                let (table, rows) = (stored("busy"), super::rows(&rows));
                let batch_id = format!("batch {id}");
                let written = tables.append("busy", &table, &batch_id, &rows);
                written.await.expect("it is written");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("a writer ends well");
    }
    assert_eq!(world.run("SELECT count(*), count(DISTINCT x), max(x) FROM busy"), "2400|2400|2399");
}

#[tokio::test]
async fn an_upsert_takes_the_place_of_rows_with_the_same_keys() {
    let world = World::new();
    let (tables, keys) = (world.tables(), ["k".to_owned(), "t".to_owned()]);
    let rows = |values: &[(Option<&str>, i64, i64)]| {
        batch(vec![
            ("k", Arc::new(StringArray::from(values.iter().map(|row| row.0).collect::<Vec<_>>()))),
            ("t", Arc::new(timestamps(values.iter().map(|row| Some(row.1)).collect()))),
            ("x", Arc::new(Int64Array::from(values.iter().map(|row| row.2).collect::<Vec<_>>()))),
        ])
    };
    let upsert = async |id: &str, values: &[(Option<&str>, i64, i64)]| {
        tables.upsert("kept", &stored("kept"), id, &keys, &rows(values)).await
    };
    let all = || world.run("SELECT k, extract(microsecond FROM t)::int, x FROM kept ORDER BY 1, 2, 3");
    upsert("1", &[(Some("a"), 1, 10), (Some("a"), 2, 20), (None, 1, 30), (Some("a"), 1, 11)]).await.expect("written");
    assert_eq!(all(), "a|1|11\na|2|20\n|1|30");
    upsert("2", &[(Some("a"), 2, 21), (None, 1, 31), (Some("b"), 1, 40)]).await.expect("written");
    assert_eq!(all(), "a|1|11\na|2|21\nb|1|40\n|1|31");
    upsert("2", &[(Some("a"), 2, 99)]).await.expect("nothing is done");
    assert_eq!(all(), "a|1|11\na|2|21\nb|1|40\n|1|31");
    assert_eq!(world.run("SELECT count(*) FROM pg_index WHERE indrelid = 'kept'::regclass"), "1");

    world.run(
        "CREATE TABLE doubled AS SELECT 'a' AS k, to_timestamp(1) AS t, x::bigint FROM generate_series(1, 2) AS x",
    );
    let error = tables.upsert("doubled", &stored("doubled"), "1", &keys, &rows(&[(Some("b"), 1, 1)])).await;
    let error = error.expect_err("rows are there twice");
    assert!(error.to_string().contains("could not create unique index"), "{error}");
    assert!(matches!(error, Error::NotWritable { .. }), "{error}");
    let error = tables.upsert("kept", &stored("kept"), "3", &["z".to_owned()], &rows(&[(None, 1, 1)])).await;
    assert!(error.expect_err("there is no z").to_string().contains("have no column z"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_at_once_leave_one_row_of_each_key() {
    let world = World::new();
    let tables = Arc::new(world.tables());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_i64 {
        let tables = Arc::clone(&tables);
        writers.spawn(async move {
            for round in 0..5 {
                let mut values: Vec<(i64, i64)> = (0..200).map(|key| (key, key)).collect();
                if writer % 2 == 0 {
                    values.reverse();
                }
                let keys = ["x".to_owned(), "t".to_owned()];
                let id = format!("{writer} {round}");
                tables.upsert("raced", &stored("raced"), &id, &keys, &rows(&values)).await.expect("it is written");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("a writer ends well");
    }
    assert_eq!(world.run("SELECT count(*), count(DISTINCT x) FROM raced"), "200|200");
}

#[tokio::test]
async fn compacting_is_a_vacuum_and_for_tables_only() {
    let world = World::new();
    world.run(
        "CREATE TABLE dead AS SELECT x::bigint, to_timestamp(x) AS t FROM generate_series(1, 1000) AS x;
         UPDATE dead SET x = x; CREATE VIEW seen AS SELECT * FROM dead",
    );
    let store = world.store();
    let done = store.maintain(&source("dead"), Maintenance::Compact).await.expect("it is compacted");
    assert!(done.bytes_before > 0 && done.files_after == 1, "{done:?}");
    let analyzed = "SELECT reltuples FROM pg_class WHERE oid = 'dead'::regclass";
    assert_eq!(world.run(analyzed), "1000");
    assert_eq!(integers(&store, &source("dead"), &columns(&[("x", Scalar::Int64)])).await.len(), 1000);
    let error = store.maintain(&source("seen"), Maintenance::Compact).await.expect_err("it is a view");
    assert!(error.to_string().contains("views and foreign tables cannot be compacted"), "{error}");
    let vacuum = Maintenance::Vacuum { keep: Duration::from_secs(1) };
    let error = store.maintain(&source("dead"), vacuum).await.expect_err("there is nothing of that kind");
    assert!(error.to_string().contains("keeps no old versions"), "{error}");
}

#[tokio::test]
async fn a_server_that_was_restarted_meanwhile_is_found_again() {
    let world = World::new();
    let (tables, store) = (world.tables(), world.store());
    tables.append("again", &stored("again"), "one", &rows(&[(1, 1)])).await.expect("it is written");
    let wanted = columns(&[("x", Scalar::Int64)]);
    assert_eq!(integers(&store, &source("again"), &wanted).await, [1]);
    // All connections that nobody uses just now are dead.
    let ended = format!(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
         WHERE application_name = 'lockstep' AND datname = '{}'",
        world.database
    );
    assert_eq!(world.run(&ended), "2");
    tables.append("again", &stored("again"), "two", &rows(&[(2, 2)])).await.expect("it is written");
    assert_eq!(integers(&store, &source("again"), &wanted).await, [1, 2]);
}
