//! The guard over a store that fails.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::batch::KeyBatch;
use crate::clock::Steady;
use crate::limits::{BREAKER_FAILURES_IN_A_ROW, BREAKER_PROBE_EVERY};
use crate::online::conformance::{self, lines, plain_view, soon, values, write};
use crate::online::faulty::{Fault, FaultyStore};
use crate::online::memory::MemoryStore;

fn guarded() -> (Arc<FaultyStore>, GuardedStore, Arc<Backend>, Steady) {
    let (store, clock) = (FaultyStore::new(), Steady::held());
    let backend = Arc::new(Backend::new("sample", clock.clone()));
    (Arc::clone(&store), GuardedStore::new(store, Arc::clone(&backend)), backend, clock)
}

async fn read(store: &dyn OnlineStore, deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
    let view = plain_view("companies");
    let keys = KeyBatch::encode(&view.join_keys, &lines(&[(Some(1), 0, None, None)]).keys, 1);
    store.read(&[Read { view: &view, keys: &keys, columns: &[0] }], deadline).await
}

#[test]
fn a_guarded_store_keeps_the_contract_of_an_online_store() {
    conformance::check(
        &|| {
            let backend = Arc::new(Backend::new("memory", Steady::default()));
            Arc::new(GuardedStore::new(Arc::new(MemoryStore::default()), backend))
        },
        32,
    );
}

#[tokio::test]
async fn a_store_that_fails_is_left_alone_says_so_and_comes_back() {
    let (store, guarded, backend, clock) = guarded();
    let view = plain_view("companies");
    write(&guarded, &view, &lines(&[(Some(1), 10, None, Some(7))])).await;
    store.set(Fault::Fails);
    while backend.counts().up {
        assert!(matches!(read(&guarded, soon()).await, Err(Error::Store { .. })));
    }
    assert_eq!(store.calls(), 1 + BREAKER_FAILURES_IN_A_ROW as usize);
    clock.pass(Duration::from_millis(400));
    let asked = store.calls();
    let refused = read(&guarded, soon()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the online store sample has not answered for 0.4 s; it is asked again in 0.6 s");
    assert_eq!((refused.kind(), store.calls()), (ErrorKind::Unavailable, asked));
    store.set(Fault::None);
    clock.pass(BREAKER_PROBE_EVERY);
    assert_eq!(values(&guarded, &view, &[Some(1)]).await, [Some((10, Some(7)))]);
    assert!(backend.counts().up);
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_before_the_deadline() {
    let (store, guarded, backend, _) = guarded();
    store.set(Fault::Hangs);
    let error = read(&guarded, soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "the online store sample did not answer within 0.5 s");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = read(&guarded, Deadline::after(Duration::from_millis(5))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Late);
    assert_eq!(backend.counts().in_flight, 0);
}

#[tokio::test]
async fn what_is_the_callers_mistake_or_a_full_disk_does_not_stop_calls() {
    let (store, guarded, backend, _) = guarded();
    for fault in [Fault::Refuses, Fault::IsFull] {
        store.set(fault);
        for _ in 0..50 {
            let error = guarded.write(&plain_view("companies"), &lines(&[]), soon()).await.unwrap_err();
            assert!(matches!(error, Error::Unstorable { .. } | Error::Full { .. }), "{error}");
        }
    }
    assert_eq!((store.calls(), backend.counts().retried, backend.counts().up), (100, 0, true));
}

#[tokio::test]
async fn a_failed_read_is_made_again_within_the_budget() {
    let (store, guarded, backend, clock) = guarded();
    clock.pass(Duration::from_secs(1));
    store.set(Fault::Fails);
    read(&guarded, soon()).await.unwrap_err();
    assert_eq!((store.calls(), backend.counts().retried), (2, 1));
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_row_by_row_also_while_calls_are_stopped() {
    let (store, guarded, backend, _) = guarded();
    store.set(Fault::Fails);
    let view = plain_view("companies");
    let keys = KeyBatch::encode(&view.join_keys, &lines(&[(Some(1), 0, None, None)]).keys, 1);
    for _ in 0..20 {
        let reads = [Read { view: &view, keys: &keys, columns: &[0] }];
        let rows = guarded.read_reachable(&reads, soon()).await.unwrap().remove(0);
        assert!(rows.unreachable.unwrap().value(0) && !rows.present.value(0));
    }
    assert!(!backend.counts().up);
    assert_eq!(store.calls(), BREAKER_FAILURES_IN_A_ROW as usize);
}

#[tokio::test]
async fn a_part_that_cannot_be_reached_does_not_stop_calls() {
    let (store, guarded, backend, _) = guarded();
    let view = plain_view("companies");
    store.lose(&["companies"]);
    let asked = lines(&[(Some(1), 0, None, None), (Some(2), 0, None, None)]);
    let keys = KeyBatch::encode(&view.join_keys, &asked.keys, 2);
    for _ in 0..50 {
        let reads = [Read { view: &view, keys: &keys, columns: &[0] }];
        guarded.read_reachable(&reads, soon()).await.unwrap();
    }
    assert!(backend.counts().up);
}
