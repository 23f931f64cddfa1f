//! Appending, upserting, compacting and vacuuming, and what is left of them when they break off.

use std::fs;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};

use super::super::*;
use super::world::{DAY, World, partition, rows, wanted};
use crate::catalog::{Scalar, Source};
use crate::offline::{Maintenance, OfflineStore, Scan};

const VACUUM_ALL: Maintenance = Maintenance::Vacuum { keep: Duration::ZERO };

async fn append(world: &World, source: &Source, batch: &str, values: impl IntoIterator<Item = i64>) {
    world.store.append(source, batch, &rows(values)).await.expect("the rows are stored");
}

async fn maintain(world: &World, source: &Source, what: Maintenance) -> Maintained {
    world.store.maintain(source, what).await.expect("it can be done")
}

#[tokio::test]
async fn a_batch_over_several_folders_is_stored_once_and_whole() {
    for world in World::both().await {
        let trips = world.source("trips", &[partition("day", Scalar::Date, Some("t"))]);
        for _ in 0..2 {
            append(&world, &trips, "monday", [0, 30, 60, 1]).await;
            append(&world, &trips, "tuesday", [31]).await;
        }
        assert_eq!(world.all(&trips).await, [0, 1, 30, 31, 60]);
        let files = world.files("trips");
        assert_eq!(files.len(), 4, "{files:?}");
        assert!(
            files[0].starts_with("day=1970-01-01/000000000000-") && files[0].ends_with(".1of3.parquet"),
            "{files:?}"
        );
    }
}

/// As a crash leaves it: some of the files of a batch are not there.
#[tokio::test]
async fn of_a_batch_that_broke_off_nothing_is_seen_until_it_is_sent_again() {
    for world in World::both().await {
        let by_day = [partition("day", Scalar::Date, Some("t"))];
        let trips = world.source("trips", &by_day);
        append(&world, &trips, "sunday", [2]).await;
        append(&world, &trips, "monday", [0, 30, 60]).await;
        for lost in world.files("trips").iter().filter(|file| file.ends_with("of3.parquet")) {
            let path = world.path("trips").join(lost);
            let bytes = fs::read(&path).expect("the file is there");
            fs::remove_file(&path).expect("the file is there");
            assert_eq!(world.all(&trips).await, [2], "without {lost}");
            fs::write(&path, bytes).expect("the file can be written");
            assert_eq!(world.all(&trips).await, [2, 0, 30, 60]);
        }
        let lost = world.files("trips").into_iter().find(|file| file.contains(".2of3.")).expect("a part");
        fs::remove_file(world.path("trips").join(lost)).expect("the file is there");
        append(&world, &trips, "monday", [0, 30, 60]).await;
        append(&world, &trips, "monday", [0, 30, 60]).await;
        assert_eq!(world.all(&trips).await, [2, 0, 30, 60]);
    }
}

