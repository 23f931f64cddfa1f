//! One PostgreSQL as a child process, in a folder of its own, reached over its socket there. It keeps nothing for long,
//! so it waits for no disk.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::free_port;
use crate::Result;

const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Where Debian and others keep one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
const USER: &str = "postgres";

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct PostgresServer {
    child: Child,
    port: u16,
    programs: PathBuf,
    folder: TempDir,
}

impl PostgresServer {
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        if is_root() {
            ended(Command::new("chown").arg(USER).arg(folder.path()))?;
        }
        let mut make = unprivileged(&programs.join("initdb"));
        ended(make.arg("-D").arg(&data).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]))?;
        let port = free_port()?;
        let mut server = unprivileged(&programs.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-h", "", "-p", &port.to_string()]);
        server.args(["-c", "fsync=off", "-c", "max_wal_size=4GB"]);
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, port, programs, folder };
        server.wait()?;
        Ok(server)
    }

    /// The line of `lockstep.yaml` that calls it by this name.
    pub fn yaml(&self, name: &str) -> String {
        let socket = self.folder.path().display();
        format!("postgres: {{{name}: {{host: '{socket}', port: {}, database: {USER}, user: {USER}}}}}", self.port)
    }

    pub fn version(&self) -> Result<String> {
        self.ask("show server_version")
    }

    /// Statements, and what the last of them answers.
    pub fn ask(&self, sql: &str) -> Result<String> {
        let mut psql = self.client("psql");
        ended(psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-c", sql]))
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
        command
    }

    fn wait(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if ended(&mut self.client("pg_isready")).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("PostgreSQL on port {} did not start within {START_TIME_MAX:?}", self.port).into())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It ends its own children at this signal; at a harder one it could not.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// The folder of the newest version's programs.
fn programs() -> Result<PathBuf> {
    let number = |path: &PathBuf| path.file_name().and_then(OsStr::to_str)?.parse::<u32>().ok();
    let versions = fs::read_dir(VERSIONS).map(|folder| folder.flatten().map(|entry| entry.path()).collect());
    let versions: Vec<PathBuf> = versions.unwrap_or_default();
    let newest = versions.into_iter().filter(|path| path.join("bin/initdb").exists()).max_by_key(number);
    let newest =
        newest.ok_or_else(|| format!("there is no PostgreSQL under {VERSIONS}; apt-get install postgresql"))?;
    Ok(newest.join("bin"))
}

/// The server refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

/// Runs a program to its end; what it wrote.
fn ended(command: &mut Command) -> Result<String> {
    let done = command.current_dir("/").stdin(Stdio::null()).output()?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)).into()),
    }
}
