//! A Redis Cluster of three primaries with one replica each, as child processes, and what can happen to it.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use tempfile::TempDir;

use super::redis_server::{free_port, spawn};
use crate::Result;

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;
/// A node that is silent so long is taken for dead by the others.
const NODE_TIMEOUT_MILLIS: u32 = 2_000;
const WAIT_MAX: Duration = Duration::from_secs(60);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// It ends with this value.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// None while it is dead.
    child: Option<Child>,
    port: u16,
    bus_port: u16,
    folder: TempDir,
}

impl Cluster {
    pub fn start() -> Result<Self> {
        let node = |_| {
            let mut node =
                Node { child: None, port: free_port()?, bus_port: free_port()?, folder: tempfile::tempdir()? };
            node.start()?;
            Ok(node)
        };
        let cluster = Self { nodes: (0..NODES).map(node).collect::<Result<_>>()? };
        cluster.wait("every node answers", |node| node.command::<String>("PING").is_ok())?;
        cluster.join()?;
        Ok(cluster)
    }

    /// The `online_store` of a project that keeps its rows here.
    pub fn yaml(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| format!("'127.0.0.1:{}'", node.port)).collect();
        format!("{{type: redis, mode: cluster, addresses: [{}]}}", addresses.join(", "))
    }

    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.child.as_ref()).map(Child::id).collect()
    }

    pub fn version(&self) -> Result<String> {
        let text: String = self.nodes[0].command("INFO server")?;
        Ok(text.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default().trim().to_owned())
    }

    /// A replica takes its primary's place while both are well.
    pub fn fail_over(&self) -> Result<()> {
        let replica = self.nodes.iter().find(|node| node.is("slave")).ok_or("no replica is up")?;
        replica.command::<()>("CLUSTER FAILOVER")?;
        wait("the replica has taken over", || replica.is("master"))
    }

    /// Kills a primary that has a replica, waits until that has taken its place, and says which one died.
    pub fn kill_primary(&mut self) -> Result<usize> {
        let found = self.nodes.iter().position(|node| node.is("master") && node.replicas() > 0);
        let dead = found.ok_or("no primary has a replica")?;
        self.nodes[dead].kill();
        self.wait("the cluster is whole without the dead primary", |node| {
            node.child.is_none() || node.says("CLUSTER INFO", "cluster_state:ok")
        })?;
        let primaries = || self.nodes.iter().filter(|node| node.is("master")).count();
        wait("a replica is primary", || primaries() == PRIMARIES)?;
        Ok(dead)
    }

    /// Starts a dead node again and waits until it follows a primary.
    pub fn revive(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start()?;
        let node = &self.nodes[node];
        wait("the node is a replica in step", || node.is("slave") && node.in_step())
    }

    /// Moves so many slots with their keys from one primary to another.
    pub fn migrate(&self, slots: usize) -> Result<()> {
        let primaries: Vec<&Node> = self.nodes.iter().filter(|node| node.is("master")).collect();
        let [from, to, ..] = primaries[..] else { return Err("fewer than two primaries are up".into()) };
        let done = Command::new("redis-cli")
            .args(["--cluster", "reshard", &format!("127.0.0.1:{}", from.port), "--cluster-yes"])
            .args(["--cluster-from", &from.id()?, "--cluster-to", &to.id()?])
            .args(["--cluster-slots", &slots.to_string()])
            .output()?;
        match done.status.success() {
            true => Ok(()),
            false => Err(format!("redis-cli: {}", String::from_utf8_lossy(&done.stdout)).into()),
        }
    }

    /// Gives every primary its slots and its replica.
    fn join(&self) -> Result<()> {
        for (number, node) in self.nodes.iter().enumerate() {
            node.command::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1))?;
            if number < PRIMARIES {
                let (from, to) = (number * SLOTS / PRIMARIES, (number + 1) * SLOTS / PRIMARIES - 1);
                node.command::<()>(&format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?;
            }
        }
        for node in &self.nodes[1..] {
            self.nodes[0].command::<()>(&format!("CLUSTER MEET 127.0.0.1 {} {}", node.port, node.bus_port))?;
        }
        let met = format!("cluster_known_nodes:{NODES}");
        self.wait("every node knows the others", |node| node.says("CLUSTER INFO", &met))?;
        for number in 0..PRIMARIES {
            let (id, replica) = (self.nodes[number].id()?, &self.nodes[PRIMARIES + number]);
            wait("a primary is known to its replica", || {
                replica.command::<()>(&format!("CLUSTER REPLICATE {id}")).is_ok()
            })?;
        }
        self.wait("the cluster is whole", |node| node.says("CLUSTER INFO", "cluster_state:ok"))?;
        self.wait("the replicas are in step", |node| node.is("master") || node.in_step())?;
        let has_replica = |node: &Node| node.is("slave") || node.replicas() > 0;
        self.wait("every primary has its replica", has_replica)
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Node) -> bool) -> Result<()> {
        wait(what, || self.nodes.iter().all(&is_so))
    }
}

fn wait(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < WAIT_MAX {
        if is_so() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("waited {WAIT_MAX:?} in vain until {what}").into())
}

impl Node {
    fn start(&mut self) -> Result<()> {
        let more = format!(
            "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {}\n\
             cluster-node-timeout {NODE_TIMEOUT_MILLIS}\nrepl-diskless-sync-delay 0\n",
            self.bus_port
        );
        self.child = Some(spawn(self.folder.path(), self.port, &more)?);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn command<T: FromRedisValue>(&self, words: &str) -> Result<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_connection_with_timeout(CONNECT_TIME_MAX)?;
        connection.set_read_timeout(Some(CONNECT_TIME_MAX))?;
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        Ok(command.query(&mut connection)?)
    }

    fn id(&self) -> Result<String> {
        self.command("CLUSTER MYID")
    }

    /// Whether its answer to a command has this line.
    fn says(&self, command: &str, line: &str) -> bool {
        let answer: Result<String> = self.command(command);
        answer.is_ok_and(|answer| answer.lines().any(|said| said.trim() == line))
    }

    fn is(&self, role: &str) -> bool {
        self.child.is_some() && self.says("INFO replication", &format!("role:{role}"))
    }

    fn in_step(&self) -> bool {
        self.says("INFO replication", "master_link_status:up")
    }

    fn replicas(&self) -> usize {
        let answer: Result<String> = self.command("INFO replication");
        let line = answer.ok().and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("connected_slaves:").and_then(|count| count.trim().parse().ok()))
        });
        line.unwrap_or(0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
