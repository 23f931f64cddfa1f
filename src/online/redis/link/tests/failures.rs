//! What a standalone server can do to us: each ends in an answer that says why, within the deadline, and then in
//! recovery without anyone's help.

use super::*;

fn at(redis: &Redis) -> Address {
    Address::new("127.0.0.1", redis.port())
}

#[tokio::test]
async fn a_server_that_is_away_is_named_at_once_and_found_when_it_is_back() {
    let mut redis = Redis::start();
    let link = standalone(&redis);
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    redis.kill();
    let began = Instant::now();
    for _ in 0..3 {
        let failure = one(&link, &["GET", "a"]).await.unwrap_err();
        assert!(matches!(&failure, Failure::Unreachable { server, .. } if *server == at(&redis)), "{failure:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    redis.start_again();
    until_answered(&link, &["GET", "a"], Ok(Value::Nil)).await;
}

#[tokio::test]
async fn a_server_that_stops_answering_costs_each_request_no_more_than_its_deadline() {
    let redis = Redis::start();
    let mut settings = server(Mode::Standalone, &[redis.port()]);
    settings.connect_timeout = Duration::from_millis(200);
    settings.response_timeout = Duration::from_millis(300);
    let link = Link::new(settings).unwrap();
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    redis.pause();

    let began = Instant::now();
    let late = link.call(vec![words(&["GET", "a"])], Deadline::after(Duration::from_millis(50))).await;
    assert_eq!(late, [Err(Failure::Late)]);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());

    // Short deadlines alone find out that the connection is silent.
    let mut failures = Vec::new();
    while began.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        let answer = link.call(vec![words(&["GET", "a"])], Deadline::after(Duration::from_millis(100))).await;
        assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
        failures.push(answer[0].clone().unwrap_err());
    }
    let silent = |failure: &Failure| matches!(failure, Failure::Unreachable { outage: Outage::Silent, .. });
    let refused = |failure: &Failure| matches!(failure, Failure::Unreachable { outage: Outage::Refused, .. });
    assert!(failures.iter().any(silent), "{failures:?}");
    assert!(failures.iter().any(refused), "{failures:?}");

    redis.resume();
    until_answered(&link, &["GET", "a"], text("1")).await;
}

#[tokio::test]
async fn many_requests_at_once_share_the_connections_and_get_their_own_answers() {
    let redis = Redis::start();
    let link = Arc::new(standalone(&redis));
    let ask = |number: usize| {
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            let (key, value) = (format!("key{number}"), format!("value{number}"));
            assert_eq!(one(&link, &["SET", &key, &value]).await, Ok(Value::Okay));
            assert_eq!(one(&link, &["GET", &key]).await, text(&value));
        })
    };
    for asked in (0..500).map(ask).collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    // Ours, and the one that asks.
    let clients = redis.ask(&["INFO", "clients"]);
    assert!(clients.contains("connected_clients:2\r") || clients.contains("connected_clients:3\r"), "{clients}");
}

