//! Ways to call a gateway that a well-meaning client has no use for: raw bytes, messages of Flight one by one, and
//! `lockstep serve` as a process of its own; and the small project that such tests ask.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use arrow_flight::FlightClient;
use bytes::Bytes;
use hyper::Method;
use lockstep::app::Project;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use crate::world::{Reply, World, http, project_folder};

/// Two stored views, one derived view that asks for more, one view for training only.
pub const RIDES: &str = r#"
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
  - {name: area, join_keys: [{name: area, type: int64}]}
sources:
  - {name: rides, type: push, path: data/rides, event_time: at}
  - {name: areas, type: push, path: data/areas, event_time: at}
feature_views:
  - {name: last_ride, entities: [company], source: rides, features: [{name: fare, type: float64}, {name: riders, type: int64}]}
  - {name: area_stats, entities: [area], source: areas, features: [{name: fare, type: float64}, {name: miles, type: float64}]}
  - {name: for_training, entities: [area], source: areas, online: false, features: [{name: miles, type: float64}]}
derived_views:
  - {name: quote, plugin: taxi_quote, inputs: {area_fare_30d: "area_stats:fare", area_miles_30d: "area_stats:miles"}}
feature_services:
  - {name: rides_v1, full_feature_names: true, features: [last_ride, area_stats, "quote:expected_fare"]}
"#;

/// A question of [`RIDES`] that is always answered.
pub const GOOD: &str = r#"{"feature_service": "rides_v1", "entities": {"company": ["a", "nobody"], "area": [8, 8],
    "hour": [9, 9], "payment_type": ["Cash", "Cash"], "planned_miles": [3.0, 1.0]}}"#;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The small project, with one ride of company `a` and what is known of area 8.
pub async fn rides() -> World {
    let world = World::of(RIDES, |_| {}).await;
    seed(world.servers.http).await;
    world
}

/// Pushes what [`check_good`] reads.
pub async fn seed(address: SocketAddr) {
    for (source, df) in [
        ("rides", r#"{"company": ["a"], "fare": [12.5], "riders": [2], "at": ["2020-01-01T00:00:00Z"]}"#),
        ("areas", r#"{"area": [8], "fare": [20.0], "miles": [4.0], "at": ["2020-01-01T00:00:00Z"]}"#),
    ] {
        let body = format!(r#"{{"push_source_name": "{source}", "df": {df}}}"#);
        let reply = post(address, "/push", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

pub async fn post(address: SocketAddr, path: &str, json: &str) -> Reply {
    let headers = [("content-type", "application/json")];
    http(address, Method::POST, path, &headers, Bytes::copy_from_slice(json.as_bytes())).await
}

/// The gateway answers a good question, and rightly.
pub async fn check_good(address: SocketAddr, after: &str) {
    let reply = post(address, "/get-online-features", GOOD).await;
    assert_eq!(reply.status, 200, "after {after}: {}", reply.text());
    let json = reply.json();
    let names: Vec<&str> =
        json["metadata"]["feature_names"].as_array().expect("names").iter().filter_map(|name| name.as_str()).collect();
    let column = |name: &str| {
        let position = names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name} in {names:?}"));
        json["results"][position]["values"].clone()
    };
    assert_eq!(column("last_ride__fare"), serde_json::json!([12.5, null]), "after {after}");
    assert_eq!(column("quote__expected_fare"), serde_json::json!([15.0, 5.0]), "after {after}");
}

/// A Flight client on a connection of its own.
pub async fn flight(address: SocketAddr) -> FlightClient {
    let channel =
        Channel::from_shared(format!("http://{address}")).expect("an address").connect().await.expect("connected");
    FlightClient::new(channel)
}

/// Sends bytes and reads whatever comes until the gateway closes the connection.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // A gateway that has seen enough may close before everything is sent.
    let _ = stream.write_all(bytes).await;
    until_closed(&mut stream).await
}

/// Everything that comes until the connection ends; a reset is an end, too.
pub async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open; so far came {:?}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A project folder whose definitions are applied, for a gateway in another process.
pub async fn applied_folder(definitions: &str, prepare: impl FnOnce(&Path)) -> TempDir {
    let folder = project_folder(definitions);
    prepare(folder.path());
    let project = Project::open(folder.path()).expect("a project");
    let planned = project.plan().await.expect("definitions without mistakes");
    project.apply(&planned, false).await.expect("applied");
    folder
}

/// Writes a `lockstep.yaml` for the folder: these listeners, and a deadline of a minute.
pub fn write_config(folder: &Path, listen: &str) {
    let text = format!("project: test\nlisten: {listen}\nserve: {{deadline: 60s}}\n");
    fs::write(folder.join("lockstep.yaml"), text).expect("written");
}

/// `lockstep serve` as a process of its own. It is killed when the test ends.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// A process that listens.
pub struct Serving {
    pub process: Process,
    pub http: SocketAddr,
    pub flight: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.arg("-C").arg(folder).arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary that was built for this test");
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Waits until it has ended: its exit code and what it said.
    pub fn ended(&mut self) -> (i32, String) {
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => said = said + &line + "\n",
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on; so far it said {said}"),
            }
        }
        let status = self.child.wait().expect("a process of ours");
        (status.code().unwrap_or_else(|| panic!("{status}: {said}")), said)
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a process of ours").is_some()
    }

    /// Sends a signal: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.expect("sh").success());
    }

    /// Memory that is really there.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process of ours");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }
}

impl Serving {
    pub fn start(folder: &Path) -> Self {
        let process = Process::start(folder);
        let mut said = String::new();
        while !said.contains("admin on") {
            match process.lines.recv_timeout(PATIENCE) {
                Ok(line) => said = said + &line + "\n",
                Err(_) => panic!("it does not listen: {said}"),
            }
        }
        let addresses = said.split("://").skip(1).map(|rest| rest.split_whitespace().next().unwrap_or_default());
        let addresses: Vec<SocketAddr> = addresses.filter_map(|address| address.parse().ok()).collect();
        let [http, flight, admin] = addresses[..] else { panic!("three addresses in {said}") };
        Self { process, http, flight, admin }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