#[tokio::test]
async fn the_same_batch_from_many_at_once_is_stored_once() {
    for world in World::both().await {
        let trips = world.source("trips", &[partition("day", Scalar::Date, Some("t"))]);
        let writes = (0..40).map(|number: i64| {
            let (world, trips) = (&world, &trips);
            async move {
                let batch = format!("batch {}", number % 10);
                world.store.append(trips, &batch, &rows([number % 10, 24 + number % 10])).await
            }
        });
        let stored: Result<Vec<()>, Error> = stream::iter(writes).buffer_unordered(8).try_collect().await;
        stored.expect("every batch is stored");
        let mut values = world.all(&trips).await;
        values.sort_unstable();
        assert_eq!(values, (0..10).chain(24..34).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn compaction_keeps_rows_order_batches_and_snapshots() {
    for world in World::both().await {
        let trips = world.source("trips", &[partition("day", Scalar::Date, Some("t"))]);
        for value in [5, 3, 9, 30, 4, 31, 8] {
            append(&world, &trips, &format!("{value}"), [value]).await;
        }
        append(&world, &trips, "both", [2, 32]).await;
        world.put("trips/day=1970-01-01/zz-other.parquet", &rows([7, 6]));
        let before = world.all(&trips).await;
        assert_eq!(before, [5, 3, 9, 4, 8, 2, 7, 6, 30, 31, 32]);
        let snapshot = world.store.snapshot(&trips, KnownBy::Content).await.expect("a snapshot");
        // A scan that has begun goes on with the files that it began with.
        let begun = world.store.scan(&trips, &wanted()).await.expect("a scan");

        let done = maintain(&world, &trips, Maintenance::Compact).await;
        // The other program's file says that a column is never null; that does not keep it apart.
        assert_eq!((done.files_before, done.files_after), (10, 2), "{done:?}");
        assert_eq!(world.all(&trips).await, before);
        assert_eq!(maintain(&world, &trips, Maintenance::Compact).await.files_before, 2);
        append(&world, &trips, "5", [5]).await;
        append(&world, &trips, "both", [2, 32]).await;
        assert_eq!(world.all(&trips).await, before, "batches are known after they were compacted");
        append(&world, &trips, "later", [1]).await;
        let after = [&before[..8], &[1], &before[8..]].concat();
        assert_eq!(world.all(&trips).await, after, "a later batch stands behind");

        let then = Scan { at: Some(snapshot.clone()), ..wanted() };
        assert_eq!(world.read(&trips, &then).await.expect("the old files are there"), before);
        let begun: Vec<RecordBatch> = begun.try_collect().await.expect("the old files are there");
        assert_eq!(begun.iter().map(RecordBatch::num_rows).sum::<usize>(), before.len());

        let a_minute = Maintenance::Vacuum { keep: Duration::from_secs(60) };
        let kept = maintain(&world, &trips, a_minute).await;
        assert_eq!(kept.files_after, kept.files_before);
        world.clock.set(world.clock.now() + 60_000_000);
        let gone = maintain(&world, &trips, a_minute).await;
        assert_eq!((gone.files_before, gone.files_after), (13, 3), "{gone:?}");
        assert_eq!(world.all(&trips).await, after);
        let error = world.read(&trips, &then).await.expect_err("the old files are gone");
        assert!(matches!(error, Error::Changed { .. }), "{error}");
        append(&world, &trips, "both", [2, 32]).await;
        append(&world, &trips, "last", [10]).await;
        assert_eq!(
            world.all(&trips).await,
            [&after[..9], &[10], &after[9..]].concat(),
            "numbers go on where they were"
        );
        maintain(&world, &trips, Maintenance::Compact).await;
        assert_eq!(world.all(&trips).await, [&after[..9], &[10], &after[9..]].concat());
    }
}

/// As a crash leaves it: the new file is there, and nothing says that it counts.
#[tokio::test]
async fn a_compaction_that_broke_off_changes_nothing() {
    for world in World::both().await {
        let trips = world.source("trips", &[]);
        append(&world, &trips, "a", [1]).await;
        append(&world, &trips, "b", [2]).await;
        maintain(&world, &trips, Maintenance::Compact).await;
        fs::remove_dir_all(world.path("trips/_lockstep")).expect("the state is there");
        assert_eq!(world.files("trips").len(), 3);
        assert_eq!(world.all(&trips).await, [1, 2]);
        assert_eq!(maintain(&world, &trips, VACUUM_ALL).await.files_after, 3, "somebody may be about to count it in");
        maintain(&world, &trips, Maintenance::Compact).await;
        assert_eq!(world.all(&trips).await, [1, 2]);
        assert_eq!(maintain(&world, &trips, VACUUM_ALL).await.files_after, 2);
    }
}

#[tokio::test]
async fn files_of_different_columns_stay_apart() {
    let world = World::local();
    let trips = world.source("trips", &[]);
    append(&world, &trips, "a", [1]).await;
    append(&world, &trips, "b", [2]).await;
    let narrow = rows([3]).project(&[0, 2]).expect("two columns");
    world.store.append(&trips, "c", &narrow).await.expect("the rows are stored");
    append(&world, &trips, "d", [4]).await;
    assert_eq!(maintain(&world, &trips, Maintenance::Compact).await.files_after, 3);
    assert_eq!(world.all(&trips).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_compacted_file_that_is_written_again_or_lost_is_an_error() {
    let world = World::local();
    let trips = world.source("trips", &[]);
    world.put("trips/a.parquet", &rows([1]));
    world.put("trips/b.parquet", &rows([2]));
    maintain(&world, &trips, Maintenance::Compact).await;
    world.put("trips/a.parquet", &rows(0..1_000));
    let error = world.read(&trips, &wanted()).await.expect_err("its rows would be missed").to_string();
    assert!(error.contains("trips/a.parquet was compacted or updated here, and has been written again"), "{error}");
    fs::remove_file(world.path("trips/a.parquet")).expect("the file is there");
    assert_eq!(world.all(&trips).await, [1, 2]);
    let file = world.files("trips").into_iter().find(|file| file.starts_with("rewritten-")).expect("the new file");
    fs::remove_file(world.path("trips").join(&file)).expect("the file is there");
    let error = world.read(&trips, &wanted()).await.expect_err("rows are lost").to_string();
    assert!(error.contains(&format!("trips/{file} is gone; it is part of the table")), "{error}");
}

#[tokio::test]
async fn an_upsert_replaces_rows_of_the_same_keys_and_time_and_no_others() {
    for world in World::both().await {
        let trips = world.source("trips", &[partition("day", Scalar::Date, Some("t"))]);
        let keys = ["k".to_owned(), "t".to_owned()];
        world.store.upsert(&trips, "first", &keys, &rows(0..48)).await.expect("an empty table takes them");
        append(&world, &trips, "other day", [72, 73]).await;
        let untouched = world.files("trips").into_iter().find(|file| file.contains("1970-01-04")).expect("a file");
        // The same keys and times with other values; and one that is new.
        let changed = rows([10, 30, 100]);
        let doubled = arrow::compute::kernels::numeric::add(changed.column(0), changed.column(0)).expect("integers");
        let columns = vec![doubled, Arc::clone(changed.column(1)), Arc::clone(changed.column(2))];
        let changed = RecordBatch::try_new(changed.schema(), columns).expect("columns of one length");
        for _ in 0..2 {
            world.store.upsert(&trips, "changes", &keys, &changed).await.expect("rows are replaced");
        }
        let first: Vec<i64> = (0..24).filter(|x| *x != 10).chain([20]).collect();
        let second = (24..48).filter(|x| *x != 30).chain([60]);
        let expected: Vec<i64> = first.into_iter().chain(second).chain([72, 73, 200]).collect();
        assert_eq!(world.all(&trips).await, expected);
        assert!(world.files("trips").contains(&untouched));
        maintain(&world, &trips, Maintenance::Compact).await;
        maintain(&world, &trips, VACUUM_ALL).await;
        world.store.upsert(&trips, "changes", &keys, &changed).await.expect("it is known");
        assert_eq!(world.all(&trips).await, expected);
        let late = Scan { from: Some(4 * DAY), ..wanted() };
        assert_eq!(world.read(&trips, &late).await.expect("a scan"), [200]);
    }
}

#[tokio::test]
async fn of_two_changes_at_once_none_is_lost() {
    for world in World::both().await {
        let trips = world.source("trips", &[]);
        append(&world, &trips, "all", 0..30).await;
        append(&world, &trips, "more", 30..60).await;
        let keys = ["x".to_owned(), "t".to_owned()];
        let upsert = |batch: &'static str, value: i64| {
            let (world, trips, keys) = (&world, &trips, &keys);
            async move { world.store.upsert(trips, batch, keys, &rows([value])).await }
        };
        let compact = world.store.maintain(&trips, Maintenance::Compact);
        let (one, other, compacted) = tokio::join!(upsert("a", 7), upsert("b", 40), compact);
        one.expect("rows are replaced");
        other.expect("rows are replaced");
        compacted.expect("files are compacted");
        let mut values = world.all(&trips).await;
        values.sort_unstable();
        assert_eq!(values, (0..60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn rows_without_the_partitions_column_are_refused() {
    let world = World::local();
    let trips = world.source("trips", &[partition("area", Scalar::Int64, None)]);
    let error = world.store.append(&trips, "a", &rows([1])).await.expect_err("nobody knows the area").to_string();
    assert!(error.contains("the rows have no column area, which says in which partition area they belong"), "{error}");
    assert!(!world.path("trips").exists() || world.files("trips").is_empty());
}
