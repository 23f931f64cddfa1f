//! `lockstep serve` as an orchestrator sees it: how it starts, how it refuses to, and how it goes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use futures::channel::mpsc;
use hyper::Method;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::arrow_bodies::{flight_messages, questions, stream};
use crate::callers::{
    GOOD, Process, RIDES, Serving, applied_folder, check_good, flight, seed, until_closed, write_config,
};
use crate::world::{Reply, http, project_folder};

const FREE_PORTS: &str = "{http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}";

/// Long enough for a busy machine, and shorter than the deadline of a minute that a running request has here.
const AT_ONCE: Duration = Duration::from_secs(20);

async fn folder() -> TempDir {
    applied_folder(RIDES, |folder| write_config(folder, FREE_PORTS)).await
}

async fn ready(serving: &Serving) -> Reply {
    http(serving.admin, Method::GET, "/readyz", &[], Bytes::new()).await
}

/// Asks until the gateway says that it drains.
async fn draining(serving: &Serving) {
    let started = Instant::now();
    while ready(serving).await.status != 503 {
        assert!(started.elapsed() < AT_ONCE, "it stays ready");
    }
    assert_eq!(ready(serving).await.text(), "draining\n");
}

/// A request that is running: its head and half of its body are sent, and the gateway waits for the rest.
async fn half_a_request(serving: &Serving) -> (TcpStream, &'static str) {
    let mut stream = TcpStream::connect(serving.http).await.expect("connected");
    let (first, rest) = GOOD.split_at(GOOD.len() / 2);
    let head =
        "POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue";
    let head = format!("{head}\r\ncontent-length: {}\r\n\r\n", GOOD.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The gateway asks for the body when the request runs.
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.expect("an answer");
    assert_eq!(&go_on[..12], b"HTTP/1.1 100");
    stream.write_all(first.as_bytes()).await.expect("sent");
    (stream, rest)
}

async fn check_drains(signal: &str) {
    let folder = folder().await;
    let mut serving = Serving::start(folder.path());
    seed(serving.http).await;
    assert_eq!(ready(&serving).await.status, 200);
    let (mut running, rest) = half_a_request(&serving).await;
    let mut idle = TcpStream::connect(serving.http).await.expect("connected");

    serving.process.signal(signal);
    draining(&serving).await;
    assert_eq!(until_closed(&mut idle).await, "", "a connection without a request is closed");
    assert!(TcpStream::connect(serving.http).await.is_err(), "no new connection is taken");
    assert!(!serving.process.has_ended(), "it ended before the running request did");

    running.write_all(rest.as_bytes()).await.expect("sent");
    let answer = until_closed(&mut running).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("quote__expected_fare"), "{answer}");
    let started = Instant::now();
    let (code, said) = serving.process.ended();
    assert_eq!(code, 0, "{said}");
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_requests_end() {
    check_drains("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_running_requests_end() {
    check_drains("INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let folder = folder().await;
    let mut serving = Serving::start(folder.path());
    seed(serving.http).await;
    let (mut running, _) = half_a_request(&serving).await;
    serving.process.signal("TERM");
    draining(&serving).await;
    let started = Instant::now();
    serving.process.signal("TERM");
    let (code, said) = serving.process.ended();
    assert_eq!(code, 0, "{said}");
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert_eq!(until_closed(&mut running).await, "", "the running request was cut");
    assert!(said.contains("cut"), "{said}");
}

/// A model server holds an exchange open between its own requests: it is answered until it hangs up.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_exchange_goes_on_until_its_client_ends_it() {
    let folder = folder().await;
    let mut serving = Serving::start(folder.path());
    seed(serving.http).await;
    let mut messages = flight_messages(r#"{"service": "rides_v1"}"#, &stream(&questions(2), None));
    let batch = messages.pop().expect("a batch");
    let (mut sender, receiver) = mpsc::channel(4);
    for message in [messages.remove(0), batch.clone()] {
        sender.send(message).await.expect("sent");
    }
    let mut client = flight(serving.flight).await.into_inner();
    let mut answers = client.do_exchange(receiver).await.expect("an exchange").into_inner();
    let mut answered = async || answers.message().await.expect("no error").expect("a message").data_body.len();
    assert_eq!(answered().await, 0, "the schema");
    let bytes = answered().await;

    serving.process.signal("TERM");
    draining(&serving).await;
    sender.send(batch).await.expect("sent");
    assert_eq!(answered().await, bytes);
    drop(sender);
    assert!(answers.message().await.expect("no error").is_none());
    let (code, said) = serving.process.ended();
    assert_eq!((code, said.contains("cut")), (0, false), "{said}");
}

/// What was written before a gateway went is there when the next one comes.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_gateway_serves_what_the_last_one_stored() {
    let folder = folder().await;
    let mut first = Serving::start(folder.path());
    seed(first.http).await;
    first.process.signal("TERM");
    assert_eq!(first.process.ended().0, 0);
    let second = Serving::start(folder.path());
    check_good(second.http, "a restart").await;
}

/// Free ports for all listeners but one.
fn listening(listener: &str, address: &str) -> String {
    FREE_PORTS.replace(&format!("{listener}: 127.0.0.1:0"), &format!("{listener}: \"{address}\""))
}

fn refused(folder: &Path) -> (i32, String) {
    Process::start(folder).ended()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_can_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:6566"] {
        for listener in ["http", "flight", "admin"] {
            let folder = project_folder(RIDES);
            write_config(folder.path(), &listening(listener, address));
            let (code, said) = refused(folder.path());
            assert_eq!(code, 2, "{said}");
            let sentence = format!(
                "until Lockstep can authenticate callers it listens on loopback only; {address} would let everybody in"
            );
            assert!(said.contains(&sentence) && said.contains("lockstep.yaml:"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    for listener in ["http", "flight", "admin"] {
        let listen = listening(listener, &address.to_string());
        let folder = applied_folder(RIDES, |folder| write_config(folder, &listen)).await;
        let (code, said) = refused(folder.path());
        assert_eq!(code, 4, "{said}");
        assert!(
            said.contains(&format!("cannot listen on {address}")) && said.contains("is another gateway running?"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_to_which_nothing_is_applied_is_not_served() {
    let folder = project_folder(RIDES);
    write_config(folder.path(), FREE_PORTS);
    let (code, said) = refused(folder.path());
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("nothing is applied yet; run lockstep apply"), "{said}");

    let empty = tempfile::tempdir().expect("a folder");
    let (code, said) = refused(empty.path());
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("there is no project in"), "{said}");
    fs::write(empty.path().join("lockstep.yaml"), "project: [\n").expect("written");
    let (code, said) = refused(empty.path());
    assert_eq!(code, 2, "{said}");
}
