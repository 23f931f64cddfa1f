//! Bytes that are no request, or too much of one.

use futures::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::callers::{GOOD, check_good, raw, rides, until_closed};

/// What the gateway may say before it closes the connection: one of these first lines; the empty one is silence.
type Allowed = &'static [&'static str];
const REFUSED: Allowed = &["HTTP/1.1 400"];
const REFUSED_OR_CLOSED: Allowed = &["HTTP/1.1 400", ""];

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /get-online-features HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_or_cut() {
    let world = rides().await;
    let length = GOOD.len();
    let table: Vec<(&str, Vec<u8>, Allowed)> = vec![
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), REFUSED_OR_CLOSED),
        ("zeros", vec![0; 64], REFUSED_OR_CLOSED),
        ("random letters", b"hello gateway\r\n\r\n".to_vec(), REFUSED),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec(), REFUSED),
        ("another version", b"GET /health HTTP/9.9\r\nhost: x\r\n\r\n".to_vec(), REFUSED),
        ("a path with a zero byte", b"GET /hea\0lth HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), REFUSED),
        ("a header without a colon", b"GET /health HTTP/1.1\r\nhost x\r\n\r\n".to_vec(), REFUSED),
        ("a header with a zero byte", b"GET /health HTTP/1.1\r\nhost: x\r\na: \0\r\n\r\n".to_vec(), REFUSED),
        ("a space before the colon", b"GET /health HTTP/1.1\r\nhost : x\r\n\r\n".to_vec(), REFUSED),
        ("a folded header", b"GET /health HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n".to_vec(), REFUSED),
        ("two lengths", post(&format!("content-length: {length}\r\ncontent-length: 0\r\n"), GOOD), REFUSED),
        ("a negative length", post("content-length: -1\r\n", GOOD), REFUSED),
        ("a length that is a word", post("content-length: many\r\n", GOOD), REFUSED),
        ("a length beyond 64 bits", post("content-length: 99999999999999999999\r\n", GOOD), REFUSED),
        ("an unknown coding", post("transfer-encoding: gzip\r\n", GOOD), REFUSED),
        ("chunked, but not at the end", post("transfer-encoding: chunked, identity\r\n", GOOD), REFUSED),
        (
            "chunked in HTTP/1.0",
            b"POST /get-online-features HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            REFUSED,
        ),
        (
            "a chunk size that is no number",
            post("transfer-encoding: chunked\r\n", "zz\r\n"),
            &["HTTP/1.1 422", "HTTP/1.1 400"],
        ),
        (
            "a chunk size beyond 64 bits",
            post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n"),
            &["HTTP/1.1 422", "HTTP/1.1 400"],
        ),
        (
            "HTTP/2 frames that are none",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is not a frame of HTTP/2".to_vec(),
            &["\0"],
        ),
    ];
    for (what, bytes, allowed) in table {
        for address in [world.servers.http, world.servers.flight, world.servers.admin] {
            // The length of a body means something on the HTTP wire only; the others refuse the path first.
            if bytes.starts_with(b"POST") && address != world.servers.http {
                continue;
            }
            let answer = raw(address, &bytes).await;
            let starts = |start: &&str| if start.is_empty() { answer.is_empty() } else { answer.starts_with(*start) };
            assert!(allowed.iter().any(starts), "{what}: {answer:?}");
        }
        check_good(world.servers.http, what).await;
    }
}

/// A body that hides a second request is read to its end by one reading only: either both framings are refused, or the
/// hidden bytes are a request of their own. Nothing waits on the connection for the next caller.
#[tokio::test(flavor = "multi_thread")]
async fn two_framings_of_one_body_leave_nothing_behind() {
    let world = rides().await;
    let hidden = "GET /v1/entities HTTP/1.1\r\nhost: x\r\n\r\n";
    let body = format!("0\r\n\r\n{hidden}");
    let both = post(&format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", body.len()), &body);
    let answer = raw(world.servers.http, &both).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "the hidden request was answered: {answer}");
    check_good(world.servers.http, "two framings").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_and_too_long_headers_are_refused() {
    let world = rides().await;
    let get =
        |headers: &str| format!("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    let numbered = |count: usize| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    let long = |bytes: usize| format!("x-long: {}\r\n", "y".repeat(bytes));
    let table = [
        (get(&numbered(90)), "HTTP/1.1 200"),
        (get(&numbered(101)), "HTTP/1.1 431"),
        (get(&numbered(100_000)), "HTTP/1.1 431"),
        (get(&long(15 << 10)), "HTTP/1.1 200"),
        (get(&long(17 << 10)), "HTTP/1.1 431"),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(17 << 10)).into_bytes(), "HTTP/1.1 4"),
    ];
    for (number, (bytes, status)) in table.into_iter().enumerate() {
        let answer = raw(world.servers.http, &bytes).await;
        // Whoever is still sending when it is refused may see the reset before the answer.
        let cut_while_sending = bytes.len() > 1 << 20 && answer.is_empty();
        assert!(answer.starts_with(status) || cut_while_sending, "{number}: {answer:.200}");
        check_good(world.servers.http, "headers").await;
    }
}

/// `limits::HEADER_READ_TIMEOUT` is ten seconds; all of these wait side by side.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dawdles_over_its_headers_is_cut() {
    let world = rides().await;
    let started = tokio::time::Instant::now();
    let dawdlers = [world.servers.http, world.servers.flight, world.servers.admin].into_iter().flat_map(|address| {
        [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost:"].map(|said| async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(said).await.expect("sent");
            until_closed(&mut stream).await
        })
    });
    let answers = join_all(dawdlers).await;
    assert!(answers.iter().all(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 408")), "{answers:?}");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    check_good(world.servers.http, "dawdlers").await;
}

/// A body that does not come is waited for as long as the deadline says, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_waited_for_until_the_deadline() {
    let world = rides().await;
    let half = post(&format!("x-request-deadline-ms: 50\r\ncontent-length: {}\r\n", GOOD.len()), &GOOD[..20]);
    let answer = raw(world.servers.http, &half).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("while the body was read"), "{answer}");
    check_good(world.servers.http, "half a body").await;
}
