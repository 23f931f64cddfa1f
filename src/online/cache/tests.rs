//! The cache over stores whose answers and changes come when a test says so.

mod bounds;
mod hooked;
mod races;
mod redis;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::catalog::{DType, Scalar};
use crate::online::conformance::{self, lines, plain_view, soon, values, view_of, write};
use crate::online::faulty::{Fault, FaultyStore};
use crate::online::memory::MemoryStore;

const AGE: Duration = Duration::from_secs(1);

fn keeping() -> Keeping {
    Keeping { rows: 10_000, max_age: AGE, absent: true }
}

/// A cache over `inner` for these views, and its clock, which is held.
fn cached(inner: Arc<dyn OnlineStore>, views: &[&str]) -> (CachedStore, Steady) {
    let clock = Steady::held();
    let views: Vec<_> = views.iter().map(|name| (plain_view(name), keeping())).collect();
    (CachedStore::new(inner, &views, clock.clone()), clock)
}

fn count(store: &CachedStore, view: &str) -> ViewCounts {
    store.counts().into_iter().find(|(name, _)| *name == view).unwrap().1
}

#[test]
fn a_cached_store_keeps_the_contract_of_an_online_store() {
    let known = ["companies", "one", "two", "pairs", "counts", "made_by_another", "sample", "totals"];
    let names = known.iter().map(|name| (*name).to_owned()).chain((0..64).map(|case| format!("case_{case}")));
    let views: Vec<_> = names.map(|name| (plain_view(&name), keeping())).collect();
    conformance::check(&|| Arc::new(CachedStore::new(Arc::new(MemoryStore::default()), &views, Steady::default())), 48);
}

#[tokio::test]
async fn what_is_kept_is_not_asked_again_until_it_is_too_old() {
    let inner = FaultyStore::new();
    let (store, clock) = cached(Arc::clone(&inner) as _, &["companies"]);
    let view = plain_view("companies");
    write(&store, &view, &lines(&[(Some(1), 10, None, Some(7)), (Some(2), 20, None, None)])).await;
    let asked = [Some(2), Some(1), Some(9), None, Some(1)];
    let answer = [Some((20, None)), Some((10, Some(7))), None, None, Some((10, Some(7)))];
    let before = inner.calls();
    for _ in 0..5 {
        assert_eq!(values(&store, &view, &asked).await, answer);
    }
    assert_eq!(inner.calls(), before + 1);
    clock.pass(AGE);
    assert_eq!(values(&store, &view, &asked).await, answer);
    assert_eq!(inner.calls(), before + 1, "as old as it may be");
    clock.pass(Duration::from_micros(1));
    assert_eq!(values(&store, &view, &asked).await, answer);
    assert_eq!(inner.calls(), before + 2, "too old");
    let counts = count(&store, "companies");
    // Twice three keys were asked for, and one waited for the same question to ask for it.
    assert_eq!((counts.hits, counts.absent_hits, counts.misses), (15, 5, 8));
    assert_eq!(counts.invalidations, 4, "two rows, before and after their write");
}

#[tokio::test]
async fn one_call_asks_for_everything_that_is_missing_of_all_views() {
    let inner = FaultyStore::new();
    let (store, _) = cached(Arc::clone(&inner) as _, &["one", "two"]);
    let views = ["one", "two", "not_kept"].map(plain_view);
    for (place, view) in views.iter().enumerate() {
        let rows: Vec<_> = (0..10).map(|id| (Some(id), 5, None, Some(id * 10 + place as i64))).collect();
        write(&store, view, &lines(&rows)).await;
    }
    let keys = |ids: &[i64]| {
        let rows: Vec<_> = ids.iter().map(|id| (Some(*id), 0, None, None)).collect();
        KeyBatch::encode(&views[0].join_keys, &lines(&rows).keys, ids.len())
    };
    values(&store, &views[0], &[Some(1), Some(3)]).await;
    values(&store, &views[1], &[Some(4)]).await;
    let before = inner.calls();
    let (some, others) = (keys(&[1, 2, 3]), keys(&[4, 5]));
    let reads = [
        Read { view: &views[0], keys: &some, columns: &[0] },
        Read { view: &views[2], keys: &others, columns: &[0] },
        Read { view: &views[1], keys: &others, columns: &[0] },
        Read { view: &views[1], keys: &others, columns: &[] },
    ];
    let through = store.read(&reads, soon()).await.unwrap();
    assert_eq!(inner.calls(), before + 1);
    let direct = inner.inner.read(&reads, soon()).await.unwrap();
    for (through, direct) in through.iter().zip(&direct) {
        assert_eq!((&through.present, &through.event_time), (&direct.present, &direct.event_time));
        assert_eq!(through.columns, direct.columns);
        assert!(through.unreachable.is_none());
    }
}

