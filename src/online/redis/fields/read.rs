//! Reading: one `HMGET` for each entity, with the fields of all asked views, all of them in one round trip.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use redis::{Cmd, Value};

use super::super::columns::AnswerBuilder;
use super::super::link::{Answer, Link};
use super::{FieldRows, Found, ViewFields};
use crate::batch::StoredRows;
use crate::clock::Deadline;
use crate::online::{Error, Read};

/// What becomes of a row whose server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The whole question fails.
    Refused,
    /// The row is marked, the others are answered.
    Unreachable,
}

/// Questions about the same keys of the same entities: their fields are asked for together.
#[derive(Debug)]
pub(super) struct Group {
    /// Positions among the questions.
    reads: Vec<usize>,
    /// For each key the command that asks for it; none for a key that no hash can have.
    pub commands: Vec<Option<usize>>,
}

impl FieldRows {
    pub(super) async fn answer(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
        missing: Missing,
    ) -> Result<Vec<StoredRows>, Error> {
        let nothing_known = |error: Error| match missing {
            Missing::Unreachable if error.is_outage() => Ok(reads.iter().map(Read::unreachable).collect()),
            _ => Err(error),
        };
        if deadline.has_passed() {
            return nothing_known(Error::Late);
        }
        let fields = reads.iter().map(|read| self.fields(read.view)).collect::<Result<Vec<_>, Error>>()?;
        let mut commands = Vec::new();
        let groups = group(reads, &fields, &mut commands);
        let answers = link.call(commands, deadline).await;
        if let Err(error) = self.learn_schemas(link, reads, &groups, &answers, deadline).await {
            return nothing_known(error);
        }
        let mut rows: Vec<Option<StoredRows>> = reads.iter().map(|_| None).collect();
        for group in &groups {
            let mut at = 0;
            for &read in &group.reads {
                rows[read] = Some(self.rows(&reads[read], &fields[read], group, &answers, at, missing)?);
                at += 1 + reads[read].columns.len();
            }
        }
        Ok(rows.into_iter().map(|rows| rows.expect("every question is in a group")).collect())
    }

    /// Rows of a schema that this process has not met are understood after one more question.
    pub(super) async fn learn_schemas(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        groups: &[Group],
        answers: &[Answer],
        deadline: Deadline,
    ) -> Result<(), Error> {
        if !self.format.keeps_schemas() {
            return Ok(());
        }
        let mut unknown = BTreeMap::new();
        for group in groups {
            for command in group.commands.iter().flatten() {
                let Ok(Value::Array(values)) = &answers[*command] else { continue };
                let mut at = 0;
                for &read in &group.reads {
                    let id = values.get(at).and_then(text).and_then(|row| self.format.schema_of(row));
                    unknown.extend(id.map(|id| (id, reads[read].view)));
                    at += 1 + reads[read].columns.len();
                }
            }
        }
        for (id, view) in unknown {
            if !self.schemas.known().contains_key(&id) {
                self.schemas.load(link, view, id, deadline).await?;
            }
        }
        Ok(())
    }

    /// The answer to one question; its fields begin at `at` in every answer of its group.
    pub(super) fn rows(
        &self,
        read: &Read<'_>,
        fields: &ViewFields,
        group: &Group,
        answers: &[Answer],
        at: usize,
        missing: Missing,
    ) -> Result<StoredRows, Error> {
        let mut builder = AnswerBuilder::new(read.view, read.columns, read.keys.rows());
        for (row, command) in group.commands.iter().enumerate() {
            let values = match command.map(|command| &answers[command]) {
                None => {
                    builder.push_absent();
                    continue;
                }
                Some(Ok(Value::Array(values))) => values.get(at..at + 1 + read.columns.len()),
                Some(Ok(_)) => None,
                Some(Err(failure)) => {
                    let error = failure.clone().into_error("reading features");
                    if missing == Missing::Refused || !error.is_outage() {
                        return Err(error);
                    }
                    builder.push_unreachable();
                    continue;
                }
            };
            let Some([row_field, values @ ..]) = values else {
                let detail = "Redis answered HMGET with something else than the asked fields".to_owned();
                return Err(Error::Store { doing: "reading features", detail });
            };
            self.push_row(read, fields, row, text(row_field), values, &mut builder)?;
        }
        Ok(builder.finish())
    }

    fn push_row(
        &self,
        read: &Read<'_>,
        fields: &ViewFields,
        row: usize,
        row_field: Option<&[u8]>,
        values: &[Value],
        builder: &mut AnswerBuilder<'_>,
    ) -> Result<(), Error> {
        // The key is shown as Redis shows it; it is written anew, because only an error needs it.
        let damaged = |what: &str, detail: String| {
            let key = fields.keys.write(read.keys.get(row)).unwrap_or_default();
            let detail = format!("{what} of the key {} {detail}", key.escape_ascii());
            Error::Damaged { view: read.view.name.clone(), detail }
        };
        let has_values = values.iter().any(|value| *value != Value::Nil);
        let found = self.format.found(fields, row_field, has_values, &self.schemas);
        let found = found
            .map_err(|detail| damaged(&format!("the field {}", String::from_utf8_lossy(&fields.row_field)), detail))?;
        let Found::Present { event_time, schema } = found else {
            builder.push_absent();
            return Ok(());
        };
        builder.push_present(event_time);
        let mut bytes = row_field.map_or(0, <[u8]>::len);
        for (value, column) in values.iter().zip(&mut builder.columns) {
            let is_of_row = schema.as_ref().is_none_or(|schema| schema.has(column.field));
            match text(value).filter(|_| is_of_row) {
                None => column.push_null(),
                Some(value) => {
                    bytes += value.len();
                    let read = self.format.read_value(value, column);
                    read.map_err(|detail| damaged(&format!("feature {}", column.field.name), detail))?;
                }
            }
        }
        builder.count(bytes)
    }
}

/// Brings together what can be asked together, and adds the commands.
pub(super) fn group(reads: &[Read<'_>], fields: &[Arc<ViewFields>], commands: &mut Vec<Cmd>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (position, read) in reads.iter().enumerate() {
        let is_alike = |group: &&mut Group| {
            let other = &reads[group.reads[0]];
            let (one, other_view) = (read.view, other.view);
            one.entities == other_view.entities && one.join_keys == other_view.join_keys && read.keys == other.keys
        };
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.reads.push(position),
            None => groups.push(Group { reads: vec![position], commands: Vec::new() }),
        }
    }
    for group in &mut groups {
        let first = group.reads[0];
        let names = |read: &usize| {
            let fields = &fields[*read];
            let wanted = reads[*read].columns.iter().map(|column| fields.features[*column].as_slice());
            std::iter::once(fields.row_field.as_slice()).chain(wanted).collect::<Vec<_>>()
        };
        let names: Vec<&[u8]> = group.reads.iter().flat_map(names).collect();
        let names_bytes: usize = names.iter().map(|name| name.len()).sum();
        let keys = reads[first].keys;
        let mut asked: HashMap<&[u8], Option<usize>> = HashMap::with_capacity(keys.rows());
        for row in 0..keys.rows() {
            if keys.is_null(row) {
                group.commands.push(None);
                continue;
            }
            let command = *asked.entry(keys.get(row)).or_insert_with(|| {
                let key = fields[first].keys.write(keys.get(row))?;
                let mut command = Cmd::with_capacity(2 + names.len(), 5 + key.len() + names_bytes);
                command.arg("HMGET").arg(key).arg(&names);
                commands.push(command);
                Some(commands.len() - 1)
            });
            group.commands.push(command);
        }
    }
    groups
}

pub(super) fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    }
}
