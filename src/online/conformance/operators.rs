//! What operators and stream readers ask: progress, statistics, health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::{INT, Promises, from_stream, lines, plain_view, soon, tombstones, values, view_of, write};
use crate::batch::{FeatureRows, Origin};
use crate::clock::Deadline;
use crate::online::{Error, OnlineStore, OnlineView, ViewStatistics};

pub(super) async fn check(make: &dyn Fn() -> Arc<dyn OnlineStore>, promises: Promises) {
    statistics_count_what_is_there(&*make()).await;
    a_store_in_use_is_healthy(&*make()).await;
    a_scan_meets_every_row_that_readers_find_and_no_other(&*make(), promises).await;
    if promises.progress {
        progress_is_the_last_offset_and_never_goes_back(&*make()).await;
        progress_is_of_one_view_stream_and_partition(&*make()).await;
        a_batch_that_is_refused_is_no_progress(&*make()).await;
        rows_that_are_older_or_without_key_are_progress_too(&*make()).await;
    }
}

async fn progress(store: &dyn OnlineStore, view: &Arc<OnlineView>, stream: &str, partition: u32) -> Option<u64> {
    store.progress(view, stream, partition, soon()).await.unwrap()
}

async fn progress_is_the_last_offset_and_never_goes_back(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    assert_eq!(progress(store, &view, "clicks", 3).await, None);
    write(store, &view, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(progress(store, &view, "clicks", 3).await, None, "these rows came from no stream");
    let rows = lines(&[(Some(1), 10, None, Some(1)), (Some(2), 10, None, Some(2))]);
    for (offsets, expected) in
        [([0, 7], 7), ([3, 5], 7), ([8, 9], 9), ([u64::MAX - 1, u64::MAX], u64::MAX), ([1, 2], u64::MAX)]
    {
        write(store, &view, &from_stream(rows.clone(), 3, &offsets)).await;
        assert_eq!(progress(store, &view, "clicks", 3).await, Some(expected));
    }
}

async fn progress_is_of_one_view_stream_and_partition(store: &dyn OnlineStore) {
    let (one, two) = (plain_view("one"), plain_view("two"));
    let rows = lines(&[(Some(1), 10, None, Some(1))]);
    write(store, &one, &from_stream(rows.clone(), 1, &[11])).await;
    write(store, &one, &from_stream(rows.clone(), 2, &[12])).await;
    write(store, &two, &from_stream(rows.clone(), 1, &[21])).await;
    let orders = Origin { stream: "orders".into(), partition: 1, offsets: vec![31] };
    write(store, &one, &FeatureRows { origin: Some(orders), ..rows }).await;
    for (view, stream, partition, expected) in [
        (&one, "clicks", 1, Some(11)),
        (&one, "clicks", 2, Some(12)),
        (&two, "clicks", 1, Some(21)),
        (&one, "orders", 1, Some(31)),
        (&one, "clicks", 0, None),
        (&two, "clicks", 2, None),
        (&two, "orders", 1, None),
    ] {
        assert_eq!(progress(store, view, stream, partition).await, expected, "{} {stream} {partition}", view.name);
    }
}

async fn a_batch_that_is_refused_is_no_progress(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    let rows = from_stream(lines(&[(Some(1), 10, None, Some(1))]), 0, &[4]);
    store.write(&view, &FeatureRows { features: Vec::new(), ..rows.clone() }, soon()).await.unwrap_err();
    let passed = Deadline::after(Duration::ZERO);
    assert!(matches!(store.write(&view, &rows, passed).await, Err(Error::Late)));
    assert_eq!(progress(store, &view, "clicks", 0).await, None);
    write(store, &view, &from_stream(lines(&[]), 0, &[])).await;
    assert_eq!(progress(store, &view, "clicks", 0).await, None, "an empty stretch tells nothing");
}

async fn rows_that_are_older_or_without_key_are_progress_too(store: &dyn OnlineStore) {
    let view = plain_view("companies");
    write(store, &view, &lines(&[(Some(1), 10, None, Some(1))])).await;
    write(store, &view, &from_stream(lines(&[(Some(1), 9, None, Some(2))]), 0, &[4])).await;
    assert_eq!(progress(store, &view, "clicks", 0).await, Some(4));
    write(store, &view, &from_stream(lines(&[(None, 9, None, Some(2))]), 0, &[5])).await;
    assert_eq!(progress(store, &view, "clicks", 0).await, Some(5));
    write(store, &view, &from_stream(tombstones(&[(1, 11)]), 0, &[6])).await;
    assert_eq!(progress(store, &view, "clicks", 0).await, Some(6));
    assert_eq!(values(store, &view, &[Some(1)]).await, [None]);
}

async fn statistics_count_what_is_there(store: &dyn OnlineStore) {
    let view = view_of("companies", &[("id", INT)], &[("value", INT), ("double", INT)]);
    let (other, empty) = (plain_view("companies_of_others"), plain_view("companies_of_none"));
    assert_eq!(store.statistics(&[], soon()).await.unwrap(), []);
    let mut rows = lines(&[
        (Some(1), 10, None, Some(1)),
        (Some(2), 30, None, None),
        (Some(3), 20, None, Some(3)),
        (Some(4), 5, None, Some(4)),
    ]);
    rows.features.push(Arc::new(Int64Array::from(vec![None, None, Some(6), Some(8)])));
    write(store, &view, &rows).await;
    write(store, &other, &lines(&[(Some(1), 1, None, Some(1))])).await;
    let mut deleted = tombstones(&[(4, 40), (5, 50)]);
    deleted.features.push(Arc::new(Int64Array::from(vec![None, None])));
    write(store, &view, &deleted).await;

    let views = [Arc::clone(&view), empty, other];
    let statistics = store.statistics(&views, soon()).await.unwrap();
    let expected = ViewStatistics {
        view: "companies".to_owned(),
        keys: 3,
        sampled: 3,
        bytes: statistics[0].bytes,
        oldest_event_time: Some(10),
        newest_event_time: Some(30),
        values: vec![("value".to_owned(), 2), ("double".to_owned(), 1)],
    };
    assert_eq!(statistics[0], expected);
    assert!((24..10_000).contains(&statistics[0].bytes), "{} bytes", statistics[0].bytes);
    let nothing = ViewStatistics {
        view: "companies_of_none".to_owned(),
        values: vec![("value".to_owned(), 0)],
        ..ViewStatistics::default()
    };
    assert_eq!(statistics[1], nothing);
    assert_eq!((statistics[2].keys, statistics[2].newest_event_time), (1, Some(1)));
}

/// All rows of a view by a scan: id, event time, created time, value. A row that comes twice is the same.
async fn scanned(store: &dyn OnlineStore, view: &Arc<OnlineView>) -> BTreeMap<i64, (i64, Option<i64>, Option<i64>)> {
    let (mut found, mut cursor) = (BTreeMap::new(), None);
    loop {
        let page = store.scan(view, cursor.as_ref(), soon()).await.unwrap();
        for rows in &page.rows {
            assert!(rows.deleted.is_none() && rows.origin.is_none());
            let integers = |column: &ArrayRef| column.as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
            let (ids, values) = (integers(&rows.keys[0]), integers(&rows.features[0]));
            for row in 0..rows.rows() {
                let created = rows.created_time.is_valid(row).then(|| rows.created_time.value(row));
                let new = (rows.event_time.value(row), created, values[row]);
                assert_eq!(*found.entry(ids[row].unwrap()).or_insert(new), new);
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

async fn a_scan_meets_every_row_that_readers_find_and_no_other(store: &dyn OnlineStore, promises: Promises) {
    let (view, other) = (plain_view("companies"), plain_view("companies_of_others"));
    assert_eq!(scanned(store, &view).await, BTreeMap::new());
    let many: Vec<_> = (0..10_000).map(|id| (Some(id), id + 1, None, Some(-id))).collect();
    write(store, &view, &lines(&many)).await;
    write(store, &other, &lines(&[(Some(-1), 1, None, Some(1))])).await;
    write(store, &view, &lines(&[(Some(5), 20_000, Some(7), None)])).await;
    write(store, &view, &tombstones(&[(6, 20_000), (-6, 20_000)])).await;
    let created = promises.created_times.then_some(7);
    let expected = many.into_iter().filter_map(|(id, at, _, value)| match id? {
        5 => Some((5, (20_000, created, None))),
        6 => None,
        id => Some((id, (at, None, value))),
    });
    assert_eq!(scanned(store, &view).await, expected.collect());
    if promises.transforms {
        let outdated = OnlineView { digest: Some(crate::catalog::Digest::of(b"new")), ..(*view).clone() };
        assert_eq!(scanned(store, &Arc::new(outdated)).await, BTreeMap::new());
    }
}

async fn a_store_in_use_is_healthy(store: &dyn OnlineStore) {
    write(store, &plain_view("companies"), &lines(&[(Some(1), 10, None, Some(1))])).await;
    let health = store.health(soon()).await.unwrap();
    assert!(!health.store.is_empty());
    assert!(health.facts.iter().all(|(name, fact)| !name.is_empty() && !fact.is_empty()), "{health:?}");
}
