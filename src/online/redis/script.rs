//! Scripts that run inside Redis, and calls of them.

use redis::Cmd;

/// A Lua script. Redis knows it by the hash of its text once it has seen the text.
#[derive(Debug)]
pub(super) struct Script {
    pub text: &'static str,
    pub sha: String,
}

/// One call; in a cluster all its keys are of one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptCall {
    pub keys: Vec<Vec<u8>>,
    pub arguments: Vec<Vec<u8>>,
}

impl Script {
    pub fn new(text: &'static str) -> Self {
        Self { text, sha: redis::Script::new(text).get_hash().to_owned() }
    }

    /// The call of a script that Redis has seen.
    pub(super) fn by_hash(&self, call: &ScriptCall) -> Cmd {
        command("EVALSHA", &self.sha, call)
    }

    /// The call of a script that Redis may not have seen.
    pub(super) fn by_text(&self, call: &ScriptCall) -> Cmd {
        command("EVAL", self.text, call)
    }
}

fn command(name: &str, script: &str, call: &ScriptCall) -> Cmd {
    let all = || call.keys.iter().chain(&call.arguments);
    let mut command = Cmd::with_capacity(3 + all().count(), 64 + script.len() + all().map(Vec::len).sum::<usize>());
    command.arg(name).arg(script).arg(call.keys.len());
    for text in all() {
        command.arg(text.as_slice());
    }
    command
}
