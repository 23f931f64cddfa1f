//! Reading whole rows out of hashes: values as for a question, and what their row fields say of them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use redis::Value;

use super::super::link::Link;
use super::super::whole::{Mark, WholeRows};
use super::FieldRows;
use super::read::{Missing, group, text};
use crate::batch::KeyBatch;
use crate::clock::Deadline;
use crate::online::{Error, OnlineView, Read};

impl FieldRows {
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
        let fields = [self.fields(view)?];
        let mut commands = Vec::new();
        let groups = group(&reads, &fields, &mut commands);
        let answers = link.call(commands, deadline).await;
        self.learn_schemas(link, &reads, &groups, &answers, deadline).await?;
        let stored = self.rows(&reads[0], &fields[0], &groups[0], &answers, 0, Missing::Refused)?;
        let mark = |command: &Option<usize>| match &answers[(*command)?] {
            Ok(Value::Array(values)) => self.format.mark(&fields[0], values.first().and_then(text)),
            _ => None,
        };
        let marks: Vec<Option<Mark>> = groups[0].commands.iter().map(mark).collect();
        WholeRows::of(keys, &stored, &marks)
            .map_err(|error| Error::Damaged { view: view.name.clone(), detail: error.to_string() })
    }
}