#[tokio::test]
async fn a_server_without_memory_refuses_writes_and_still_answers_reads() {
    let redis = Redis::start_with(&["maxmemory 3mb", "maxmemory-policy noeviction"]);
    let link = standalone(&redis);
    let large = "x".repeat(100_000);
    let write = async |number: usize| one(&link, &["SET", &format!("k{number}"), &large]).await;
    let mut number = 0;
    let refused = loop {
        match write(number).await {
            Ok(_) => number += 1,
            Err(failure) => break failure,
        }
        assert!(number < 1_000);
    };
    assert_eq!(refused, Failure::OutOfMemory { server: at(&redis) });
    let script = Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    let call = ScriptCall { keys: vec![b"s".to_vec()], arguments: vec![large.clone().into_bytes()] };
    let refused = link.run(&script, vec![call], soon()).await.remove(0);
    assert_eq!(refused, Err(Failure::OutOfMemory { server: at(&redis) }));
    assert_eq!(one(&link, &["GET", "k0"]).await, text(&large));
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    assert_eq!(write(number).await, Ok(Value::Okay));
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_says_so_until_the_script_has_ended() {
    let redis = Redis::start_with(&["busy-reply-threshold 50"]);
    let link = standalone(&redis);
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    let _running = redis.send(&["EVAL", "while true do end", "0"]);
    until_answered(&link, &["GET", "a"], Err(Failure::Busy { server: at(&redis) })).await;
    assert_eq!(redis.ask(&["SCRIPT", "KILL"]), "+OK");
    until_answered(&link, &["GET", "a"], text("1")).await;
}

#[tokio::test]
async fn a_server_that_loads_its_data_says_so_and_then_answers() {
    let mut redis = Redis::start_with(&["appendonly yes", "appendfsync no"]);
    let script = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'key' .. i, string.rep('x', 200)) end";
    redis.ask(&["EVAL", script, "0", "20000"]);
    // Each command of the file takes half a millisecond, so that loading can be seen.
    redis.set("key-load-delay 500");
    redis.restart();
    let link = standalone(&redis);
    until_answered(&link, &["GET", "none"], Err(Failure::Loading { server: at(&redis) })).await;
    assert_eq!(redis.ask(&["CONFIG", "SET", "key-load-delay", "0"]), "+OK");
    until_answered(&link, &["EXISTS", "key20000"], Ok(Value::Int(1))).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    let redis = Redis::start_with(&["requirepass correct-horse", "user gateway on >battery ~* +@all"]);
    let with = |username: Option<&str>, password: Option<&str>| {
        let mut settings = server(Mode::Standalone, &[redis.port()]);
        settings.login =
            Login { username: username.map(str::to_owned), password: password.map(super::super::super::Secret::new) };
        Link::new(settings).unwrap()
    };
    for (username, password) in
        [(None, None), (None, Some("staple")), (Some("gateway"), Some("staple")), (Some("nobody"), Some("battery"))]
    {
        let link = with(username, password);
        let failure = one(&link, &["GET", "a"]).await.unwrap_err();
        let error = failure.clone().into_error("reading").to_string();
        assert!(matches!(failure, Failure::LoginRefused { .. }), "{failure:?}");
        let shown = format!("{error} {failure:?} {link:?}");
        assert!(!shown.contains("staple") && !shown.contains("battery"), "{shown}");
        assert!(error.contains(&redis.port().to_string()), "{error}");
    }
    for (username, password) in [(None, "correct-horse"), (Some("gateway"), "battery")] {
        assert_eq!(one(&with(username, Some(password)), &["GET", "a"]).await, Ok(Value::Nil));
    }
}

#[tokio::test]
async fn a_user_without_a_permission_is_told_which() {
    let redis = Redis::start_with(&["user reader on >secret ~f:* +get +hello +select"]);
    let mut settings = server(Mode::Standalone, &[redis.port()]);
    settings.login =
        Login { username: Some("reader".into()), password: Some(super::super::super::Secret::new("secret")) };
    let link = Link::new(settings).unwrap();
    assert_eq!(one(&link, &["GET", "f:1"]).await, Ok(Value::Nil));
    for (command, named) in [(["SET", "f:1", "x"].as_slice(), "'set'"), (&["GET", "other"], "key")] {
        let failure = one(&link, command).await.unwrap_err();
        assert!(matches!(&failure, Failure::NotAllowed { detail, .. } if detail.contains(named)), "{failure:?}");
    }
}

#[tokio::test]
async fn each_database_has_its_own_keys() {
    let redis = Redis::start();
    let mut settings = server(Mode::Standalone, &[redis.port()]);
    settings.database = 3;
    let third = Link::new(settings.clone()).unwrap();
    assert_eq!(one(&third, &["SET", "a", "1"]).await, Ok(Value::Okay));
    assert_eq!(one(&standalone(&redis), &["GET", "a"]).await, Ok(Value::Nil));
    settings.database = 99;
    let failure = one(&Link::new(settings).unwrap(), &["GET", "a"]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Setup { detail } if detail.contains("database 99")), "{failure:?}");
}

#[tokio::test]
async fn an_encrypted_connection_wants_the_right_authority_and_our_certificate() {
    let tls = servers::Tls::start();
    let with = |authority: &str, client: bool| {
        let mut settings = server(Mode::Standalone, &[tls.tls_port]);
        let client = client.then(|| TlsClient { certificate: tls.file("client.crt"), key: tls.file("client.key") });
        settings.tls = Some(Tls { authority: Some(tls.file(authority)), client });
        Link::new(settings)
    };
    let link = with("ca.crt", true).unwrap();
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    assert_eq!(tls.redis.ask(&["GET", "a"]), "1");
    for (authority, client, named) in [("other.crt", true, "certificate"), ("ca.crt", false, "ertificate")] {
        let failure = one(&with(authority, client).unwrap(), &["GET", "a"]).await.unwrap_err();
        assert!(matches!(&failure, Failure::Unreachable { detail, .. } if detail.contains(named)), "{failure:?}");
    }
    let missing = with("nothing.crt", true).unwrap_err().to_string();
    assert!(missing.contains("nothing.crt"), "{missing}");
    let garbage = with("names", true);
    assert!(garbage.is_err_and(|error| error.to_string().contains("names")));
}
