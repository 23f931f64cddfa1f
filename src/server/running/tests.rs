//! Starting and stopping over real sockets.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn says(text: &'static str) -> Router {
    Router::new().route("/", get(async move || text))
}

async fn ask(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn all_listeners_answer_until_they_are_stopped() {
    let (http, flight, admin) = (socket().await, socket().await, socket().await);
    let addresses = [&http, &flight, &admin].map(|socket| socket.local_addr().unwrap());
    let (phase, _) = watch::channel(Phase::Serving);
    let wires = [(http, says("http"), Gauge::default()), (flight, says("flight"), Gauge::default())];
    let running = run(phase, wires, (admin, says("admin"), Gauge::default()), Stop::default());
    for (address, text) in addresses.iter().zip(["http", "flight", "admin"]) {
        assert!(ask(*address).await.ends_with(text));
    }
    running.stop().await.unwrap();
    for address in addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn a_listener_that_cannot_serve_ends_the_wait_with_its_reason() {
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (phase, _) = watch::channel(Phase::Serving);
    let wires = [(everywhere, says("http"), Gauge::default()), (socket().await, says("flight"), Gauge::default())];
    let running = run(phase, wires, (socket().await, says("admin"), Gauge::default()), Stop::default());
    let error = running.until_stopped().await.unwrap_err();
    assert!(error.to_string().contains("can be reached from other machines"), "{error}");
}
