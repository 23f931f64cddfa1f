//! Feast's own Python server over the same values in the same Redis.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::python;
use crate::Result;
use crate::load::{Dataset, Target};
use crate::measure::family;
use crate::report::root;
use crate::store::{RedisServer, free_port};
use crate::synthetic::{JOIN_KEY, PROJECT};

const START_TIME_MAX: Duration = Duration::from_secs(90);
/// The Redis database that Feast has to itself.
pub const DATABASE: u8 = 1;

/// One view as Feast shall have it.
pub struct View {
    pub name: String,
    pub features: Vec<String>,
    pub parquet: PathBuf,
}

/// A repository of Feast, applied and filled.
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
}

/// `feast serve` with one worker.
#[derive(Debug)]
pub struct Feast {
    child: Child,
    address: SocketAddr,
    _repository: Repository,
}

impl Repository {
    /// Writes all rows of these views into Redis by Feast itself; `service` is of all of them, and has a twin that reads
    /// pre-computed vectors if that is asked for.
    pub fn fill(redis: &RedisServer, views: &[View], dtype: &str, service: &str, precomputed: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let view = |view: &View| json!({"name": view.name, "features": view.features, "path": view.parquet});
        let spec = json!({
            "redis": format!("127.0.0.1:{},db={DATABASE}", redis.port), "project": PROJECT, "join_key": JOIN_KEY, "type": dtype,
            "service": service, "precomputed": precomputed.then(|| format!("{service}_precomputed")),
            "views": views.iter().map(view).collect::<Vec<_>>(),
        });
        let script = root().join("benches/peers/fill_feast.py");
        let mut command = Command::new(python());
        command.arg(script).arg(folder.path()).arg(spec.to_string());
        let done = quiet(&mut command, folder.path()).output()?;
        match done.status.success() {
            true => Ok(Self { folder }),
            false => Err(format!("Feast could not be filled: {}", String::from_utf8_lossy(&done.stderr)).into()),
        }
    }

    pub fn serve(self, cpu: &str) -> Result<Feast> {
        let port = free_port()?;
        let mut command = Command::new("taskset");
        command.args(["-c", cpu]).arg(python().with_file_name("feast"));
        command.arg("--chdir").arg(self.folder.path());
        command.args(["serve", "--host", "127.0.0.1", "--port", &port.to_string(), "--workers", "1"]);
        // It would start its worker anew after about 1,000 requests, and reset our connection.
        command.args(["--max-requests", "0", "--no-access-log", "--registry_ttl_sec", "3600"]);
        let child = quiet(&mut command, self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut feast = Feast { child, address: SocketAddr::from(([127, 0, 0, 1], port)), _repository: self };
        feast.wait()?;
        Ok(feast)
    }
}

/// What a dataset is to Feast.
pub fn views_of(dataset: Dataset, data: impl Fn(&str) -> PathBuf) -> Vec<View> {
    let view = |number: usize| {
        let name = dataset.view(number);
        let features = (number * dataset.view_features()..(number + 1) * dataset.view_features())
            .map(|feature| format!("f_{feature}"))
            .collect();
        View { features, parquet: data(&format!("{name}.parquet")), name }
    };
    (0..dataset.views).map(view).collect()
}

/// Feast reports its use to a server of its own unless it is told not to, and its web server keeps a socket at home.
pub fn quiet<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.env("FEAST_USAGE", "False").env("HOME", folder).current_dir(folder).stdin(Stdio::null())
}

impl Feast {
    /// `store` is the process of its Redis.
    pub fn target(&self, store: u32) -> Result<Target> {
        Ok(Target { http: self.address, flight: self.address, server: family(self.child.id())?, store: vec![store] })
    }

    fn wait(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("feast serve ended with {status}").into());
            }
            if TcpStream::connect(self.address).is_ok() && family(self.child.id())?.len() > 1 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("feast serve did not start within {START_TIME_MAX:?}").into())
    }
}

impl Drop for Feast {
    fn drop(&mut self) {
        // The workers first: they would outlive a parent that is killed.
        for pid in family(self.child.id()).unwrap_or_default().into_iter().skip(1) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
