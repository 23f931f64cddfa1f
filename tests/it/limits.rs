//! Many callers at once: everyone gets the answer to their own question, and nobody takes more than their part.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow_flight::Ticket;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::callers::{RIDES, check_good, flight, post, rides, seed, until_closed};
use crate::world::World;

const CALLERS: i64 = 200;

/// The small project with areas 1 to 200, each with a fare of a half more than its number.
async fn areas() -> World {
    let world = World::of(RIDES, |_| {}).await;
    seed(world.servers.http).await;
    let numbers: Vec<i64> = (1..=CALLERS).filter(|area| *area != 8).collect();
    let fares: Vec<f64> = numbers.iter().map(|area| fare(*area)).collect();
    let at = vec!["2020-01-01T00:00:00Z"; numbers.len()];
    let push = json!({"push_source_name": "areas", "df": {"area": numbers, "fare": fares, "miles": fares, "at": at}});
    let reply = world.post("/push", &push.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    world
}

fn fare(area: i64) -> f64 {
    if area == 8 { 20.0 } else { area as f64 + 0.5 }
}

/// Each caller asks for its own area and for one that is not there.
fn question(area: i64) -> String {
    json!({"features": ["area_stats:fare", "quote:expected_fare"], "entities": {"area": [area, -area], "planned_miles": [1.0, 1.0]}}).to_string()
}

fn check_answer(area: i64, answer: &Value) {
    assert_eq!(answer["results"][0]["values"], json!([area, -area]));
    assert_eq!(answer["results"][1]["values"], json!([fare(area), null]), "area {area}");
    assert_eq!(answer["results"][1]["statuses"], json!(["PRESENT", "NOT_FOUND"]), "area {area}");
    let per_mile = if area == 8 { 5.0 } else { 1.0 };
    assert_eq!(answer["results"][2]["values"], json!([per_mile, 5.5]), "area {area}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_at_once_each_get_their_own_answer() {
    let world = areas().await;
    let address = world.servers.http;
    let asked = (1..=CALLERS).map(|area| {
        tokio::spawn(async move {
            let reply = post(address, "/get-online-features", &question(area)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            check_answer(area, &reply.json());
        })
    });
    for answered in join_all(asked.collect::<Vec<_>>()).await {
        answered.expect("answered rightly");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_at_once_each_get_their_own_answer_over_flight() {
    let world = areas().await;
    let client = flight(world.servers.flight).await.into_inner();
    let asked = (1..=CALLERS).map(|area| {
        // Clones share one connection.
        let mut client = arrow_flight::FlightClient::new_from_inner(client.clone());
        tokio::spawn(async move {
            let ticket = json!({"features": ["area_stats:fare"], "entities": {"area": [area, -area]}}).to_string();
            let answer = client.do_get(Ticket::new(ticket)).await.expect("an answer");
            let batches: Vec<RecordBatch> = answer.try_collect().await.expect("batches");
            let expected: ArrayRef = Arc::new(Float64Array::from(vec![Some(fare(area)), None]));
            assert_eq!(batches[0].column(1), &expected, "area {area}");
        })
    });
    for answered in join_all(asked.collect::<Vec<_>>()).await {
        answered.expect("answered rightly");
    }
}

/// A client may have more questions than a connection has streams; hyper's waits, and all are answered.
#[tokio::test(flavor = "multi_thread")]
async fn one_http_2_connection_carries_more_questions_than_it_has_streams() {
    let world = areas().await;
    let stream = TcpStream::connect(world.servers.http).await.expect("connected");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let driver = tokio::spawn(connection);
    let asked = (1..=CALLERS).map(|area| {
        let mut sender = sender.clone();
        async move {
            let request = Request::post("http://x/get-online-features").header("content-type", "application/json");
            let request = request.body(Full::new(Bytes::from(question(area)))).expect("a request");
            let answer =
                sender.send_request(request).await.expect("an answer").into_body().collect().await.expect("a body");
            check_answer(area, &serde_json::from_slice(&answer.to_bytes()).expect("JSON"));
        }
    });
    join_all(asked).await;
    driver.abort();
}

/// A connection that says what it may do, and frames written by hand (RFC 9113).
struct Http2(TcpStream);

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

impl Http2 {
    async fn open(address: std::net::SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        let mut http2 = Self(stream);
        http2.send(SETTINGS, 0, 0, &[]).await;
        http2
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.expect("sent");
    }

    /// `(kind, stream, payload)` of the next frame.
    async fn next(&mut self) -> (u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.expect("a frame");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.expect("a whole frame");
        (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_wires_announce_their_bounds() {
    let world = rides().await;
    for address in [world.servers.http, world.servers.flight, world.servers.admin] {
        let (kind, _, payload) = Http2::open(address).await.next().await;
        assert_eq!(kind, SETTINGS);
        let setting = |id: u16| {
            let found = payload.chunks_exact(6).find(|entry| entry[..2] == id.to_be_bytes())?;
            Some(u32::from_be_bytes([found[2], found[3], found[4], found[5]]))
        };
        let (streams, header_bytes) = (setting(3), setting(6));
        assert_eq!((streams, header_bytes), (Some(128), Some(16 << 10)), "on {address}");
    }
}

/// A client that ignores what was announced: the 129th request that waits for its body is refused, the others are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_beyond_the_bound_is_refused() {
    let world = rides().await;
    let mut http2 = Http2::open(world.servers.http).await;
    // POST, http, :authority x, :path, content-type; each literal without indexing (RFC 7541, 6.2.2).
    let mut headers = vec![0x83, 0x86, 0x01, 1, b'x', 0x04, 20];
    headers.extend(b"/get-online-features");
    headers.extend([0x0f, 0x10, 16]);
    headers.extend(b"application/json");
    for number in 0..129 {
        http2.send(HEADERS, END_HEADERS, number * 2 + 1, &headers).await;
    }
    let (stream, reason) = loop {
        let (kind, stream, payload) = http2.next().await;
        assert_ne!(kind, HEADERS, "stream {stream} was answered before its body came");
        if kind == RST_STREAM {
            break (stream, payload);
        }
    };
    assert_eq!((stream, reason), (257, REFUSED_STREAM.to_be_bytes().to_vec()));
    check_good(world.servers.http, "129 streams").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_that_say_nothing_disturb_nobody() {
    let world = rides().await;
    let address = world.servers.http;
    let mut idle = join_all((0..CALLERS).map(|_| TcpStream::connect(address))).await;
    check_good(address, "idle connections").await;
    for stream in idle.iter_mut().take(20) {
        let stream = stream.as_mut().expect("connected");
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
        assert!(until_closed(stream).await.starts_with("HTTP/1.1 200"));
    }
}

/// Writers of the same keys and readers of them, at once: a reader sees a row that was written whole.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_at_once_see_whole_rows() {
    let world = rides().await;
    let address = world.servers.http;
    let writers = (0..20).map(|writer: i64| {
        tokio::spawn(async move {
            for round in 0..5 {
                let fare = (writer * 5 + round) as f64;
                let at = format!("2021-01-01T00:{writer:02}:{round:02}Z");
                let df = json!({"area": [50, 51], "fare": [fare, fare], "miles": [fare, fare], "at": [at, at]});
                let push = json!({"push_source_name": "areas", "df": df, "to": "online"});
                assert_eq!(post(address, "/push", &push.to_string()).await.status, 200);
            }
        })
    });
    let readers = (0..20).map(|_| {
        tokio::spawn(async move {
            let question = json!({"features": ["area_stats:fare", "area_stats:miles"], "entities": {"area": [50, 51]}})
                .to_string();
            for _ in 0..10 {
                let results = post(address, "/get-online-features", &question).await.json()["results"].clone();
                assert_eq!(results[1]["values"], results[2]["values"], "two columns of one row");
                assert_eq!(results[1]["event_timestamps"], results[2]["event_timestamps"]);
            }
        })
    });
    for ended in join_all(writers.chain(readers).collect::<Vec<_>>()).await {
        ended.expect("no wrong answer");
    }
    let last =
        post(address, "/get-online-features", r#"{"features": ["area_stats:fare"], "entities": {"area": [50]}}"#).await;
    assert_eq!(last.json()["results"][1]["values"], json!([99.0]), "the newest row won");
    assert_eq!(last.json()["results"][1]["event_timestamps"], json!(["2021-01-01T00:19:04Z"]));
}
