//! The whole store: its contract on every kind of Redis, what it refuses to open, how it is doing, what it hears.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::servers::{self, Cluster, Redis, Sentinels};
use super::*;
use crate::online::conformance::{self, ids, lines, plain_view, soon, values, write};

fn settings(mode: Mode, ports: &[u16]) -> Settings {
    let server = Server {
        mode,
        addresses: ports.iter().map(|port| Address::new("127.0.0.1", *port)).collect(),
        login: Login::default(),
        database: 0,
        tls: None,
        connections: 2,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(5),
    };
    Settings {
        server,
        layout: Layout::Packed,
        project: "shop".to_owned(),
        prefix: String::new(),
        shared: false,
        expire: Expiry::default(),
    }
}

fn standalone(redis: &Redis) -> Settings {
    settings(Mode::Standalone, &[redis.port()])
}

async fn open(settings: &Settings) -> Result<RedisStore, Error> {
    RedisStore::connect(settings, soon()).await
}

/// Runs the contract; each store that it asks for has a prefix of its own.
fn check_contract(settings: &Settings, cases: u32) {
    let opener = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stores = AtomicUsize::new(0);
    let make = || -> Arc<dyn OnlineStore> {
        let prefix = format!("t{}:", stores.fetch_add(1, Ordering::Relaxed));
        let settings = Settings { prefix, shared: true, ..settings.clone() };
        let (send, receive) = std::sync::mpsc::channel();
        opener.spawn(async move { send.send(open(&settings).await) });
        Arc::new(receive.recv().unwrap().unwrap())
    };
    conformance::check(&make, cases);
}

#[test]
fn it_keeps_the_contract_with_sentinels() {
    let servers = Sentinels::start(1);
    let mode = Mode::Sentinel { master: Sentinels::MASTER.to_owned(), login: Login::default() };
    check_contract(&settings(mode, &servers.ports()), 8);
}

#[test]
fn it_keeps_the_contract_in_a_cluster() {
    let servers = Cluster::start();
    check_contract(&settings(Mode::Cluster, &servers.ports()[..2]), 8);
}

#[test]
fn it_keeps_the_contract_over_encrypted_connections() {
    let tls = servers::Tls::start();
    let mut settings = settings(Mode::Standalone, &[tls.tls_port]);
    let client = Some(TlsClient { certificate: tls.file("client.crt"), key: tls.file("client.key") });
    settings.server.tls = Some(Tls { authority: Some(tls.file("ca.crt")), client });
    check_contract(&settings, 8);
}

/// `docs/redis.md` names this user's permissions.
#[test]
fn it_keeps_the_contract_as_the_user_of_the_documentation() {
    let documentation = include_str!("../../../docs/redis.md");
    let start = documentation.find("ACL SETUSER lockstep on >PASSWORD").unwrap();
    let command = documentation[start..].split("```").next().unwrap().replace("~shop:", "~t*:");
    let redis = Redis::start();
    assert_eq!(redis.ask(&command.split_whitespace().collect::<Vec<_>>()), "+OK");
    let mut settings = standalone(&redis);
    settings.server.database = 1;
    settings.server.login = Login { username: Some("lockstep".to_owned()), password: Some(Secret::new("PASSWORD")) };
    check_contract(&settings, 4);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&Settings { prefix: "t:".to_owned(), ..settings.clone() }).await;
        assert!(matches!(store, Err(Error::ForeignDatabase { .. })), "it may count the keys");
        let store = open(&Settings { prefix: "t:".to_owned(), shared: true, ..settings }).await.unwrap();
        assert!(!store.health(soon()).await.unwrap().facts.is_empty());
        let heard = listen(&store, &[plain_view("rides")]);
        heard.until("watching").await;
    });
}

