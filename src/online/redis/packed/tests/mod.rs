mod streams;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::super::RedisStore;
use super::super::key::{RowKeys, bucket_of};
use super::super::link::{Answer, crc16};
use super::super::script::ScriptCall;
use super::super::servers::{Cluster, Redis};
use super::super::settings::{Address, Layout, Login, Mode, Server};
use super::*;
use crate::batch::{KeyBatch, Origin, timestamps};
use crate::catalog::{DType, Digest, Scalar};
use crate::limits::{REDIS_CALL_ROWS_MAX, REDIS_TOMBSTONES_KEPT};
use crate::online::OnlineStore;
use crate::online::conformance::{
    self, any_order, from_stream, ids, lines, plain_view, soon, tombstones, try_cases, values, view_of, write,
};
use crate::online::memory::MemoryStore;
use crate::online::packed::{Header, RowEncoder, RowSchema};

fn settings(redis: &Redis, prefix: &str) -> Settings {
    settings_of(Mode::Standalone, &[redis.port()], prefix)
}

fn settings_of(mode: Mode, ports: &[u16], prefix: &str) -> Settings {
    let server = Server {
        mode,
        addresses: ports.iter().map(|port| Address::new("127.0.0.1", *port)).collect(),
        login: Login::default(),
        database: 0,
        tls: None,
        connections: 2,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(10),
    };
    Settings {
        server,
        layout: Layout::Packed,
        project: "shop".to_owned(),
        prefix: prefix.to_owned(),
        shared: false,
        expire: Expiry::default(),
    }
}

fn store_with(settings: &Settings) -> RedisStore {
    RedisStore::with(settings, Box::new(Packed::new(settings))).unwrap()
}

fn store(redis: &Redis) -> RedisStore {
    store_with(&settings(redis, ""))
}

fn link(redis: &Redis) -> Link {
    Link::new(settings(redis, "").server).unwrap()
}

async fn ask(link: &Link, name: &str, arguments: &[&[u8]]) -> Answer {
    let mut command = redis::cmd(name);
    for argument in arguments {
        command.arg(*argument);
    }
    link.call(vec![command], soon()).await.remove(0)
}

/// The key of the row of an id of [`plain_view`].
fn key_of(view: &OnlineView, id: i64) -> Vec<u8> {
    RowKeys::of("", &view.name).key(ids(view, &[Some(id)]).get(0)).to_vec()
}

/// Many stores in one Redis, each with a prefix of its own.
fn check_contract(mode: Mode, ports: &[u16], cases: u32) {
    let number = Cell::new(0);
    let make = || -> Arc<dyn OnlineStore> {
        number.set(number.get() + 1);
        Arc::new(store_with(&settings_of(mode.clone(), ports, &format!("store[{}]:", number.get()))))
    };
    conformance::check(&make, cases);
}

#[test]
fn it_keeps_the_contract_of_an_online_store() {
    let redis = Redis::start();
    check_contract(Mode::Standalone, &[redis.port()], 48);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_of_a_cluster_had_is_unreachable_and_the_rest_is_answered() {
    let mut cluster = Cluster::start_with(&["cluster-require-full-coverage no"]);
    let store = store_with(&settings_of(Mode::Cluster, &cluster.ports(), ""));
    let view = plain_view("companies");
    let rows: Vec<_> = (0..300).map(|id| (Some(id), id, None, Some(id))).collect();
    write(&store, &view, &lines(&rows)).await;
    let asked: Vec<Option<i64>> = (0..310).map(Some).collect();
    let keys = ids(&view, &asked);
    let reads = [Read { view: &view, keys: &keys, columns: &[0] }];
    assert_eq!(values(&store, &view, &asked).await.iter().flatten().count(), 300);

    let dead = cluster.owner(slot_of(&keys, 7));
    let is_dead: Vec<bool> = (0..310).map(|row| cluster.owner(slot_of(&keys, row)) == dead).collect();
    cluster.servers[dead + 3].kill();
    cluster.servers[dead].kill();
    let deadline = || Deadline::after(Duration::from_secs(5));
    let error = store.read(&reads, deadline()).await.unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Unavailable, "{error}");
    let answer = store.read_reachable(&reads, deadline()).await.unwrap().remove(0);
    let unreachable = answer.unreachable.unwrap();
    for (row, is_dead) in is_dead.into_iter().enumerate() {
        assert_eq!(unreachable.value(row), is_dead, "row {row}");
        assert_eq!(answer.present.value(row), !is_dead && row < 300, "row {row}");
    }
}

fn slot_of(keys: &KeyBatch, row: usize) -> u16 {
    crc16(bucket_of(keys.get(row)).to_string().as_bytes()) % 16_384
}

