//! Every connection of one gateway to one Redis.
//!
//! Takes commands, finds the servers that are to answer them, sends each server its commands in one go and gives back
//! one answer per command, in order. What a failed answer means is said by [`Failure`]; a command whose connection
//! broke is sent again on a new one, so every command that goes through here must be harmless when it runs twice.

mod node;
mod opener;

use std::sync::Arc;

use redis::{Cmd, Pipeline, Value};

use super::failure::Failure;
use super::script::{Script, ScriptCall};
use super::settings::Server;
use crate::clock::Deadline;
use crate::limits;
use crate::online::Error;
use node::Node;
use opener::Opener;

pub(super) type Answer = Result<Value, Failure>;

/// The connections. Made without one being open; the first command opens it.
#[derive(Debug)]
pub(super) struct Link {
    node: Arc<Node>,
}

impl Link {
    pub fn new(server: Server) -> Result<Self, Error> {
        let opener = Arc::new(Opener::new(server)?);
        let address = opener.server.addresses[0].clone();
        Ok(Self { node: Arc::new(Node::new(address, opener)) })
    }

    /// Whether a command may name keys of one slot only.
    pub fn is_cluster(&self) -> bool {
        false
    }

    /// Sends all commands, those of one server in one round trip; one answer per command, in order. The first argument
    /// of a command is its key, and says in a cluster which server is asked.
    pub async fn call(&self, commands: Vec<Cmd>, deadline: Deadline) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            answers.extend(self.round(take_round(&mut commands), deadline).await);
        }
        answers
    }

    /// Calls a script; one answer per call, in order. Where Redis does not know the script, it gets its text.
    pub async fn run(&self, script: &Script, calls: Vec<ScriptCall>, deadline: Deadline) -> Vec<Answer> {
        let mut answers = self.call(calls.iter().map(|call| script.by_hash(call)).collect(), deadline).await;
        let unknown: Vec<usize> = (0..answers.len()).filter(|&at| answers[at] == Err(Failure::NoScript)).collect();
        let again = unknown.iter().map(|&at| script.by_text(&calls[at])).collect();
        for (at, answer) in unknown.into_iter().zip(self.call(again, deadline).await) {
            answers[at] = answer;
        }
        answers
    }

    async fn round(&self, commands: Vec<Cmd>, deadline: Deadline) -> Vec<Answer> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command);
        }
        let mut broken = self.node.send(&pipeline, deadline).await;
        if matches!(broken, Err(Failure::Unreachable { .. })) && !deadline.has_passed() {
            broken = self.node.send(&pipeline, deadline).await;
        }
        match broken {
            Ok(replies) => replies.into_iter().map(|reply| self.answer(reply)).collect(),
            Err(failure) => vec![Err(failure); count],
        }
    }

    fn answer(&self, reply: Value) -> Answer {
        match reply {
            Value::ServerError(error) => Err(Failure::of_reply(&self.node.address, &error)),
            value => Ok(value),
        }
    }
}

/// The next commands that may be sent before their answers are awaited; at least one.
fn take_round(commands: &mut std::iter::Peekable<impl Iterator<Item = Cmd>>) -> Vec<Cmd> {
    let mut round = Vec::new();
    let mut bytes = 0;
    let size = |command: &Cmd| -> usize {
        command.args_iter().map(|argument| if let redis::Arg::Simple(text) = argument { text.len() } else { 0 }).sum()
    };
    while let Some(command) =
        commands.next_if(|next| round.is_empty() || bytes + size(next) <= limits::REDIS_ROUND_BYTES)
    {
        bytes += size(&command);
        round.push(command);
    }
    round
}

#[cfg(test)]
mod tests;
