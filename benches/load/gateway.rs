//! `lockstep serve` as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::arrivals::Target;
use crate::Result;
use crate::process::LOCKSTEP;

/// A running gateway; it ends with this value.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    pub target: Target,
    pub admin: SocketAddr,
}

impl Gateway {
    /// Runs a command of `lockstep` in a project to its end.
    pub fn command(folder: &Path, arguments: &[&str]) -> Result<()> {
        let done = Command::new(LOCKSTEP).arg("--project").arg(folder).args(arguments).output()?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("lockstep {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr)).into())
    }

    /// Starts the gateway of a project, on one CPU if `cpu` names one. It has then as many threads as it has CPUs.
    /// `store` are the processes of the store behind it.
    pub fn start(folder: &Path, cpu: Option<&str>, store: Vec<u32>) -> Result<Self> {
        let mut command = match cpu {
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cpu, LOCKSTEP]);
                command
            }
            None => Command::new(LOCKSTEP),
        };
        let mut child =
            command.arg("--project").arg(folder).arg("serve").stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("the gateway has no stderr")?).lines();
        let mut said = Vec::new();
        let addresses = loop {
            match lines.next() {
                Some(line) => said.push(line?),
                None => return Err(format!("the gateway ended: {}", said.join("\n")).into()),
            }
            if let Some(addresses) = said.last().and_then(|line| addresses(line)) {
                break addresses;
            }
        };
        // Whatever it says later is read, so that it never waits for us.
        std::thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
        let target = Target { http: addresses.0, flight: addresses.1, server: vec![child.id()], store };
        Ok(Self { child, target, admin: addresses.2 })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `HTTP on http://127.0.0.1:1  ·  Arrow Flight on grpc://127.0.0.1:2  ·  admin on http://127.0.0.1:3`
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr, SocketAddr)> {
    let after = |scheme: &str| {
        let (_, rest) = line.split_once(scheme)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Some((after("http://")?, after("grpc://")?, after("admin on http://")?))
}
