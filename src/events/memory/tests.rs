use std::time::Duration;

use super::*;
use crate::events::conformance::{self, Publisher, numbers, schema, soon};

#[async_trait]
impl Publisher for Arc<MemoryLog> {
    async fn publish(&self, rows: RecordBatch) {
        self.push(rows, soon()).await.unwrap();
    }

    fn end(&self) {
        self.close();
    }

    fn reader(&self) -> Box<dyn EventSource> {
        Box::new(MemoryLog::reader(self))
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_an_event_source() {
    conformance::check(&|| Box::new(MemoryLog::new(schema(), 1_000))).await;
}

#[tokio::test]
async fn a_full_log_takes_no_more_until_rows_are_committed() {
    let log = MemoryLog::new(schema(), 3);
    log.push(numbers(0..3), soon()).await.unwrap();
    let now = Deadline::after(Duration::ZERO);
    let error = log.push(numbers(3..4), now).await.unwrap_err();
    assert_eq!(error.to_string(), "the event log has no room: it holds at most 3 rows that are not committed");
    assert!(matches!(log.push(numbers(3..7), soon()).await, Err(Error::Full { .. })), "four never fit");
    let reader = log.reader();
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.push(numbers(3..5), soon()).await }
    });
    reader.commit(2).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(reader.next(9, soon()).await.unwrap().unwrap().rows, numbers(2..5));
}

#[tokio::test]
async fn rows_of_other_columns_are_refused() {
    let log = MemoryLog::new(schema(), 3);
    let other = crate::batch::record_batch(&[], Vec::new(), 1);
    let error = log.push(other, soon()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"events are not columns of the source: they have [], the source has ["number Int64"]"#
    );
}

#[tokio::test]
async fn a_closed_log_takes_no_rows() {
    let log = MemoryLog::new(schema(), 3);
    log.close();
    assert!(matches!(log.push(numbers(0..1), soon()).await, Err(Error::Ended)));
}

#[tokio::test]
async fn a_position_beyond_the_end_commits_what_is_there() {
    let log = MemoryLog::new(schema(), 9);
    log.push(numbers(0..2), soon()).await.unwrap();
    let reader = log.reader();
    reader.commit(100).await.unwrap();
    log.push(numbers(2..3), soon()).await.unwrap();
    assert_eq!(log.reader().next(9, soon()).await.unwrap().unwrap().rows, numbers(2..3));
}
