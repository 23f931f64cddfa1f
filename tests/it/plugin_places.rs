//! Plugins on their way from a team to a gateway: through a registry of images, an HTTP address, a folder; with what can
//! go wrong on the way. The real binary and real servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use lockstep::catalog::Digest;
use lockstep::limits::PLUGIN_FUEL_PER_CALL;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::callers::{Process, Serving};
use crate::command::{json_of, refused, run, succeed};
use crate::registry::{FileServer, PASSWORD, Registry, USER};
use crate::world::{built_plugins, http, project_folder};

const RIDES: &str = "
entities:
  - {name: ride, join_keys: [{name: ride_id, type: int64}]}
sources:
  - {name: rides_pushed, type: push, path: data/rides, event_time: at}
feature_views:
  - {name: rides, entities: [ride], source: rides_pushed, features: [{name: company, type: string}]}
derived_views:
  - {name: ride_company, plugin: taxi_company, inputs: {company_name: 'rides:company'}}
feature_services:
  - {name: companies, features: [ride_company]}
";
const CASE: &str = r#"{"inputs": {"company_name": ["Flash Cab", "12 - 34 Benny Jona, Inc.", null]}}"#;
const PLUGIN: &str = "taxi_company";

/// How long a running gateway has to do what it was told.
const PATIENCE: Duration = Duration::from_secs(30);

/// A project that uses one plugin, which is not in its folder; with these lines in its `lockstep.yaml`.
fn project(lines: &str) -> TempDir {
    let folder = project_folder(RIDES);
    fs::remove_dir_all(folder.path().join("plugins")).expect("the plugins' folder");
    configure(folder.path(), lines);
    folder
}

/// Writes `lockstep.yaml` anew, with these lines.
fn configure(project: &Path, lines: &str) {
    let listen = "listen: {http: 127.0.0.1:0, flight: 127.0.0.1:0, admin: 127.0.0.1:0}";
    fs::write(project.join("lockstep.yaml"), format!("project: test\n{listen}\n{lines}")).expect("written");
}

/// A project with the plugin in its folder.
fn project_with_plugin(lines: &str) -> TempDir {
    let folder = project(lines);
    put(folder.path(), &component());
    folder
}

fn put(project: &Path, component: &[u8]) {
    fs::create_dir_all(project.join("plugins")).expect("a folder");
    fs::write(project.join("plugins").join(format!("{PLUGIN}.wasm")), component).expect("written");
}

fn component() -> Vec<u8> {
    fs::read(built_plugins().join(format!("{PLUGIN}.wasm"))).expect("a built plugin")
}

/// The same plugin in the same version, and other bytes: a section that nobody reads.
fn other_component() -> Vec<u8> {
    [component().as_slice(), &[0, 5, 4], b"note"].concat()
}

fn sha256(component: &[u8]) -> String {
    format!("sha256:{}", Digest::of(component))
}

/// The folder of the plugin's team: the component, recorded golden cases, and a key.
struct Team {
    folder: TempDir,
    /// The public one.
    key: String,
}

impl Team {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(format!("{PLUGIN}.wasm")), component()).expect("written");
        let goldens = folder.path().join(format!("{PLUGIN}.goldens"));
        fs::create_dir_all(&goldens).expect("a folder");
        fs::write(goldens.join("names.json"), CASE).expect("written");
        succeed(folder.path(), &["plugin", "test", &format!("{PLUGIN}.wasm"), "--record"]);
        let key = succeed(folder.path(), &["plugin", "key", "new", "team.key"]).trim().to_owned();
        assert_eq!(succeed(folder.path(), &["plugin", "key", "show", "team.key"]).trim(), key);
        Self { folder, key }
    }

    /// `plugin publish`, signed.
    fn publish(&self, to: &str) -> String {
        let file = format!("{PLUGIN}.wasm");
        succeed(self.folder.path(), &["plugin", "publish", &file, "--to", to, "--key", "team.key"])
    }

    fn take(&self, component: &[u8]) {
        fs::write(self.folder.path().join(format!("{PLUGIN}.wasm")), component).expect("written");
    }
}

