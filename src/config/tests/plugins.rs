//! Where plugins are, whom they are trusted of, what they may use.

use super::*;
use crate::transform::Reuse;

const KEY: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn plugins(keys: &str) -> Result<Config, String> {
    let environment = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let parsed = parse(Path::new("/project"), &format!("project: taxi\n{keys}"), &environment);
    parsed.map_err(|mistakes| mistakes.to_string())
}

fn refused(keys: &str, says: &[&str]) {
    let told = plugins(keys).unwrap_err();
    assert!(says.iter().all(|text| told.contains(text)), "{told}");
    assert!(told.starts_with("lockstep.yaml:2:") && !told.contains("secret"), "{told}");
}

#[test]
fn plugins_are_in_a_folder_as_ever() {
    for keys in ["", "plugins: plugins\n", "plugins: {folder: plugins}\n"] {
        let settings = plugins(keys).unwrap().plugins;
        assert_eq!(settings.usual, Place::Folder("/project/plugins".into()), "{keys}");
        assert_eq!(settings.lock, Path::new("/project/plugins.lock"));
        assert_eq!(settings.cache, Path::new("/project/.lockstep/cache/plugins"));
    }
}

#[test]
fn places_can_be_mixed() {
    let settings = plugins(
        "plugins:
  oci: ghcr.io/team/plugins
  from:
    haversine: {folder: local}
    quotes: {url: 'https://plugins.example.com/', version: 1.2.0}
    fares: {version: 2.0.0-rc.1}
plugin_logins: {ghcr.io: {username: me, password: '${PASSWORD}'}}
",
    );
    let settings = settings.unwrap().plugins;
    let chosen = |name: &str| {
        let (place, version) = settings.chosen(name);
        format!("{place} {}", version.map(ToString::to_string).unwrap_or_default())
    };
    assert_eq!(chosen("haversine"), "/project/local ");
    assert_eq!(chosen("quotes"), "https://plugins.example.com 1.2.0");
    assert_eq!(chosen("fares"), "oci://ghcr.io/team/plugins 2.0.0-rc.1");
    assert_eq!(chosen("other"), "oci://ghcr.io/team/plugins ");
    assert_eq!(settings.logins["ghcr.io"].user.as_ref().map(|(user, _)| user.as_str()), Some("me"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn what_places_cannot_be_is_told() {
    refused("plugins: {from: {}}\n", &["say where the plugins are: one of folder, url and oci"]);
    refused("plugins: {folder: a, url: 'https://b'}\n", &["a plugin is in one place"]);
    refused("plugins: {url: 'https://me:secret@example.com'}\n", &["an address is https:// and a host"]);
    refused("plugins: {oci: 'Team/plugins'}\n", &["a registry is its host and a path"]);
    refused("plugins: {url: 'http://plugins.example.com'}\n", &["without encryption", "allow_http: true"]);
    refused(
        "plugins: {folder: a, from: {B: {version: one}}}\n",
        &["is not a version such as 1.2.0", "name of a plugin"],
    );
    refused("plugin_logins: {example.com: {username: me}}\n", &["username and password belong together"]);
    refused("plugin_logins: {'https://example.com': {allow_http: true}}\n", &["a host is a name"]);
    let allowed =
        "plugins: {url: 'http://plugins.example.com'}\nplugin_logins: {plugins.example.com: {allow_http: true}}\n";
    assert!(plugins(allowed).is_ok());
}

#[test]
fn keys_are_told_by_their_names() {
    let config = plugins(&format!("plugin_keys: {{team: '{KEY}'}}\nrequire_signature: true\n")).unwrap();
    assert_eq!(config.plugins.keys["team"].to_string(), KEY);
    refused("plugin_keys: {team: 'ed25519:AAAA'}\n", &["a key is ed25519:"]);
    refused("require_signature: true\n", &["no plugin can be signed"]);
}

#[test]
fn limits_of_single_plugins_are_read() {
    let limits = "plugin_limits:
  fares: {memory_mib: 128, fuel_per_call: 5, fuel_per_row: 6, call_time: 50ms, output_mib: 2, instances: warm}
  quotes: {}
";
    let limits = plugins(limits).unwrap().plugin_limits;
    let fares = PluginLimits {
        memory_bytes_max: Some(128 << 20),
        fuel_per_call: Some(5),
        fuel_per_row: Some(6),
        call_time_max: Some(Duration::from_millis(50)),
        output_bytes_max: Some(2 << 20),
        reuse: Reuse::Always,
    };
    assert_eq!((limits["fares"], limits["quotes"]), (fares, PluginLimits::default()));
    refused(
        "plugin_limits: {fares: {memory_mib: 2000, fuel_per_call: 0, call_time: 1h, output_mib: 9}}\n",
        &["1 to 1024 MiB", "without fuel no call begins", "call_time may be 30s at most", "1 to 8 MiB"],
    );
}
