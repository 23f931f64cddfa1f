//! What a database says of whose rows it holds, asked before the first of them is read or written.
//!
//! The packed layout owns its keys: nobody else may write them, and its buckets may never change. So it leaves a hash
//! that names project, layout, format and buckets, and refuses a database that says something else, or that is full of
//! somebody's keys and says nothing. The other layouts share their keys with other programs and leave no mark.
//!
//! # What the mark says while a project moves to another layout
//! That packed rows of the project lie here, not that they are the ones that are served: `lockstep.yaml` alone says that.
//! So packed rows may stand beside hashes under one prefix; none of their keys are equal. A copy to the packed layout
//! leaves the mark although the database is full of keys, because its user has named them: they are what it copies. From
//! then on a gateway with the packed layout starts there, and not before, so nobody serves from a place that no copy has
//! been to. A project that moves away leaves the mark with its rows, and may come back to them.

use redis::Value;

use super::failure::Failure;
use super::link::Link;
use super::settings::{Layout, Mode, Settings};
use crate::clock::Deadline;
use crate::limits;
use crate::online::Error;

/// The version of the packed layout's keys.
const FORMAT: &str = "1";
const DOING: &str = "opening it";

/// Checks that the servers are what the settings say, and that the database is ours or can become it.
pub(super) async fn check(link: &Link, settings: &Settings, deadline: Deadline) -> Result<(), Error> {
    check_mode(link, deadline).await?;
    if settings.layout != Layout::Packed {
        return Ok(());
    }
    let (key, ours) = (key(settings), ours(settings));
    if read(link, &key, deadline).await?.is_empty() {
        if !settings.shared {
            check_empty(link, deadline).await?;
        }
        // Two gateways may open the database at once: nobody overwrites what is there, and what is there decides.
        let set = ours.iter().map(|(fact, value)| redis::cmd("HSETNX").arg(&key).arg(fact).arg(value).take()).collect();
        for answer in link.call(set, deadline).await {
            answer.map_err(|failure| failure.into_error(DOING))?;
        }
    }
    let there = read(link, &key, deadline).await?;
    compare(link, &key, &there, &ours)
}

/// As [`check`], of a database that a copy takes rows from: it is not made ours, it must be.
pub(super) async fn check_source(link: &Link, settings: &Settings, deadline: Deadline) -> Result<(), Error> {
    check_mode(link, deadline).await?;
    if settings.layout != Layout::Packed {
        return Ok(());
    }
    let key = key(settings);
    let there = read(link, &key, deadline).await?;
    if there.is_empty() {
        let detail = format!("{} has no {key}, so there are no packed rows to copy; correct the prefix", name_of(link));
        return Err(Error::Setup { detail });
    }
    compare(link, &key, &there, &ours(settings))
}

fn key(settings: &Settings) -> String {
    format!("{}lockstep:store", settings.prefix)
}

/// What the marker of these settings says.
fn ours(settings: &Settings) -> [(&'static str, String); 4] {
    [
        ("project", settings.project.clone()),
        ("layout", "packed".to_owned()),
        ("format", FORMAT.to_owned()),
        ("buckets", limits::REDIS_BUCKETS.to_string()),
    ]
}

fn compare(link: &Link, key: &str, there: &[(String, String)], ours: &[(&str, String)]) -> Result<(), Error> {
    for (fact, value) in ours {
        let found = there.iter().find(|(name, _)| name == fact).map_or("nothing", |(_, value)| value.as_str());
        if found != value {
            let detail = format!("its {key} has the {fact} {found}, not {value}");
            return Err(Error::OtherStore { server: name_of(link), detail });
        }
    }
    Ok(())
}

/// What the marker says; nothing where there is none.
async fn read(link: &Link, key: &str, deadline: Deadline) -> Result<Vec<(String, String)>, Error> {
    let command = redis::cmd("HGETALL").arg(key).take();
    let reply = link.call(vec![command], deadline).await.remove(0).map_err(|failure| failure.into_error(DOING))?;
    let damaged = |_| Error::OtherStore { server: name_of(link), detail: format!("its {key} is not Lockstep's") };
    redis::from_redis_value(reply).map_err(damaged)
}

/// A server that runs in another mode would answer with errors that say something else.
async fn check_mode(link: &Link, deadline: Deadline) -> Result<(), Error> {
    let info = match link.call(vec![redis::cmd("INFO").arg("server").take()], deadline).await.remove(0) {
        Ok(Value::BulkString(info)) => info,
        // A user without this permission has been told to have it, and can work without.
        Ok(_) | Err(Failure::NotAllowed { .. }) => return Ok(()),
        Err(failure) => return Err(failure.into_error(DOING)),
    };
    let info = String::from_utf8_lossy(&info);
    let runs_as = super::health::fact(&info, "redis_mode").unwrap_or_default();
    let wanted = match link.server().mode {
        Mode::Cluster => "cluster",
        Mode::Standalone | Mode::Sentinel { .. } => "standalone",
    };
    if runs_as == wanted || runs_as.is_empty() {
        return Ok(());
    }
    let detail = format!("{} runs as {runs_as}; write mode: {runs_as} in lockstep.yaml", name_of(link));
    Err(Error::Setup { detail })
}

async fn check_empty(link: &Link, deadline: Deadline) -> Result<(), Error> {
    let mut keys = 0;
    for primary in link.primaries(deadline).await.map_err(|failure| failure.into_error(DOING))? {
        match primary.call(vec![redis::cmd("DBSIZE")], deadline).await.remove(0) {
            Ok(Value::Int(size)) => keys += u64::try_from(size).unwrap_or_default(),
            Ok(_) => {}
            Err(failure) => return Err(failure.into_error(DOING)),
        }
    }
    if keys == 0 {
        return Ok(());
    }
    Err(Error::ForeignDatabase { server: name_of(link), database: link.server().database, keys })
}

fn name_of(link: &Link) -> String {
    link.server().addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
