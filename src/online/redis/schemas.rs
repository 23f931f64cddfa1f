//! What rows were written with: kept in Redis, and in this process once it was met.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use redis::{Cmd, Value};

use super::key;
use super::link::Link;
use crate::clock::Deadline;
use crate::online::packed::RowSchema;
use crate::online::{Error, OnlineView};

type Known = HashMap<u64, Arc<RowSchema>>;

/// Reading takes no lock: a read looks here once for each schema that it meets.
#[derive(Debug)]
pub(super) struct Schemas {
    /// The hash in Redis.
    key: Vec<u8>,
    known: ArcSwap<Known>,
}

impl Schemas {
    pub fn new(prefix: &str) -> Self {
        Self { key: key::schemas(prefix), known: ArcSwap::default() }
    }

    /// Those that were met so far.
    pub fn known(&self) -> Guard<Arc<Known>> {
        self.known.load()
    }

    /// Makes sure that Redis has `schema`, whether it never had it or lost it. Two schemas with one id would be misread,
    /// so that is refused.
    pub async fn keep(
        &self,
        link: &Link,
        view: &OnlineView,
        schema: &Arc<RowSchema>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let doing = "keeping a schema";
        let is_known = self.known().contains_key(&schema.id);
        if is_known {
            let there = link.call(vec![self.command("HEXISTS", schema.id)], deadline).await.remove(0);
            if there.map_err(|failure| failure.into_error(doing))? == Value::Int(1) {
                return Ok(());
            }
        }
        let text = schema.text();
        let mut set = self.command("HSETNX", schema.id);
        set.arg(&text);
        let mut answers = link.call(vec![set, self.command("HGET", schema.id)], deadline).await.into_iter();
        let mut next = || answers.next().transpose().map_err(|failure| failure.into_error(doing));
        next()?;
        match next()? {
            Some(Value::BulkString(kept)) if kept == text.as_bytes() => {}
            _ => {
                let detail = "other columns have the same schema id; rename one feature".to_owned();
                return Err(Error::Unstorable { view: view.name.clone(), detail });
            }
        }
        self.remember(Arc::clone(schema));
        Ok(())
    }

    /// Gets the schema with this id from Redis, for a row of `view` that was found.
    pub async fn load(&self, link: &Link, view: &OnlineView, id: u64, deadline: Deadline) -> Result<(), Error> {
        let answer = link.call(vec![self.command("HGET", id)], deadline).await.remove(0);
        let kept = answer.map_err(|failure| failure.into_error("reading a schema"))?;
        let text = match &kept {
            Value::BulkString(text) => str::from_utf8(text).ok(),
            _ => None,
        };
        let schema = text.and_then(|text| RowSchema::kept(id, text)).ok_or_else(|| Error::Damaged {
            view: view.name.clone(),
            detail: format!("its schema {id:016x} is not in the store"),
        })?;
        self.remember(Arc::new(schema));
        Ok(())
    }

    fn remember(&self, schema: Arc<RowSchema>) {
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            known.insert(schema.id, Arc::clone(&schema));
            known
        });
    }

    fn command(&self, name: &str, id: u64) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(&self.key).arg(format!("{id:016x}"));
        command
    }
}
