//! Copies on real servers: every bit arrives, nothing newer is overwritten, what is interrupted goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Int64Array, StringArray};
use arrow::buffer::BooleanBuffer;
use serde::Deserialize;
use tokio::sync::Notify;

use super::super::RedisStore;
use super::super::key::RowKeys;
use super::super::link::slot_of_key;
use super::super::servers::{Cluster, Redis};
use super::super::settings::{Address, Expiry, Login, Mode, Server};
use super::*;
use crate::batch::{FeatureRows, KeyBatch};
use crate::catalog::{DType, Scalar};
use crate::error::ErrorKind;
use crate::online::conformance::{
    from_stream, ids, lines, plain_view, read, soon, tombstones, try_cases, values, view_of, write,
};
use crate::online::samples;

const INT: DType = DType::One(Scalar::Int64);

fn settings(mode: Mode, ports: &[u16], layout: Layout) -> Settings {
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
        layout,
        project: "shop".to_owned(),
        prefix: "t:".to_owned(),
        shared: false,
        expire: Expiry::default(),
    }
}

fn feast() -> Layout {
    Layout::Feast { project: "proj_a".to_owned(), key_version: 3 }
}

fn on(redis: &Redis, layout: Layout) -> Settings {
    settings(Mode::Standalone, &[redis.port()], layout)
}

fn store(settings: &Settings) -> RedisStore {
    RedisStore::with(settings, rows(settings)).unwrap()
}

async fn copied(from: &Settings, to: &Settings, views: &[Arc<OnlineView>]) -> Copied {
    copy(from, to, views, &|_| ()).await.unwrap()
}

/// Read, written, older.
fn counts(copied: &Copied) -> Vec<(u64, u64, u64)> {
    copied.views.iter().map(|view| (view.read, view.written, view.older)).collect()
}

/// `count` rows with ids from 0 on, with this event time and the id as value.
fn many(count: i64, event_time: i64) -> FeatureRows {
    lines(&(0..count).map(|id| (Some(id), event_time, None, Some(id))).collect::<Vec<_>>())
}

#[derive(Deserialize)]
struct DumpedHash {
    key_hex: String,
    fields: BTreeMap<String, String>,
}

/// Puts into Redis what Feast 0.67.0 had written.
async fn load_dump(link: &Link) {
    let dump = include_str!("../../../../tests/golden/feast/redis_dump.json");
    for hash in serde_json::from_str::<Vec<DumpedHash>>(dump).unwrap() {
        let mut command = redis::cmd("HSET");
        command.arg(hex::decode(&hash.key_hex).unwrap());
        for (field, value) in &hash.fields {
            command.arg(hex::decode(field).unwrap()).arg(hex::decode(value).unwrap());
        }
        link.call(vec![command], soon()).await.remove(0).unwrap();
    }
}

