//! Which servers there are and which of them has a key: one server, the primary that the sentinels name, or the
//! primaries of a cluster by slot.
//!
//! What is known is read without a lock. It is looked up again when a server cannot be reached, says that it is a
//! replica, or says that a slot has moved: one lookup at a time, which goes on when the request that began it has run
//! out of time. Servers that stay keep their connections.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use futures::future::{BoxFuture, Shared};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use redis::Value;

use super::super::failure::{Failure, Outage};
use super::super::settings::{Address, Mode};
use super::node::{Node, pause};
use super::opener::Opener;
use super::slot::SLOTS;
use crate::clock::Deadline;
use crate::limits;

/// The servers that were found last.
#[derive(Debug)]
pub(super) struct Directory {
    opener: Arc<Opener>,
    known: ArcSwap<Known>,
    lookups: Mutex<Lookups>,
}

/// Primaries only: a replica may be behind, and its answers with it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub nodes: Vec<Arc<Node>>,
    /// Which of `nodes` has a slot; empty where there are no slots.
    slots: Vec<u16>,
}

/// Stands in `slots` where no server has the slot.
const NOBODY: u16 = u16::MAX;

type Lookup = Shared<BoxFuture<'static, Result<Arc<Known>, Failure>>>;

#[derive(Debug, Default)]
struct Lookups {
    running: Option<Lookup>,
    failed: u32,
    /// The last result, and until when it answers whoever asks.
    last: Option<(Result<Arc<Known>, Failure>, Instant)>,
}

impl Known {
    /// The server of a key in this slot; of a command without keys, the first one.
    pub fn node(&self, slot: Option<u16>) -> Option<usize> {
        match slot {
            Some(slot) if !self.slots.is_empty() => Some(usize::from(self.slots[usize::from(slot)])),
            _ => Some(0),
        }
        .filter(|node| *node < self.nodes.len())
    }

    fn at(&self, address: &Address) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| &node.address == address)
    }

    fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Node>, &Arc<Node>)| one.address == other.address;
        self.slots == other.slots
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same)
    }
}

impl Directory {
    pub fn new(opener: Arc<Opener>) -> Arc<Self> {
        let mut known = Known::default();
        if opener.server.mode == Mode::Standalone {
            known.nodes.push(Arc::new(Node::new(opener.server.addresses[0].clone(), Arc::clone(&opener))));
        }
        Arc::new(Self { opener, known: ArcSwap::from_pointee(known), lookups: Mutex::default() })
    }

    /// What is known, looked up if nothing is.
    pub async fn known(self: &Arc<Self>, deadline: Deadline) -> Result<Arc<Known>, Failure> {
        let known = self.known.load_full();
        if known.nodes.is_empty() { self.look_up(&known, deadline).await } else { Ok(known) }
    }

