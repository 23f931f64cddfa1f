//! Wrong Arrow streams in the body of an HTTP request.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::ipc::CompressionType;
use bytes::Bytes;
use hyper::Method;

use crate::arrow_bodies::{forged_stream, questions, stream, with_column, without_column};
use crate::callers::{check_good, rides};
use crate::world::{Reply, World, http};

const ARROW: &str = "application/vnd.apache.arrow.stream";

async fn ask(world: &World, body: Vec<u8>) -> Reply {
    let path = "/v1/services/rides_v1/features";
    http(world.servers.http, Method::POST, path, &[("content-type", ARROW)], Bytes::from(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_stream_is_answered_in_every_compression() {
    let world = rides().await;
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        let reply = ask(&world, stream(&questions(4_096), compression)).await;
        assert_eq!(reply.status, 200, "{compression:?}: {:.200}", reply.text());
        assert_eq!(reply.json()["features"][4_095]["quote__expected_fare"], 15.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_stream_is_refused_with_what_is_wrong() {
    let world = rides().await;
    let honest = questions(2);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["8", "eight"]));
    let null: ArrayRef = Arc::new(Int64Array::from(vec![Some(8), None]));
    let plain = |batch| stream(&batch, None);
    let table: Vec<(Vec<u8>, u16, &[&str])> = vec![
        (Vec::new(), 422, &["Arrow data is damaged", "no schema"]),
        (b"{}".to_vec(), 422, &["damaged"]),
        (vec![0xff; 64], 422, &["damaged"]),
        (plain(with_column(&honest, "area", text)), 422, &["column area", "string", "int64"]),
        (plain(with_column(&honest, "area", null)), 422, &["row 1", "join key area"]),
        (plain(without_column(&honest, "company")), 422, &["join key company"]),
        (plain(questions(4_097)), 413, &["4097", "4096"]),
        (forged_stream(CompressionType::LZ4_FRAME, 1 << 40), 413, &["1099511627776", "67108864"]),
        (forged_stream(CompressionType::ZSTD, 1 << 40), 413, &["1099511627776", "67108864"]),
        (forged_stream(CompressionType::LZ4_FRAME, i64::MIN), 422, &["negative"]),
        (forged_stream(CompressionType::LZ4_FRAME, 1), 422, &["damaged"]),
    ];
    for (body, status, words) in table {
        let reply = ask(&world, body).await;
        let said = format!("{words:?}: {} {:.500}", reply.status, reply.text());
        assert_eq!(reply.status, status, "{said}");
        let message = reply.json()["error"]["message"].clone();
        let message = message.as_str().expect("a message");
        assert!(words.iter().all(|word| message.contains(word)), "{said}");
        check_good(world.servers.http, &said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_or_is_damaged_is_never_a_5xx() {
    let world = rides().await;
    let honest = stream(&questions(100), Some(CompressionType::LZ4_FRAME));
    let mut refused = 0;
    for cut in (0..honest.len()).step_by(32) {
        refused += check_not_5xx(&world, honest[..cut].to_vec(), &format!("{cut} bytes of it")).await;
    }
    assert!(refused > honest.len() / 64, "only {refused} of the cut streams were refused");
    for position in (0..honest.len()).step_by(8) {
        let mut flipped = honest.clone();
        flipped[position] ^= 0x80;
        check_not_5xx(&world, flipped, &format!("byte {position} flipped")).await;
    }
    check_good(world.servers.http, "damaged streams").await;
}

/// 1 if it was refused, 0 if what is left of it can be answered.
async fn check_not_5xx(world: &World, body: Vec<u8>, what: &str) -> usize {
    let reply = ask(world, body).await;
    assert!(matches!(reply.status, 200 | 413 | 422), "{what}: {} {:.500}", reply.status, reply.text());
    usize::from(reply.status != 200)
}