#[tokio::test]
async fn what_feast_wrote_is_read_bit_for_bit_from_packed_rows() {
    let redis = Redis::start();
    let (from, to) = (on(&redis, feast()), on(&redis, Layout::Packed));
    load_dump(&Link::new(from.server.clone()).unwrap()).await;
    let features = [("conv_rate", DType::One(Scalar::Float32)), ("acc_rate", DType::One(Scalar::Float32))];
    let features = [features[0], features[1], ("avg_daily_trips", INT)];
    let stats = view_of("driver_hourly_stats", &[("driver_id", INT)], &features);
    let fresh = view_of("driver_fresh", &[("driver_id", INT)], &features);
    let pair = view_of(
        "driver_customer",
        &[("driver_id", INT), ("customer_id", DType::One(Scalar::String))],
        &[("trips", INT)],
    );
    // A gateway would not take a database of other keys for its own; after the copy it does.
    let refused = RedisStore::connect(&to, soon()).await.unwrap_err();
    assert!(matches!(refused, Error::ForeignDatabase { .. }), "{refused}");
    let drivers = copied(&from, &to, &[Arc::clone(&stats), Arc::clone(&fresh)]).await;
    assert_eq!((drivers.keys, drivers.keys_of_no_view, drivers.resumed), (7, 2, false));
    assert_eq!(counts(&drivers), [(4, 4, 0), (4, 4, 0)]);
    let pairs = copied(&from, &to, &[Arc::clone(&pair)]).await;
    assert_eq!(counts(&pairs), [(2, 2, 0)]);

    let (source, target) = (store(&from), RedisStore::connect(&to, soon()).await.unwrap());
    let keys = ids(&stats, &[1001, 1002, 5001, 5002, 6001, 7].map(Some));
    let pair_keys: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1001, 1002, 1001])),
        Arc::new(StringArray::from(vec!["C-7", "C-9", "C-9"])),
    ];
    let pair_keys = KeyBatch::encode(&pair.join_keys, &pair_keys, 3);
    for (view, keys, present) in [(&stats, &keys, 4), (&fresh, &keys, 4), (&pair, &pair_keys, 2)] {
        let (one, other) = (read(&source, view, keys).await, read(&target, view, keys).await);
        assert_eq!(one.present.count_set_bits(), present, "{}", view.name);
        assert_eq!((one.present, one.event_time), (other.present, other.event_time), "{}", view.name);
        assert_eq!(one.columns, other.columns, "{}", view.name);
    }
    let again = copied(&from, &to, &[stats, fresh, pair]).await;
    assert_eq!(counts(&again), [(4, 0, 4), (4, 0, 4), (2, 0, 2)]);
}

#[test]
fn packed_rows_come_back_from_hashes_byte_for_byte() {
    let redis = Redis::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let packed = on(&redis, Layout::Packed);
    let (hash, back) = (on(&redis, Layout::Hash), Settings { prefix: "back:".to_owned(), ..packed.clone() });
    let strategy = (samples::views_with_rows(6), proptest::collection::vec(proptest::bool::ANY, 6));
    try_cases(32, strategy, |((view, rows), deleted)| {
        redis.ask(&["FLUSHALL"]);
        runtime.block_on(async {
            let view = Arc::new(view);
            let first = RedisStore::connect(&packed, soon()).await.unwrap();
            write(&first, &view, &slice(&rows, 0..2)).await;
            write(&first, &view, &from_stream(slice(&rows, 2..4), 7, &[5, u64::MAX])).await;
            let last = FeatureRows { deleted: Some(BooleanBuffer::from(deleted[4..].to_vec())), ..slice(&rows, 4..6) };
            write(&first, &view, &last).await;
            let views = [Arc::clone(&view)];
            assert_eq!(copied(&packed, &hash, &views).await.views[0].written, 6);
            assert_eq!(copied(&hash, &back, &views).await.views[0].written, 6);
            let keys = ids(&view, &[0, 1, 2, 3, 4, 5].map(Some));
            let row = |prefix: &str, row: usize| {
                let key = RowKeys::of(prefix, &view.name).key(keys.get(row)).to_vec();
                redis::cmd("GET").arg(key).take()
            };
            for number in 0..6 {
                let answers = first.link.call(vec![row("t:", number), row("back:", number)], soon()).await;
                assert!(matches!(answers[0], Ok(redis::Value::BulkString(_))), "{answers:?}");
                assert_eq!(answers[0], answers[1], "row {number}");
            }
        });
    });
}

fn slice(rows: &FeatureRows, range: std::ops::Range<usize>) -> FeatureRows {
    let cut = |columns: &[ArrayRef]| columns.iter().map(|column| column.slice(range.start, range.len())).collect();
    FeatureRows {
        keys: cut(&rows.keys),
        features: cut(&rows.features),
        event_time: rows.event_time.slice(range.start, range.len()),
        created_time: rows.created_time.slice(range.start, range.len()),
        deleted: None,
        origin: None,
    }
}

