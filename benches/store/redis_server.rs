//! One `redis-server` as a child process, in a folder of its own, without any file.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Commands, Connection, FromRedisValue};
use tempfile::TempDir;

use crate::Result;

/// A server that does not answer by then has failed to start.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// What a server of a benchmark refuses to grow beyond, rather than take the machine's last memory.
const MEMORY_MAX: &str = "8gb";

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    pub port: u16,
    _folder: TempDir,
}

impl RedisServer {
    /// A server on a free port that keeps everything in memory only.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let child = spawn(folder.path(), port, "")?;
        let server = Self { child, port, _folder: folder };
        server.wait()?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The `online_store` of a project that keeps its rows here in this layout.
    pub fn yaml(&self, layout: &str) -> String {
        format!("{{type: redis, addresses: ['127.0.0.1:{}'], layout: {layout}}}", self.port)
    }

    /// The `online_store` of a project that reads what Feast has written into a database.
    pub fn yaml_of_feast(&self, database: u8) -> String {
        let address = format!("127.0.0.1:{}", self.port);
        format!("{{type: redis, addresses: ['{address}'], layout: feast, database: {database}, shared: true}}")
    }

    pub fn url(&self, database: u8) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    pub fn connect(&self) -> Result<Connection> {
        Ok(redis::Client::open(self.url(0))?.get_connection_with_timeout(START_TIME_MAX)?)
    }

    /// One command, its words separated by spaces.
    pub fn command<T: FromRedisValue>(&self, words: &str) -> Result<T> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        Ok(command.query(&mut self.connect()?)?)
    }

    /// Everything in all databases is gone, and its memory given back.
    pub fn empty(&self) -> Result<()> {
        self.command::<()>("FLUSHALL SYNC")?;
        self.command::<()>("MEMORY PURGE")
    }

    /// How many keys a database has.
    pub fn keys(&self, database: u8) -> Result<u64> {
        let mut connection = redis::Client::open(self.url(database))?.get_connection_with_timeout(START_TIME_MAX)?;
        Ok(redis::cmd("DBSIZE").query(&mut connection)?)
    }

    /// At most so many keys that match a pattern.
    pub fn keys_like(&self, pattern: &str, most: usize) -> Result<Vec<Vec<u8>>> {
        let mut connection = self.connect()?;
        let found = connection.scan_match(pattern)?;
        Ok(found.take(most).collect::<redis::RedisResult<_>>()?)
    }

    pub fn used_memory(&self) -> Result<u64> {
        Ok(self.fact("memory", "used_memory:")?.parse()?)
    }

    pub fn version(&self) -> Result<String> {
        self.fact("server", "redis_version:")
    }

    fn fact(&self, section: &str, name: &str) -> Result<String> {
        let text: String = self.command(&format!("INFO {section}"))?;
        let fact = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(fact.ok_or_else(|| format!("INFO {section} has no {name}"))?.trim().to_owned())
    }

    fn wait(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if self.command::<String>("PING").is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("redis-server on port {} did not start within {START_TIME_MAX:?}", self.port).into())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server with these further lines of configuration.
pub(super) fn spawn(folder: &Path, port: u16, more: &str) -> Result<Child> {
    let mut config = String::new();
    let _ = writeln!(
        config,
        "bind 127.0.0.1\nport {port}\ndir {}\nsave \"\"\nappendonly no\nmaxmemory {MEMORY_MAX}\n\
         maxmemory-policy noeviction\nlogfile server.log\n{more}",
        folder.display()
    );
    let file = folder.join("redis.conf");
    fs::write(&file, config)?;
    let started = Command::new("redis-server").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    started.map_err(|error| format!("redis-server cannot be started: {error}; install Redis 7").into())
}

/// A port that nothing listens on now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
