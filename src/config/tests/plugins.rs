//! Where plugins are, whom they are trusted of, what they may use.

use super::*;

const KEY: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn plugins(keys: &str) -> Result<Config, String> {
    let environment = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let parsed = parse(Path::new("/project"), &format!("project: taxi\n{keys}"), &environment);
    parsed.map_err(|mistakes| mistakes.to_string())
}

fn refused(keys: &str, expected: Expect) {
    expected.assert_eq(&plugins(keys).unwrap_err());
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
    refused("plugins: {from: {}}\n", expect![[r#""#]]);
    refused("plugins: {folder: a, url: 'https://b'}\n", expect![[r#""#]]);
    refused("plugins: {url: 'https://me:secret@example.com'}\n", expect![[r#""#]]);
    refused("plugins: {oci: 'Team/plugins'}\n", expect![[r#""#]]);
    refused("plugins: {url: 'http://plugins.example.com'}\n", expect![[r#""#]]);
    refused("plugins: {folder: a, from: {B: {version: one}}}\n", expect![[r#""#]]);
    refused("plugin_logins: {example.com: {username: me}}\n", expect![[r#""#]]);
    refused("plugin_logins: {'https://example.com': {allow_http: true}}\n", expect![[r#""#]]);
    let allowed =
        "plugins: {url: 'http://plugins.example.com'}\nplugin_logins: {plugins.example.com: {allow_http: true}}\n";
    assert!(plugins(allowed).is_ok());
}

#[test]
fn keys_are_told_by_their_names() {
    let config = plugins(&format!("plugin_keys: {{team: '{KEY}'}}\nrequire_signature: true\n")).unwrap();
    assert_eq!(config.plugins.keys["team"].to_string(), KEY);
    refused("plugin_keys: {team: 'ed25519:AAAA'}\n", expect![[r#""#]]);
    refused("require_signature: true\n", expect![[r#""#]]);
}

#[test]
fn limits_of_single_plugins_are_read() {
    let limits = "plugin_limits:
  fares: {memory_mib: 128, fuel_per_call: 5, fuel_per_row: 6, call_time: 50ms, output_mib: 2}
  quotes: {}
";
    let limits = plugins(limits).unwrap().plugin_limits;
    let fares = PluginLimits {
        memory_bytes_max: Some(128 << 20),
        fuel_per_call: Some(5),
        fuel_per_row: Some(6),
        call_time_max: Some(Duration::from_millis(50)),
        output_bytes_max: Some(2 << 20),
    };
    assert_eq!((limits["fares"], limits["quotes"]), (fares, PluginLimits::default()));
    refused(
        "plugin_limits: {fares: {memory_mib: 2000, fuel_per_call: 0, call_time: 1h, output_mib: 9}}\n",
        expect![[r#""#]],
    );
}