#[tokio::test]
async fn what_is_newer_at_the_target_stays_and_so_does_what_is_equal() {
    let view = plain_view("companies");
    for (from, to) in [(Layout::Packed, Layout::Hash), (Layout::Hash, Layout::Packed), (Layout::Packed, feast())] {
        let redis = Redis::start();
        let (from, to) = (on(&redis, from), on(&redis, to));
        let (source, target) = (RedisStore::connect(&from, soon()).await.unwrap(), store(&to));
        write(&source, &view, &many(4, 50)).await;
        write(&source, &view, &tombstones(&[(4, 50), (5, 50)])).await;
        let there = [(0, 49), (1, 50), (2, 51), (4, 49), (5, 51)];
        let there = there.map(|(id, event_time)| (Some(id), event_time, None, Some(100 + id)));
        write(&target, &view, &lines(&there)).await;
        let done = copied(&from, &to, &[Arc::clone(&view)]).await;
        let expected = [Some((50, Some(0))), Some((50, Some(101))), Some((51, Some(102))), Some((50, Some(3))), None];
        let expected = [expected.to_vec(), vec![Some((51, Some(105)))]].concat();
        assert_eq!(values(&target, &view, &[0, 1, 2, 3, 4, 5].map(Some)).await, expected, "{:?}", to.layout);
        assert_eq!(counts(&done), [(6, 3, 3)]);
        assert_eq!(done.views[0].tombstones, 2);
        // What a layout has no room for cannot keep older rows away; the others remember that 4 is gone.
        write(&target, &view, &lines(&[(Some(4), 49, None, Some(1))])).await;
        let remembers = to.layout != feast();
        assert_eq!(values(&target, &view, &[Some(4)]).await[0].is_none(), remembers);
    }
}

#[tokio::test]
async fn a_row_of_fewer_features_is_replaced_by_an_equal_one_of_todays() {
    let (old, new) = (plain_view("v"), view_of("v", &[("id", INT)], &[("value", INT), ("more", INT)]));
    for (from, to) in [(Layout::Packed, Layout::Hash), (Layout::Hash, Layout::Packed)] {
        let redis = Redis::start();
        let (from, to) = (on(&redis, from), on(&redis, to));
        let source = RedisStore::connect(&from, soon()).await.unwrap();
        write(&source, &old, &many(1, 5)).await;
        assert_eq!(counts(&copied(&from, &to, &[Arc::clone(&old)]).await), [(1, 1, 0)]);
        let mut rows = many(1, 5);
        rows.features.push(Arc::new(Int64Array::from(vec![9])));
        write(&source, &new, &rows).await;
        assert_eq!(counts(&copied(&from, &to, &[Arc::clone(&new)]).await), [(1, 1, 0)]);
        let there = read(&store(&to), &new, &ids(&new, &[Some(0)])).await;
        assert_eq!(there.columns, rows.features);
        assert_eq!(counts(&copied(&from, &to, std::slice::from_ref(&new)).await), [(1, 0, 1)]);
    }
}

