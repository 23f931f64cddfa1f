//! What a set and a delete do, the same on every store.

use std::sync::{Arc, Mutex, Weak};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use lockstep::app::Project;
use lockstep::batch::{FeatureRows, StoredRows};
use lockstep::cast;
use lockstep::clock::{Deadline, Micros};
use lockstep::error::{ErrorKind, chain};
use lockstep::flow::online::{DeleteOutcome, delete, delete_feature, health, set, statistics};
use lockstep::flow::serve::{WhenUnreachable, prepare, serve};
use lockstep::flow::{self};
use lockstep::gateway::Gateway;
use lockstep::online::{
    ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written,
};
use tempfile::TempDir;

use super::{DEFINITIONS, Store};
use crate::light::{HOUR, SECOND, batch, floats, selection, soon, texts, times};
use crate::servers::Redis;
use crate::world::project_folder;

const FEATURES: [&str; 4] = ["last_ride:fare", "last_ride:tip", "last_ride:company_name", "identity:company_clean"];
const JONA: &str = "12 - 34 Benny Jona, Inc.";

/// A gateway of its own project; folder and server go when it is dropped.
struct Shop {
    gateway: Gateway,
    /// Half a day ago, so that tests can go either way.
    then: Micros,
    _folder: TempDir,
    _server: Option<Redis>,
}

impl Shop {
    async fn over(store: Store) -> Self {
        let (folder, server) = (project_folder(DEFINITIONS), store.start());
        store.configure(folder.path(), server.as_ref());
        let project = Project::open(folder.path()).expect("a project");
        let planned = project.plan().await.expect("definitions without mistakes");
        project.apply(&planned, false).await.expect("applied");
        let gateway = Arc::into_inner(project.gateway().await.expect("a gateway")).expect("nobody else has it yet");
        let then = gateway.clock.now() - 12 * HOUR;
        Self { gateway, then, _folder: folder, _server: server }
    }

    /// Sets one ride at a time; what is none is not named.
    async fn ride(&self, company: &str, fare: f64, rest: Option<(f64, &str)>, at: Micros) -> u64 {
        let mut columns = vec![("company", texts(&[company])), ("fare", floats(&[fare]))];
        if let Some((tip, name)) = rest {
            columns.extend([("tip", floats(&[tip])), ("company_name", texts(&[name]))]);
        }
        let done = set(&self.gateway, "last_ride", &batch(&columns), Some(at), soon()).await.expect("set");
        assert_eq!((done.rows, done.rows_written + done.rows_older), (1, 1));
        assert_eq!(done.views, ["last_ride", "identity"]);
        done.rows_written
    }

    /// What is served now of a company: its features as text, and the event time of its ride.
    async fn served(&self, company: &str) -> (Vec<String>, Option<Micros>) {
        let prepared = prepare(&self.gateway, &selection(&FEATURES)).expect("planned");
        let as_of = Some(self.gateway.clock.now() + 60 * SECOND);
        let answer = serve(&self.gateway, prepared, vec![texts(&[company])], 1, as_of, WhenUnreachable::Fail, soon());
        let answer = answer.await.expect("served");
        let values = answer.columns.iter().map(|column| cast::to_text(&column.values, 0)).collect();
        (values, answer.columns[0].rows.event_time.iter().next().flatten())
    }

    async fn values(&self, company: &str) -> Vec<String> {
        self.served(company).await.0
    }

    async fn delete(&self, company: &str, at: Option<Micros>) -> DeleteOutcome {
        let deleted = delete(&self.gateway, "last_ride", &entity(company), at, soon()).await.expect("done");
        assert_eq!(deleted.views, ["last_ride", "identity"]);
        deleted.outcome
    }

    async fn delete_feature(&self, company: &str, feature: &str) -> DeleteOutcome {
        let deleted = delete_feature(&self.gateway, "last_ride", &entity(company), feature, soon()).await;
        deleted.expect("done").outcome
    }
}

