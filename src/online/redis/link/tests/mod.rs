//! The link against real servers.

mod failures;
mod moving;

use std::time::{Duration, Instant};

use super::super::servers::{self, Redis};
use super::super::settings::{Login, Tls, TlsClient};
use super::*;

pub(super) fn server(mode: Mode, ports: &[u16]) -> Server {
    Server {
        mode,
        addresses: ports.iter().map(|port| Address::new("127.0.0.1", *port)).collect(),
        login: Login::default(),
        database: 0,
        tls: None,
        connections: 2,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(2),
    }
}

fn standalone(redis: &Redis) -> Link {
    Link::new(server(Mode::Standalone, &[redis.port()])).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn words(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

async fn one(link: &Link, command: &[&str]) -> Answer {
    link.call(vec![words(command)], soon()).await.remove(0)
}

/// Asks until the answer is `wanted`; the server has 30 s to come to it.
async fn until_answered(link: &Link, command: &[&str], wanted: Answer) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut last = None;
    while began.elapsed() < Duration::from_secs(30) {
        ticks.tick().await;
        let answer = one(link, command).await;
        if answer == wanted {
            return;
        }
        last = Some(answer);
    }
    panic!("{command:?} is still answered {last:?}, not {wanted:?}");
}

fn text(text: &str) -> Answer {
    Ok(Value::BulkString(text.as_bytes().to_vec()))
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_commands_and_an_error_reply_is_one_of_them() {
    let redis = Redis::start();
    let link = standalone(&redis);
    let commands =
        vec![words(&["SET", "a", "1"]), words(&["HGET", "a", "x"]), words(&["GET", "a"]), words(&["GET", "b"])];
    let server = Address::new("127.0.0.1", redis.port());
    let expected = [Ok(Value::Okay), Err(Failure::WrongType { server }), text("1"), Ok(Value::Nil)];
    assert_eq!(link.call(commands, soon()).await, expected);
    assert_eq!(link.call(Vec::new(), soon()).await, []);
}

#[tokio::test]
async fn a_script_runs_on_a_server_that_has_never_seen_it_and_after_the_server_forgot_it() {
    let redis = Redis::start();
    let link = standalone(&redis);
    let script = Script::new("return {KEYS[1], ARGV[1]}");
    let call = || ScriptCall { keys: vec![b"k".to_vec()], arguments: vec![b"v".to_vec()] };
    for _ in 0..2 {
        let answers = link.run(&script, vec![call(), call()], soon()).await;
        let pair = Ok(Value::Array(vec![Value::BulkString(b"k".to_vec()), Value::BulkString(b"v".to_vec())]));
        assert_eq!(answers, [pair.clone(), pair]);
        assert_eq!(redis.ask(&["SCRIPT", "FLUSH"]), "+OK");
    }
}

#[tokio::test]
async fn a_restarted_server_is_found_again_at_once() {
    let mut redis = Redis::start();
    let link = standalone(&redis);
    assert_eq!(one(&link, &["SET", "a", "1"]).await, Ok(Value::Okay));
    redis.restart();
    assert_eq!(one(&link, &["GET", "a"]).await, Ok(Value::Nil));
}
