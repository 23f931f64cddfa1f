//! How far each partition of a stream has come: the hash `<prefix>wm:<layout>:<view>`, `<stream>/<partition>` → the last offset.

use redis::Value;

use super::super::link::Link;
use super::super::script::{Script, ScriptCall};
use crate::batch::Origin;
use crate::clock::Deadline;
use crate::online::{Error, OnlineView};

/// Never goes back: a batch that is written again is behind what came after it.
const ADVANCE: &str = r"
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept or #kept < #ARGV[2] or (#kept == #ARGV[2] and kept < ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 1
";

#[derive(Debug)]
pub(super) struct Progress {
    /// Of the keys of the hashes.
    prefix: String,
    advance: Script,
}

impl Progress {
    /// Layouts count for themselves: what was written to one is not there in another.
    pub fn new(prefix: &str, layout: &str) -> Self {
        Self { prefix: format!("{prefix}wm:{layout}:"), advance: Script::new(ADVANCE) }
    }

    pub async fn of(
        &self,
        link: &Link,
        view: &OnlineView,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(view)).arg(field(stream, partition));
        let answer = link.call(vec![command], deadline).await.remove(0);
        let answer = answer.map_err(|failure| failure.into_error("reading the progress of a stream"))?;
        let Value::BulkString(text) = answer else { return Ok(None) };
        match str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
            Some(offset) => Ok(Some(offset)),
            None => {
                let detail = format!("the progress of {stream}/{partition} is not an offset");
                Err(Error::Damaged { view: view.name.clone(), detail })
            }
        }
    }

    /// Notes that all rows of a stretch of a partition are written.
    pub async fn advance(
        &self,
        link: &Link,
        view: &OnlineView,
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let Some(last) = origin.offsets.last() else { return Ok(()) };
        let call = ScriptCall {
            keys: vec![self.key(view)],
            arguments: vec![field(&origin.stream, origin.partition).into_bytes(), last.to_string().into_bytes()],
        };
        let answer = link.run(&self.advance, vec![call], deadline).await.remove(0);
        answer.map(drop).map_err(|failure| failure.into_error("noting the progress of a stream"))
    }

    fn key(&self, view: &OnlineView) -> Vec<u8> {
        format!("{}{}", self.prefix, view.name).into_bytes()
    }
}

fn field(stream: &str, partition: u32) -> String {
    format!("{stream}/{partition}")
}