/// What becomes of one row of a history.
#[derive(Clone, Debug)]
struct Line {
    id: i64,
    event_time: i64,
    created_time: Option<i64>,
    offset: u64,
    deleted: bool,
    value: i64,
}

/// Rows that are written at once, under one of a few versions of the view.
#[derive(Clone, Debug)]
struct Written {
    version: usize,
    partition: Option<u32>,
    lines: Vec<Line>,
}

/// Times that meet often and where halves of 64 bits differ, those at both ends among them.
fn times() -> impl Strategy<Value = i64> {
    let edges = [i64::MIN, i64::MIN + 1, -1 << 32, -(1 << 31) - 1, -1, 0, 1, 1 << 31, 1 << 32, (1 << 53) + 1, i64::MAX];
    prop_oneof![3 => prop::sample::select(edges.to_vec()), 2 => 0..3_i64, 1 => any::<i64>()]
}

fn histories() -> impl Strategy<Value = Vec<Written>> {
    let offset = prop_oneof![0..3_u64, Just(1 << 32), Just(u64::MAX), any::<u64>()];
    let created_time = prop::option::of(times());
    let line = (0..3_i64, times(), created_time, offset, prop::bool::weighted(0.2), any::<i64>());
    let line = line.prop_map(|(id, event_time, created_time, offset, deleted, value)| Line {
        id,
        event_time,
        created_time,
        offset,
        deleted,
        value,
    });
    let partition = prop::option::of(prop_oneof![0..2_u32, Just(u32::MAX)]);
    let version = prop_oneof![6 => Just(0_usize), 1 => 1..4_usize];
    let written =
        (version, partition, prop::collection::vec(line, 1..6)).prop_map(|(version, partition, mut lines)| {
            if partition.is_some() {
                lines.sort_by_key(|line| line.offset);
            }
            Written { version, partition, lines }
        });
    prop::collection::vec(written, 1..8).prop_flat_map(any_order).prop_map(|(history, _)| history)
}

/// The view as it is, with another transform, with another feature, and of other entities.
fn version(number: usize, name: &str) -> Arc<OnlineView> {
    let int = DType::One(Scalar::Int64);
    let features: &[(&str, DType)] = if number == 2 { &[("value", int), ("more", int)] } else { &[("value", int)] };
    let view = view_of(name, &[(if number == 3 { "item" } else { "id" }, int)], features);
    let digest = (number == 1).then_some(Digest([9; 32]));
    Arc::new(OnlineView { digest, ..(*view).clone() })
}

fn rows_of(written: &Written, view: &OnlineView) -> FeatureRows {
    let lines = &written.lines;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(lines.iter().map(|line| line.id)));
    let values: ArrayRef =
        Arc::new(Int64Array::from_iter(lines.iter().map(|line| (!line.deleted).then_some(line.value))));
    let origin = written.partition.map(|partition| Origin {
        stream: "clicks".into(),
        partition,
        offsets: lines.iter().map(|line| line.offset).collect(),
    });
    FeatureRows {
        deleted: Some(BooleanBuffer::from_iter(lines.iter().map(|line| line.deleted))),
        origin,
        ..FeatureRows::new(
            vec![ids],
            vec![values; view.features.len()],
            timestamps(lines.iter().map(|line| Some(line.event_time)).collect()),
            timestamps(lines.iter().map(|line| line.created_time).collect()),
        )
    }
}

/// The rows by key, as the pure rule leaves them, and how many were written.
fn merge(stored: &mut BTreeMap<Vec<u8>, Vec<u8>>, view: &OnlineView, rows: &FeatureRows) -> u64 {
    let schema = RowSchema::of(view);
    let mut encoder = RowEncoder::new(view, &schema, rows).unwrap();
    let keys = KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows());
    let mut written = 0;
    for (row, key) in keys.iter().enumerate() {
        let new = encoder.encode(row).unwrap();
        let arriving = Header::read(new).unwrap();
        let stays = stored.get(key).is_some_and(|old| {
            let old = Header::read(old).unwrap();
            old.schema_id.to_le_bytes()[..3] == arriving.schema_id.to_le_bytes()[..3]
                && old.version.stays_before(&arriving.version)
        });
        if !stays {
            stored.insert(key.to_vec(), new.to_vec());
            written += 1;
        }
    }
    written
}