    /// What is known, without a look.
    pub fn current(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// What is known now, if that is not `outdated` any more; else what a new lookup finds, which may be the same.
    pub async fn look_up(self: &Arc<Self>, outdated: &Arc<Known>, deadline: Deadline) -> Result<Arc<Known>, Failure> {
        let lookup = self.begin_lookup(outdated)?;
        tokio::time::timeout_at(deadline.instant().into(), lookup).await.unwrap_or(Err(Failure::Late))
    }

    /// Starts a lookup in the background, if what is known is still `outdated`.
    pub fn begin_lookup(self: &Arc<Self>, outdated: &Arc<Known>) -> Result<Lookup, Failure> {
        let known = self.known.load_full();
        if self.opener.server.mode == Mode::Standalone || !Arc::ptr_eq(&known, outdated) {
            return Ok(futures::future::ready(Ok(known)).boxed().shared());
        }
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &lookups.running {
            return Ok(running.clone());
        }
        if let Some((result, until)) = &lookups.last
            && Instant::now() < *until
        {
            return Ok(futures::future::ready(result.clone()).boxed().shared());
        }
        let directory = Arc::clone(self);
        let task = tokio::spawn(async move { directory.run_lookup().await });
        let server = self.opener.server.addresses[0].clone();
        let stopping = Failure::unreachable(&server, Outage::Broken, "the gateway is stopping");
        let running = task.map(|joined| joined.unwrap_or(Err(stopping))).boxed().shared();
        lookups.running = Some(running.clone());
        Ok(running)
    }

    /// A server says that `address` has the slot now.
    pub fn moved(&self, slot: u16, address: &Address) {
        self.known.rcu(|known| {
            let mut nodes = known.nodes.clone();
            let mut slots = known.slots.clone();
            let node = nodes.iter().position(|node| &node.address == address).unwrap_or_else(|| {
                nodes.push(Arc::new(Node::new(address.clone(), Arc::clone(&self.opener))));
                nodes.len() - 1
            });
            if let Some(owner) = slots.get_mut(usize::from(slot)) {
                *owner = u16::try_from(node).unwrap_or(NOBODY);
            }
            Known { nodes, slots }
        });
    }

    /// The server at `address`, which need not be a primary that is known.
    pub fn node(&self, address: &Address) -> Arc<Node> {
        let known = self.known.load();
        known.at(address).cloned().unwrap_or_else(|| Arc::new(Node::new(address.clone(), Arc::clone(&self.opener))))
    }

    async fn run_lookup(&self) -> Result<Arc<Known>, Failure> {
        let found = match &self.opener.server.mode {
            Mode::Standalone => Ok(Known { nodes: self.known.load().nodes.clone(), slots: Vec::new() }),
            Mode::Sentinel { master, .. } => self.find_primary(master).await,
            Mode::Cluster => self.find_slots().await,
        };
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        lookups.running = None;
        let result = found.map(|found| {
            let known = self.known.load_full();
            if known.is_same(&found) {
                return known;
            }
            let found = Arc::new(found);
            self.known.store(Arc::clone(&found));
            tracing::info!(servers = %names(&found.nodes), "Redis servers found");
            found
        });
        lookups.failed = if result.is_ok() { 0 } else { lookups.failed.saturating_add(1) };
        lookups.last = Some((result.clone(), Instant::now() + pause(lookups.failed)));
        result
    }

    /// Asks all sentinels at once; the first answer that names a primary which says so itself is taken.
    async fn find_primary(&self, master: &str) -> Result<Known, Failure> {
        let sentinels = &self.opener.server.addresses;
        let mut asked: FuturesUnordered<_> =
            sentinels.iter().map(|sentinel| self.opener.ask_sentinel(sentinel, master)).collect();
        let mut failure = None;
        while let Some(named) = asked.next().await {
            match named {
                Ok(address) => match self.confirm_primary(&address).await {
                    Ok(node) => return Ok(Known { nodes: vec![node], slots: Vec::new() }),
                    Err(refused) => failure = Some(refused),
                },
                // What a named primary answered says more than that some sentinel is away.
                Err(refused) => failure = failure.or(Some(refused)),
            }
        }
        Err(failure.unwrap_or(Failure::Late))
    }

    async fn confirm_primary(&self, address: &Address) -> Result<Arc<Node>, Failure> {
        let node = self.node(address);
        let deadline = Deadline::after(self.opener.server.connect_timeout + self.opener.server.response_timeout);
        match node.ask(&redis::cmd("ROLE"), deadline).await {
            Ok(Value::Array(role)) if role.first().and_then(text) == Some("slave") => {
                Err(Failure::ReadOnly { server: address.clone() })
            }
            // A user who may not ask for the role learns it from the first write.
            Ok(_) | Err(Failure::NotAllowed { .. }) => Ok(node),
            Err(failure) => Err(failure),
        }
    }

    /// Asks the servers that are known and those that the settings name, a few at a time; the first answer is taken.
    async fn find_slots(&self) -> Result<Known, Failure> {
        let known = self.known.load_full();
        let named = self.opener.server.addresses.iter();
        let asked: BTreeSet<&Address> = known.nodes.iter().map(|node| &node.address).chain(named).collect();
        let mut asked: Vec<&Address> = asked.into_iter().collect();
        // A server that is cut off from the others knows less than they do: begin with another one each time.
        let first = usize::try_from(super::node::random()).unwrap_or_default() % asked.len();
        asked.rotate_left(first);
        let ask = |address: Address| async move { self.slots_of(&address).await };
        let mut answers = futures::stream::iter(asked.into_iter().cloned().map(ask))
            .buffer_unordered(limits::REDIS_NODES_ASKED_AT_ONCE);
        let mut failure = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(found) => return Ok(found),
                Err(refused) => failure = Some(refused),
            }
        }
        Err(failure.unwrap_or(Failure::Late))
    }

    async fn slots_of(&self, address: &Address) -> Result<Known, Failure> {
        let deadline = Deadline::after(self.opener.server.connect_timeout + self.opener.server.response_timeout);
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let ranges = match self.node(address).ask(&command, deadline).await {
            Ok(reply) => slot_ranges(address, &reply),
            Err(Failure::Refused { detail, .. }) if detail.contains("cluster support disabled") => {
                let detail = format!("{address} is not part of a cluster; write mode: standalone");
                return Err(Failure::Setup { detail });
            }
            Err(failure) => return Err(failure),
        };
        let mut known = Known { nodes: Vec::new(), slots: vec![NOBODY; SLOTS] };
        for (first, last, address) in ranges {
            let node = known.nodes.iter().position(|node| node.address == address).unwrap_or_else(|| {
                known.nodes.push(self.node(&address));
                known.nodes.len() - 1
            });
            known.slots[first..=last].fill(u16::try_from(node).unwrap_or(NOBODY));
        }
        if known.nodes.is_empty() {
            let detail = "no server has a slot".to_owned();
            return Err(Failure::ClusterDown { server: address.clone(), detail });
        }
        Ok(known)
    }
}

/// First slot, last slot and primary of each range in a reply to CLUSTER SLOTS. What is not such a range is left out.
fn slot_ranges(asked: &Address, reply: &Value) -> Vec<(usize, usize, Address)> {
    let Value::Array(ranges) = reply else { return Vec::new() };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else { return None };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        // A server that does not know its own address leaves it out: it is where we asked.
        let host = text(host).filter(|host| !host.is_empty() && *host != "?").unwrap_or(&asked.host);
        let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
        (first <= last && last < SLOTS).then_some(())?;
        Some((first, last, Address::new(host, u16::try_from(*port).ok()?)))
    };
    ranges.iter().filter_map(range).collect()
}

/// The text of a reply, if it is one.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn names(nodes: &[Arc<Node>]) -> String {
    nodes.iter().map(|node| node.address.to_string()).collect::<Vec<_>>().join(", ")
}