#[tokio::test]
async fn what_another_program_wrote_without_a_time_gives_way_to_every_row() {
    let redis = Redis::start();
    let (from, to) = (on(&redis, Layout::Hash), on(&redis, Layout::Packed));
    let view = plain_view("companies");
    for id in ["7", "8"] {
        redis.ask(&["HSET", &format!("t:features:id:{id}"), "value", id]);
    }
    let target = store(&to);
    write(&target, &view, &lines(&[(Some(8), 1, None, Some(80))])).await;
    let done = copied(&from, &to, &[Arc::clone(&view)]).await;
    assert_eq!((done.views[0].without_time, counts(&done)), (2, vec![(2, 1, 1)]));
    assert_eq!(values(&target, &view, &[Some(7), Some(8)]).await, [Some((0, Some(7))), Some((1, Some(80)))]);
    // In hashes such a value is served until we write the row; a copy of an older row does not replace it.
    write(&target, &view, &lines(&[(Some(7), 5, None, Some(70))])).await;
    assert_eq!(counts(&copied(&to, &from, &[Arc::clone(&view)]).await), [(2, 0, 2)]);
    assert_eq!(redis.ask(&["HGET", "t:features:id:7", "value"]), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_both_layouts_during_a_copy_are_not_lost() {
    const ROWS: i64 = 6_000;
    let redis = Redis::start();
    let (from, to) = (on(&redis, feast()), on(&redis, Layout::Packed));
    let view = plain_view("companies");
    let (source, target) = (store(&from), store(&to));
    write(&source, &view, &many(ROWS, 1_000_000)).await;
    let update = |id: i64, second: i64| (Some(id), second * 1_000_000, None, Some(second));
    let live = async {
        for second in 2..12 {
            // Each id belongs to one writer: of every third the source hears, of every third the target.
            let of =
                |rest: i64| -> Vec<_> { (0..ROWS).filter(|id| id % 3 == rest).map(|id| update(id, second)).collect() };
            write(&source, &view, &lines(&of(0))).await;
            write(&target, &view, &lines(&of(1))).await;
        }
    };
    let views = [Arc::clone(&view)];
    let (_, first) = tokio::join!(live, copied(&from, &to, &views));
    assert!(first.views[0].read >= ROWS as u64, "{first:?}");
    copied(&from, &to, &views).await;
    let there = values(&target, &view, &(0..ROWS).map(Some).collect::<Vec<_>>()).await;
    for (id, row) in (0..ROWS).zip(there) {
        let expected = if id % 3 == 2 { (1_000_000, Some(id)) } else { (11_000_000, Some(11)) };
        assert_eq!(row, Some(expected), "id {id}");
    }
}

/// Copies until so many pages are done, and is dropped in the middle of the next ones.
async fn interrupted(from: &Settings, to: &Settings, views: &[Arc<OnlineView>], pages: usize) {
    let (told, enough) = (AtomicUsize::new(0), Notify::new());
    let tell = |_| {
        if told.fetch_add(1, Ordering::Relaxed) + 1 == pages {
            enough.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = enough.notified() => {}
        done = copy(from, to, views, &tell) => panic!("it ended before it was interrupted: {done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_copy_goes_on_where_it_was() {
    const ROWS: i64 = 20_000;
    let redis = Redis::start();
    let (from, to) = (on(&redis, Layout::Hash), on(&redis, Layout::Packed));
    let views = [plain_view("companies")];
    write(&store(&from), &views[0], &many(ROWS, 5)).await;
    interrupted(&from, &to, &views, 5).await;
    assert_eq!(redis.ask(&["EXISTS", "t:lockstep:copy:hash:packed"]), ":1");
    let rest = copied(&from, &to, &views).await;
    assert!(rest.resumed && rest.keys < ROWS as u64 && rest.keys > ROWS as u64 / 4, "{rest:?}");
    let there = values(&store(&to), &views[0], &(0..ROWS).map(Some).collect::<Vec<_>>()).await;
    assert!((0..ROWS).zip(&there).all(|(id, row)| *row == Some((5, Some(id)))));
    assert_eq!(redis.ask(&["EXISTS", "t:lockstep:copy:hash:packed"]), ":0");

    // What is interrupted and then meant otherwise begins anew.
    interrupted(&from, &to, &views, 5).await;
    let other = view_of("companies", &[("id", INT)], &[("value", INT), ("more", INT)]);
    let all = copied(&from, &to, &[other]).await;
    assert!(!all.resumed && all.keys >= ROWS as u64, "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_restarted_is_begun_again() {
    const ROWS: i64 = 20_000;
    let mut redis = Redis::start_with(&["appendonly yes", "appendfsync always"]);
    let (from, to) = (on(&redis, Layout::Hash), on(&redis, Layout::Packed));
    let views = [plain_view("companies")];
    write(&store(&from), &views[0], &many(ROWS, 5)).await;
    interrupted(&from, &to, &views, 15).await;
    redis.restart();
    until_loaded(&from).await;
    let rest = copied(&from, &to, &views).await;
    assert!(rest.resumed && rest.keys >= ROWS as u64, "{rest:?}");
    let there = values(&store(&to), &views[0], &(0..ROWS).map(Some).collect::<Vec<_>>()).await;
    assert!(there.iter().all(Option::is_some));
}

async fn until_loaded(settings: &Settings) {
    let link = Link::new(settings.server.clone()).unwrap();
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..3_000 {
        looks.tick().await;
        if link.call(vec![redis::cmd("DBSIZE")], soon()).await[0].is_ok() {
            return;
        }
    }
    panic!("the server does not load its data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_every_server_is_copied_and_a_slot_that_moved_meanwhile_too() {
    const ROWS: i64 = 12_000;
    let cluster = Cluster::start();
    let of = |layout| settings(Mode::Cluster, &cluster.ports(), layout);
    let (from, to) = (of(Layout::Hash), of(Layout::Packed));
    let views = [plain_view("companies")];
    write(&store(&from), &views[0], &many(ROWS, 5)).await;
    interrupted(&from, &to, &views, 12).await;
    // A row goes where the scan may have been already.
    let slot = slot_of_key(b"t:features:id:0");
    let owner = cluster.owner(slot);
    let other = (owner + 1) % 3;
    cluster.begin_move(slot, owner, other);
    while cluster.move_keys(slot, owner, other, 100) > 0 {}
    cluster.end_move(slot, owner, other);
    let rest = copied(&from, &to, &views).await;
    assert!(rest.resumed, "{rest:?}");
    let asked: Vec<Option<i64>> = (0..ROWS).map(Some).collect();
    assert!(values(&store(&to), &views[0], &asked).await.iter().all(Option::is_some));
    let again = copied(&from, &to, &views).await;
    assert_eq!((again.resumed, again.views[0].written), (false, 0), "{again:?}");
    let at_source = values(&store(&from), &views[0], &asked).await.iter().flatten().count();
    assert_eq!(again.views[0].read, at_source as u64, "{again:?}");
    // And back, to a place of its own.
    let back = Settings { prefix: "back:".to_owned(), ..from };
    assert_eq!(copied(&to, &back, &views).await.views[0].written, ROWS as u64);
    assert!(values(&store(&back), &views[0], &asked).await.iter().all(Option::is_some));
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_with_the_way_out() {
    let redis = Redis::start();
    let (packed, hash) = (on(&redis, Layout::Packed), on(&redis, Layout::Hash));
    let view = view_of("days", &[("id", INT)], &[("day", DType::One(Scalar::Date))]);
    let refused = async |from: &Settings, to: &Settings| {
        let error = copy(from, to, &[Arc::clone(&view)], &|_| ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        error.to_string()
    };
    assert!(refused(&packed, &packed).await.contains("to another layout or prefix than it comes from"));
    assert!(refused(&packed, &hash).await.contains("has no t:lockstep:store, so there are no packed rows to copy"));
    let error = refused(&hash, &on(&redis, feast())).await;
    assert!(error.contains("days") && error.contains("feature day") && error.contains("make it a"), "{error}");
}

#[test]
fn settings_of_views_that_are_not_stored_are_refused() {
    let mut settings = settings(Mode::Standalone, &[1], Layout::Packed);
    settings.expire.views.insert("companeis".to_owned(), Duration::from_secs(1));
    let error = super::super::check(&settings, &[plain_view("companies"), plain_view("trips")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the online store cannot be set up: online_store.views names companeis, which is no stored view; \
         those are: companies, trips"
    );
    settings.expire.views.clear();
    settings.expire.views.insert("companies".to_owned(), Duration::from_secs(1));
    assert!(super::super::check(&settings, &[plain_view("companies")]).is_ok());
}
