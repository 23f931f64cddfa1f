//! Every connection of one gateway to one Redis.
//!
//! Takes commands, finds the servers that are to answer them, sends each server its commands in one go and gives back
//! one answer per command, in order. Follows a cluster's redirections, and a primary that has moved. What a failed
//! answer means is said by [`Failure`]; a command whose connection broke is sent again, so every command that goes
//! through here must be harmless when it runs twice.
//!
//! # Why not the crate's own cluster and Sentinel clients
//! They send everything through one task and one connection per node, and bound their retries by a count and timeouts
//! of their own. Here all three modes share one way, each thread has its own connections, and the request's deadline is
//! what ends it.

mod directory;
mod lane;
mod node;
mod opener;
mod slot;

use std::collections::VecDeque;
use std::sync::Arc;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{Arg, Cmd, Pipeline, Value};

use super::failure::{Failure, Outage};
use super::script::{Script, ScriptCall};
use super::settings::{Address, Mode, Server};
use crate::clock::Deadline;
use crate::limits;
use crate::online::Error;
use directory::{Directory, Known};
use node::Node;
use opener::Opener;

pub(super) use lane::{Gets, Values};
pub(super) use node::pause;
pub(super) use slot::{crc16, of_key as slot_of_key};

pub(super) type Answer = Result<Value, Failure>;

/// The connections. Made without one being open; the first command opens it.
#[derive(Debug)]
pub(super) struct Link {
    opener: Arc<Opener>,
    directory: Arc<Directory>,
}

/// A server that holds keys, for what is asked of each of them.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    node: Arc<Node>,
}

/// A command that has no answer yet.
struct Open {
    /// The place of its answer.
    at: usize,
    command: Cmd,
    slot: Option<u16>,
    /// Not the server of the slot, but this one.
    ask: Option<Address>,
    /// How often, since it last waited.
    sent: u32,
    waited: u32,
}

impl Link {
    /// Reads the certificates; connects to nothing yet.
    pub fn new(server: Server) -> Result<Self, Error> {
        let opener = Arc::new(Opener::new(server)?);
        Ok(Self { directory: Directory::new(Arc::clone(&opener)), opener })
    }

    /// Whether a command may name keys of one slot only.
    pub fn is_cluster(&self) -> bool {
        self.opener.server.mode == Mode::Cluster
    }

    pub fn server(&self) -> &Server {
        &self.opener.server
    }

    /// Sends all commands, those of one server in one round trip; one answer per command, in order. The first argument
    /// of a command is its key, and says in a cluster which server is asked.
    pub async fn call(&self, commands: Vec<Cmd>, deadline: Deadline) -> Vec<Answer> {
        let mut answers: Vec<Answer> = vec![Err(Failure::Late); commands.len()];
        let cluster = self.is_cluster();
        let open = |(at, command): (usize, Cmd)| {
            let slot = if cluster { slot::of_command(&command) } else { None };
            Open { at, command, slot, ask: None, sent: 0, waited: 0 }
        };
        let mut open: Vec<Open> = commands.into_iter().enumerate().map(open).collect();
        while !open.is_empty() && !deadline.has_passed() {
            let known = match self.directory.known(deadline).await {
                Ok(known) => known,
                Err(failure) => {
                    open.iter().for_each(|open| answers[open.at] = Err(failure.clone()));
                    break;
                }
            };
            let asked = self.group(&known, std::mem::take(&mut open), &mut answers);
            let asked = asked.into_iter().map(|(node, open)| exchange(node, open, deadline));
            let mut round = Round::default();
            for (mut command, answer) in futures::future::join_all(asked).await.into_iter().flatten() {
                command.sent += 1;
                match answer {
                    Err(failure) if command.sent < limits::REDIS_SENT_AGAIN_MAX => {
                        round.settle(command, failure, &mut answers);
                    }
                    answer => answers[command.at] = answer,
                }
            }
            open = self.prepare(round, &known, &mut answers, deadline).await;
        }
        answers
    }

    /// Asks for values on the fast way to the one server that there is. None where that way is closed, or was refused:
    /// then [`Link::call`] finds out why, or another way.
    pub async fn get(&self, gets: Gets, deadline: Deadline) -> Option<Values> {
        if deadline.has_passed() {
            return None;
        }
        let known = self.directory.known(deadline).await.ok()?;
        let node = known.node(None)?;
        known.nodes[node].get(gets, deadline).await.ok().flatten()
    }

    /// Calls a script; one answer per call, in order. Where Redis does not know the script, it gets its text.
    pub async fn run(&self, script: &Script, calls: Vec<ScriptCall>, deadline: Deadline) -> Vec<Answer> {
        let mut answers = self.call(calls.iter().map(|call| script.by_hash(call)).collect(), deadline).await;
        let unknown: Vec<usize> = (0..answers.len()).filter(|&at| answers[at] == Err(Failure::NoScript)).collect();
        if !unknown.is_empty() {
            let again = unknown.iter().map(|&at| script.by_text(&calls[at])).collect();
            for (at, answer) in unknown.into_iter().zip(self.call(again, deadline).await) {
                answers[at] = answer;
            }
        }
        answers
    }

