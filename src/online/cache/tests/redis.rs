//! The cache over a real Redis: another process writes, and the connection that tells of changes is killed.

use std::sync::Mutex;
use std::time::Instant;

use tokio::time::interval;

use super::*;
use crate::online::redis::servers::Redis;
use crate::online::redis::{Address, Expiry, Layout, Login, Mode, RedisStore, Server, Settings};

const PATIENCE: Duration = Duration::from_secs(30);

/// A store with connections of its own, as another process would have.
async fn store(redis: &Redis) -> RedisStore {
    let server = Server {
        mode: Mode::Standalone,
        addresses: vec![Address::new("127.0.0.1", redis.port())],
        login: Login::default(),
        database: 0,
        tls: None,
        connections: 1,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(5),
    };
    let settings = Settings {
        server,
        layout: Layout::Packed,
        project: "shop".to_owned(),
        prefix: String::new(),
        shared: false,
        expire: Expiry::default(),
    };
    RedisStore::connect(&settings, soon()).await.unwrap()
}

async fn cached(redis: &Redis, max_age: Duration) -> CachedStore {
    let views = [(plain_view("companies"), Keeping { max_age, ..keeping() })];
    CachedStore::new(Arc::new(store(redis).await), &views, Steady::default())
}

/// Writes until it is there: connections are killed under it.
async fn write_version(store: &RedisStore, id: i64, version: i64) {
    let rows = lines(&[(Some(id), version, None, Some(version))]);
    let mut ticks = interval(Duration::from_millis(5));
    let began = Instant::now();
    while let Err(error) = store.write(&plain_view("companies"), &rows, soon()).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        ticks.tick().await;
    }
}

/// The version of a row, if Redis can be reached just now.
async fn version(store: &dyn OnlineStore, id: i64) -> Option<i64> {
    let view = plain_view("companies");
    let keys = KeyBatch::encode(&view.join_keys, &lines(&[(Some(id), 0, None, None)]).keys, 1);
    let stored = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], soon()).await.ok()?.remove(0);
    Some(if stored.present.value(0) { stored.event_time.value(0) } else { 0 })
}

async fn until_version(store: &CachedStore, wanted: i64) {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(5));
    while version(store, 1).await != Some(wanted) {
        assert!(began.elapsed() < PATIENCE, "version {wanted} is not seen");
        ticks.tick().await;
    }
}

/// Waits until rows are kept, which is while changes are told.
async fn until_kept(store: &CachedStore) {
    let (began, before) = (Instant::now(), count(store, "companies").hits);
    let mut ticks = interval(Duration::from_millis(5));
    while count(store, "companies").hits == before {
        assert!(began.elapsed() < PATIENCE, "nothing is kept");
        version(store, 1).await;
        ticks.tick().await;
    }
}

fn kill_connections(redis: &Redis) {
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_writes_is_told_and_what_a_killed_feed_did_not_tell_is_forgotten() {
    let redis = Redis::start();
    let (here, there) = (cached(&redis, Duration::from_secs(3_600)).await, store(&redis).await);
    for round in 0..5 {
        write_version(&there, 1, round * 2 + 1).await;
        until_version(&here, round * 2 + 1).await;
        until_kept(&here).await;
        // Nobody tells of this one: the connection is gone. It would be kept for an hour.
        kill_connections(&redis);
        write_version(&there, 1, round * 2 + 2).await;
        until_version(&here, round * 2 + 2).await;
        until_kept(&here).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_too_old_while_the_feed_is_killed_again_and_again() {
    const KEYS: i64 = 10;
    let age = Duration::from_millis(200);
    let redis = Redis::start();
    let (here, there) = (cached(&redis, age).await, store(&redis).await);
    for id in 0..KEYS {
        write_version(&there, id, 1).await;
    }
    until_kept(&here).await;
    // By key and version: when the next version was there for sure.
    let replaced_at: Vec<Mutex<Vec<Instant>>> = (0..KEYS).map(|_| Mutex::new(vec![Instant::now()])).collect();
    let done = AtomicBool::new(false);
    let writing = async {
        for turn in 0..60 {
            let mut ticks = interval(Duration::from_millis(20));
            ticks.tick().await;
            for id in 0..KEYS {
                write_version(&there, id, turn + 2).await;
                replaced_at[id as usize].lock().unwrap().push(Instant::now());
            }
            if turn % 8 == 7 {
                kill_connections(&redis);
            }
            ticks.tick().await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let reading = async {
        let mut checked = 0;
        while !done.load(Ordering::SeqCst) {
            for id in 0..KEYS {
                let began = Instant::now();
                let Some(version) = version(&here, id).await else { continue };
                let replaced = replaced_at[id as usize].lock().unwrap().get(version as usize).copied();
                let old = replaced.map_or(Duration::ZERO, |at| began.saturating_duration_since(at));
                assert!(old <= age, "key {id}: version {version} was replaced {old:?} before the read");
                checked += 1;
            }
            tokio::task::yield_now().await;
        }
        checked
    };
    let ((), checked) = tokio::join!(writing, reading);
    let counts = count(&here, "companies");
    assert!(checked > 1_000 && counts.hits > 500 && counts.invalidations > 50, "{checked} checked, {counts:?}");
    until_version(&here, 61).await;
}
