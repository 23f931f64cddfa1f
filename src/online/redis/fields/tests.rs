//! Both layouts of hashes on real servers: the contract of an online store, and what each of them promises of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;

use super::super::feast::{self, KeyVersion};
use super::super::hash;
use super::super::link::{Link, slot_of_key};
use super::super::servers::{Cluster, Redis};
use super::super::settings::{Address, Expiry, Layout, Login, Mode, Server, Settings};
use super::super::{RedisStore, Rows};
use super::FieldRows;
use crate::batch::{FeatureRows, StoredRows};
use crate::catalog::{DType, Scalar};
use crate::clock::{Clock, Deadline};
use crate::online::conformance::{self, Promises, lines, plain_view, soon, tombstones, values, view_of, write};
use crate::online::{
    ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written,
};

const INT: DType = DType::One(Scalar::Int64);
const NOW: i64 = 1_795_140_000_000_000;

/// What Feast's hashes have room for: an event time after 1970, and nothing else of a row but its values.
const FEAST: Promises = Promises {
    extreme_times: false,
    created_times: false,
    later_tie_wins: false,
    origins: false,
    tombstones: false,
    progress: true,
    transforms: false,
    types_may_change: false,
    join_keys_may_change: false,
    views_without_features: true,
    holds: |dtype| {
        let not_bit_for_bit = |scalar| matches!(scalar, Scalar::Date | Scalar::Timestamp);
        !matches!(dtype, DType::One(scalar) | DType::List(scalar) if not_bit_for_bit(scalar))
    },
};

fn settings(mode: Mode, ports: &[u16]) -> Settings {
    Settings {
        server: Server {
            mode,
            addresses: ports.iter().map(|port| Address::new("127.0.0.1", *port)).collect(),
            login: Login::default(),
            database: 0,
            tls: None,
            connections: 2,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
        },
        layout: Layout::Hash,
        project: "proj_a".to_owned(),
        prefix: "t:".to_owned(),
        shared: false,
        expire: Expiry::default(),
    }
}

fn store(redis: &Redis, rows: FieldRows) -> Arc<dyn OnlineStore> {
    Arc::new(RedisStore::with(&settings(Mode::Standalone, &[redis.port()]), Box::new(rows)).unwrap())
}

fn feast_rows(version: KeyVersion) -> FieldRows {
    feast::rows("proj_a", version, "t:", Expiry::default())
}

fn hash_rows() -> FieldRows {
    hash::rows("t:", Expiry::default(), Clock::held_at(NOW))
}

/// Gives each view an entity of its own. In the layout `hash` views of one entity share the names of their features,
/// and the suite's views, which would never stand in one project, have features of the same names.
#[derive(Debug)]
struct EachViewAlone(Arc<dyn OnlineStore>);

impl EachViewAlone {
    fn alone(view: &OnlineView) -> Arc<OnlineView> {
        let entities = view.entities.iter().map(|_| view.name.clone()).collect();
        Arc::new(OnlineView { entities, ..view.clone() })
    }
}