#[test]
fn the_script_is_the_pure_rule_byte_for_byte() {
    let redis = Redis::start();
    let runtime = Runtime::new().unwrap();
    let (store, memory, link) = (store(&redis), MemoryStore::default(), link(&redis));
    let number = Cell::new(0);
    try_cases(300, histories(), |history| {
        number.set(number.get() + 1);
        let name = format!("case_{}", number.get());
        runtime.block_on(async {
            let mut expected = BTreeMap::new();
            for batch in &history {
                let view = version(batch.version, &name);
                let rows = rows_of(batch, &view);
                let done = write(&store, &view, &rows).await;
                assert_eq!(done.written, merge(&mut expected, &view, &rows));
                assert_eq!(done, write(&memory, &view, &rows).await);
            }
            let mut row_keys = RowKeys::of("", &name);
            for (entity, row) in &expected {
                let stored = ask(&link, "GET", &[row_keys.key(entity)]).await.unwrap();
                assert_eq!(stored, redis::Value::BulkString(row.clone()));
            }
            for number in 0..4 {
                let view = version(number, &name);
                let asked = [Some(0), Some(1), Some(2)];
                assert_eq!(values(&store, &view, &asked).await, values(&memory, &view, &asked).await);
            }
        });
    });
}

#[test]
fn watermarks_of_any_size_move_on_only_and_only_from_where_they_must_be() {
    let redis = Redis::start();
    let runtime = Runtime::new().unwrap();
    let link = link(&redis);
    let packed = Packed::new(&settings(&redis, ""));
    let offset =
        || prop_oneof![0..12_u64, 9_999_999_990..10_000_000_010_u64, (1 << 53)..(1 << 53) + 4_u64, any::<u64>()];
    let stored = prop::option::of(offset());
    try_cases(300, (stored, offset(), prop::option::of(offset())), |(stored, last, after)| {
        let text = |offset: u64| offset.to_string().into_bytes();
        let call = ScriptCall {
            keys: vec![b"wm".to_vec()],
            arguments: vec![b"field".to_vec(), text(last), after.map(text).unwrap_or_default()],
        };
        let is = runtime.block_on(async {
            ask(&link, "DEL", &[b"wm"]).await.unwrap();
            if let Some(stored) = stored {
                ask(&link, "HSET", &[b"wm", b"field", &text(stored)]).await.unwrap();
            }
            link.run(&packed.advance, vec![call], soon()).await.remove(0).unwrap();
            ask(&link, "HGET", &[b"wm", b"field"]).await.unwrap()
        });
        let may_move = after.is_none_or(|after| stored.is_some_and(|stored| stored >= after));
        let expected = if may_move { stored.max(Some(last)) } else { stored };
        assert_eq!(is, expected.map_or(redis::Value::Nil, |offset| redis::Value::BulkString(text(offset))));
    });
}

#[tokio::test]
async fn rows_of_one_key_keep_their_order_over_many_calls() {
    let redis = Redis::start();
    let (store, view) = (store(&redis), plain_view("companies"));
    let count = 3 * REDIS_CALL_ROWS_MAX as i64 + 7;
    let rows = lines(&(0..count).map(|value| (Some(1), 10, None, Some(value))).collect::<Vec<_>>());
    assert_eq!(write(&store, &view, &rows).await.written, count as u64);
    assert_eq!(values(&store, &view, &[Some(1)]).await, [Some((10, Some(count - 1)))]);

    let offsets: Vec<u64> = (0..count as u64).collect();
    let done = write(&store, &view, &from_stream(rows.clone(), 0, &offsets)).await;
    assert_eq!(done.written, count as u64);
    assert_eq!(store.progress(&view, "clicks", 0, soon()).await.unwrap(), Some(count as u64 - 1));
}

async fn ms_left(link: &Link, key: &[u8]) -> i64 {
    redis::from_redis_value(ask(link, "PTTL", &[key]).await.unwrap()).unwrap()
}

#[tokio::test]
async fn rows_expire_where_their_view_says_so_and_every_write_begins_anew() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let redis = Redis::start();
    let link = link(&redis);
    let (kept, short) = (plain_view("kept"), plain_view("short"));
    let expire = Expiry { all: None, views: [("short".to_owned(), Duration::from_secs(24 * 3_600))].into() };
    let store = store_with(&Settings { expire, ..settings(&redis, "") });
    let row = |time: i64| lines(&[(Some(1), time, None, Some(1))]);
    for view in [&kept, &short] {
        write(&store, view, &row(10)).await;
    }
    assert_eq!(ms_left(&link, &key_of(&kept, 1)).await, -1, "for ever");
    let key = key_of(&short, 1);
    assert!((DAY_MS - 60_000..=DAY_MS).contains(&ms_left(&link, &key).await));

    ask(&link, "PEXPIRE", &[&key, b"50000"]).await.unwrap();
    write(&store, &short, &row(9)).await;
    assert!(ms_left(&link, &key).await <= 50_000, "an older row is not written");
    write(&store, &short, &row(10)).await;
    assert!(ms_left(&link, &key).await > DAY_MS - 60_000);

    let tombstones_ms = REDIS_TOMBSTONES_KEPT.as_millis() as i64;
    write(&store, &short, &tombstones(&[(1, 11)])).await;
    assert!((tombstones_ms - 60_000..=tombstones_ms).contains(&ms_left(&link, &key).await));
    write(&store, &kept, &tombstones(&[(1, 11)])).await;
    assert_eq!(ms_left(&link, &key_of(&kept, 1)).await, -1, "a tombstone stays as long as rows do");
}