fn lock_of(project: &Path) -> String {
    fs::read_to_string(project.join("plugins.lock")).expect("a lock file")
}

/// What `plugin list` says of the plugin.
fn listed(project: &Path) -> Value {
    json_of(project, &["plugin", "list"])[0].clone()
}

fn forget_fetched(project: &Path) {
    fs::remove_dir_all(project.join(".lockstep/cache/plugins")).expect("plugins that were fetched");
}

#[test]
fn a_plugin_travels_through_a_registry_signed_tested_and_pinned() {
    let (mut registry, team) = (Registry::start(), Team::new());
    let place = format!("{}/team/plugins", registry.address());
    let told = team.publish(&format!("oci://{place}"));
    assert!(told.contains(&format!("taxi_company 1.0.0 is published: oci://{place}/taxi_company:1.0.0")), "{told}");
    assert!(told.contains("signed") && told.contains("1 golden cases"), "{told}");
    assert!(team.publish(&format!("oci://{place}")).contains("was there already, with the same bytes"));

    let keys = format!("plugin_keys: {{team: \"{}\"}}\nrequire_signature: true\n", team.key);
    let project = project(&format!("plugins: {{oci: \"{place}\"}}\n{keys}"));
    let path = project.path();
    succeed(path, &["plan"]);
    let lock = lock_of(path);
    assert!(lock.contains(&sha256(&component())) && lock.contains("version: 1.0.0"), "{lock}");
    succeed(path, &["apply"]);
    let plugin = listed(path);
    assert_eq!((&plugin["version"], &plugin["signed_by"]), (&json!("1.0.0"), &json!("team")));
    assert_eq!((&plugin["pinned"], &plugin["goldens"]["cases"]), (&json!(true), &json!(1)));
    assert!(plugin["goldens"]["verified_at"].is_i64(), "{plugin}");
    // The budget is that of the plugin's tests, not what all plugins may use.
    assert!(plugin["fuel_per_call"].as_u64().is_some_and(|fuel| fuel < PLUGIN_FUEL_PER_CALL), "{plugin}");
    let people = succeed(path, &["plugin", "list"]);
    assert!(people.contains("team") && people.contains("1 held here at 20"), "{people}");

    // The registry goes: what was fetched is here, and what was applied is in our own registry.
    registry.stop();
    succeed(path, &["plan"]);
    forget_fetched(path);
    let told = refused(path, &["plan"], 2);
    assert!(told.contains("cannot be reached"), "{told}");
    assert!(refused(path, &["plugin", "update", PLUGIN], 9).contains("cannot be reached"));
    assert_eq!(lock_of(path), lock, "nothing is pinned that was not seen");
    let answer = run(path, &["get", "companies", "ride_id=1"]);
    assert_eq!(answer.code, 0, "{answer:?}");
}

#[test]
fn a_version_that_means_other_bytes_now_is_refused_until_it_is_taken() {
    let (mut registry, team) = (Registry::start(), Team::new());
    let place = format!("{}/team", registry.address());
    team.publish(&format!("oci://{place}"));
    let project = project(&format!("plugins: {{oci: \"{place}\"}}\n"));
    let path = project.path();
    succeed(path, &["apply"]);

    // Through the front door it cannot be done.
    team.take(&other_component());
    let publish = ["plugin", "publish", "taxi_company.wasm", "--to", &format!("oci://{place}")];
    let told = refused(team.folder.path(), &publish, 4);
    assert!(told.contains("a version never changes"), "{told}");
    assert!(told.contains(&sha256(&component())) && told.contains(&sha256(&other_component())), "{told}");

    registry.start_empty();
    team.publish(&format!("oci://{place}"));
    succeed(path, &["plan"]);
    forget_fetched(path);
    let told = refused(path, &["plan"], 2);
    assert!(told.contains(&sha256(&component())) && told.contains(&sha256(&other_component())), "{told}");
    assert!(told.contains("lockstep plugin update taxi_company"), "{told}");
    assert_eq!(refused(path, &["plugin", "lock"], 4).matches("sha256:").count(), 2);

    let updated = json_of(path, &["plugin", "update", PLUGIN]);
    assert_eq!(updated[0]["digest"], json!(Digest::of(&other_component())));
    assert_eq!(updated[0]["before"], json!(Digest::of(&component())));
    let planned = run(path, &["plan"]);
    assert!(planned.code == 1 && planned.stdout.contains("values change"), "{planned:?}");
    assert!(refused(path, &["plugin", "update", "haversine"], 3).contains("they use taxi_company"));
}

