//! A whole gateway in a temporary folder: the taxi example or a project of the test's own, applied, with real stores
//! and real sockets on free ports.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lockstep::app::{Project, Servers};
use lockstep::flow::sync::{Range, sync, syncable_views};
use lockstep::gateway::Gateway;
use tempfile::TempDir;

/// The day after the last trip of the example, as every test of it asks.
pub const TAXI_AS_OF: &str = "2016-12-31T00:00:00Z";

/// A running project. Its folder goes when it is dropped.
pub struct World {
    pub folder: TempDir,
    pub project: Project,
    pub gateway: Arc<Gateway>,
    pub servers: Servers,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl World {
    /// The Chicago taxi example, applied and synced.
    pub async fn taxi() -> Self {
        let folder = taxi_folder();
        let world = Self::start(folder).await;
        world.sync_all().await;
        world
    }

    /// A project of these definitions, with built plugins at hand, applied but not synced. `prepare` puts data there.
    pub async fn of(definitions: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = project_folder(definitions);
        prepare(folder.path());
        Self::start(folder).await
    }

    async fn start(folder: TempDir) -> Self {
        let project = Project::open(folder.path()).expect("a project");
        let planned = project.plan().await.expect("definitions without mistakes");
        project.apply(&planned, false).await.expect("applied");
        let gateway = project.gateway().await.expect("a gateway");
        let servers = Servers::start(&project, Arc::clone(&gateway)).await.expect("free ports");
        Self { folder, project, gateway, servers }
    }

    pub async fn sync_all(&self) {
        for view in syncable_views(&self.gateway) {
            sync(&self.gateway, &view, Range::Full, &|_| {}).await.expect("synced");
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.get_as(path, "application/json").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Reply {
        http(self.servers.http, Method::GET, path, &[("accept", accept)], Bytes::new()).await
    }

    pub async fn post(&self, path: &str, json: &str) -> Reply {
        let headers = [("content-type", "application/json")];
        http(self.servers.http, Method::POST, path, &headers, Bytes::copy_from_slice(json.as_bytes())).await
    }
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// One HTTP/1.1 request on a connection of its own.
pub async fn http(address: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request.body(Full::new(body)).expect("a request")).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of built plugins: those that the test run has just rebuilt, or the committed ones.
pub fn built_plugins() -> PathBuf {
    std::env::var_os("LOCKSTEP_PLUGINS_DIR").map_or_else(|| repository().join("plugins/built"), PathBuf::from)
}

/// A copy of the taxi example that listens on free ports.
pub fn taxi_folder() -> TempDir {
    let folder = project_folder("");
    copy_taxi(folder.path());
    folder
}

/// The definitions and the data of the taxi example.
pub fn copy_taxi(folder: &Path) {
    let example = repository().join("examples/chicago_taxi");
    fs::create_dir_all(folder.join("data")).expect("a folder");
    for file in ["features/taxi.yaml", "features/trips.yaml", "data/trips.parquet", "data/labels.parquet"] {
        fs::copy(example.join(file), folder.join(file)).expect("the example's file");
    }
}

/// A project folder with all built plugins, on free ports.
pub fn project_folder(definitions: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    write("lockstep.yaml", "project: test\nlisten: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}\n");
    write("features/features.yaml", definitions);
    let plugins = folder.path().join("plugins");
    fs::create_dir_all(&plugins).expect("a folder");
    for entry in fs::read_dir(built_plugins()).expect("built plugins") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            fs::copy(&path, plugins.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    folder
}