#[tokio::test]
async fn a_question_for_other_features_of_a_kept_row_is_a_hit() {
    let int = DType::One(Scalar::Int64);
    let view = view_of("companies", &[("id", int)], &[("a", int), ("b", int)]);
    let inner = FaultyStore::new();
    let store = CachedStore::new(Arc::clone(&inner) as _, &[(Arc::clone(&view), keeping())], Steady::held());
    let mut rows = lines(&[(Some(1), 10, None, Some(7))]);
    rows.features.push(Arc::clone(&rows.features[0]));
    write(&store, &view, &rows).await;
    let keys = KeyBatch::encode(&view.join_keys, &rows.keys, 1);
    let before = inner.calls();
    for columns in [&[0][..], &[1], &[1, 0], &[]] {
        let stored = store.read(&[Read { view: &view, keys: &keys, columns }], soon()).await.unwrap().remove(0);
        assert!(stored.present.value(0) && stored.columns.iter().all(|column| column == &rows.features[0]));
    }
    assert_eq!(inner.calls(), before + 1);
}

#[tokio::test]
async fn that_there_is_no_row_is_kept_only_if_wanted() {
    let inner = FaultyStore::new();
    let view = plain_view("companies");
    let views = [(Arc::clone(&view), Keeping { absent: false, ..keeping() })];
    let store = CachedStore::new(Arc::clone(&inner) as _, &views, Steady::held());
    for _ in 0..3 {
        assert_eq!(values(&store, &view, &[Some(1)]).await, [None]);
    }
    assert_eq!((inner.calls(), count(&store, "companies").absent_hits), (3, 0));
}

#[tokio::test]
async fn a_view_that_was_not_chosen_and_a_definition_that_has_changed_are_asked_for() {
    let inner = FaultyStore::new();
    let (store, _) = cached(Arc::clone(&inner) as _, &["companies"]);
    let other = plain_view("others");
    for _ in 0..3 {
        values(&store, &other, &[Some(1)]).await;
    }
    assert_eq!(inner.calls(), 3);
    let changed =
        Arc::new(OnlineView { digest: Some(crate::catalog::Digest([1; 32])), ..(*plain_view("companies")).clone() });
    write(&store, &plain_view("companies"), &lines(&[(Some(1), 10, None, Some(7))])).await;
    assert_eq!(values(&store, &plain_view("companies"), &[Some(1)]).await, [Some((10, Some(7)))]);
    assert_eq!(values(&store, &changed, &[Some(1)]).await, [None], "another transform made it");
    assert_eq!(values(&store, &plain_view("companies"), &[Some(1)]).await, [Some((10, Some(7)))]);
}

#[tokio::test]
async fn a_large_write_is_read_at_once_too() {
    let inner = FaultyStore::new();
    let (store, _) = cached(Arc::clone(&inner) as _, &["companies"]);
    let view = plain_view("companies");
    let batch = |time: i64| {
        let rows = (0..HOT_CACHE_WRITE_KEYS_MAX as i64 + 1).map(|id| (Some(id), time, None, Some(time)));
        lines(&rows.collect::<Vec<_>>())
    };
    for time in 1..4 {
        write(&store, &view, &batch(time)).await;
        assert_eq!(values(&store, &view, &[Some(5), Some(4_000)]).await, vec![Some((time, Some(time))); 2]);
    }
}

#[tokio::test]
async fn rows_out_of_reach_are_told_and_not_kept_and_the_others_are_answered_from_here() {
    let inner = FaultyStore::new();
    let (store, clock) = cached(Arc::clone(&inner) as _, &["companies"]);
    let view = plain_view("companies");
    let rows: Vec<_> = (0..4).map(|id| (Some(id), 10, None, Some(id))).collect();
    write(&store, &view, &lines(&rows)).await;
    values(&store, &view, &[Some(0), Some(3)]).await;
    inner.lose(&["companies"]);
    let keys = KeyBatch::encode(&view.join_keys, &lines(&rows).keys, 4);
    let reads = [Read { view: &view, keys: &keys, columns: &[0] }];
    // Of the two that are missing, the first one is lost.
    let stored = store.read_reachable(&reads, soon()).await.unwrap().remove(0);
    let lost = stored.unreachable.unwrap();
    assert_eq!(lost.iter().collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(stored.present.iter().collect::<Vec<_>>(), [true, false, true, true]);
    assert!(store.read(&reads, soon()).await.is_err(), "it is asked for again");
    inner.lose(&[]);
    assert_eq!(values(&store, &view, &[Some(1)]).await, [Some((10, Some(1)))]);
    clock.pass(2 * AGE);
    inner.set(Fault::Fails);
    let all = store.read_reachable(&reads, soon()).await.unwrap().remove(0);
    assert_eq!(all.unreachable.unwrap().count_set_bits(), 4, "nothing too old is passed off as new");
}

#[tokio::test]
async fn more_rows_than_it_may_keep_make_room_for_each_other() {
    let inner = FaultyStore::new();
    let view = plain_view("companies");
    let views = [(Arc::clone(&view), Keeping { rows: 100, ..keeping() })];
    let store = CachedStore::new(Arc::clone(&inner) as _, &views, Steady::held());
    for id in 0..2_000 {
        values(&store, &view, &[Some(id)]).await;
    }
    let kept = &store.kept.views["companies"];
    kept.run_pending_tasks();
    let counts = kept.counts();
    assert!(counts.entries <= 100 && counts.evictions >= 1_900, "{counts:?}");
}