#[test]
fn bytes_that_were_changed_in_the_registry_are_refused() {
    let (registry, team) = (Registry::start(), Team::new());
    let place = format!("{}/team", registry.address());
    team.publish(&format!("oci://{place}"));
    let blob = registry.blob(&Digest::of(&component()).to_string());
    let mut bytes = fs::read(&blob).expect("the component in the registry");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).expect("written");
    let project = project(&format!("plugins: {{oci: \"{place}\"}}\n"));
    let told = refused(project.path(), &["plan"], 2);
    assert!(told.contains("application/wasm") && told.contains("cannot be used"), "{told}");
    assert!(!project.path().join("plugins.lock").exists());
}

#[test]
fn a_registry_that_wants_a_login_gets_it_and_nobody_sees_it() {
    let (registry, team) = (Registry::start_with_login(), Team::new());
    let place = format!("{}/team", registry.address());
    let publish = ["plugin", "publish", "taxi_company.wasm", "--to", &format!("oci://{place}")];
    let told = refused(team.folder.path(), &publish, 9);
    assert!(told.contains("does not let us in") && told.contains("plugin_logins"), "{told}");

    let login = |password: &str| {
        let host = registry.address();
        format!(
            "plugins: {{oci: \"{place}\"}}\nplugin_logins: {{\"{host}\": {{username: {USER}, password: {password}}}}}\n"
        )
    };
    let project = project(&login("wrong"));
    let path = project.path();
    let file = team.folder.path().join("taxi_company.wasm");
    let publish = ["plugin", "publish", &file.to_string_lossy(), "--to", &format!("oci://{place}")];
    let told = refused(path, &publish, 9);
    assert!(told.contains("does not let us in") && !told.contains("wrong"), "{told}");
    configure(path, &login(PASSWORD));
    succeed(path, &publish);
    succeed(path, &["plan"]);

    // The same out of a file.
    fs::write(path.join("password"), format!("{PASSWORD}\n")).expect("written");
    configure(path, &login("x").replace("password: x", "password_file: password"));
    forget_fetched(path);
    succeed(path, &["plan"]);
}

#[test]
fn a_folder_that_is_published_to_can_be_shown_over_http() {
    let team = Team::new();
    let shared = tempfile::tempdir().expect("a folder");
    let told = team.publish(&shared.path().to_string_lossy());
    assert!(told.contains("taxi_company 1.0.0 is published"), "{told}");
    let server = FileServer::start(shared.path());
    let project =
        project(&format!("plugins: {{url: \"{}\"}}\nplugin_keys: {{team: \"{}\"}}\n", server.url(), team.key));
    let path = project.path();
    succeed(path, &["apply"]);
    let plugin = listed(path);
    assert_eq!((&plugin["place"], &plugin["signed_by"]), (&json!(server.url()), &json!("team")));
    assert_eq!(plugin["goldens"]["cases"], json!(1));

    // A version that is not there, and a plugin from elsewhere.
    let chosen = format!("plugins: {{url: \"{}\", from: {{taxi_company: {{version: 2.0.0}}}}}}\n", server.url());
    configure(path, &chosen);
    let told = refused(path, &["plan"], 2);
    assert!(told.contains("plugins.lock pins plugin taxi_company as 1.0.0"), "{told}");
    assert!(refused(path, &["plugin", "update", PLUGIN], 3).contains("there is no taxi_company 2.0.0 in http://"));
    let here = shared.path().display();
    configure(path, &format!("plugins: {{url: \"{}\", from: {{taxi_company: {{folder: {here}}}}}}}\n", server.url()));
    succeed(path, &["plugin", "update", PLUGIN]);
    drop(server);
    succeed(path, &["plan"]);
}

