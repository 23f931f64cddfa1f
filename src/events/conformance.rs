//! The contract of [`EventSource`] as code; every source runs it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::{Error, EventSource};
use crate::batch::record_batch;
use crate::catalog::{DType, Field, Scalar, arrow_schema};
use crate::clock::Deadline;

/// The other end of a source.
#[async_trait]
pub(crate) trait Publisher: Send + Sync {
    async fn publish(&self, rows: RecordBatch);
    fn end(&self);
    fn reader(&self) -> Box<dyn EventSource>;
}

/// Checks a kind of source; `make` makes an empty one whose rows have [`schema`].
pub(crate) async fn check(make: &(dyn Fn() -> Box<dyn Publisher> + Sync)) {
    events_come_in_order_and_in_bounded_batches(&*make()).await;
    nothing_comes_before_the_deadline_when_there_is_nothing(&*make()).await;
    a_waiting_reader_gets_what_arrives(&*make()).await;
    a_new_reader_gets_what_is_not_committed(&*make()).await;
    a_commit_of_an_older_position_changes_nothing(&*make()).await;
    an_ended_source_says_so_after_its_last_event(&*make()).await;
}

pub(crate) fn schema() -> SchemaRef {
    arrow_schema(&fields())
}

fn fields() -> [Field; 1] {
    [Field::new("number", DType::One(Scalar::Int64))]
}

pub(crate) fn numbers(range: Range<i64>) -> RecordBatch {
    let column = Int64Array::from_iter_values(range);
    let rows = arrow::array::Array::len(&column);
    record_batch(&fields(), vec![Arc::new(column)], rows)
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// Everything from the reader's position on, and the last position.
async fn rest(reader: &dyn EventSource, rows_max: usize) -> (Vec<RecordBatch>, u64) {
    let (mut batches, mut position) = (Vec::new(), 0);
    while let Some(events) = reader.next(rows_max, now()).await.unwrap() {
        assert!((1..=rows_max).contains(&events.rows.num_rows()));
        batches.push(events.rows);
        position = events.position;
    }
    (batches, position)
}

async fn all(reader: &dyn EventSource) -> RecordBatch {
    arrow::compute::concat_batches(&schema(), &rest(reader, 4).await.0).unwrap()
}

async fn events_come_in_order_and_in_bounded_batches(publisher: &dyn Publisher) {
    for range in [0..3, 3..3, 3..4, 4..20] {
        publisher.publish(numbers(range)).await;
    }
    let reader = publisher.reader();
    assert_eq!(all(&*reader).await, numbers(0..20));
    publisher.publish(numbers(20..21)).await;
    assert_eq!(all(&*reader).await, numbers(20..21), "a reader goes on after what it has answered");
}

async fn nothing_comes_before_the_deadline_when_there_is_nothing(publisher: &dyn Publisher) {
    let reader = publisher.reader();
    assert_eq!(reader.next(10, now()).await.unwrap(), None);
}

async fn a_waiting_reader_gets_what_arrives(publisher: &dyn Publisher) {
    let reader = publisher.reader();
    let (events, ()) = tokio::join!(reader.next(10, soon()), publisher.publish(numbers(0..2)));
    assert_eq!(events.unwrap().unwrap().rows, numbers(0..2));
}

async fn a_new_reader_gets_what_is_not_committed(publisher: &dyn Publisher) {
    publisher.publish(numbers(0..10)).await;
    let first = publisher.reader();
    let committed = first.next(3, soon()).await.unwrap().unwrap();
    first.next(4, soon()).await.unwrap().unwrap();
    assert_eq!(all(&*publisher.reader()).await, numbers(0..10));
    first.commit(committed.position).await.unwrap();
    assert_eq!(all(&*publisher.reader()).await, numbers(3..10));
    assert_eq!(all(&*first).await, numbers(7..10), "a commit does not move the reader");
    let (_, end) = rest(&*publisher.reader(), 4).await;
    first.commit(end).await.unwrap();
    assert_eq!(publisher.reader().next(1, now()).await.unwrap(), None);
}

async fn a_commit_of_an_older_position_changes_nothing(publisher: &dyn Publisher) {
    publisher.publish(numbers(0..10)).await;
    let reader = publisher.reader();
    let older = reader.next(2, soon()).await.unwrap().unwrap().position;
    let newer = reader.next(2, soon()).await.unwrap().unwrap().position;
    for position in [newer, older, newer] {
        reader.commit(position).await.unwrap();
        assert_eq!(all(&*publisher.reader()).await, numbers(4..10));
    }
}

async fn an_ended_source_says_so_after_its_last_event(publisher: &dyn Publisher) {
    publisher.publish(numbers(0..2)).await;
    let (reader, waiting) = (publisher.reader(), publisher.reader());
    let end = waiting.next(2, soon()).await.unwrap().unwrap().position;
    let (ended, ()) = tokio::join!(waiting.next(1, soon()), async { publisher.end() });
    assert!(matches!(ended, Err(Error::Ended)));
    assert_eq!(reader.next(5, soon()).await.unwrap().unwrap().rows, numbers(0..2));
    for _ in 0..2 {
        assert!(matches!(reader.next(5, soon()).await, Err(Error::Ended)));
    }
    assert_eq!(publisher.reader().next(5, soon()).await.unwrap().unwrap().position, end, "none of it was committed");
}
