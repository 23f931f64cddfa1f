//! What there is of each view, for operators: every hash is met, and the values of a sample are looked at.
//!
//! Beyond the sample a row counts by its row field alone; one that another program wrote without any is not seen there.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::Value;

use super::super::link::Link;
use super::scan::by_entity;
use super::{FieldRows, Found, ViewFields};
use crate::batch::KeyColumns;
use crate::clock::Deadline;
use crate::limits::STATISTICS_ROWS_MAX;
use crate::online::{Error, OnlineView, ViewStatistics};

const DOING: &str = "counting rows";

impl FieldRows {
    pub(super) async fn count(
        &self,
        link: &Link,
        views: &[Arc<OnlineView>],
        deadline: Deadline,
    ) -> Result<Vec<ViewStatistics>, Error> {
        let fields = views.iter().map(|view| self.fields(view)).collect::<Result<Vec<_>, Error>>()?;
        let mut sums: Vec<ViewStatistics> = views.iter().map(|view| nothing(view)).collect();
        let groups = by_entity(&fields);
        let primaries = link.primaries(deadline).await.map_err(|failure| failure.into_error(DOING))?;
        for primary in &primaries {
            let mut cursor = 0;
            loop {
                let page = primary.scan(&self.format.pattern(), cursor, deadline).await;
                let (next, keys) = page.map_err(|failure| failure.into_error(DOING))?;
                for group in &groups {
                    let mut columns = KeyColumns::new(&fields[group[0]].view.join_keys);
                    let ours = |key: &&Vec<u8>| fields[group[0]].keys.read(key, &mut columns);
                    let keys: Vec<&Vec<u8>> = keys.iter().filter(ours).collect();
                    for &view in group {
                        self.count_rows(link, &fields[view], &keys, &mut sums[view], deadline).await?;
                    }
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(sums)
    }

    /// Adds the rows that one view has under these keys.
    async fn count_rows(
        &self,
        link: &Link,
        fields: &ViewFields,
        keys: &[&Vec<u8>],
        sum: &mut ViewStatistics,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let is_sample = sum.sampled < STATISTICS_ROWS_MAX;
        let commands = keys.iter().map(|key| {
            let mut command = redis::cmd("HMGET");
            command.arg(key.as_slice()).arg(&fields.row_field);
            if is_sample {
                command.arg(&fields.features);
            }
            command
        });
        let answers = link.call(commands.collect(), deadline).await;
        let mut rows: Vec<(&[u8], Vec<Value>)> = Vec::with_capacity(keys.len());
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(Value::Array(values)) => rows.push((key, values)),
                Ok(_) | Err(super::super::failure::Failure::WrongType { .. }) => {}
                Err(failure) => return Err(failure.into_error(DOING)),
            }
        }
        if self.format.keeps_schemas() {
            let ids = rows.iter().filter_map(|(_, values)| self.format.schema_of(text(values.first()?)?));
            for id in ids.collect::<BTreeSet<u64>>() {
                if !self.schemas.known().contains_key(&id) {
                    match self.schemas.load(link, &fields.view, id, deadline).await {
                        // A row that no one can read does not count.
                        Err(Error::Damaged { .. }) => {}
                        loaded => loaded?,
                    }
                }
            }
        }
        for (key, values) in &rows {
            let Some((row, values)) = values.split_first() else { continue };
            self.add(fields, key, text(row), values, is_sample, sum);
        }
        Ok(())
    }

    /// A row that cannot be read is none; whoever asks for it is told.
    fn add(
        &self,
        fields: &ViewFields,
        key: &[u8],
        row: Option<&[u8]>,
        values: &[Value],
        is_sample: bool,
        sum: &mut ViewStatistics,
    ) {
        let has_values = values.iter().any(|value| *value != Value::Nil);
        let found = self.format.found(fields, row, has_values, &self.schemas);
        let Ok(Found::Present { event_time, schema }) = found else { return };
        sum.keys += 1;
        if !is_sample {
            return;
        }
        sum.sampled += 1;
        sum.oldest_event_time = Some(sum.oldest_event_time.map_or(event_time, |oldest| oldest.min(event_time)));
        sum.newest_event_time = Some(sum.newest_event_time.map_or(event_time, |newest| newest.max(event_time)));
        let mut bytes = key.len() + row.map_or(0, |row| row.len() + fields.row_field.len());
        let features = fields.view.features.iter().zip(&fields.features).zip(values).zip(&mut sum.values);
        for (((feature, name), value), (_, count)) in features {
            let Some(value) = text(value) else { continue };
            bytes += name.len() + value.len();
            let is_of_row = schema.as_ref().is_none_or(|schema| schema.has(feature));
            *count += u64::from(is_of_row && !self.format.is_null(value));
        }
        sum.bytes += bytes as u64;
    }
}

fn nothing(view: &OnlineView) -> ViewStatistics {
    let values = view.features.iter().map(|feature| (feature.name.clone(), 0)).collect();
    ViewStatistics { view: view.name.clone(), values, ..ViewStatistics::default() }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    }
}