#[async_trait]
impl OnlineStore for EachViewAlone {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        let views: Vec<Arc<OnlineView>> = reads.iter().map(|read| Self::alone(read.view)).collect();
        let reads: Vec<Read<'_>> = reads.iter().zip(&views).map(|(read, view)| Read { view, ..*read }).collect();
        self.0.read(&reads, deadline).await
    }

    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        let views: Vec<Arc<OnlineView>> = reads.iter().map(|read| Self::alone(read.view)).collect();
        let reads: Vec<Read<'_>> = reads.iter().zip(&views).map(|(read, view)| Read { view, ..*read }).collect();
        self.0.read_reachable(&reads, deadline).await
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        self.0.write(&Self::alone(view), rows, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        self.0.progress(&Self::alone(view), stream, partition, deadline).await
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.0.health(deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        let views: Vec<Arc<OnlineView>> = views.iter().map(|view| Self::alone(view)).collect();
        self.0.statistics(&views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        self.0.scan(&Self::alone(view), cursor, deadline).await
    }

    fn watch(&self, _views: &[Arc<OnlineView>], _listener: std::sync::Weak<dyn ChangeListener>) {}
}

/// Runs the suite over one server; every store that is asked for is an empty one.
fn check(promises: Promises, make: &dyn Fn(&Redis) -> Arc<dyn OnlineStore>) {
    let redis = Redis::start();
    let empty = || {
        redis.ask(&["FLUSHALL"]);
        make(&redis)
    };
    conformance::check_promises(&empty, promises, 32);
}

#[test]
fn the_layout_feast_keeps_what_it_promises_with_keys_of_version_3() {
    check(FEAST, &|redis| store(redis, feast_rows(KeyVersion::Three)));
}

#[test]
fn the_layout_feast_keeps_what_it_promises_with_keys_of_version_2() {
    check(FEAST, &|redis| store(redis, feast_rows(KeyVersion::Two)));
}

#[test]
fn the_layout_hash_keeps_the_contract_of_an_online_store() {
    check(Promises::ALL, &|redis| Arc::new(EachViewAlone(store(redis, hash_rows()))));
}

fn as_text(reply: &str) -> serde_json::Value {
    serde_json::from_str(reply).unwrap_or_else(|error| panic!("{reply}: {error}"))
}

#[tokio::test]
async fn a_row_of_the_layout_hash_is_what_its_documentation_shows() {
    let redis = Redis::start();
    let store = store(&redis, hash_rows());
    let view = view_of("totals", &[("user", INT)], &[("clicks", INT)]);
    let rows = conformance::from_stream(lines(&[(Some(7), 10, Some(5), Some(3))]), 1, &[42]);
    write(&*store, &view, &rows).await;
    assert_eq!(redis.ask(&["HGET", "t:features:user:7", "clicks"]), "3");
    let row = as_text(&redis.ask(&["HGET", "t:features:user:7", "_row:totals"]));
    let schema = row["schema"].as_str().unwrap();
    let expected = serde_json::json!({
        "event_time_us": 10, "created_time_us": 5, "keys": "user int64", "schema": schema, "partition": 1, "offset": 42
    });
    assert_eq!(row, expected);
    assert!(redis.ask(&["HGET", "t:lockstep:schemas", schema]).contains("\"clicks\""));
    assert_eq!(redis.ask(&["HGET", "t:wm:hash:totals", "clicks/1"]), "42");
}

#[tokio::test]
async fn a_hash_that_another_program_wrote_counts_as_of_now_until_we_write() {
    let redis = Redis::start();
    let store = store(&redis, hash_rows());
    let view = view_of("totals", &[("user", INT)], &[("clicks", INT)]);
    assert_eq!(redis.ask(&["HSET", "t:features:user:7", "clicks", "3"]), ":1");
    assert_eq!(redis.ask(&["HSET", "t:features:user:8", "unknown", "3"]), ":1");
    assert_eq!(values(&*store, &view, &[Some(7), Some(8)]).await, [Some((NOW, Some(3))), None]);
    write(&*store, &view, &lines(&[(Some(7), 10, None, Some(4))])).await;
    assert_eq!(values(&*store, &view, &[Some(7)]).await, [Some((10, Some(4)))]);
    // With a time of its own, another program's row takes part in who is newer.
    redis.ask(&["HSET", "t:features:user:7", "clicks", "5", "_row:totals", "{ \"event_time_us\" : 20 }"]);
    assert_eq!(write(&*store, &view, &lines(&[(Some(7), 19, None, Some(6))])).await.older, 1);
    assert_eq!(values(&*store, &view, &[Some(7)]).await, [Some((20, Some(5)))]);
}

#[tokio::test]
async fn a_wrong_value_is_named_with_its_key_and_field() {
    let redis = Redis::start();
    let store = store(&redis, hash_rows());
    let view = view_of("totals", &[("user", INT)], &[("clicks", INT)]);
    let keys = conformance::ids(&view, &[Some(7)]);
    let error = |text: &'static str| {
        let (redis, store, view, keys) = (&redis, &store, &view, &keys);
        async move {
            redis.ask(&["HSET", "t:features:user:7", "clicks", text]);
            store.read(&[Read { view, keys, columns: &[0] }], soon()).await.unwrap_err().to_string()
        }
    };
    assert_eq!(
        error("\"3\"").await,
        "a stored row of totals is damaged: feature clicks of the key t:features:user:7 is a text, not an integer; \
         sync totals again to replace it"
    );
    assert!(error("3.5").await.contains("feature clicks of the key t:features:user:7 is 3.5, not an integer"));
    redis.ask(&["HSET", "t:features:user:7", "clicks", "3", "_row:totals", "nothing"]);
    assert!(error("3").await.contains("the field _row:totals of the key t:features:user:7 cannot be read"));
    redis.ask(&["DEL", "t:features:user:7"]);
    redis.ask(&["SET", "t:features:user:7", "x"]);
    let error = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await.unwrap_err();
    assert!(matches!(error, Error::WrongType { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_value_of_feasts_is_named_with_its_key_and_feature() {
    let redis = Redis::start();
    let store = store(&redis, feast_rows(KeyVersion::Three));
    let ints = view_of("totals", &[("user", INT)], &[("clicks", INT)]);
    write(&*store, &ints, &lines(&[(Some(7), 10, None, Some(3))])).await;
    let texts = view_of("totals", &[("user", INT)], &[("clicks", DType::One(Scalar::String))]);
    let keys = conformance::ids(&texts, &[Some(7)]);
    let error = store.read(&[Read { view: &texts, keys: &keys, columns: &[0] }], soon()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("feature clicks of the key \\x01\\x00\\x00\\x00\\x02"), "{error}");
    assert!(error.contains("userproj_a") || error.contains("proj_a is of Feast's type INT64, not string"), "{error}");
}

#[tokio::test]
async fn deleting_the_last_view_of_a_feast_hash_deletes_the_hash() {
    let redis = Redis::start();
    let store = store(&redis, feast_rows(KeyVersion::Three));
    let (one, two) = (plain_view("one"), plain_view("two"));
    for view in [&one, &two] {
        write(&*store, view, &lines(&[(Some(7), 10, None, Some(3))])).await;
    }
    assert_eq!(redis.ask(&["DBSIZE"]), ":1");
    write(&*store, &one, &tombstones(&[(7, 11)])).await;
    assert_eq!(values(&*store, &two, &[Some(7)]).await, [Some((10, Some(3)))]);
    // A field of a feature that no view has any more does not keep the hash alive.
    let former = view_of("two", &[("id", INT)], &[("former", INT)]);
    write(&*store, &former, &lines(&[(Some(7), 12, None, Some(3))])).await;
    write(&*store, &two, &tombstones(&[(7, 13)])).await;
    assert_eq!(redis.ask(&["DBSIZE"]), ":0");
}

#[tokio::test]
async fn a_row_before_1970_is_replaced_by_any_other_as_feast_does() {
    let redis = Redis::start();
    let store = store(&redis, feast_rows(KeyVersion::Three));
    let view = plain_view("one");
    for (time, written) in [(-10_i64, 1), (-20, 1), (0, 1), (-5, 1), (5, 1), (0, 0), (5, 0), (i64::MAX, 1), (9, 0)] {
        let done = write(&*store, &view, &lines(&[(Some(7), time, None, Some(time))])).await;
        assert_eq!(done.written, written, "{time}");
    }
    assert_eq!(values(&*store, &view, &[Some(7)]).await, [Some((i64::MAX, Some(i64::MAX)))]);
}

#[tokio::test]
async fn a_written_hash_expires_after_the_time_of_its_view() {
    for make in
        [(|expire| feast::rows("proj_a", KeyVersion::Three, "t:", expire)) as fn(Expiry) -> FieldRows, |expire| {
            hash::rows("t:", expire, Clock::held_at(NOW))
        }]
    {
        let redis = Redis::start();
        let expire = Expiry { all: Some(Duration::from_secs(500)), ..Expiry::default() };
        let store = store(&redis, make(expire));
        write(&*store, &plain_view("one"), &lines(&[(Some(7), 10, None, Some(3))])).await;
        assert!(redis.ask(&["INFO", "keyspace"]).contains("expires=1,"), "{}", redis.ask(&["INFO", "keyspace"]));
    }
}

#[test]
fn views_that_would_be_in_each_others_way_are_refused_with_both_names() {
    let view = |name: &str, feature: &str| view_of(name, &[("user", INT)], &[(feature, INT)]);
    let refused = |rows: FieldRows, views: &[Arc<OnlineView>]| rows.check(views).unwrap_err().to_string();
    hash_rows().check(&[view("one", "a"), view("two", "b")]).unwrap();
    let other_entity = view_of("two", &[("item", INT)], &[("a", INT)]);
    hash_rows().check(&[view("one", "a"), other_entity]).unwrap();
    assert_eq!(
        refused(hash_rows(), &[view("one", "a"), view("two", "a")]),
        "rows of two cannot be stored: one has a feature a of the same entities too, and both would be one field; \
         rename one"
    );
    feast_rows(KeyVersion::Three).check(&[view("one", "a"), view("two", "a")]).unwrap();
    let day = view_of("days", &[("user", INT)], &[("day", DType::One(Scalar::Date))]);
    let date = refused(feast_rows(KeyVersion::Three), &[day]);
    assert!(date.starts_with("rows of days cannot be stored: feature day is date, and Feast has no dates"), "{date}");
    let expire = Expiry { all: None, views: [("one".to_owned(), Duration::from_secs(5))].into() };
    let two = [view("one", "a"), view("two", "b")];
    let refusal = refused(hash::rows("t:", expire, Clock::default()), &two);
    assert!(refusal.contains("rows of two cannot be stored: it stands in one hash with one"), "{refusal}");
}

/// Over a cluster of three primaries.
fn check_on_cluster(promises: Promises, make: &dyn Fn(&Settings) -> Arc<dyn OnlineStore>) {
    let cluster = Cluster::start();
    let settings = settings(Mode::Cluster, &cluster.ports());
    let empty = || {
        for server in &cluster.servers[..3] {
            server.ask(&["FLUSHALL"]);
        }
        make(&settings)
    };
    conformance::check_promises(&empty, promises, 8);
}

#[test]
fn the_layout_feast_keeps_what_it_promises_on_a_cluster() {
    check_on_cluster(FEAST, &|settings| {
        Arc::new(RedisStore::with(settings, Box::new(feast_rows(KeyVersion::Three))).unwrap())
    });
}

#[test]
fn the_layout_hash_keeps_the_contract_on_a_cluster() {
    check_on_cluster(Promises::ALL, &|settings| {
        let store = RedisStore::with(settings, Box::new(hash_rows())).unwrap();
        Arc::new(EachViewAlone(Arc::new(store)))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_of_a_cluster_had_is_unreachable_and_the_rest_is_answered() {
    for make in [|| feast_rows(KeyVersion::Three), hash_rows] {
        let mut cluster = Cluster::start_with(&["cluster-require-full-coverage no", "cluster-replica-no-failover yes"]);
        let rows = make();
        let view = plain_view("companies");
        let fields = rows.fields(&view).unwrap();
        let asked: Vec<Option<i64>> = (0..310).map(Some).collect();
        let keys = conformance::ids(&view, &asked);
        let store = RedisStore::with(&settings(Mode::Cluster, &cluster.ports()), Box::new(rows)).unwrap();
        let numbers: Vec<_> = (0..300).map(|id| (Some(id), 10 + id, None, Some(id))).collect();
        write(&store, &view, &lines(&numbers)).await;
        assert_eq!(values(&store, &view, &asked).await.iter().flatten().count(), 300);

        let owner = |row: usize| cluster.owner(slot_of_key(&fields.keys.write(keys.get(row)).unwrap()));
        let owners: Vec<usize> = (0..310).map(owner).collect();
        let dead = owners[7];
        cluster.servers[dead].kill();
        let reads = [Read { view: &view, keys: &keys, columns: &[0] }];
        let deadline = || Deadline::after(Duration::from_secs(5));
        let error = store.read(&reads, deadline()).await.unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Unavailable, "{error}");
        let answer = store.read_reachable(&reads, deadline()).await.unwrap().remove(0);
        let unreachable = answer.unreachable.unwrap();
        for (row, owner) in owners.iter().enumerate() {
            assert_eq!(unreachable.value(row), *owner == dead, "row {row}");
            assert_eq!(answer.present.value(row), *owner != dead && row < 300, "row {row}");
        }
    }
}

#[tokio::test]
async fn a_scan_meets_every_key_of_every_view_and_no_other() {
    let redis = Redis::start();
    let settings = settings(Mode::Standalone, &[redis.port()]);
    for make in [|| feast_rows(KeyVersion::Two), || feast_rows(KeyVersion::Three), hash_rows] {
        redis.ask(&["FLUSHALL"]);
        let link = Link::new(settings.server.clone()).unwrap();
        let rows = make();
        let (one, two) = (plain_view("one"), view_of("two", &[("item", INT)], &[("value", INT)]));
        let numbers: Vec<_> = (0..3_000).map(|id| (Some(id), 10, None, Some(id))).collect();
        rows.write(&link, &one, &lines(&numbers), soon()).await.unwrap();
        rows.write(&link, &two, &lines(&numbers[..2_000]), soon()).await.unwrap();
        redis.ask(&["SET", "proj_a", "another program's"]);
        redis.ask(&["SET", "t:features:id:x", "another program's"]);
        let primaries = link.primaries(soon()).await.unwrap();
        let mut met = [BTreeSet::new(), BTreeSet::new()];
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let views = [Arc::clone(&one), Arc::clone(&two)];
            let page = rows.scan(&primaries[0], &views, at, soon()).await.unwrap();
            for (view, columns) in page.keys {
                met[view].extend(columns[0].as_primitive::<Int64Type>().values().iter().copied());
            }
            cursor = page.next;
        }
        assert_eq!(met[0], (0..3_000).collect());
        assert_eq!(met[1], (0..2_000).collect());
    }
}