#[test]
fn a_server_that_has_something_else_under_the_name_is_refused() {
    let shared = tempfile::tempdir().expect("a folder");
    fs::copy(built_plugins().join("haversine.wasm"), shared.path().join("taxi_company.wasm")).expect("copied");
    let server = FileServer::start(shared.path());
    let project = project(&format!("plugins: {{url: \"{}\"}}\n", server.url()));
    let told = refused(project.path(), &["plugin", "lock"], 2);
    assert!(told.contains("has haversine 1.0.0 where taxi_company should be"), "{told}");
    assert!(!project.path().join("plugins.lock").exists());
}

#[test]
fn a_plugin_of_the_folder_is_pinned_once_somebody_says_so() {
    let project = project_with_plugin("");
    let path = project.path();
    succeed(path, &["plan"]);
    assert!(!path.join("plugins.lock").exists(), "who builds in the folder is not in his own way");
    put(path, &other_component());
    succeed(path, &["plugin", "lock"]);
    put(path, &component());
    let told = refused(path, &["plan"], 2);
    assert!(told.contains("lockstep plugin update taxi_company"), "{told}");
    put(path, &other_component());
    succeed(path, &["plan"]);

    fs::remove_file(path.join("plugins.lock")).expect("the lock file");
    configure(path, "plugins: {folder: plugins, from: {taxi_company: {version: 2.0.0}}}\n");
    let told = refused(path, &["plan"], 2);
    assert!(told.contains("plugins has taxi_company 1.0.0 where taxi_company 2.0.0 should be"), "{told}");
}

#[test]
fn a_plugin_that_is_not_signed_as_the_project_wants_it_is_refused() {
    let team = Team::new();
    let project = project_with_plugin("");
    let path = project.path();
    succeed(path, &["apply"]);
    configure(path, &format!("plugin_keys: {{team: \"{}\"}}\nrequire_signature: true\n", team.key));
    assert!(refused(path, &["plan"], 2).contains("is not signed, and lockstep.yaml says require_signature"));
    // What was applied before is not started either.
    let (code, told) = Process::start(path).ended();
    assert!(code == 2 && told.contains("plugin taxi_company is not signed"), "{code} {told}");

    let component = path.join("plugins/taxi_company.wasm").to_string_lossy().into_owned();
    let other = tempfile::tempdir().expect("a folder");
    succeed(other.path(), &["plugin", "key", "new", "stranger.key"]);
    succeed(other.path(), &["plugin", "sign", &component, "--key", "stranger.key"]);
    assert!(refused(path, &["plan"], 2).contains("is none of plugin_keys in lockstep.yaml"));

    succeed(team.folder.path(), &["plugin", "sign", &component, "--key", "team.key"]);
    succeed(path, &["apply"]);
    drop(Serving::start(path));
    let signature = PathBuf::from(format!("{component}.sig"));
    let text = fs::read_to_string(&signature).expect("a signature");
    put(path, &other_component());
    assert!(refused(path, &["plan"], 2).contains("the signature of plugin taxi_company is wrong"));
    put(path, &fs::read(team.folder.path().join("taxi_company.wasm")).expect("the component"));
    fs::write(&signature, text.replace("signature ", "signature A")).expect("written");
    assert!(refused(path, &["plan"], 2).contains("the signature of plugin taxi_company is wrong"));
}

