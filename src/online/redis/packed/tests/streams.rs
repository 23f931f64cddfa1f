//! Streams: progress is there for what is whole, whatever breaks.

use super::super::super::key::{watermark_field, watermarks};
use super::*;

/// Events `from..to` of a stream: event `n` is of the id `n`.
fn events(from: u64, to: u64) -> FeatureRows {
    let rows: Vec<_> = (from..to).map(|event| (Some(event as i64), event as i64, None, Some(event as i64))).collect();
    from_stream(lines(&rows), 0, &(from..to).collect::<Vec<_>>())
}

async fn progress(store: &RedisStore, view: &Arc<OnlineView>) -> Option<u64> {
    store.progress(view, "clicks", 0, soon()).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_stopped_in_the_middle_is_no_progress_and_is_completed_by_writing_it_again() {
    let redis = Redis::start();
    let (store, link, view) = (store(&redis), link(&redis), plain_view("companies"));
    write(&store, &view, &events(0, 100)).await;
    let key = key_of(&view, 1_050);
    ask(&link, "SADD", &[&key, b"x"]).await.unwrap();
    store.write(&view, &events(100, 2_000), soon()).await.unwrap_err();
    assert_eq!(progress(&store, &view).await, Some(99));
    store.write(&view, &events(2_000, 2_100), soon()).await.unwrap();
    assert_eq!(progress(&store, &view).await, Some(99), "a batch that leaves one out is no progress either");

    ask(&link, "DEL", &[&key]).await.unwrap();
    write(&store, &view, &events(100, 2_000)).await;
    assert_eq!(progress(&store, &view).await, Some(1_999));
    write(&store, &view, &events(2_000, 2_100)).await;
    assert_eq!(progress(&store, &view).await, Some(2_099));
    let asked: Vec<Option<i64>> = (0..2_100).map(Some).collect();
    let expected: Vec<_> = (0..2_100).map(|id| Some((id, Some(id)))).collect();
    assert_eq!(values(&store, &view, &asked).await, expected);
}

#[tokio::test]
async fn rows_that_redis_lost_are_not_passed_over() {
    let redis = Redis::start();
    let (store, link, view) = (store(&redis), link(&redis), plain_view("companies"));
    write(&store, &view, &events(0, 1_000)).await;
    // As after a failover: one bucket is as it was when the stream was at 400.
    let lost = 700;
    let bucket = bucket_of(ids(&view, &[Some(lost)]).get(0));
    let (field, watermarks) = (watermark_field("companies", "clicks", 0), watermarks("", bucket));
    ask(&link, "DEL", &[&key_of(&view, lost)]).await.unwrap();
    ask(&link, "HSET", &[&watermarks, &field, b"400"]).await.unwrap();

    write(&store, &view, &events(1_000, 1_500)).await;
    assert_eq!(progress(&store, &view).await, Some(400));
    write(&store, &view, &events(1_500, 2_000)).await;
    assert_eq!(progress(&store, &view).await, Some(400), "a reader that only looks does not hide the loss");
    write(&store, &view, &events(401, 2_000)).await;
    assert_eq!(progress(&store, &view).await, Some(1_999));
    assert_eq!(values(&store, &view, &[Some(lost)]).await, [Some((lost, Some(lost)))]);

    redis.ask(&["FLUSHALL"]);
    write(&store, &view, &events(2_000, 2_100)).await;
    assert_eq!(progress(&store, &view).await, None, "all is lost");
    write(&store, &view, &events(0, 2_100)).await;
    assert_eq!(progress(&store, &view).await, Some(2_099));
}

/// A server that is killed in the middle of batches, and comes back with what it had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_every_event_up_to_the_progress_is_there() {
    let mut redis = Redis::start_with(&["appendonly yes", "appendfsync always", "maxmemory 500mb"]);
    let view = plain_view("companies");
    let mut from = 0;
    for round in 1..=4_u64 {
        let store = Arc::new(store(&redis));
        let writer = tokio::spawn({
            let (store, view) = (Arc::clone(&store), Arc::clone(&view));
            async move {
                let mut acknowledged = from;
                loop {
                    let deadline = Deadline::after(Duration::from_secs(3));
                    let to = acknowledged + 700;
                    match store.write(&view, &events(acknowledged, to), deadline).await {
                        Ok(_) => acknowledged = to,
                        Err(error) if acknowledged > from => return (acknowledged, error),
                        Err(error) => panic!("nothing was written: {error}"),
                    }
                }
            }
        });
        let wait = Deadline::after(Duration::from_secs(30));
        while progress(&store, &view).await.is_none_or(|progress| progress < from + 700 * round) {
            assert!(!wait.has_passed(), "the writer gets on");
        }
        redis.kill();
        let (acknowledged, _) = writer.await.unwrap();
        redis.restart();
        let wait = Deadline::after(Duration::from_secs(30));
        while redis.ask(&["PING"]) != "+PONG" {
            assert!(!wait.has_passed(), "the server loads what it has on disk");
        }

        let store = self::store(&redis);
        let last = progress(&store, &view).await.expect("batches were acknowledged");
        assert!(last + 1 >= acknowledged, "{acknowledged} were acknowledged, progress is {last}");
        let asked: Vec<Option<i64>> = (0..=last as i64).map(Some).collect();
        let missing = values(&store, &view, &asked).await.iter().position(Option::is_none);
        assert_eq!(missing, None, "progress is {last}");
        from = last + 1;
    }
}
