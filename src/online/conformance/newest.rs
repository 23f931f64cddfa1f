//! Which row stays: later times, ties, tombstones, places in a stream, in any order.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{Line, Promises, any_order, from_stream, lines, plain_view, tombstones, try_cases, values, write, written};
use crate::batch::FeatureRows;
use crate::online::OnlineStore;

pub(super) async fn check(make: &dyn Fn() -> Arc<dyn OnlineStore>, promises: Promises) {
    the_later_row_stays(&*make()).await;
    rows_of_one_key_in_one_batch_are_taken_in_order(&*make()).await;
    a_tombstone_hides_its_row(&*make()).await;
    concurrent_writers_end_in_the_latest_state(make()).await;
    if promises.later_tie_wins {
        of_rows_that_tie_the_later_one_stays(&*make()).await;
    } else {
        of_rows_that_tie_the_first_one_stays(&*make()).await;
    }
    if promises.created_times {
        a_row_without_created_time_is_before_one_with_it(&*make()).await;
    }
    if promises.tombstones {
        what_is_older_than_a_tombstone_stays_away(&*make()).await;
    }
    if promises.origins {
        of_ties_in_a_stream_the_one_from_further_on_stays(&*make()).await;
    }
}

pub(super) fn check_properties(runtime: &Runtime, store: &dyn OnlineStore, promises: Promises, cases: u32) {
    any_order_of_writes_ends_in_the_same_state(runtime, store, promises, cases);
    if promises.origins && promises.created_times && promises.tombstones {
        any_order_of_a_streams_events_ends_in_the_same_state(runtime, store, cases);
    }
}

async fn the_later_row_stays(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 9, Some(99), Some(2))])).await, written(0, 1, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(1)))]);
    assert_eq!(write(store, &view, &lines(&[(Some(1), 11, None, None)])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((11, None))], "a null is a value too");
}

async fn of_rows_that_tie_the_later_one_stays(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, Some(5), Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, Some(5), Some(2))])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(2)))]);
}

async fn a_row_without_created_time_is_before_one_with_it(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, Some(-5), Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, None, Some(2))])).await, written(0, 1, 0));
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, Some(-4), Some(3))])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(3)))]);
}

async fn of_rows_that_tie_the_first_one_stays(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(write(store, &view, &lines(&[(Some(1), 10, None, Some(2))])).await, written(0, 1, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(1)))]);
}

async fn rows_of_one_key_in_one_batch_are_taken_in_order(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    let batch = lines(&[
        (Some(1), 10, None, Some(1)),
        (Some(2), 10, None, Some(2)),
        (Some(1), 12, None, Some(3)),
        (Some(1), 11, None, Some(4)),
        (Some(2), 11, None, Some(5)),
    ]);
    assert_eq!(write(store, &view, &batch).await, written(4, 1, 0));
    assert_eq!(values(store, &view, &[Some(1), Some(2)]).await, [Some((12, Some(3))), Some((11, Some(5)))]);
}

async fn concurrent_writers_end_in_the_latest_state(store: Arc<dyn OnlineStore>) {
    const WRITERS: i64 = 4;
    const BATCHES: i64 = 6;
    let view = plain_view("companies");
    let writers = (0..WRITERS).map(|writer| {
        let (store, view) = (Arc::clone(&store), Arc::clone(&view));
        tokio::spawn(async move {
            for batch in 0..BATCHES {
                // Writers take turns in event time, each from its newest batch to its oldest.
                let time = (BATCHES - batch) * WRITERS + writer;
                let rows: Vec<Line> = (0..20).map(|id| (Some(id), time, None, Some(time))).collect();
                write(&*store, &view, &lines(&rows)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let latest = BATCHES * WRITERS + WRITERS - 1;
    let asked: Vec<Option<i64>> = (0..20).map(Some).collect();
    assert_eq!(values(&*store, &view, &asked).await, vec![Some((latest, Some(latest))); 20]);
}

/// Rows with distinct (event time, created time) by key, in any order, repeated and cut into any batches.
fn any_order_of_writes_ends_in_the_same_state(
    runtime: &Runtime,
    store: &dyn OnlineStore,
    promises: Promises,
    cases: u32,
) {
    let times = if promises.created_times { 0..4_i64 } else { 0..1_000_000 };
    let event = (0..4_i64, times, prop::option::of(0..4_i64));
    let events = prop::collection::btree_set(event, 1..24).prop_map(move |mut events| {
        if !promises.created_times {
            let mut met = BTreeSet::new();
            events.retain(|(id, event, _)| met.insert((*id, *event)));
        }
        let numbered = events.into_iter().enumerate();
        numbered.map(|(value, (id, event, created))| (Some(id), event, created, Some(value as i64))).collect()
    });
    let orders = events.prop_flat_map(|events: Vec<Line>| any_order(events));
    let number = Cell::new(0);
    try_cases(cases, orders, |(order, batch_rows)| {
        number.set(number.get() + 1);
        let view = plain_view(&format!("case_{}", number.get()));
        let mut newest: BTreeMap<i64, Line> = BTreeMap::new();
        for line in &order {
            let kept = newest.entry(line.0.unwrap()).or_insert(*line);
            if (line.1, line.2) > (kept.1, kept.2) {
                *kept = *line;
            }
        }
        let expected: Vec<_> = (0..4).map(|id| newest.get(&id).map(|line| (line.1, line.3))).collect();
        let is = runtime.block_on(async {
            for batch in order.chunks(batch_rows) {
                write(store, &view, &lines(batch)).await;
            }
            values(store, &view, &[Some(0), Some(1), Some(2), Some(3)]).await
        });
        assert_eq!(is, expected);
    });
}

async fn a_tombstone_hides_its_row(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, None, Some(1)), (Some(2), 10, None, Some(2))])).await;
    assert_eq!(write(store, &view, &tombstones(&[(1, 11)])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1), Some(2)]).await, [None, Some((10, Some(2)))]);
    assert_eq!(write(store, &view, &tombstones(&[(2, 9)])).await, written(0, 1, 0), "an older one hides nothing");
    assert_eq!(values(store, &view, &[Some(2)]).await, [Some((10, Some(2)))]);
    assert_eq!(write(store, &view, &lines(&[(Some(1), 12, None, Some(3))])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((12, Some(3)))], "a newer row is there again");
}

