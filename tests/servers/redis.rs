//! Real servers of Redis for tests: each on a free port of 127.0.0.1, with its files in a folder of its own, ended when
//! it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "certificates.rs"]
#[allow(clippy::duplicate_mod, reason = "each server is a file of its own to its tests")]
mod certificates;

/// Time in which a server must be there; a slow machine under load takes seconds.
const START: Duration = Duration::from_secs(30);

/// One server of Redis. Keeps nothing on disk unless its lines of configuration say so.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    role: Role,
    process: Option<Child>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Sentinel,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With lines of `redis.conf`, such as `maxmemory 2mb`.
    pub fn start_with(lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        Self::start_as(Role::Server, folder, lines.iter().map(|line| (*line).to_owned()).collect())
    }

    fn start_as(role: Role, folder: tempfile::TempDir, lines: Vec<String>) -> Self {
        // Another process may take the port before the server does; then another one is tried.
        for _ in 0..10 {
            let port = free_port();
            configure(folder.path(), role, port, &lines);
            if let Some(process) = spawn(folder.path(), role, port) {
                return Self { port, folder, role, process: Some(process) };
            }
        }
        panic!("redis-server does not start; its log: {}", log(folder.path()));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; then there is nothing to end.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Ends the server and starts it again on its port, with what it has on disk.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    pub fn start_again(&mut self) {
        let until = Instant::now() + START;
        while self.process.is_none() {
            assert!(Instant::now() < until, "redis-server does not start again; its log: {}", log(self.folder.path()));
            self.process = spawn(self.folder.path(), self.role, self.port);
        }
    }

    /// Adds a line of configuration for the next start.
    pub fn set(&mut self, line: &str) {
        let path = self.folder.path().join("redis.conf");
        let text = std::fs::read_to_string(&path).expect("the server's configuration");
        std::fs::write(path, format!("{text}{line}\n")).expect("the server's configuration");
    }

    /// The server stops answering; its connections stay open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("the server runs");
        let done = Command::new("kill").args([signal, &process.id().to_string()]).status().expect("kill");
        assert!(done.success());
    }

    /// One command, its words as in `redis-cli`; the reply's first text, such as `+PONG`.
    pub fn ask(&self, words: &[&str]) -> String {
        self.ask_all(words).into_iter().next().unwrap_or_default()
    }

    /// All texts of the reply.
    pub fn ask_all(&self, words: &[&str]) -> Vec<String> {
        ask(self.port, words).expect("the server answers")
    }

    /// Sends a command whose answer nobody waits for, such as a script that does not end.
    pub fn send(&self, words: &[&str]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.write_all(packed(words).as_bytes()).expect("a command");
        stream
    }

    fn wait_for_primary(&self) {
        until("a replica has its primary's data", || {
            self.ask(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn configure(folder: &Path, role: Role, port: u16, lines: &[String]) {
    let mut text = format!("port {port}\nbind 127.0.0.1\ndir {}\nlogfile redis.log\n", folder.display());
    if role == Role::Server {
        text.push_str("save \"\"\nappendonly no\n");
    }
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    std::fs::write(folder.join("redis.conf"), text).expect("the server's configuration");
}

/// Starts a server and waits until it answers; nothing where it ends before that.
fn spawn(folder: &Path, role: Role, port: u16) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .arg(folder.join("redis.conf"))
        .args((role == Role::Sentinel).then_some("--sentinel"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; install it: apt-get install redis-server"));
    let until = Instant::now() + START;
    while Instant::now() < until {
        if process.try_wait().expect("the server's state").is_some() {
            return None;
        }
        // A server that wants a password, or that still loads, is there too.
        if ask(port, &["PING"]).is_some() {
            return Some(process);
        }
        pause();
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

/// Between two looks at a server.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(5));
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + START;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        pause();
    }
}

fn packed(words: &[&str]) -> String {
    let word = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!("*{}\r\n{}", words.len(), words.iter().map(word).collect::<String>())
}

/// The texts of a reply, those within arrays one after another.
fn ask(port: u16, words: &[&str]) -> Option<Vec<String>> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(packed(words).as_bytes()).ok()?;
    let mut texts = Vec::new();
    read_reply(&mut BufReader::new(stream), &mut texts)?;
    Some(texts)
}

fn read_reply(from: &mut impl BufRead, texts: &mut Vec<String>) -> Option<()> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let line = line.trim_end();
    match line.split_at_checked(1)? {
        ("$", length) => {
            let mut text = vec![0; length.parse::<usize>().unwrap_or_default()];
            from.read_exact(&mut text).ok()?;
            if length != "-1" {
                from.read_line(&mut String::new()).ok()?;
            }
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
        ("*", count) => {
            for _ in 0..count.parse::<usize>().unwrap_or_default() {
                read_reply(from, texts)?;
            }
        }
        _ => texts.push(line.to_owned()),
    }
    Some(())
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}

/// A primary and a replica, and the sentinels that watch them.
#[derive(Debug)]
pub struct Sentinels {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
}

impl Sentinels {
    /// What the sentinels call the primary.
    pub const MASTER: &str = "features";

    pub fn start(sentinels: usize) -> Self {
        let primary = Redis::start();
        let replica = Redis::start_with(&[&format!("replicaof 127.0.0.1 {}", primary.port())]);
        replica.wait_for_primary();
        let quorum = sentinels / 2 + 1;
        let lines = [
            format!("sentinel monitor {} 127.0.0.1 {} {quorum}", Self::MASTER, primary.port()),
            format!("sentinel down-after-milliseconds {} 500", Self::MASTER),
            format!("sentinel failover-timeout {} 2000", Self::MASTER),
        ];
        let start = |_| Redis::start_as(Role::Sentinel, tempfile::tempdir().expect("a folder"), lines.to_vec());
        let all = Self { servers: vec![primary, replica], sentinels: (0..sentinels).map(start).collect() };
        for sentinel in &all.sentinels {
            until("each sentinel knows the replica and the other sentinels", || {
                let told = sentinel.ask_all(&["SENTINEL", "MASTER", Self::MASTER]);
                let fact = |name: &str| told.iter().skip_while(|text| *text != name).nth(1).cloned();
                fact("num-slaves").as_deref() == Some("1")
                    && fact("num-other-sentinels") == Some((sentinels - 1).to_string())
            });
        }
        all
    }

    pub fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(Redis::port).collect()
    }

    /// Where the sentinels say that the primary is.
    pub fn primary_port(&self) -> u16 {
        let told = self.sentinels[0].ask_all(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER]);
        told[1].parse().expect("a port")
    }

    /// Makes the replica the primary, while both are well.
    pub fn fail_over(&self) {
        let before = self.primary_port();
        until("a sentinel starts the failover", || {
            self.sentinels[0].ask(&["SENTINEL", "FAILOVER", Self::MASTER]) == "+OK" || self.primary_port() != before
        });
        until("another server is the primary", || self.primary_port() != before);
    }
}

/// Primaries and as many replicas, the slots shared evenly among the primaries.
#[derive(Debug)]
pub struct Cluster {
    /// The primaries as they were first, then the replicas in the same order.
    pub servers: Vec<Redis>,
}

impl Cluster {
    /// Three primaries and three replicas.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(lines: &[&str]) -> Self {
        let start = |_| {
            let mut all = vec![
                "cluster-enabled yes".to_owned(),
                "cluster-node-timeout 1000".to_owned(),
                format!("cluster-port {}", free_port()),
                "repl-diskless-sync-delay 0".to_owned(),
            ];
            all.extend(lines.iter().map(|line| (*line).to_owned()));
            Redis::start_as(Role::Server, tempfile::tempdir().expect("a folder"), all)
        };
        let cluster = Self { servers: (0..6).map(start).collect() };
        cluster.join();
        cluster
    }

    fn join(&self) {
        let first = &self.servers[0];
        let first_port = first.port().to_string();
        let bus = first.ask_all(&["CONFIG", "GET", "cluster-port"]).pop().expect("a port");
        for (at, server) in self.servers.iter().enumerate() {
            assert_eq!(server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]), "+OK");
            if at > 0 {
                assert_eq!(server.ask(&["CLUSTER", "MEET", "127.0.0.1", &first_port, &bus]), "+OK");
            }
        }
        for (primary, slots) in self.servers.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            assert_eq!(primary.ask(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]), "+OK");
        }
        let everyone_knows = |what: &str| {
            for server in &self.servers {
                until(what, || server.ask(&["CLUSTER", "INFO"]).contains(what));
            }
        };
        everyone_knows("cluster_known_nodes:6");
        for (primary, replica) in self.servers[..3].iter().zip(&self.servers[3..]) {
            let id = primary.ask(&["CLUSTER", "MYID"]);
            until("a replica knows its primary", || replica.ask(&["CLUSTER", "REPLICATE", &id]) == "+OK");
        }
        everyone_knows("cluster_state:ok");
        self.servers[3..].iter().for_each(Redis::wait_for_primary);
        // Before this, a server may still take a replica for a primary without slots.
        for server in &self.servers {
            until("everyone knows the replicas", || server.ask(&["CLUSTER", "NODES"]).matches("slave").count() == 3);
        }
    }

    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(Redis::port).collect()
    }

    /// Which of `servers` has the slot now, in the opinion of one that runs.
    pub fn owner(&self, slot: u16) -> usize {
        let is_owner = |server: &Redis| {
            let nodes = server.ask(&["CLUSTER", "NODES"]);
            let myself = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default().to_owned();
            let has = |range: &str| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            };
            myself.contains("master") && myself.split_whitespace().skip(8).any(has)
        };
        self.servers.iter().position(|server| server.process.is_some() && is_owner(server)).expect("an owner")
    }

    /// Begins to move a slot: from now on each server has a part of its keys.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, ids) = (slot.to_string(), self.ids(from, to));
        assert_eq!(self.servers[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids.0]), "+OK");
        assert_eq!(self.servers[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids.1]), "+OK");
    }

    /// Moves at most so many keys of the slot; how many there were to move.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let (slot, count) = (slot.to_string(), count.to_string());
        let keys = self.servers[from].ask_all(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]);
        let port = self.servers[to].port().to_string();
        for key in &keys {
            let moved = self.servers[from].ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(["+OK", "+NOKEY"].contains(&moved.as_str()), "{moved}");
        }
        keys.len()
    }

    /// The slot is the other server's for good.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, ids) = (slot.to_string(), self.ids(from, to));
        for server in [to, from] {
            assert_eq!(self.servers[server].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids.1]), "+OK");
        }
    }

    fn ids(&self, from: usize, to: usize) -> (String, String) {
        (self.servers[from].ask(&["CLUSTER", "MYID"]), self.servers[to].ask(&["CLUSTER", "MYID"]))
    }
}

/// A server that speaks TLS on `tls_port`, and wants its clients to show a certificate.
#[derive(Debug)]
pub struct Tls {
    pub redis: Redis,
    pub tls_port: u16,
    folder: tempfile::TempDir,
}

impl Tls {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the certificates");
        certificates::make(folder.path());
        let tls_port = free_port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let lines = [
            format!("tls-port {tls_port}"),
            format!("tls-cert-file {}", path("server.crt")),
            format!("tls-key-file {}", path("server.key")),
            format!("tls-ca-cert-file {}", path("ca.crt")),
            "tls-auth-clients yes".to_owned(),
        ];
        let redis = Redis::start_as(Role::Server, tempfile::tempdir().expect("a folder"), lines.to_vec());
        Self { redis, tls_port, folder }
    }

    /// `ca.crt`, `client.crt`, `client.key`; and `other.crt`, an authority that vouches for nobody here.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
