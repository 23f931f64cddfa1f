//! A real server of PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port of 127.0.0.1, ended
//! when the last test that uses it is done.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

#[path = "certificates.rs"]
#[allow(clippy::duplicate_mod, reason = "each server is a file of its own to its tests")]
mod certificates;

/// Time in which a server must be there, or gone; a slow machine under load takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server and everything that it keeps. It speaks TLS to those who want it, and asks for a password.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    folder: tempfile::TempDir,
    process: Child,
    databases: AtomicUsize,
}

impl Postgres {
    pub const USER: &str = "lockstep";
    pub const PASSWORD: &str = "a password's \\ own";

    /// The server that all tests of this process share while one of them runs.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        certificates::make(folder.path());
        prepare(folder.path());
        // Another process may take the port before the server does; then another one is tried.
        for _ in 0..10 {
            let port = free_port();
            if let Some(process) = spawn(folder.path(), port) {
                return Self { port, folder, process, databases: AtomicUsize::new(0) };
            }
        }
        panic!("postgres does not start; its log: {}", log(folder.path()));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the server's socket, which asks for no password.
    pub fn socket(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// `ca.crt`; `client.crt` and `client.key`; `other.crt`, an authority that vouches for nobody here.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL as the owner of everything; what it answers, a line a row.
    pub fn run(&self, database: &str, sql: &str) -> String {
        let answer = psql(self.folder.path(), self.port, database, sql);
        answer.unwrap_or_else(|error| panic!("psql: {error}\n{sql}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, its children with it; what it has on disk nobody needs.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(self.process.try_wait(), Ok(None)) {
            pause();
        }
        // It has ended; or it never will by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of a server of version 15 or later.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| version(path) >= Some(15)).max_by_key(version);
    let program = newest.map(|path| path.join("bin").join(name)).filter(|path| path.exists());
    program.unwrap_or_else(|| panic!("{name} of PostgreSQL 15 is missing; install it: apt-get install postgresql"))
}

/// The program as the user who owns the cluster: PostgreSQL refuses to run as root.
fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

/// Nothing where this user can own the cluster.
fn owner() -> Option<(u32, u32)> {
    let id = Command::new("id").arg("-u").output().expect("id");
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the users of this system");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse::<u32>);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user who is not root"))
}

fn prepare(folder: &Path) {
    let own = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        if let Some((user, group)) = owner() {
            chown(path, Some(user), Some(group)).expect("an owner");
        }
    };
    own(folder, 0o700);
    own(&folder.join("server.key"), 0o600);
    own(&folder.join("server.crt"), 0o600);
    std::fs::write(folder.join("password"), Postgres::PASSWORD).expect("a file");
    own(&folder.join("password"), 0o600);
    let made = command("initdb", folder)
        .args(["--pgdata=data", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust"])
        .args(["--auth-host=scram-sha-256", "--pwfile=password", "--username", Postgres::USER])
        .output()
        .expect("initdb runs");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{0}'\nfsync = off\nshared_buffers = 32MB\n\
         max_connections = 100\nlogging_collector = off\nssl = on\nssl_cert_file = '{0}/server.crt'\n\
         ssl_key_file = '{0}/server.key'\nautovacuum = off\n",
        folder.display()
    );
    let path = folder.join("data/postgresql.conf");
    let text = std::fs::read_to_string(&path).expect("the server's configuration");
    std::fs::write(path, format!("{text}{settings}")).expect("the server's configuration");
}

/// Starts a server and waits until it answers; nothing where it ends before that.
fn spawn(folder: &Path, port: u16) -> Option<Child> {
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let mut process = command("postgres", folder)
        .args(["-D", "data", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres runs");
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if process.try_wait().expect("the server's state").is_some() {
            return None;
        }
        if psql(folder, port, "postgres", "SELECT 1").is_ok() {
            return Some(process);
        }
        pause();
    }
    let _ = process.kill();
    let _ = process.wait();
    None
}

fn psql(folder: &Path, port: u16, database: &str, sql: &str) -> Result<String, String> {
    let done = command("psql", folder)
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"])
        .args(["--host", &folder.display().to_string(), "--port", &port.to_string()])
        .args(["--username", Postgres::USER, "--dbname", database, "--command", sql])
        .output()
        .expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Between two looks at a server.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}
