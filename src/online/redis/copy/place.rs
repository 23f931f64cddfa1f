//! How far a copy has come at each server, kept in Redis beside the copied rows, so that both are lost or kept together.
//!
//! The hash `<prefix>lockstep:copy:<from>:<to>`, with the prefix and the names of the two layouts, has a field for each
//! server: where its next page begins (`-` when there is none) and the server's identity. The field `what` says what is
//! copied; of another copy nothing is gone on with. The hash is removed when the copy is done.
//!
//! # Why a server has an identity
//! The cursor of a scan means something to the process alone that gave it, and a slot that moves takes keys past a scan
//! that has been there. So a place counts only for the same process with the same slots; everything else is begun again.

use std::collections::HashMap;

use redis::Value;

use super::super::failure::Failure;
use super::super::health::fact;
use super::super::link::{Link, Primary};
use super::super::settings::Settings;
use crate::catalog::Digest;
use crate::clock::Deadline;
use crate::online::packed::RowSchema;
use crate::online::{Error, OnlineView};

const DOING: &str = "noting how far the copy has come";
const WHAT: &str = "what";

/// How far a copy has come at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub identity: String,
    /// The cursor of the next page; none after the last one.
    pub next: Option<u64>,
}

/// The places of one copy.
#[derive(Debug)]
pub(super) struct Places {
    key: String,
    what: String,
}

impl Places {
    pub fn of(from: &Settings, to: &Settings, views: &[std::sync::Arc<OnlineView>]) -> Self {
        let mut what = format!("{} {}", from.prefix, from.layout.text());
        for view in views {
            let digest = view.digest.map_or(String::new(), |digest| hex::encode(digest.prefix()));
            what.push_str(&format!(" {}:{:016x}:{digest}", view.name, RowSchema::of(view).id));
        }
        let names = [from, to].map(|settings| settings.layout.text());
        Self {
            key: format!("{}lockstep:copy:{}:{}", to.prefix, names[0], names[1]),
            what: hex::encode(Digest::of(what.as_bytes()).prefix()),
        }
    }

    /// Where an interrupted copy has come, by the address of the server; nothing where there is none.
    pub async fn open(&self, link: &Link, deadline: Deadline) -> Result<HashMap<String, Place>, Error> {
        let command = redis::cmd("HGETALL").arg(&self.key).take();
        let kept = link.call(vec![command], deadline).await.remove(0).map_err(failed)?;
        let kept: HashMap<String, String> = redis::from_redis_value(kept).unwrap_or_default();
        if kept.get(WHAT) == Some(&self.what) {
            return Ok(kept.into_iter().filter_map(|(address, text)| Some((address, Place::parse(&text)?))).collect());
        }
        self.forget(link, deadline).await?;
        let command = redis::cmd("HSET").arg(&self.key).arg(WHAT).arg(&self.what).take();
        link.call(vec![command], deadline).await.remove(0).map_err(failed)?;
        Ok(HashMap::new())
    }

    pub async fn keep(&self, link: &Link, address: &str, place: &Place, deadline: Deadline) -> Result<(), Error> {
        let command = redis::cmd("HSET").arg(&self.key).arg(address).arg(place.text()).take();
        link.call(vec![command], deadline).await.remove(0).map(drop).map_err(failed)
    }

    pub async fn forget(&self, link: &Link, deadline: Deadline) -> Result<(), Error> {
        let command = redis::cmd("DEL").arg(&self.key).take();
        link.call(vec![command], deadline).await.remove(0).map(drop).map_err(failed)
    }
}

impl Place {
    fn text(&self) -> String {
        let next = self.next.map_or("-".to_owned(), |cursor| cursor.to_string());
        format!("{next} {}", self.identity)
    }

    fn parse(text: &str) -> Option<Self> {
        let (next, identity) = text.split_once(' ')?;
        let next = if next == "-" { None } else { Some(next.parse().ok()?) };
        Some(Self { identity: identity.to_owned(), next })
    }
}

/// The servers that hold keys, as they are now.
pub(super) async fn primaries(link: &Link, deadline: Deadline) -> Result<Vec<Primary>, Error> {
    link.primaries_now(deadline).await.map_err(failed)
}

/// What a server's process and its slots are, those on the move included.
pub(super) async fn identity(link: &Link, primary: &Primary, deadline: Deadline) -> Result<String, Error> {
    let mut commands = vec![redis::cmd("INFO").arg("server").take()];
    if link.is_cluster() {
        commands.push(redis::cmd("CLUSTER").arg("NODES").take());
    }
    let mut texts = Vec::with_capacity(commands.len());
    for answer in primary.call(commands, deadline).await {
        match answer.map_err(failed)? {
            Value::BulkString(text) => texts.push(String::from_utf8_lossy(&text).into_owned()),
            Value::VerbatimString { text, .. } => texts.push(text),
            other => return Err(Error::Store { doing: DOING, detail: format!("Redis answered {other:?}") }),
        }
    }
    let process = fact(&texts[0], "run_id").unwrap_or_default().to_owned();
    let slots = texts.get(1).and_then(|nodes| nodes.lines().find(|line| line.contains("myself")));
    // Before the slots stand id, address, flags, primary, ping, pong, epoch and state.
    let slots = slots.map_or(String::new(), |line| line.split_whitespace().skip(8).collect::<Vec<_>>().join(","));
    Ok(format!("{process} {slots}"))
}

fn failed(failure: Failure) -> Error {
    failure.into_error(DOING)
}