#[tokio::test]
async fn a_store_that_was_emptied_gets_its_schemas_again() {
    let redis = Redis::start();
    let (writer, view) = (store(&redis), plain_view("companies"));
    let row = lines(&[(Some(1), 10, None, Some(7))]);
    write(&writer, &view, &row).await;
    assert_eq!(redis.ask(&["FLUSHALL"]), "+OK");
    write(&writer, &view, &row).await;
    assert_eq!(values(&store(&redis), &view, &[Some(1)]).await, [Some((10, Some(7)))], "a gateway that knows nothing");

    assert_eq!(redis.ask(&["DEL", "lockstep:schemas"]), ":1");
    let keys = ids(&view, &[Some(1)]);
    let error = store(&redis).read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await.unwrap_err();
    assert!(matches!(&error, Error::Damaged { detail, .. } if detail.contains("is not in the store")), "{error}");
    assert_eq!(values(&writer, &view, &[Some(1)]).await, [Some((10, Some(7)))], "the writer remembers");
}

#[tokio::test]
async fn other_columns_under_the_id_of_a_schema_are_refused() {
    let redis = Redis::start();
    let view = plain_view("companies");
    let id = format!("{:016x}", RowSchema::of(&view).id);
    redis.ask(&["HSET", "lockstep:schemas", &id, r#"[["key","id","int64"],["feature","other","int64"]]"#]);
    let rows = from_stream(lines(&[(Some(1), 10, None, Some(7))]), 0, &[1]);
    let error = store(&redis).write(&view, &rows, soon()).await.unwrap_err();
    assert!(matches!(error, Error::Unstorable { .. }), "{error}");
    assert_eq!(redis.ask(&["DBSIZE"]), ":1", "nothing was written");
}

#[tokio::test]
async fn a_value_of_another_program_is_left_alone_and_its_key_named() {
    let redis = Redis::start();
    let (store, link, view) = (store(&redis), link(&redis), plain_view("companies"));
    let key = key_of(&view, 1);
    let rows = lines(&[(Some(1), 10, None, Some(7))]);
    for value in [&["SADD", "x"][..], &["SET", "text"], &["SET", "\u{2}newer"]] {
        ask(&link, "DEL", &[&key]).await.unwrap();
        ask(&link, value[0], &[&key, value[1].as_bytes()]).await.unwrap();
        let error = store.write(&view, &rows, soon()).await.unwrap_err();
        assert!(matches!(error, Error::ForeignValue { .. }), "{error}");
        assert!(error.to_string().contains(&key.escape_ascii().to_string()), "{error}");
    }
    // Of the bytes of a row only the first ones are left.
    ask(&link, "SET", &[&key, b"\x01\x00damaged"]).await.unwrap();
    let keys = ids(&view, &[Some(1)]);
    let error = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(write(&store, &view, &rows).await.written, 1);
    assert_eq!(values(&store, &view, &[Some(1)]).await, [Some((10, Some(7)))]);
}

#[tokio::test]
async fn statistics_of_many_rows_are_an_estimate_from_a_sample() {
    let redis = Redis::start();
    let (store, view) = (store(&redis), plain_view("companies"));
    let count = 3 * crate::limits::STATISTICS_ROWS_MAX as i64;
    let rows: Vec<_> = (0..count).map(|id| (Some(id), id, None, (id % 2 == 0).then_some(id))).collect();
    write(&store, &view, &lines(&rows)).await;
    write(&store, &view, &tombstones(&(0..count / 3).map(|id| (id, count)).collect::<Vec<_>>())).await;
    let statistics = store.statistics(&[Arc::clone(&view)], soon()).await.unwrap().remove(0);
    let near = |is: u64, expected: u64| is.abs_diff(expected) < expected / 10;
    assert!(near(statistics.keys, 2 * count as u64 / 3), "{statistics:?}");
    assert!(near(statistics.sampled, 2 * crate::limits::STATISTICS_ROWS_MAX / 3), "{statistics:?}");
    assert!(near(statistics.values[0].1, statistics.sampled / 2), "{statistics:?}");
}