#[tokio::test]
async fn a_database_with_other_keys_is_refused_with_both_ways_out() {
    let redis = Redis::start();
    for key in ["a", "b", "c"] {
        redis.ask(&["SET", key, "1"]);
    }
    let error = open(&standalone(&redis)).await.unwrap_err();
    assert!(matches!(error, Error::ForeignDatabase { keys: 3, .. }), "{error:?}");
    let text = error.to_string();
    let port = redis.port().to_string();
    for part in ["database 0", &port, "3 keys", "another database", "shared: true"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let mut other = standalone(&redis);
    other.server.database = 1;
    open(&other).await.unwrap();
    let shared = Settings { shared: true, ..standalone(&redis) };
    open(&shared).await.unwrap();
    // From now on it is ours, and nobody needs to say so again.
    open(&standalone(&redis)).await.unwrap();
    assert_eq!(redis.ask(&["HGET", "lockstep:store", "project"]), "shop");
}

#[tokio::test]
async fn a_cluster_with_other_keys_on_any_node_is_refused() {
    let servers = Cluster::start();
    let owner = servers.owner(link::slot_of_key(b"x"));
    assert_eq!(servers.servers[owner].ask(&["SET", "x", "1"]), "+OK");
    let error = open(&settings(Mode::Cluster, &servers.ports())).await.unwrap_err();
    assert!(matches!(error, Error::ForeignDatabase { keys: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_another_project_or_layout_is_refused_and_a_prefix_lets_two_share_it() {
    let redis = Redis::start();
    let ours = standalone(&redis);
    open(&ours).await.unwrap();
    let other = Settings { project: "bank".to_owned(), ..ours.clone() };
    let text = open(&other).await.unwrap_err().to_string();
    assert!(text.contains("has the project shop, not bank") && text.contains("prefix"), "{text}");
    open(&Settings { prefix: "bank:".to_owned(), shared: true, ..other }).await.unwrap();
    redis.ask(&["HSET", "lockstep:store", "buckets", "512"]);
    let text = open(&ours).await.unwrap_err().to_string();
    assert!(text.contains("has the buckets 512, not 256"), "{text}");
    redis.ask(&["SET", "lockstep:store", "mine"]);
    redis.ask(&["DEL", "lockstep:store"]);
    redis.ask(&["SET", "lockstep:store", "mine"]);
    let error = open(&ours).await.unwrap_err();
    assert!(matches!(error, Error::WrongType { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_of_another_mode_is_refused_with_the_right_one() {
    let cluster = Cluster::start();
    let text = open(&settings(Mode::Standalone, &cluster.ports()[..1])).await.unwrap_err().to_string();
    assert!(text.contains("write mode: cluster"), "{text}");
    let sentinels = Sentinels::start(1);
    let text = open(&settings(Mode::Standalone, &sentinels.ports())).await.unwrap_err().to_string();
    assert!(text.contains("write mode: sentinel"), "{text}");
}

#[tokio::test]
async fn a_key_of_another_type_in_place_of_a_row_is_an_error_that_others_do_not_feel() {
    let redis = Redis::start();
    let store = open(&standalone(&redis)).await.unwrap();
    let view = plain_view("rides");
    write(&store, &view, &lines(&[(Some(1), 1, None, Some(1)), (Some(2), 1, None, Some(2))])).await;
    let replace =
        "local key = redis.call('KEYS', 'f:rides:*')[1] redis.call('DEL', key) return redis.call('LPUSH', key, 'x')";
    assert_eq!(redis.ask(&["EVAL", replace, "0"]), ":1");
    let there = values(&store, &view, &[Some(1), Some(2)]).await;
    assert_eq!(there.iter().filter(|row| row.is_some()).count(), 1, "MGET takes it for no row: {there:?}");
    let rows = lines(&[(Some(1), 2, None, Some(1)), (Some(2), 2, None, Some(2))]);
    let error = store.write(&view, &rows, soon()).await.unwrap_err();
    assert!(error.to_string().contains("rides"), "{error}");
}

#[tokio::test]
async fn health_says_what_may_lose_rows_and_which_setting_would_change_it() {
    let redis = Redis::start();
    let health = open(&standalone(&redis)).await.unwrap().health(soon()).await.unwrap();
    let fact =
        |health: &Health, name: &str| health.facts.iter().find(|(fact, _)| fact == name).map(|(_, is)| is.clone());
    assert_eq!(health.store, format!("Redis at 127.0.0.1:{}", redis.port()));
    assert_eq!(fact(&health, "mode").as_deref(), Some("standalone"));
    assert_eq!(fact(&health, "role").as_deref(), Some("master"));
    assert_eq!(fact(&health, "persistence").as_deref(), Some("none"));
    assert!(fact(&health, "version").is_some_and(|version| version.contains('.')));
    assert!(matches!(health.warnings.as_slice(), [one] if one.contains("appendonly yes")), "{:?}", health.warnings);

    let evicting = Redis::start_with(&["maxmemory 50mb", "maxmemory-policy allkeys-lru", "appendonly yes"]);
    let health = open(&standalone(&evicting)).await.unwrap().health(soon()).await.unwrap();
    assert_eq!(fact(&health, "memory bytes at most").as_deref(), Some("52428800"));
    assert!(matches!(health.warnings.as_slice(), [one] if one.contains("noeviction")), "{:?}", health.warnings);

    let servers = Sentinels::start(1);
    let mode = Mode::Sentinel { master: Sentinels::MASTER.to_owned(), login: Login::default() };
    let store = open(&settings(mode, &servers.ports())).await.unwrap();
    let warned = |health: &Health| health.warnings.iter().any(|text| text.contains("min-replicas-to-write 1"));
    assert!(warned(&store.health(soon()).await.unwrap()));
    assert_eq!(servers.servers[0].ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "+OK");
    assert!(!warned(&store.health(soon()).await.unwrap()));
}

#[tokio::test]
async fn writes_without_enough_replicas_are_refused_with_the_reason() {
    let redis = Redis::start();
    let store = open(&standalone(&redis)).await.unwrap();
    assert_eq!(redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "+OK");
    let view = plain_view("rides");
    let rows = lines(&[(Some(1), 1, None, Some(1))]);
    let error = store.write(&view, &rows, soon()).await.unwrap_err();
    assert!(matches!(error, Error::TooFewReplicas { .. }), "{error:?}");
    assert_eq!(redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "+OK");
    write(&store, &view, &rows).await;
}

#[tokio::test]
async fn with_a_node_of_a_cluster_away_the_other_rows_are_read_and_the_rest_is_unreachable() {
    let mut servers = Cluster::start_with(&["cluster-require-full-coverage no", "cluster-replica-no-failover yes"]);
    let store = open(&settings(Mode::Cluster, &servers.ports()[..1])).await.unwrap();
    let view = plain_view("rides");
    let rows: Vec<_> = (0..200).map(|id| (Some(id), 1, None, Some(id))).collect();
    write(&store, &view, &lines(&rows)).await;
    servers.servers[1].kill();
    let keys = ids(&view, &(0..200).map(Some).collect::<Vec<_>>());
    let asked = || [Read { view: &view, keys: &keys, columns: &[0] }];
    assert!(store.read(&asked(), soon()).await.is_err());
    let stored = store.read_reachable(&asked(), soon()).await.unwrap().remove(0);
    let unreachable = stored.unreachable.as_ref().map_or(0, |rows| rows.count_set_bits());
    assert!((20..180).contains(&unreachable), "{unreachable}");
    assert_eq!(stored.present.count_set_bits() + unreachable, 200);
    servers.servers[1].start_again();
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while store.read(&asked(), soon()).await.is_err() {
        ticks.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}

/// What a listener heard, in order.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl ChangeListener for Heard {
    fn watching(&self) {
        self.0.lock().unwrap().push("watching".to_owned());
    }

    fn lost(&self) {
        self.0.lock().unwrap().push("lost".to_owned());
    }

    fn changed(&self, view: &str, key: &[u8]) {
        self.0.lock().unwrap().push(format!("{view} {}", hex::encode(key)));
    }
}

impl Heard {
    /// What was heard until `wanted` was; it is forgotten.
    async fn until(&self, wanted: &str) -> Vec<String> {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let mut heard = self.0.lock().unwrap();
            if let Some(end) = heard.iter().position(|heard| heard == wanted) {
                return heard.drain(..=end).collect();
            }
            let last = &heard[heard.len().saturating_sub(9)..];
            assert!(began.elapsed() < Duration::from_secs(30), "{wanted} is not heard, but {last:?} at the end");
        }
    }
}

fn listen(store: &RedisStore, views: &[Arc<OnlineView>]) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let listener: Arc<dyn ChangeListener> = Arc::clone(&heard) as Arc<dyn ChangeListener>;
    store.watch(views, Arc::downgrade(&listener));
    heard
}

/// What is heard of a change of this id.
fn change(view: &Arc<OnlineView>, id: i64) -> String {
    format!("{} {}", view.name, hex::encode(ids(view, &[Some(id)]).get(0)))
}

#[tokio::test]
async fn changes_of_the_watched_views_are_heard_and_a_lost_connection_is_told_and_replaced() {
    let mut redis = Redis::start();
    let store = open(&standalone(&redis)).await.unwrap();
    let (rides, users, other) = (plain_view("rides"), plain_view("users"), plain_view("other"));
    let heard = listen(&store, &[Arc::clone(&rides), Arc::clone(&users)]);
    assert_eq!(heard.until("watching").await, ["watching"]);
    write(&store, &other, &lines(&[(Some(1), 1, None, Some(1))])).await;
    write(&store, &rides, &lines(&[(Some(7), 1, None, Some(1))])).await;
    assert_eq!(heard.until(&change(&rides, 7)).await.len(), 1, "other views are not heard of");
    write(&store, &users, &lines(&[(Some(8), 1, None, Some(1))])).await;
    heard.until(&change(&users, 8)).await;
    redis.ask(&["FLUSHALL"]);
    assert_eq!(heard.until("watching").await, ["lost", "watching"]);

    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_eq!(heard.until("watching").await, ["lost", "watching"]);
    redis.kill();
    assert_eq!(heard.until("lost").await, ["lost"]);
    redis.start_again();
    assert_eq!(heard.until("watching").await, ["watching"]);
    write(&store, &rides, &lines(&[(Some(9), 1, None, Some(1))])).await;
    heard.until(&change(&rides, 9)).await;
    let listener = Arc::downgrade(&heard);
    drop(heard);
    assert!(listener.upgrade().is_none());
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while redis.ask(&["CLIENT", "LIST"]).contains("flags=tB") || redis.ask(&["CLIENT", "LIST"]).contains("flags=B") {
        ticks.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{}", redis.ask(&["CLIENT", "LIST"]));
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_is_not_relied_on_for_changes() {
    let redis = Redis::start();
    let mut settings = standalone(&redis);
    settings.server.response_timeout = Duration::from_millis(300);
    settings.server.connect_timeout = Duration::from_millis(300);
    let store = open(&settings).await.unwrap();
    let heard = listen(&store, &[plain_view("rides")]);
    heard.until("watching").await;
    redis.pause();
    assert_eq!(heard.until("lost").await, ["lost"]);
    redis.resume();
    assert_eq!(heard.until("watching").await, ["watching"]);
}

#[tokio::test]
async fn changes_are_heard_from_every_primary_of_a_cluster_and_after_a_failover() {
    let servers = Cluster::start();
    let store = open(&settings(Mode::Cluster, &servers.ports()[..1])).await.unwrap();
    let view = plain_view("rides");
    let heard = listen(&store, std::slice::from_ref(&view));
    heard.until("watching").await;
    let rows: Vec<_> = (0..50).map(|id| (Some(id), 1, None, Some(id))).collect();
    write(&store, &view, &lines(&rows)).await;
    let mut missing: std::collections::BTreeSet<String> = (0..50).map(|id| change(&view, id)).collect();
    while let Some(wanted) = missing.first().cloned() {
        for heard in heard.until(&wanted).await {
            missing.remove(&heard);
        }
    }
    assert_eq!(servers.servers[3].ask(&["CLUSTER", "FAILOVER"]), "+OK");
    heard.until("lost").await;
    heard.until("watching").await;
    for id in 0..50 {
        write(&store, &view, &lines(&[(Some(id), 2, None, Some(id))])).await;
        heard.until(&change(&view, id)).await;
    }
}
