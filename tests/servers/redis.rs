//! Real servers of Redis for tests: each on a free port of 127.0.0.1, with its files in a folder of its own, ended when
//! it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time in which a server must be there; a slow machine under load takes seconds.
const START: Duration = Duration::from_secs(30);

/// One server of Redis. Keeps nothing on disk unless its lines of configuration say so.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    lines: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With lines of `redis.conf`, such as `maxmemory 2mb`.
    pub fn start_with(lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        Self::start_in(folder, lines.iter().map(|line| (*line).to_owned()).collect())
    }

    fn start_in(folder: tempfile::TempDir, lines: Vec<String>) -> Self {
        // Another process may take the port before the server does; then another one is tried.
        for _ in 0..10 {
            let port = free_port();
            if let Some(process) = spawn(folder.path(), port, &lines) {
                return Self { port, folder, lines, process: Some(process) };
            }
        }
        panic!("redis-server does not start; its log: {}", log(folder.path()));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
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
        let until = Instant::now() + START;
        while self.process.is_none() {
            assert!(Instant::now() < until, "redis-server does not start again; its log: {}", log(self.folder.path()));
            self.process = spawn(self.folder.path(), self.port, &self.lines);
        }
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

    /// One command, its words as in `redis-cli`; the raw reply, such as `+PONG`.
    pub fn ask(&self, words: &[&str]) -> String {
        ask(self.port, words).expect("the server answers")
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

/// Starts a server and waits until it answers; nothing where it ends before that.
fn spawn(folder: &Path, port: u16, lines: &[String]) -> Option<Child> {
    let ours = [
        format!("port {port}"),
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", folder.display()),
        "logfile redis.log".to_owned(),
        "save \"\"".to_owned(),
        "appendonly no".to_owned(),
        "daemonize no".to_owned(),
    ];
    let text = ours.iter().chain(lines).map(|line| format!("{line}\n")).collect::<String>();
    let path = folder.join("redis.conf");
    std::fs::write(&path, text).expect("the server's configuration");
    let mut process = Command::new("redis-server")
        .arg(&path)
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
        if ask(port, &["PING"]).is_some_and(|reply| !reply.is_empty()) {
            return Some(process);
        }
        std::thread::yield_now();
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

fn ask(port: u16, words: &[&str]) -> Option<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(text.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.trim_end().to_owned();
    match line.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(length)) => {
            let mut text = vec![0; length];
            reader.read_exact(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        _ => Some(line),
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}
