//! A real registry of images for tests, Debian's `docker-registry`, and a real server of files: each a process on a free
//! port of 127.0.0.1, ended when it is dropped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time in which a server must be there; a slow machine under load takes seconds.
const START: Duration = Duration::from_secs(30);

/// Who may use a registry that wants a login.
pub const USER: &str = "team";
pub const PASSWORD: &str = "open sesame";
/// The password, as `htpasswd -B` writes it.
const PASSWORD_HASH: &str = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";

/// A registry of images. What was pushed stays until it is told to forget it.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

/// A folder, shown over HTTP.
#[derive(Debug)]
pub struct FileServer {
    port: u16,
    process: Child,
}

impl Registry {
    /// For everybody.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// For [`USER`] alone.
    pub fn start_with_login() -> Self {
        Self::start_with("auth: {htpasswd: {realm: test, path: FOLDER/users}}\n")
    }

    fn start_with(auth: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the registry");
        let path = folder.path().display().to_string();
        std::fs::write(folder.path().join("users"), format!("{USER}:{PASSWORD_HASH}\n")).expect("its users");
        // Another process may take the port before the server does; then another one is tried.
        for _ in 0..10 {
            let port = free_port();
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {path}/images}}}}\n\
                 http: {{addr: '127.0.0.1:{port}'}}\n{}",
                auth.replace("FOLDER", &path)
            );
            std::fs::write(folder.path().join("config.yml"), config).expect("its configuration");
            if let Some(process) = spawn_registry(folder.path(), port) {
                return Self { port, folder, process: Some(process) };
            }
        }
        panic!("docker-registry does not start");
    }

    /// Such as `127.0.0.1:5000`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends the server; what was pushed stays.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            end(&mut process);
        }
    }

    /// Starts the server again on its port, with nothing in it.
    pub fn start_empty(&mut self) {
        self.stop();
        std::fs::remove_dir_all(self.folder.path().join("images")).expect("images that were pushed");
        let until = Instant::now() + START;
        while self.process.is_none() {
            assert!(Instant::now() < until, "docker-registry does not start again");
            self.process = spawn_registry(self.folder.path(), self.port);
        }
    }

    /// The file with the bytes that have this SHA-256, in hex.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let blobs = self.folder.path().join("images/docker/registry/v2/blobs/sha256");
        blobs.join(&digest[..2]).join(digest).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

impl FileServer {
    pub fn start(folder: &Path) -> Self {
        for _ in 0..10 {
            let port = free_port();
            let mut server = Command::new("python3");
            server.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]).arg(folder);
            if let Some(process) = spawn(server, "python3", port, "GET / HTTP/1.0\r\n\r\n") {
                return Self { port, process };
            }
        }
        panic!("python3 -m http.server does not start");
    }

    /// Such as `http://127.0.0.1:8000`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn spawn_registry(folder: &Path, port: u16) -> Option<Child> {
    let mut server = Command::new("docker-registry");
    server.arg("serve").arg(folder.join("config.yml"));
    spawn(server, "docker-registry", port, "GET /v2/ HTTP/1.0\r\n\r\n")
}

/// Starts a server and waits until it answers a question; nothing where it ends before that.
fn spawn(mut server: Command, package: &str, port: u16, question: &str) -> Option<Child> {
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = server.spawn();
    let mut process =
        process.unwrap_or_else(|error| panic!("{package}: {error}; install it: apt-get install {package}"));
    let until = Instant::now() + START;
    while Instant::now() < until {
        if process.try_wait().expect("the server's state").is_some() {
            return None;
        }
        if answers(port, question).unwrap_or(false) {
            return Some(process);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    end(&mut process);
    None
}

fn answers(port: u16, question: &str) -> std::io::Result<bool> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(question.as_bytes())?;
    let mut begin = [0; 5];
    stream.read_exact(&mut begin)?;
    Ok(begin == *b"HTTP/")
}

fn end(process: &mut Child) {
    // It may have ended by itself; then there is nothing to end.
    let _ = process.kill();
    let _ = process.wait();
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