fn entity(company: &str) -> RecordBatch {
    batch(&[("company", texts(&[company]))])
}

async fn a_set_row_is_whole_and_the_newest_stays(store: Store) {
    let shop = Shop::over(store).await;
    let at = shop.then;
    assert_eq!(shop.ride("a", 1.5, Some((0.5, JONA)), at).await, 1);
    assert_eq!(shop.served("a").await, (vec!["1.5".into(), "0.5".into(), JONA.into(), "benny jona".into()], Some(at)));
    assert_eq!(shop.ride("a", 2.5, None, at + SECOND).await, 1);
    let later = shop.served("a").await;
    assert_eq!(later.0[..3], ["2.5", "null", "null"], "{store:?}: what is not named is null, what is derived too");
    assert_eq!(later.1, Some(at + SECOND));
    assert_eq!(shop.ride("a", 9.0, Some((9.0, "x")), at).await, 0, "{store:?}: older, not written");
    assert_eq!(shop.served("a").await, later, "{store:?}");

    // Any order and any repetition end the same.
    let orders: [&[i64]; 3] = [&[0, 1, 2, 3], &[3, 2, 1, 0, 3], &[2, 0, 3, 2, 1, 0]];
    for (number, order) in orders.iter().enumerate() {
        let company = format!("order {number}");
        for &step in *order {
            shop.ride(&company, step as f64, Some((step as f64, JONA)), at + step * SECOND).await;
        }
        assert_eq!(shop.values(&company).await, ["3.0", "3.0", JONA, "benny jona"], "{store:?} {order:?}");
    }
}

async fn what_is_deleted_stays_away(store: Store) {
    let shop = Shop::over(store).await;
    let (at, gone) = (shop.then, ["null"; 4]);
    assert_eq!(shop.delete("nobody", None).await, DeleteOutcome::Absent);
    shop.ride("a", 1.5, Some((0.5, JONA)), at).await;
    assert_eq!(shop.delete("a", Some(at - SECOND)).await, DeleteOutcome::Older, "{store:?}");
    assert_eq!(shop.values("a").await, ["1.5", "0.5", JONA, "benny jona"], "{store:?}");
    assert_eq!(shop.delete("a", Some(at)).await, DeleteOutcome::Deleted, "{store:?}: a row of the same moment");
    assert_eq!(shop.served("a").await, (gone.map(String::from).to_vec(), None), "{store:?}");

    shop.ride("b", 1.5, Some((0.5, JONA)), at).await;
    assert_eq!(shop.delete("b", None).await, DeleteOutcome::Deleted, "{store:?}");
    let written = shop.ride("b", 1.5, Some((0.5, JONA)), at + HOUR).await;
    match store.keeps_tombstones() {
        true => assert_eq!((written, shop.values("b").await), (0, gone.map(String::from).to_vec()), "{store:?}"),
        false => assert_eq!((written, &shop.values("b").await[0][..]), (1, "1.5"), "{store:?}"),
    }
    assert_eq!(shop.ride("b", 7.0, None, shop.gateway.clock.now() + SECOND).await, 1, "{store:?}");
    assert_eq!(shop.values("b").await[0], "7.0", "{store:?}: a newer row is there again");
}