    /// The servers that hold keys: one, or those of the cluster.
    pub async fn primaries(&self, deadline: Deadline) -> Result<Vec<Primary>, Failure> {
        let known = self.directory.known(deadline).await?;
        Ok(known.nodes.iter().map(|node| Primary { node: Arc::clone(node) }).collect())
    }

    /// As `primaries`, after a look whether they are still the same.
    pub async fn primaries_now(&self, deadline: Deadline) -> Result<Vec<Primary>, Failure> {
        let known = self.directory.look_up(&self.directory.current(), deadline).await?;
        Ok(known.nodes.iter().map(|node| Primary { node: Arc::clone(node) }).collect())
    }

    fn group(&self, known: &Arc<Known>, open: Vec<Open>, answers: &mut [Answer]) -> Vec<(Arc<Node>, Vec<Open>)> {
        let mut groups: Vec<(Arc<Node>, Vec<Open>)> = Vec::new();
        // Where in `groups` the commands of a known node are.
        let mut places: Vec<Option<usize>> = vec![None; known.nodes.len()];
        for command in open {
            if let Some(address) = &command.ask {
                groups.push((self.directory.node(address), vec![command]));
                continue;
            }
            let Some(node) = known.node(command.slot) else {
                let server = known.nodes.first().map_or(&self.opener.server.addresses[0], |node| &node.address).clone();
                let detail = "no server has the slot of a key".to_owned();
                answers[command.at] = Err(Failure::ClusterDown { server, detail });
                // Somebody may have it by now, for the next request.
                let _ = self.directory.begin_lookup(known);
                continue;
            };
            let place = *places[node].get_or_insert_with(|| {
                groups.push((Arc::clone(&known.nodes[node]), Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(command);
        }
        groups
    }

    /// Does what has to come before the commands of the next round are sent; gives those that are worth it.
    async fn prepare(&self, round: Round, known: &Arc<Known>, answers: &mut [Answer], deadline: Deadline) -> Vec<Open> {
        let Round { mut again, doubtful, split, moved, waits, suspicious } = round;
        for (slot, to) in &moved {
            self.directory.moved(*slot, to);
        }
        if !moved.is_empty() {
            // One slot has moved, so others may have.
            let _ = self.directory.begin_lookup(&self.directory.current());
        } else if suspicious {
            let _ = self.directory.begin_lookup(known);
        }
        if !doubtful.is_empty() {
            let found = self.directory.look_up(known, deadline).await;
            let changed = found.as_ref().is_ok_and(|found| !Arc::ptr_eq(found, known));
            for (command, failure) in doubtful {
                let broken = matches!(failure, Failure::Unreachable { outage: Outage::Broken, .. }) && command.sent < 2;
                if changed || (broken && found.is_ok()) {
                    again.push(command);
                } else {
                    // Why the servers cannot be found says more than that one of them is gone.
                    answers[command.at] = Err(found.as_ref().err().cloned().unwrap_or(failure));
                }
            }
        }
        for command in split {
            answers[command.at] = self.get_each(&command.command, deadline).await;
        }
        if let Some(waited) = waits {
            let until = deadline.at_most(pause(waited));
            tokio::time::sleep_until(until.instant().into()).await;
        }
        again
    }

    /// What MGET would answer. While a slot moves, its keys lie on two servers, and each can be asked for alone.
    async fn get_each(&self, command: &Cmd, deadline: Deadline) -> Answer {
        let mut commands = Vec::with_capacity(command.args_iter().len());
        for argument in command.args_iter().skip(1) {
            if let Arg::Simple(key) = argument {
                commands.push(redis::cmd("GET").arg(key).take());
            }
        }
        let values: Result<Vec<Value>, Failure> = Box::pin(self.call(commands, deadline)).await.into_iter().collect();
        values.map(Value::Array)
    }
}

/// What is to be done with the commands of a round that have no answer yet.
#[derive(Default)]
struct Round {
    again: Vec<Open>,
    /// Whose server may not be the right one any more.
    doubtful: Vec<(Open, Failure)>,
    /// To be asked key by key.
    split: Vec<Open>,
    moved: Vec<(u16, Address)>,
    /// Some have to wait, and waited so often before.
    waits: Option<u32>,
    /// A server does not do what it should: another one may have taken its place.
    suspicious: bool,
}

impl Round {
    fn settle(&mut self, mut command: Open, failure: Failure, answers: &mut [Answer]) {
        command.ask = None;
        // If it is not answered in time, this is why.
        answers[command.at] = Err(failure.clone());
        match failure {
            Failure::Moved { slot, to } if command.slot.is_some() => {
                self.moved.push((slot, to));
                self.again.push(command);
            }
            Failure::Ask { to } if command.slot.is_some() => {
                command.ask = Some(to);
                self.again.push(command);
            }
            Failure::TryAgain { .. } if is_mget(&command.command) => self.split.push(command),
            Failure::TryAgain { .. } => {
                self.waits = Some(self.waits.unwrap_or_default().max(command.waited));
                command.waited += 1;
                command.sent = 0;
                self.again.push(command);
            }
            // Silence has used up the time that there was; the next request profits from what is found.
            Failure::Unreachable { outage: Outage::Silent, .. } | Failure::ClusterDown { .. } => self.suspicious = true,
            Failure::Unreachable { .. } | Failure::ReadOnly { .. } => self.doubtful.push((command, failure)),
            _ => {}
        }
    }
}

impl Primary {
    pub fn address(&self) -> &Address {
        &self.node.address
    }

    /// A connection of its own, on which the server may send without being asked.
    pub async fn open_with_pushes(&self, pushes: impl AsyncPushSender) -> Result<MultiplexedConnection, Failure> {
        self.node.open_with_pushes(pushes).await
    }

    /// Sends commands to this server, whatever their keys; one answer per command, in order.
    pub async fn call(&self, commands: Vec<Cmd>, deadline: Deadline) -> Vec<Answer> {
        let count = commands.len();
        let open = |(at, command)| Open { at, command, slot: None, ask: None, sent: 0, waited: 0 };
        let open = commands.into_iter().enumerate().map(open).collect();
        let answers: Vec<Answer> =
            exchange(Arc::clone(&self.node), open, deadline).await.into_iter().map(|(_, answer)| answer).collect();
        debug_assert_eq!(answers.len(), count);
        answers
    }

    /// One page of this server's keys that match `pattern`, and the cursor of the next page, which is 0 after the last
    /// one and is 0 for the first. A key may come twice, and a slot that moves meanwhile twice or never.
    pub async fn scan(&self, pattern: &[u8], cursor: u64, deadline: Deadline) -> Result<(u64, Vec<Vec<u8>>), Failure> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(limits::REDIS_SCAN_COUNT);
        let reply = self.node.ask(&command, deadline).await?;
        redis::from_redis_value(reply).map_err(|error| Failure::Refused {
            server: self.node.address.clone(),
            code: "SCAN".to_owned(),
            detail: error.to_string(),
        })
    }
}

/// Sends one server its commands, in as many parts as their size asks for.
async fn exchange(node: Arc<Node>, open: Vec<Open>, deadline: Deadline) -> Vec<(Open, Answer)> {
    let mut done = Vec::with_capacity(open.len());
    let mut open = VecDeque::from(open);
    let mut failed: Option<Failure> = None;
    while !open.is_empty() {
        let mut part = take_part(&mut open);
        let answers = match &failed {
            Some(failure) => vec![Err(failure.clone()); part.len()],
            None => send(&node, &mut part, deadline).await.unwrap_or_else(|failure| {
                failed = Some(failure.clone());
                vec![Err(failure); part.len()]
            }),
        };
        done.extend(part.into_iter().zip(answers));
    }
    done
}

/// Sends commands at once. They are moved to where they are sent from, and put back where they may be needed again.
async fn send(node: &Arc<Node>, part: &mut [Open], deadline: Deadline) -> Result<Vec<Answer>, Failure> {
    let answer = |reply: Value| match reply {
        Value::ServerError(error) => Err(Failure::of_reply(&node.address, &error)),
        value => Ok(value),
    };
    if let [open] = part
        && open.ask.is_none()
    {
        return Ok(vec![answer(node.send_one(&open.command, deadline).await?)]);
    }
    // Before each command that is asked out of turn stands one that has a reply of its own.
    let is_asking = part.iter().any(|open| open.ask.is_some());
    let replies_each = if is_asking { 2 } else { 1 };
    let mut pipeline = Pipeline::with_capacity(part.len() * replies_each);
    for open in &mut *part {
        if is_asking {
            pipeline.add_command(redis::cmd("ASKING"));
        }
        pipeline.add_command(std::mem::take(&mut open.command));
    }
    let replied = node.send(&pipeline, deadline).await;
    let answers = replied.map(|replies| -> Vec<Answer> {
        replies.into_iter().skip(replies_each - 1).step_by(replies_each).map(answer).collect()
    });
    let sent = pipeline.cmd_iter().skip(replies_each - 1).step_by(replies_each);
    for (at, (open, command)) in part.iter_mut().zip(sent).enumerate() {
        if answers.as_ref().map_or(true, |answers| answers.get(at).is_none_or(Result::is_err)) {
            open.command = command.clone();
        }
    }
    answers
}

fn is_mget(command: &Cmd) -> bool {
    matches!(command.args_iter().next(), Some(Arg::Simple(b"MGET")))
}

/// The next commands that may be sent before their answers are awaited; at least one.
fn take_part(open: &mut VecDeque<Open>) -> Vec<Open> {
    let size = |open: &Open| -> usize {
        let length = |argument| if let Arg::Simple(text) = argument { <[u8]>::len(text) } else { 0 };
        open.command.args_iter().map(length).sum()
    };
    let mut bytes = 0;
    let within = |open: &Open| {
        bytes += size(open);
        bytes <= limits::REDIS_ROUND_BYTES
    };
    let count = open.iter().map(within).take_while(|within| *within).count().max(1);
    open.drain(..count).collect()
}

#[cfg(test)]
mod tests;
