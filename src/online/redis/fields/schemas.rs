//! What rows were written with: the hash `<prefix>lockstep:schemas`, schema id → the names and types of the columns.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use redis::Value;

use super::super::link::Link;
use crate::clock::Deadline;
use crate::online::packed::RowSchema;
use crate::online::{Error, OnlineView};

/// The schemas that this process has seen; Redis has them all.
#[derive(Debug)]
pub(in crate::online::redis) struct Schemas {
    key: Vec<u8>,
    known: RwLock<HashMap<u64, Arc<RowSchema>>>,
}

impl Schemas {
    pub fn new(prefix: &str) -> Self {
        Self { key: format!("{prefix}lockstep:schemas").into_bytes(), known: RwLock::default() }
    }

    pub fn get(&self, id: u64) -> Option<Arc<RowSchema>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Learns the schemas with these ids from Redis. One that is not there stays unknown.
    pub async fn learn(&self, link: &Link, ids: &[u64], deadline: Deadline) -> Result<(), Error> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.key);
        for id in ids {
            command.arg(name(*id));
        }
        let answer = link.call(vec![command], deadline).await.remove(0);
        let answer = answer.map_err(|failure| failure.into_error("reading the columns of stored rows"))?;
        let Value::Array(texts) = answer else { return Ok(()) };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (id, text) in ids.iter().zip(texts) {
            let Value::BulkString(text) = text else { continue };
            if let Some(schema) = str::from_utf8(&text).ok().and_then(|text| RowSchema::kept(*id, text)) {
                known.insert(*id, Arc::new(schema));
            }
        }
        Ok(())
    }

    /// Sees to it that Redis has the schema of rows to come. Two schemas with one id would be misread, so that is
    /// refused.
    pub async fn keep(
        &self,
        link: &Link,
        view: &OnlineView,
        schema: &RowSchema,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.get(schema.id).is_some_and(|known| *known == *schema) {
            return Ok(());
        }
        let (mut set, mut get) = (redis::cmd("HSETNX"), redis::cmd("HGET"));
        set.arg(&self.key).arg(name(schema.id)).arg(schema.text());
        get.arg(&self.key).arg(name(schema.id));
        let mut answers = link.call(vec![set, get], deadline).await;
        let failed = |failure: super::super::failure::Failure| failure.into_error("keeping the columns of rows");
        let kept = answers.remove(1).map_err(failed)?;
        answers.remove(0).map_err(failed)?;
        if kept != Value::BulkString(schema.text().into_bytes()) {
            let detail = "other columns have the same schema id; rename one feature".to_owned();
            return Err(Error::Unstorable { view: view.name.clone(), detail });
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(schema.id, Arc::new(schema.clone()));
        Ok(())
    }
}

fn name(id: u64) -> String {
    format!("{id:016x}")
}