async fn a_deleted_feature_is_null_until_a_newer_row_comes(store: Store) {
    let shop = Shop::over(store).await;
    let at = shop.then;
    assert_eq!(shop.delete_feature("a", "tip").await, DeleteOutcome::Absent);
    shop.ride("a", 1.5, Some((0.5, JONA)), at).await;
    assert_eq!(shop.delete_feature("a", "tip").await, DeleteOutcome::Deleted, "{store:?}");
    let (values, event_time) = shop.served("a").await;
    assert_eq!(values, ["1.5", "null", JONA, "benny jona"], "{store:?}: the others stay, derived ones too");
    let moved = if store == Store::Feast { 1 } else { 0 };
    assert_eq!(event_time, Some(at + moved), "{store:?}: the row is of its own moment");
    assert_eq!(shop.delete_feature("a", "tip").await, DeleteOutcome::AlreadyNull, "{store:?}");

    assert_eq!(shop.delete_feature("a", "company_name").await, DeleteOutcome::Deleted, "{store:?}");
    let values = shop.values("a").await;
    assert_eq!(values[..3], ["1.5", "null", "null"], "{store:?}");
    assert_ne!(values[3], "benny jona", "{store:?}: what was derived of it is computed again");

    assert_eq!(shop.ride("a", 1.5, Some((0.5, JONA)), at).await, 0, "{store:?}: the same row again is older");
    assert_eq!(shop.values("a").await, values, "{store:?}");
    assert_eq!(shop.ride("a", 2.5, Some((0.75, JONA)), at + SECOND).await, 1, "{store:?}");
    assert_eq!(shop.values("a").await, ["2.5", "0.75", JONA, "benny jona"], "{store:?}");
}

/// Rows of a store, and one more write that comes in between: right after the next read.
#[derive(Debug)]
struct Between {
    rows: Arc<dyn OnlineStore>,
    next: Mutex<Vec<(Arc<OnlineView>, FeatureRows)>>,
}

