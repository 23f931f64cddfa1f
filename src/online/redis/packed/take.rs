//! Reading packed rows as they are: values as for a question, and from the headers what a question does not ask.

use std::sync::Arc;

use arrow::array::ArrayRef;
use redis::Value;

use super::super::link::Link;
use super::super::whole::{Mark, WholeRows};
use super::Packed;
use crate::batch::KeyBatch;
use crate::clock::Deadline;
use crate::online::packed::{Header, NO_CREATED_TIME, RowSchema};
use crate::online::{Error, OnlineView, Read};

const DOING: &str = "copying features";

impl Packed {
    pub(super) async fn take_all(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        keys: &[ArrayRef],
        deadline: Deadline,
    ) -> Result<WholeRows, Error> {
        let rows = keys.first().map_or(1, |keys| keys.len());
        let entities = KeyBatch::encode(&view.join_keys, keys, rows);
        let columns: Vec<usize> = (0..view.features.len()).collect();
        let reads = [Read { view, keys: &entities, columns: &columns }];
        let (asked, found) = self.find(link, &reads, deadline).await;
        if let Some(failure) = found.iter().find_map(|found| found.as_ref().err()) {
            return Err(failure.clone().into_error(DOING));
        }
        let stored = self.decode_found(link, &reads, &asked, &found, deadline).await?.remove(0);

        let schema = RowSchema::of(view);
        let mut values: Vec<_> = found.iter().map(|found| found.iter().flatten()).collect();
        let mut commands = asked.commands_of_keys();
        let mark_of = |row: usize| {
            if entities.is_null(row) {
                return None;
            }
            match values.get_mut(commands.next()?)?.next()? {
                Value::BulkString(row) => Header::read(row).ok().and_then(|header| mark(&header, &schema)),
                _ => None,
            }
        };
        let marks: Vec<Option<Mark>> = (0..rows).map(mark_of).collect();
        WholeRows::of(keys, &stored, &marks)
            .map_err(|error| Error::Damaged { view: view.name.clone(), detail: error.to_string() })
    }
}

/// None for a row of other entities than those of `today`.
fn mark(header: &Header, today: &RowSchema) -> Option<Mark> {
    let version = header.version;
    // Of a live row the reader has said whether it is one of today's; a tombstone it has not looked into.
    let is_of_others = header.deleted && !today.describes_entities_of_id(header.schema_id);
    (!is_of_others).then_some(Mark {
        event_time: Some(version.event_time),
        created_time: (version.created_time != NO_CREATED_TIME).then_some(version.created_time),
        position: version.position.map(|position| (position.partition, position.offset)),
        deleted: header.deleted,
    })
}
