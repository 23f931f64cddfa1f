//! Primaries that move: a failover under Sentinel, a failover and a slot that moves in a cluster.

use super::super::super::servers::{Cluster, Sentinels};
use super::*;

fn sentinel(sentinels: &Sentinels) -> Link {
    let mode = Mode::Sentinel { master: Sentinels::MASTER.to_owned(), login: Login::default() };
    Link::new(server(mode, &sentinels.ports())).unwrap()
}

fn cluster(cluster: &Cluster) -> Link {
    Link::new(server(Mode::Cluster, &cluster.ports()[..1])).unwrap()
}

#[tokio::test]
async fn after_a_failover_the_new_primary_is_asked() {
    let servers = Sentinels::start(3);
    let link = sentinel(&servers);
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    assert_eq!(one(&link, &["WAIT", "1", "5000"]).await, Ok(Value::Int(1)));
    let before = servers.primary_port();
    servers.fail_over();
    assert_ne!(servers.primary_port(), before);
    until_answered(&link, &["SET", "b", "2"], Ok(Value::Okay)).await;
    assert_eq!(one(&link, &["GET", "a"]).await, text("1"));
}

#[tokio::test]
async fn a_primary_that_dies_is_replaced_by_its_replica() {
    let mut servers = Sentinels::start(1);
    let link = sentinel(&servers);
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    assert_eq!(one(&link, &["WAIT", "1", "5000"]).await, Ok(Value::Int(1)));
    servers.servers[0].kill();
    let failure = one(&link, &["GET", "a"]).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
    until_answered(&link, &["SET", "b", "2"], Ok(Value::Okay)).await;
    assert_eq!(one(&link, &["GET", "a"]).await, text("1"));
}

#[tokio::test]
async fn a_primary_that_has_become_a_replica_is_left_for_the_new_one() {
    let servers = Sentinels::start(1);
    let link = sentinel(&servers);
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    // By hand, so that the connection stays and only the refused write tells.
    let (old, new) = (servers.servers[0].port(), servers.servers[1].port().to_string());
    assert_eq!(servers.servers[1].ask(&["REPLICAOF", "NO", "ONE"]), "+OK");
    assert_eq!(servers.servers[0].ask(&["REPLICAOF", "127.0.0.1", &new]), "+OK");
    let failure = one(&link, &["SET", "b", "2"]).await.unwrap_err();
    assert_eq!(failure, Failure::ReadOnly { server: Address::new("127.0.0.1", old) });
    let sentinel = &servers.sentinels[0];
    assert_eq!(sentinel.ask(&["SENTINEL", "REMOVE", Sentinels::MASTER]), "+OK");
    assert_eq!(sentinel.ask(&["SENTINEL", "MONITOR", Sentinels::MASTER, "127.0.0.1", &new, "1"]), "+OK");
    until_answered(&link, &["SET", "b", "2"], Ok(Value::Okay)).await;
    assert_eq!(servers.servers[1].ask(&["GET", "b"]), "2");
}

#[tokio::test]
async fn a_sentinel_that_does_not_know_the_primary_or_is_none_is_named() {
    let servers = Sentinels::start(1);
    let mode = Mode::Sentinel { master: "other".to_owned(), login: Login::default() };
    let unknown = Link::new(server(mode.clone(), &servers.ports())).unwrap();
    let failure = one(&unknown, &["GET", "a"]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Setup { detail } if detail.contains("\"other\"")), "{failure:?}");
    let not_one = Link::new(server(mode, &[servers.servers[0].port()])).unwrap();
    let failure = one(&not_one, &["GET", "a"]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Setup { detail } if detail.contains("is not a sentinel")), "{failure:?}");
}

