//! Reads, changes and losses that meet at the worst moment.

use super::hooked::Hooked;
use super::*;

/// A cache over a hooked store that is being watched.
fn world() -> (Arc<Hooked>, Arc<CachedStore>, Steady) {
    let inner = Arc::new(Hooked::default());
    let (store, clock) = cached(Arc::clone(&inner) as _, &["companies"]);
    inner.listener().watching();
    (inner, Arc::new(store), clock)
}

fn key(id: i64) -> Vec<u8> {
    let view = plain_view("companies");
    KeyBatch::encode(&view.join_keys, &lines(&[(Some(id), 0, None, None)]).keys, 1).get(0).to_vec()
}

/// Another process writes version `version` of a row.
async fn replace(inner: &Hooked, id: i64, version: i64) {
    write(&inner.rows, &plain_view("companies"), &lines(&[(Some(id), version, None, Some(version))])).await;
}

type Answer = Result<Option<i64>, Error>;

/// Asks for the version of a row, in a task of its own.
fn ask(store: &Arc<CachedStore>, id: i64, deadline: Deadline) -> tokio::task::JoinHandle<Answer> {
    let store = Arc::clone(store);
    tokio::spawn(async move { version(&store, id, deadline).await })
}

async fn version(store: &CachedStore, id: i64, deadline: Deadline) -> Answer {
    let view = plain_view("companies");
    let keys = KeyBatch::encode(&view.join_keys, &lines(&[(Some(id), 0, None, None)]).keys, 1);
    let stored = store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], deadline).await?.remove(0);
    Ok(stored.present.value(0).then(|| stored.event_time.value(0)))
}

/// Lets every task run until it waits for something.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_read_from_before_a_change_does_not_put_the_old_row_back() {
    let (inner, store, _) = world();
    replace(&inner, 1, 1).await;
    inner.stop(true);
    let early = ask(&store, 1, soon());
    let mut stopped = inner.arrival().await;
    stopped.look();
    settle().await;
    replace(&inner, 1, 2).await;
    inner.listener().changed("companies", &key(1));
    let late = ask(&store, 1, soon());
    let second = inner.arrival().await;
    second.give();
    assert_eq!(late.await.unwrap().unwrap(), Some(2), "it did not wait for the one from before");
    stopped.give();
    assert_eq!(early.await.unwrap().unwrap(), Some(1), "it began before");
    inner.stop(false);
    assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(2));
    assert_eq!(inner.reads(), 2, "the newer row is kept");
}

#[tokio::test]
async fn of_many_who_miss_a_row_at_once_one_asks() {
    let (inner, store, _) = world();
    replace(&inner, 1, 1).await;
    inner.stop(true);
    let asking: Vec<_> = (0..100).map(|_| ask(&store, 1, soon())).collect();
    let stopped = inner.arrival().await;
    settle().await;
    stopped.give();
    for asking in asking {
        assert_eq!(asking.await.unwrap().unwrap(), Some(1));
    }
    assert_eq!(inner.reads(), 1);
    assert_eq!(count(&store, "companies").misses, 100);
}

#[tokio::test]
async fn when_the_one_who_asks_goes_away_or_fails_the_others_ask_for_themselves() {
    let (inner, store, _) = world();
    replace(&inner, 1, 1).await;
    for goes_away in [true, false] {
        inner.listener().changed("companies", &key(1));
        inner.stop(true);
        let first = ask(&store, 1, soon());
        let stopped = inner.arrival().await;
        let others: Vec<_> = (0..5).map(|_| ask(&store, 1, soon())).collect();
        settle().await;
        inner.stop(false);
        if goes_away {
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
        } else {
            stopped.fail();
            assert!(matches!(first.await.unwrap(), Err(Error::Store { .. })), "it hears of its own failure");
        }
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), Some(1));
        }
    }
    assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(1));
}

#[tokio::test]
async fn nobody_waits_for_another_beyond_their_deadline() {
    let (inner, store, _) = world();
    inner.stop(true);
    let patient = ask(&store, 1, soon());
    let stopped = inner.arrival().await;
    let hurried = ask(&store, 1, Deadline::after(Duration::from_millis(10)));
    assert!(matches!(hurried.await.unwrap(), Err(Error::Late)));
    stopped.give();
    assert_eq!(patient.await.unwrap().unwrap(), None);
    assert_eq!(inner.reads(), 1);
}

#[tokio::test]
async fn nobody_takes_the_answer_to_a_question_from_too_long_ago() {
    let (inner, store, clock) = world();
    replace(&inner, 1, 1).await;
    inner.stop(true);
    let early = ask(&store, 1, soon());
    let mut stopped = inner.arrival().await;
    stopped.look();
    settle().await;
    replace(&inner, 1, 2).await;
    clock.pass(AGE + Duration::from_micros(1));
    let late = ask(&store, 1, soon());
    let second = inner.arrival().await;
    second.give();
    assert_eq!(late.await.unwrap().unwrap(), Some(2));
    stopped.give();
    assert_eq!(early.await.unwrap().unwrap(), Some(1));
    inner.stop(false);
    assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(2), "the slow one's row is too old to be used");
}

#[tokio::test]
async fn while_changes_may_be_missed_there_is_no_cache() {
    let (inner, store, _) = world();
    replace(&inner, 1, 1).await;
    assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(1));
    inner.listener().lost();
    for change in 2..5 {
        replace(&inner, 1, change).await;
        assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(change), "nobody told of it");
    }
    inner.listener().watching();
    assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(4), "what was kept before is forgotten");
    let reads = inner.reads();
    version(&store, 1, soon()).await.unwrap();
    assert_eq!(inner.reads(), reads, "and there is a cache again");
}

#[tokio::test]
async fn a_read_from_before_a_loss_is_not_kept_after_it() {
    let (inner, store, _) = world();
    replace(&inner, 1, 1).await;
    inner.stop(true);
    let early = ask(&store, 1, soon());
    let mut stopped = inner.arrival().await;
    stopped.look();
    settle().await;
    inner.listener().lost();
    replace(&inner, 1, 2).await;
    inner.listener().watching();
    stopped.give();
    assert_eq!(early.await.unwrap().unwrap(), Some(1));
    inner.stop(false);
    assert_eq!(version(&store, 1, soon()).await.unwrap(), Some(2));
}

#[tokio::test]
async fn before_the_feed_is_there_nothing_is_kept() {
    let inner = Arc::new(Hooked::default());
    let (store, _) = cached(Arc::clone(&inner) as _, &["companies"]);
    for _ in 0..3 {
        version(&store, 1, soon()).await.unwrap();
    }
    assert_eq!((inner.reads(), count(&store, "companies").misses), (3, 0));
}
