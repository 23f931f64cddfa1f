//! Real sockets: what a listener answers, refuses, waits for and cuts.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    connections: Gauge,
    ended: JoinHandle<Result<usize, Error>>,
}

async fn start(router: Router, limits: Limits) -> Running {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (phase, phases) = watch::channel(Phase::Serving);
    let connections = Gauge::default();
    let ended = tokio::spawn(run(socket, router, phases, connections.clone(), limits));
    Running { address, phase, connections, ended }
}

async fn everything_from(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_is_answered_over_http_1_and_http_2() {
    let running = start(hello(), Limits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(GET_AND_CLOSE).await.unwrap();
    assert!(everything_from(&mut stream).await.ends_with("hello"));

    let stream = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = axum::http::Request::get("http://x/").body(axum::body::Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, axum::http::Version::HTTP_2));
    driver.abort();
}

#[tokio::test]
async fn a_client_that_says_nothing_or_stops_half_way_is_cut() {
    let limits = Limits { header_read_timeout: Duration::from_millis(50), ..Limits::default() };
    let running = start(hello(), limits).await;
    for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let answer = everything_from(&mut stream).await;
        assert!(!answer.contains("hello"), "{answer}");
    }
}

#[tokio::test]
async fn headers_beyond_the_bound_are_refused() {
    let running = start(hello(), Limits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let long = "x".repeat(limits::HEADER_BYTES_MAX as usize);
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n").as_bytes()).await.unwrap();
    let mut start_of_answer = [0; 12];
    stream.read_exact(&mut start_of_answer).await.unwrap();
    assert_eq!(&start_of_answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_running_request_ends_before_the_listener_does_and_no_new_one_is_taken() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered_too, go_on_too) = (entered.clone(), go_on.clone());
    let slow = move || async move {
        entered_too.notify_one();
        go_on_too.notified().await;
        "done"
    };
    let running = start(Router::new().route("/", get(slow)), Limits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(GET).await.unwrap();
    entered.notified().await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    // What is still in the system's queue when the listener goes is reset, not ended.
    while running.connections.get() < 2 {
        tokio::task::yield_now().await;
    }

    running.phase.send(Phase::Draining).unwrap();
    assert_eq!(everything_from(&mut idle).await, "");
    go_on.notify_one();
    assert!(everything_from(&mut stream).await.ends_with("done"));
    assert_eq!(running.ended.await.unwrap().unwrap(), 0);
    assert_eq!(running.connections.get(), 0);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_second_signal_and_the_drain_timeout_cut_what_still_runs() {
    for (drain_timeout, second) in [(Duration::from_secs(3600), true), (Duration::from_millis(20), false)] {
        let entered = Arc::new(Notify::new());
        let entered_too = entered.clone();
        let endless = move || async move {
            entered_too.notify_one();
            std::future::pending::<()>().await;
        };
        let limits = Limits { drain_timeout, ..Limits::default() };
        let running = start(Router::new().route("/", get(endless)), limits).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(GET).await.unwrap();
        entered.notified().await;
        running.phase.send(Phase::Draining).unwrap();
        if second {
            running.phase.send(Phase::Stopping).unwrap();
        }
        assert_eq!(running.ended.await.unwrap().unwrap(), 1);
        assert_eq!(running.connections.get(), 0);
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = answered.clone();
    let router = Router::new().route(
        "/",
        get(async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            "hello"
        }),
    );
    let running = start(router, Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(GET).await.unwrap();
    let mut head = [0; 15];
    first.read_exact(&mut head).await.unwrap();
    let mut second = TcpStream::connect(running.address).await.unwrap();
    second.write_all(GET_AND_CLOSE).await.unwrap();
    assert_eq!((running.connections.get(), answered.load(Ordering::SeqCst)), (1, 1));
    drop(first);
    assert!(everything_from(&mut second).await.ends_with("hello"));
    assert_eq!(answered.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let socket = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (_phase, phases) = watch::channel(Phase::Serving);
    let refused = run(socket, hello(), phases, Gauge::default(), Limits::default()).await.unwrap_err();
    assert!(refused.to_string().contains("neither TLS nor a login"), "{refused}");
}