#[test]
fn a_plugin_that_computes_otherwise_here_is_refused() {
    let team = Team::new();
    let project = project_with_plugin("");
    let path = project.path();
    let goldens = path.join("plugins/taxi_company.goldens");
    fs::create_dir_all(&goldens).expect("a folder");
    let case = fs::read_to_string(team.folder.path().join("taxi_company.goldens/names.json")).expect("a recorded case");
    fs::write(goldens.join("names.json"), &case).expect("written");
    succeed(path, &["plan"]);
    let verified = listed(path)["goldens"]["verified_at"].clone();
    assert_eq!(listed(path)["goldens"]["verified_at"], verified, "that it held is kept");

    let mut elsewhere: Value = serde_json::from_str(&case).expect("JSON");
    elsewhere["outputs"]["company_clean"][0] = json!("somebody else");
    fs::write(goldens.join("names.json"), elsewhere.to_string()).expect("written");
    let told = refused(path, &["plan"], 2);
    let says = "plugin taxi_company computes otherwise on this machine than where it was tested: case names, row 0";
    assert!(told.contains(says), "{told}");
    assert!(told.contains("company_clean") && told.contains("somebody else"), "{told}");
}

#[test]
fn a_plugin_whose_checks_fail_is_not_published() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(built_plugins().join("fault_impure.wasm"), folder.path().join("fault_impure.wasm")).expect("copied");
    let to = folder.path().join("shared").to_string_lossy().into_owned();
    let told = refused(folder.path(), &["plugin", "publish", "fault_impure.wasm", "--to", &to], 2);
    assert!(told.contains("plugin fault_impure is not published"), "{told}");
    assert!(!folder.path().join("shared").exists());
    let told = refused(folder.path(), &["plugin", "publish", "fault_impure.wasm", "--to", "http://127.0.0.1:1/x"], 2);
    assert!(told.contains("http://127.0.0.1:1/x can only be read"), "{told}");
}

#[test]
fn a_cache_that_cannot_be_written_to_is_done_without() {
    let (registry, team) = (Registry::start(), Team::new());
    let place = format!("{}/team", registry.address());
    team.publish(&format!("oci://{place}"));
    let project = project(&format!("plugins: {{oci: \"{place}\"}}\ncache: in_the_way\n"));
    fs::write(project.path().join("in_the_way"), "a file").expect("written");
    succeed(project.path(), &["apply"]);
    succeed(project.path(), &["plan"]);
}

async fn company_of(serving: &Serving) -> (u16, String) {
    let question = json!({"features": ["ride_company:company_clean"], "entities": {"ride_id": [1]}}).to_string();
    let headers = [("content-type", "application/json")];
    let reply = http(serving.http, Method::POST, "/get-online-features", &headers, Bytes::from(question)).await;
    (reply.status, reply.text().to_owned())
}

#[tokio::test]
async fn limits_of_a_plugin_change_while_the_gateway_runs() {
    let project = project_with_plugin("");
    let path = project.path();
    succeed(path, &["apply"]);
    let serving = Serving::start(path);
    let rows = json!({"push_source_name": "rides_pushed", "df": {
        "ride_id": [1], "company": ["Flash Cab"], "at": ["2020-01-01T00:00:00Z"]
    }});
    let headers = [("content-type", "application/json")];
    let pushed = http(serving.http, Method::POST, "/push", &headers, Bytes::from(rows.to_string())).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    assert_eq!(company_of(&serving).await.0, 200);

    let becomes = async |status: u16| {
        let until = Instant::now() + PATIENCE;
        loop {
            let (is, text) = company_of(&serving).await;
            if is == status {
                return text;
            }
            assert!(Instant::now() < until, "it answers {is}: {text}");
        }
    };
    configure(path, "plugin_limits: {taxi_company: {fuel_per_call: 1, fuel_per_row: 0}}\n");
    assert_eq!(company_of(&serving).await.0, 200, "nobody told it to read the file");
    serving.process.signal("HUP");
    assert!(becomes(424).await.contains("used up its 1 units of fuel"));

    // A file with a mistake changes nothing.
    configure(path, "plugin_limits: {taxi_company: {memory_mib: 0}}\n");
    serving.process.signal("HUP");
    assert_eq!(company_of(&serving).await.0, 424);
    configure(path, "");
    serving.process.signal("HUP");
    becomes(200).await;
}