async fn what_is_older_than_a_tombstone_stays_away(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    assert_eq!(write(store, &view, &tombstones(&[(1, 10)])).await, written(1, 0, 0), "before any row of its key");
    assert_eq!(write(store, &view, &lines(&[(Some(1), 9, Some(99), Some(1))])).await, written(0, 1, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [None]);

    let batch = lines(&[(Some(2), 10, None, Some(1)), (Some(2), 12, None, None), (Some(2), 11, None, Some(3))]);
    let batch = FeatureRows { deleted: Some(BooleanBuffer::from(vec![false, true, false])), ..batch };
    assert_eq!(write(store, &view, &batch).await, written(2, 1, 0));
    assert_eq!(values(store, &view, &[Some(2)]).await, [None], "in one batch as in three");
    assert_eq!(write(store, &view, &lines(&[(Some(2), 12, None, Some(4))])).await, written(1, 0, 0));
    assert_eq!(values(store, &view, &[Some(2)]).await, [Some((12, Some(4)))], "a tombstone ties like any row");
}

async fn of_ties_in_a_stream_the_one_from_further_on_stays(store: &dyn OnlineStore) {
    let view = plain_view("clicks_of_users");
    let event = |partition: u32, offset: u64, value: i64| {
        from_stream(lines(&[(Some(1), 10, Some(5), Some(value))]), partition, &[offset])
    };
    assert_eq!(write(store, &view, &event(0, 3_000_000_000, 1)).await, written(1, 0, 0));
    assert_eq!(write(store, &view, &event(0, 2_999_999_999, 2)).await, written(0, 1, 0));
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(1)))]);
    assert_eq!(write(store, &view, &event(1, 0, 3)).await, written(1, 0, 0), "a later partition is further on");
    assert_eq!(write(store, &view, &event(0, u64::MAX, 4)).await, written(0, 1, 0));
    assert_eq!(write(store, &view, &event(1, 0, 3)).await, written(1, 0, 0), "the same event may come again");
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(3)))]);

    write(store, &view, &lines(&[(Some(1), 10, Some(5), Some(5))])).await;
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(5)))], "one that came from no stream");
    write(store, &view, &event(0, 1, 6)).await;
    assert_eq!(values(store, &view, &[Some(1)]).await, [Some((10, Some(6)))]);
}

/// An event of a stream: partition, offset, and what happened to whom; nothing happened where the value is missing.
type Event = (u32, u64, (i64, i64, Option<i64>, Option<i64>));

/// Distinct events of a stream, many of them with equal times, in any order, repeated and cut into any batches.
fn any_order_of_a_streams_events_ends_in_the_same_state(runtime: &Runtime, store: &dyn OnlineStore, cases: u32) {
    let happened = (0..3_i64, 0..3_i64, prop::option::of(0..2_i64), prop::option::weighted(0.8, 0..100_i64));
    let events = prop::collection::btree_map((0..3_u32, 0..9_u64), happened, 1..24).prop_map(|events| {
        let flat = |((partition, offset), happened)| -> Event { (partition, offset, happened) };
        events.into_iter().map(flat).collect::<Vec<_>>()
    });
    let number = Cell::new(0);
    try_cases(cases, events.prop_flat_map(any_order), |(order, batch_rows)| {
        number.set(number.get() + 1);
        let view = plain_view(&format!("stream_{}", number.get()));
        let mut newest: BTreeMap<i64, Event> = BTreeMap::new();
        let rank = |(partition, offset, (_, event, created, _)): &Event| (*event, *created, *partition, *offset);
        for event in &order {
            let kept = newest.entry(event.2.0).or_insert(*event);
            if rank(event) > rank(kept) {
                *kept = *event;
            }
        }
        let value = |(_, _, (_, time, _, value)): &Event| value.map(|value| (*time, Some(value)));
        let expected: Vec<_> = (0..3).map(|id| newest.get(&id).and_then(value)).collect();
        let is = runtime.block_on(async {
            for chunk in order.chunks(batch_rows) {
                // A batch is a stretch of one partition, in its order.
                let mut by_partition: BTreeMap<u32, BTreeMap<u64, Event>> = BTreeMap::new();
                for event in chunk {
                    by_partition.entry(event.0).or_default().insert(event.1, *event);
                }
                for (partition, events) in by_partition {
                    write(store, &view, &stretch(partition, &events)).await;
                }
            }
            values(store, &view, &[Some(0), Some(1), Some(2)]).await
        });
        assert_eq!(is, expected);
    });
}

fn stretch(partition: u32, events: &BTreeMap<u64, Event>) -> FeatureRows {
    let happened: Vec<Line> = events
        .values()
        .map(|(_, _, (id, event_time, created_time, value))| (Some(*id), *event_time, *created_time, *value))
        .collect();
    let deleted = BooleanBuffer::from_iter(happened.iter().map(|line| line.3.is_none()));
    let offsets: Vec<u64> = events.keys().copied().collect();
    from_stream(FeatureRows { deleted: Some(deleted), ..lines(&happened) }, partition, &offsets)
}
