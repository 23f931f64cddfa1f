//! Views change: features come and go, entities and transforms become others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::Int64Type;

use super::{INT, Promises, TEXT, ids, lines, plain_view, read, soon, tombstones, values, view_of, write, written};
use crate::catalog::Digest;
use crate::online::{OnlineStore, OnlineView};

pub(super) async fn check(make: &dyn Fn() -> Arc<dyn OnlineStore>, promises: Promises) {
    a_view_may_gain_and_lose_features(&*make()).await;
    versions_of_a_view_have_rows_of_their_own(&*make(), promises).await;
    if promises.types_may_change {
        rows_of_an_older_view_are_read_by_name_and_type(&*make()).await;
    }
    if promises.join_keys_may_change {
        rows_of_other_join_keys_are_not_there(&*make()).await;
    }
    if promises.transforms {
        rows_of_another_transform_are_not_there(&*make()).await;
    }
}

async fn a_view_may_gain_and_lose_features(store: &dyn OnlineStore) {
    let first = view_of("companies", &[("id", INT)], &[("a", INT), ("b", TEXT)]);
    let mut rows = lines(&[(Some(1), 10, None, Some(1)), (Some(2), 10, None, Some(2))]);
    rows.features.push(Arc::new(StringArray::from(vec!["one", "two"])));
    write(store, &first, &rows).await;

    let second = view_of("companies", &[("id", INT)], &[("c", INT), ("b", TEXT)]);
    let mut rows = lines(&[(Some(2), 11, None, Some(3))]);
    rows.features.push(Arc::new(StringArray::from(vec!["new"])));
    write(store, &second, &rows).await;

    let stored = read(store, &second, &ids(&second, &[Some(1), Some(2)])).await;
    let (c, b) = (stored.columns[0].as_primitive::<Int64Type>(), stored.columns[1].as_string::<i32>());
    assert!(c.is_null(0), "the first row has no c");
    assert_eq!((c.value(1), b.value(0), b.value(1)), (3, "one", "new"));
    assert_eq!(stored.present.count_set_bits(), 2);
}

async fn versions_of_a_view_have_rows_of_their_own(store: &dyn OnlineStore, promises: Promises) {
    let (first, second) = (plain_view("companies"), plain_view("companies@v2"));
    write(store, &first, &lines(&[(Some(1), 10, None, Some(1)), (Some(2), 10, None, Some(2))])).await;
    assert_eq!(values(store, &second, &[Some(1)]).await, [None], "the new version is not filled yet");
    assert_eq!(write(store, &second, &lines(&[(Some(1), 9, None, Some(3))])).await, written(1, 0, 0));
    assert_eq!(values(store, &first, &[Some(1), Some(2)]).await, [Some((10, Some(1))), Some((10, Some(2)))]);
    assert_eq!(values(store, &second, &[Some(1), Some(2)]).await, [Some((9, Some(3))), None]);
    if promises.tombstones {
        write(store, &first, &tombstones(&[(1, 11)])).await;
        assert_eq!(values(store, &first, &[Some(1)]).await, [None]);
        assert_eq!(values(store, &second, &[Some(1)]).await, [Some((9, Some(3)))]);
    }
    let statistics = store.statistics(&[first, second], soon()).await.unwrap();
    let keys = if promises.tombstones { 1 } else { 2 };
    assert_eq!((statistics[0].keys, statistics[1].keys), (keys, 1));
}

async fn rows_of_an_older_view_are_read_by_name_and_type(store: &dyn OnlineStore) {
    let first = view_of("companies", &[("id", INT)], &[("a", INT), ("b", TEXT)]);
    let mut rows = lines(&[(Some(1), 10, None, Some(1)), (Some(2), 10, None, Some(2))]);
    rows.features.push(Arc::new(StringArray::from(vec!["one", "two"])));
    write(store, &first, &rows).await;

    let second = view_of("companies", &[("id", INT)], &[("c", INT), ("b", TEXT), ("a", TEXT)]);
    let mut rows = lines(&[(Some(2), 11, None, Some(3)), (Some(1), 9, None, Some(4))]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["new", "old"]));
    rows.features.extend([Arc::clone(&text), text]);
    assert_eq!(write(store, &second, &rows).await, written(1, 1, 0), "an older row stays older under a new view");

    let stored = read(store, &second, &ids(&second, &[Some(1), Some(2)])).await;
    let (c, b, a) = (&stored.columns[0], stored.columns[1].as_string::<i32>(), stored.columns[2].as_string::<i32>());
    assert!(c.is_null(0) && a.is_null(0), "the first row has no c, and its a is a number");
    assert_eq!((b.value(0), b.value(1), a.value(1)), ("one", "new", "new"));
    assert_eq!(stored.present.count_set_bits(), 2);

    let stored = read(store, &first, &ids(&first, &[Some(1), Some(2)])).await;
    let a = stored.columns[0].as_primitive::<Int64Type>();
    assert_eq!((a.value(0), a.is_null(1)), (1, true), "the older view is still asked by running requests");
}

async fn rows_of_other_join_keys_are_not_there(store: &dyn OnlineStore) {
    let by_user = view_of("counts", &[("user", INT)], &[("value", INT)]);
    let by_item = view_of("counts", &[("item", INT)], &[("value", INT)]);
    write(store, &by_user, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(values(store, &by_item, &[Some(1)]).await, [None]);
    assert_eq!(write(store, &by_item, &lines(&[(Some(1), 3, None, Some(2))])).await, written(1, 0, 0));
    assert_eq!(values(store, &by_item, &[Some(1)]).await, [Some((3, Some(2)))]);
    assert_eq!(values(store, &by_user, &[Some(1)]).await, [None]);
}

async fn rows_of_another_transform_are_not_there(store: &dyn OnlineStore) {
    let made_by = |digest: u8| {
        Arc::new(OnlineView { digest: Some(Digest([digest; 32])), ..(*plain_view("made_by_another")).clone() })
    };
    let (before, now) = (made_by(1), made_by(2));
    write(store, &before, &lines(&[(Some(1), 10, None, Some(1))])).await;
    assert_eq!(values(store, &now, &[Some(1)]).await, [None]);
    write(store, &now, &lines(&[(Some(1), 10, None, Some(2))])).await;
    assert_eq!(values(store, &now, &[Some(1)]).await, [Some((10, Some(2)))]);
}