#[tokio::test]
async fn a_cluster_is_found_through_one_of_its_nodes_and_every_key_at_its_own() {
    let servers = Cluster::start();
    let link = cluster(&servers);
    let keys: Vec<String> = (0..300).map(|key| format!("key{key}")).collect();
    let set = keys.iter().map(|key| words(&["SET", key, key])).collect();
    assert!(link.call(set, soon()).await.into_iter().all(|answer| answer == Ok(Value::Okay)));
    let get = keys.iter().map(|key| words(&["GET", key])).collect();
    let expected: Vec<Answer> = keys.iter().map(|key| text(key)).collect();
    assert_eq!(link.call(get, soon()).await, expected);
    let mut found = 0;
    for primary in link.primaries(soon()).await.unwrap() {
        let mut cursor = 0;
        loop {
            let (next, keys) = primary.scan(b"key*", cursor, soon()).await.unwrap();
            found += keys.len();
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert!(servers.ports().contains(&primary.address().port));
    }
    assert_eq!(found, 300);
}

#[tokio::test]
async fn a_cluster_that_loses_a_primary_answers_for_the_others_and_then_for_all() {
    let mut servers = Cluster::start();
    let link = cluster(&servers);
    let keys: Vec<String> = (0..50).map(|key| format!("key{key}")).collect();
    let get = || keys.iter().map(|key| words(&["GET", key])).collect::<Vec<_>>();
    assert!(link.call(get(), soon()).await.iter().all(Result::is_ok));
    let lost = servers.owner(slot::of_key(b"key0"));
    servers.servers[lost].kill();
    let answers = link.call(get(), soon()).await;
    for (key, answer) in keys.iter().zip(&answers) {
        let is_lost = link
            .directory
            .current()
            .node(Some(slot::of_key(key.as_bytes())))
            .is_some_and(|node| link.directory.current().nodes[node].address.port == servers.servers[lost].port());
        assert_eq!(answer.is_err(), is_lost, "{answer:?}");
        let outage = |failure: &Failure| matches!(failure, Failure::Unreachable { .. } | Failure::ClusterDown { .. });
        assert!(answer.as_ref().err().is_none_or(outage), "{answer:?}");
    }
    until_answered(&link, &["SET", "key0", "again"], Ok(Value::Okay)).await;
    // The other primaries hear of the new one in their own time, and until then say that the cluster is down.
    for key in &keys {
        let wanted = if key == "key0" { text("again") } else { Ok(Value::Nil) };
        until_answered(&link, &["GET", key], wanted).await;
    }
}

#[tokio::test]
async fn a_planned_failover_in_a_cluster_costs_no_answer() {
    let servers = Cluster::start();
    let link = cluster(&servers);
    let owner = servers.owner(slot::of_key(b"a"));
    assert_eq!(one(&link, &["SET", "a", "0"]).await, Ok(Value::Okay));
    assert_eq!(servers.servers[owner + 3].ask(&["CLUSTER", "FAILOVER"]), "+OK");
    let mut round = 0;
    while servers.owner(slot::of_key(b"a")) == owner {
        round += 1;
        assert_eq!(one(&link, &["SET", "a", &round.to_string()]).await, Ok(Value::Okay));
        assert_eq!(one(&link, &["GET", "a"]).await, text(&round.to_string()));
    }
    assert_eq!(servers.owner(slot::of_key(b"a")), owner + 3);
    assert_eq!(one(&link, &["GET", "a"]).await, text(&round.to_string()));
}

#[tokio::test]
async fn reads_and_scripts_go_on_while_a_slot_moves() {
    let servers = Cluster::start();
    let link = Arc::new(cluster(&servers));
    let key = |number: usize| format!("{{7}}:{number}");
    let slot = slot::of_key(b"7");
    let (from, to) = (servers.owner(slot), (servers.owner(slot) + 1) % 3);
    let set = (0..100).map(|number| words(&["SET", &key(number), "0"])).collect();
    assert!(link.call(set, soon()).await.iter().all(Result::is_ok));

    // Two writers count up their own keys; readers never see a number go down or a key go away.
    let count = Arc::new(Script::new("redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]"));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = |first: usize| {
        let (link, script, stop) = (Arc::clone(&link), Arc::clone(&count), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                round += 1;
                let call = |number: usize| ScriptCall {
                    keys: vec![key(number).into_bytes()],
                    arguments: vec![round.to_string().into_bytes()],
                };
                let calls = (first..100).step_by(2).map(call).collect();
                for answer in link.run(&script, calls, soon()).await {
                    assert_eq!(answer, text(&round.to_string()));
                }
            }
            round
        })
    };
    let reader = {
        let (link, stop) = (Arc::clone(&link), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut seen = vec![0; 100];
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut command = redis::cmd("MGET");
                (0..100).for_each(|number| {
                    command.arg(key(number));
                });
                let values: Vec<i64> =
                    redis::from_redis_value(link.call(vec![command], soon()).await.remove(0).unwrap()).unwrap();
                assert!(seen.iter().zip(&values).all(|(before, now)| before <= now), "{seen:?} {values:?}");
                seen = values;
            }
        })
    };
    let writers = [writer(0), writer(1)];
    for (from, to) in [(from, to), (to, from)] {
        servers.begin_move(slot, from, to);
        tokio::task::yield_now().await;
        while servers.move_keys(slot, from, to, 5) > 0 {
            let ticks = &mut tokio::time::interval(Duration::from_millis(5));
            ticks.tick().await;
            ticks.tick().await;
        }
        servers.end_move(slot, from, to);
        assert_eq!(servers.owner(slot), to);
        assert!(one(&link, &["GET", &key(1)]).await.is_ok());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 2);
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn keys_of_a_moving_slot_that_do_not_exist_are_answered_too() {
    let servers = Cluster::start();
    let link = cluster(&servers);
    let slot = slot::of_key(b"7");
    let (from, to) = (servers.owner(slot), (servers.owner(slot) + 1) % 3);
    for number in 0..4 {
        assert_eq!(one(&link, &["SET", &format!("{{7}}:{number}"), "v"]).await, Ok(Value::Okay));
    }
    servers.begin_move(slot, from, to);
    assert_eq!(servers.move_keys(slot, from, to, 2), 2);
    let asked = one(&link, &["MGET", "{7}:0", "{7}:1", "{7}:none", "{7}:2", "{7}:3"]).await;
    let value = || Value::BulkString(b"v".to_vec());
    assert_eq!(asked, Ok(Value::Array(vec![value(), value(), Value::Nil, value(), value()])));
    // A script of several keys has to wait until they are together again, and no longer than its deadline.
    let script = Script::new("return redis.call('MGET', unpack(KEYS))");
    let call = || ScriptCall {
        keys: (0..4).map(|number| format!("{{7}}:{number}").into_bytes()).collect(),
        arguments: vec![],
    };
    let late = link.run(&script, vec![call()], Deadline::after(Duration::from_millis(200))).await.remove(0);
    assert!(matches!(late, Err(Failure::TryAgain { .. } | Failure::Late | Failure::Ask { .. })), "{late:?}");
    let waiting = link.run(&script, vec![call()], soon());
    let moving = async {
        servers.move_keys(slot, from, to, 100);
        servers.end_move(slot, from, to);
    };
    let (answers, ()) = tokio::join!(waiting, moving);
    assert_eq!(answers, [Ok(Value::Array(vec![value(), value(), value(), value()]))]);
}

#[tokio::test]
async fn a_cluster_that_is_none_and_a_server_of_one_are_named() {
    let redis = Redis::start();
    let none = Link::new(server(Mode::Cluster, &[redis.port()])).unwrap();
    let failure = one(&none, &["GET", "a"]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Setup { detail } if detail.contains("mode: standalone")), "{failure:?}");
}