#[async_trait]
impl OnlineStore for Between {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        let found = self.rows.read(reads, deadline).await?;
        let next = self.next.lock().expect("no one panics with it").pop();
        if let Some((view, rows)) = next {
            self.rows.write(&view, &rows, deadline).await?;
        }
        Ok(found)
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        self.rows.write(view, rows, deadline).await
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        self.rows.progress(view, stream, partition, deadline).await
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.rows.health(deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.rows.statistics(views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        self.rows.scan(view, cursor, deadline).await
    }

    fn watch(&self, views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        self.rows.watch(views, listener);
    }
}

async fn a_row_that_comes_during_a_delete_of_a_feature_is_not_lost(store: Store) {
    let mut shop = Shop::over(store).await;
    let at = shop.then;
    let view = flow::online::settable(&shop.gateway.applied.load().catalog, "last_ride").expect("a view").online;
    // Newer rows, each by a second; the last of the list comes first.
    let row = |seconds: i64, tip: Option<f64>| {
        let fare: ArrayRef = Arc::new(Float64Array::from(vec![seconds as f64]));
        let tip: ArrayRef = Arc::new(Float64Array::from(vec![tip]));
        let name: ArrayRef = Arc::new(StringArray::from(vec![JONA]));
        let time = TimestampMicrosecondArray::from(vec![at + seconds * SECOND]).with_timezone("UTC");
        let none = TimestampMicrosecondArray::from(vec![None]).with_timezone("UTC");
        (Arc::clone(&view), FeatureRows::new(vec![texts(&["a"])], vec![fare, tip, name], time, none))
    };
    let between = Arc::new(Between { rows: Arc::clone(&shop.gateway.online), next: Mutex::default() });
    shop.gateway.online = Arc::clone(&between) as Arc<dyn OnlineStore>;
    let come = |rows| *between.next.lock().expect("no one panics with it") = rows;

    shop.ride("a", 0.0, Some((0.5, JONA)), at).await;
    come(vec![row(1, Some(0.75))]);
    assert_eq!(shop.delete_feature("a", "tip").await, DeleteOutcome::Deleted, "{store:?}");
    assert_eq!(shop.values("a").await[..2], ["1.0", "null"], "{store:?}: the newer row, without its tip");

    shop.ride("a", 2.0, Some((0.5, JONA)), at + 2 * SECOND).await;
    come(vec![row(3, None)]);
    assert_eq!(shop.delete_feature("a", "tip").await, DeleteOutcome::AlreadyNull, "{store:?}");
    assert_eq!(shop.values("a").await[..2], ["3.0", "null"], "{store:?}");

    shop.ride("a", 4.0, Some((0.5, JONA)), at + 4 * SECOND).await;
    come((5..15).rev().map(|seconds| row(seconds, Some(0.75))).collect());
    assert_eq!(shop.delete_feature("a", "tip").await, DeleteOutcome::Older, "{store:?}: it does not try for ever");
    come(Vec::new());
    let values = shop.values("a").await;
    assert_eq!(values[1], "0.75", "{store:?}: {values:?}");
}

async fn the_store_says_how_it_is_and_what_it_holds(store: Store) {
    let shop = Shop::over(store).await;
    let at = shop.then;
    for (company, seconds) in [("a", 0), ("b", 1), ("c", 2)] {
        shop.ride(company, 1.5, (company != "c").then_some((0.5, JONA)), at + seconds * SECOND).await;
    }
    shop.ride("d", 1.5, None, at + 9 * SECOND).await;
    shop.delete("d", None).await;
    let health = health(&shop.gateway, soon()).await.expect("healthy");
    assert!(!health.store.is_empty(), "{health:?}");

    let all = statistics(&shop.gateway, &[], soon()).await.expect("counted");
    let views: Vec<&str> = all.iter().map(|view| view.view.as_str()).collect();
    assert_eq!(views, ["last_ride", "identity", "note"], "{store:?}: those that are stored");
    let rides = &all[0];
    assert_eq!((rides.keys, rides.sampled), (3, 3), "{store:?}: tombstones do not count");
    let values: Vec<_> = rides.coverage.iter().map(|each| (each.feature.as_str(), each.values)).collect();
    assert_eq!(values, [("fare", 3), ("tip", 2), ("company_name", 2)], "{store:?}");
    let (key, value) = (rides.bytes_per_key.expect("rows"), rides.bytes_per_value.expect("values"));
    assert!(key > 8.0 && (key * 3.0 - value * 7.0).abs() < 1e-6, "{store:?}: {key} {value}");
    let shown = |at: Micros| cast::to_text(&times(&[at]), 0);
    assert_eq!(rides.oldest_event_time, Some(shown(at)), "{store:?}");
    assert_eq!(rides.newest_event_time, Some(shown(at + 2 * SECOND)), "{store:?}");
    assert_eq!((all[2].keys, all[2].bytes_per_key), (0, None), "{store:?}");

    let named = statistics(&shop.gateway, &["identity".into(), "last_ride".into()], soon()).await.expect("counted");
    assert_eq!((&named[1], named[0].keys), (rides, 3), "{store:?}");
}

async fn all(store: Store) {
    a_set_row_is_whole_and_the_newest_stays(store).await;
    what_is_deleted_stays_away(store).await;
    a_deleted_feature_is_null_until_a_newer_row_comes(store).await;
    a_row_that_comes_during_a_delete_of_a_feature_is_not_lost(store).await;
    the_store_says_how_it_is_and_what_it_holds(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_set_and_deleted_by_hand_in_the_embedded_store() {
    all(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_set_and_deleted_by_hand_in_redis_packed() {
    all(Store::Packed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_set_and_deleted_by_hand_in_redis_hashes() {
    all(Store::Hash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_set_and_deleted_by_hand_in_redis_as_feast_has_them() {
    all(Store::Feast).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_or_deleted_is_refused_in_the_users_words() {
    let shop = Shop::over(Store::Embedded).await;
    let (gateway, now) = (&shop.gateway, shop.gateway.clock.now());
    let ride = |rows: &[(&str, ArrayRef)]| batch(rows);
    let good = ride(&[("company", texts(&["a"])), ("fare", floats(&[1.0]))]);
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let check = |failed: flow::Error, kind: ErrorKind, words: &[&str]| {
        let text = chain(&failed);
        assert_eq!(failed.kind(), kind, "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text} should say {words:?}");
    };

    for (view, rows, at, kind, words) in [
        ("nope", &good, None, ErrorKind::NotFound, &["feature view nope does not exist"][..]),
        ("archive", &good, None, ErrorKind::Conflict, &["archive is not kept online"]),
        ("identity", &good, None, ErrorKind::Invalid, &["stored with the rows of last_ride; name last_ride"]),
        ("recency", &good, None, ErrorKind::Invalid, &["computed when it is asked for"]),
        ("last_ride", &good, Some(now + HOUR), ErrorKind::Invalid, &["a minute after"]),
        ("last_ride", &ride(&[("fare", floats(&[1.0]))]), None, ErrorKind::Invalid, &["company", "a join key"]),
        ("last_ride", &ride(&[("company", null.clone())]), None, ErrorKind::Invalid, &["row 0", "company"]),
        ("last_ride", &ride(&[("company", number)]), None, ErrorKind::Invalid, &["company is int64"]),
        (
            "last_ride",
            &ride(&[("company", texts(&["a"])), ("fair", floats(&[1.0]))]),
            None,
            ErrorKind::Invalid,
            &["column fair is not one of"],
        ),
        (
            "last_ride",
            &ride(&[("company", texts(&["a"])), ("at", times(&[now]))]),
            Some(now),
            ErrorKind::Invalid,
            &["an event time each"],
        ),
    ] {
        check(set(gateway, view, rows, at, soon()).await.expect_err(view), kind, words);
    }

    let two = batch(&[("company", texts(&["a", "b"]))]);
    for (view, entity, at, kind, words) in [
        ("identity", &entity("a"), None, ErrorKind::Invalid, &["name last_ride"][..]),
        ("last_ride", &good, None, ErrorKind::Invalid, &["fare is no join key of last_ride; it has company"]),
        ("last_ride", &batch(&[("company", null)]), None, ErrorKind::Invalid, &["row 0", "company"]),
        ("last_ride", &two, None, ErrorKind::Invalid, &["2 entities came"]),
        ("last_ride", &entity("a"), Some(now + HOUR), ErrorKind::Invalid, &["ahead of this gateway's clock"]),
    ] {
        check(delete(gateway, view, entity, at, soon()).await.expect_err(view), kind, words);
    }
    let unknown = delete_feature(gateway, "last_ride", &entity("a"), "fair", soon()).await.expect_err("unknown");
    check(unknown, ErrorKind::NotFound, &["no feature fair", "fare, tip, company_name"]);
    let unknown = statistics(gateway, &["recency".to_owned()], soon()).await.expect_err("not stored");
    check(unknown, ErrorKind::Invalid, &["nothing of it is stored"]);
    let unknown = statistics(gateway, &["nope".to_owned()], soon()).await.expect_err("not there");
    check(unknown, ErrorKind::NotFound, &["nope does not exist"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_source_with_created_times_a_corrected_row_of_one_moment_wins_over_a_deleted_feature() {
    let shop = Shop::over(Store::Embedded).await;
    let note = |made: Option<Micros>| {
        let stars: ArrayRef = Arc::new(Int64Array::from(vec![5]));
        let mut columns = vec![("company", texts(&["a"])), ("stars", stars)];
        columns.extend(made.map(|made| ("made", times(&[made]))));
        batch(&columns)
    };
    let (at, gateway) = (shop.then, &shop.gateway);
    let write = async |made| set(gateway, "note", &note(made), Some(at), soon()).await.expect("set").rows_written;
    assert_eq!(write(Some(at)).await, 1);
    let deleted = delete_feature(gateway, "note", &entity("a"), "stars", soon()).await.expect("done");
    assert_eq!(deleted.outcome, DeleteOutcome::Deleted);
    assert_eq!(write(Some(at)).await, 0, "the row as it was known before");
    assert_eq!(write(None).await, 1, "the row as it is known now");
}
