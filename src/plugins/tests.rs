//! Which bytes arrive, from whom, and what is told where they do not.

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::{Expect, expect};
use semver::Version;
use tempfile::TempDir;

use super::*;

/// A project's folder whose plugins are in its folder `plugins`.
fn project() -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let settings = Settings {
        usual: Place::Folder(path.join("plugins")),
        from: BTreeMap::new(),
        logins: BTreeMap::new(),
        keys: BTreeMap::new(),
        require_signature: false,
        lock: path.join("plugins.lock"),
        cache: path.join("cache"),
        project: path,
    };
    (folder, settings)
}

fn put(settings: &Settings, path: &str, bytes: &[u8]) {
    let path = settings.project.join("plugins").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn bundle(bytes: &[u8]) -> Bundle {
    Bundle { component: bytes.to_vec(), beside: Beside::default() }
}

async fn publish_to(settings: &Settings, number: &str, bundle: &Bundle) -> Result<Published, Error> {
    let digest = Digest::of(&bundle.component);
    let release = Release { name: "fares", version: &version(number), digest, bundle };
    publish(settings, &settings.usual, &release).await
}

fn locked(settings: &Settings, number: &str, bytes: &[u8]) -> Lock {
    let place = settings.place_text(&settings.usual);
    let locked = Locked { version: version(number), digest: Digest::of(bytes), place };
    Lock { plugins: BTreeMap::from([("fares".to_owned(), locked)]) }
}

fn told<T: std::fmt::Debug>(result: Result<T, Error>, settings: &Settings, expected: Expect) {
    let text = result.unwrap_err().to_string();
    expected.assert_eq(&text.replace(&settings.project.display().to_string(), "/project"));
}

#[tokio::test]
async fn a_plugin_comes_with_what_lies_beside_it() {
    let (_folder, settings) = project();
    put(&settings, "fares.wasm", b"component");
    put(&settings, "fares.report.json", b"{}");
    put(&settings, "fares.goldens/first.json", br#"{"inputs": {"x": [1]}}"#);
    let fetched = fetch(&settings, &Lock::default(), "fares").await.unwrap();
    assert_eq!((fetched.place.as_str(), fetched.is_from_elsewhere), ("plugins", false));
    assert_eq!(fetched.bundle.component, b"component");
    let beside = fetched.bundle.beside;
    assert_eq!(beside.goldens.as_deref(), Some(r#"{"first":{"inputs": {"x": [1]}}}"#));
    assert_eq!((beside.report.as_deref(), beside.signature), (Some("{}"), None));
}

#[tokio::test]
async fn what_is_not_there_is_told_with_the_place() {
    let (_folder, mut settings) = project();
    let absent = fetch(&settings, &Lock::default(), "fares").await;
    told(absent, &settings, expect!["there is no fares in /project/plugins; build it, or correct the name"]);
    let chosen = Chosen { place: None, version: Some(version("2.0.0")) };
    settings.from.insert("fares".to_owned(), chosen);
    let absent = fetch(&settings, &Lock::default(), "fares").await;
    told(absent, &settings, expect!["there is no fares 2.0.0 in /project/plugins; publish it, or correct the version"]);
}

#[tokio::test]
async fn the_newest_published_version_is_taken_and_one_that_is_asked_for_before_it() {
    let (_folder, mut settings) = project();
    for (number, bytes) in [("1.9.0", b"nine"), ("1.10.0", b"ten!"), ("2.0.0-rc.1", b"soon")] {
        assert!(!publish_to(&settings, number, &bundle(bytes)).await.unwrap().was_there);
    }
    let component =
        async |settings: &Settings| fetch(settings, &Lock::default(), "fares").await.unwrap().bundle.component;
    assert_eq!(component(&settings).await, b"ten!");
    settings.from.insert("fares".to_owned(), Chosen { place: None, version: Some(version("1.9.0")) });
    assert_eq!(component(&settings).await, b"nine");
}

#[tokio::test]
async fn a_version_that_is_published_never_changes() {
    let (_folder, settings) = project();
    publish_to(&settings, "1.0.0", &bundle(b"one")).await.unwrap();
    assert!(publish_to(&settings, "1.0.0", &bundle(b"one")).await.unwrap().was_there);
    told(
        publish_to(&settings, "1.0.0", &bundle(b"two")).await,
        &settings,
        expect![
            "/project/plugins has fares 1.0.0 already, with other bytes: sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed, these are sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3; a version never changes, so give these another version"
        ],
    );
}

#[tokio::test]
async fn other_bytes_than_those_that_are_pinned_are_refused_until_they_are_meant() {
    let (_folder, settings) = project();
    put(&settings, "fares.wasm", b"two");
    let lock = locked(&settings, "1.0.0", b"one");
    let refused = fetch(&settings, &lock, "fares").await;
    told(
        refused,
        &settings,
        expect![
            "plugin fares is not the one that plugins.lock pins: it pins sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed, plugins has sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3; if the new one is meant, run lockstep plugin update fares"
        ],
    );
    assert_eq!(fetch_anew(&settings, "fares").await.unwrap().bundle.component, b"two");
}

#[tokio::test]
async fn another_choice_than_the_pinned_one_asks_for_an_update() {
    let (_folder, mut settings) = project();
    put(&settings, "fares.wasm", b"one");
    let lock = locked(&settings, "1.0.0", b"one");
    settings.from.insert("fares".to_owned(), Chosen { place: None, version: Some(version("2.0.0")) });
    let refused = fetch(&settings, &lock, "fares").await;
    told(
        refused,
        &settings,
        expect![
            "plugins.lock pins plugin fares as 1.0.0 of plugins, lockstep.yaml wants 2.0.0 of plugins; run lockstep plugin update fares"
        ],
    );
}

#[test]
fn a_lock_file_is_read_as_it_was_written() {
    let (_folder, settings) = project();
    let mut lock = locked(&settings, "1.2.0+build.7", b"one");
    let strange = Locked { place: "a folder: \"strange\" #1".to_owned(), ..lock.plugins["fares"].clone() };
    lock.plugins.insert("other".to_owned(), strange);
    lock.write(&settings.lock).unwrap();
    assert_eq!(Lock::read(&settings.lock).unwrap(), lock);
    assert_eq!(Lock::read(Path::new("/nowhere/plugins.lock")).unwrap(), Lock::default());
}

#[test]
fn mistakes_in_a_lock_file_are_told_with_their_places() {
    let refused = |digest: &str| {
        let text = format!("plugins:\n  fares:\n    version: one\n    digest: {digest}\n    place: plugins\n");
        Lock::parse("plugins.lock", &text).unwrap_err().to_string()
    };
    assert!(refused("12").starts_with("plugins.lock:4:13: digest of fares of plugins must be"), "{}", refused("12"));
    let told = refused("sha256:12");
    assert!(told.starts_with("plugins.lock:3:14: \"one\": "), "{told}");
    assert!(told.ends_with("plugins.lock:4:13: a digest is sha256: and 64 hex digits"), "{told}");
}

/// A private key, its public key under the name `team`, and the folder with its file.
fn key() -> (TempDir, PrivateKey, BTreeMap<String, PublicKey>) {
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::create(&folder.path().join("team.key")).unwrap();
    let keys = BTreeMap::from([("team".to_owned(), key.public())]);
    (folder, key, keys)
}

#[test]
fn a_signature_is_of_one_key_and_of_these_bytes_alone() {
    let (_folder, key, keys) = key();
    let (digest, other) = (Digest::of(b"one"), Digest::of(b"two"));
    let text = key.sign(digest).to_string();
    assert_eq!(verify("fares", digest, &text, &keys).unwrap(), "team");
    assert!(matches!(verify("fares", other, &text, &keys), Err(Error::WrongSignature { .. })));
    assert!(matches!(verify("fares", digest, &text, &BTreeMap::new()), Err(Error::UnknownKey { .. })));

    // The text says that it is of other bytes, and is not.
    let forged = text.replace(&digest.to_string(), &other.to_string());
    assert!(matches!(verify("fares", other, &forged, &keys), Err(Error::WrongSignature { .. })));
    // Somebody puts the trusted key into a signature of their own.
    let (_elsewhere, stranger, _) = self::key();
    let theirs = stranger.sign(digest).to_string();
    assert!(matches!(verify("fares", digest, &theirs, &keys), Err(Error::UnknownKey { .. })));
    let forged = theirs.replace(&stranger.public().to_string(), &key.public().to_string());
    assert!(matches!(verify("fares", digest, &forged, &keys), Err(Error::WrongSignature { .. })));
}

#[test]
fn every_damaged_signature_is_refused() {
    let (_folder, key, keys) = key();
    let digest = Digest::of(b"one");
    let text = key.sign(digest).to_string();
    assert_eq!(text.parse::<Signature>().unwrap().to_string(), text);
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        let damaged = String::from_utf8(bytes).unwrap();
        assert!(verify("fares", digest, &damaged, &keys).is_err(), "letter {place}: {damaged}");
    }
    for short in ["", "lockstep plugin signature 1\n", text.trim_end_matches('\n').rsplit_once('\n').unwrap().0] {
        assert!(matches!(verify("fares", digest, short, &keys), Err(Error::WrongSignature { .. })));
    }
}

#[test]
fn a_key_file_is_its_owners_alone_and_never_written_over() {
    let (folder, key, _) = key();
    let file = folder.path().join("team.key");
    assert_eq!(PrivateKey::read(&file).unwrap().public(), key.public());
    assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
    assert!(!format!("{key:?}").contains("PRIVATE"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(PrivateKey::create(&file).unwrap_err().kind(), ErrorKind::Conflict);
    std::fs::write(&file, "no key").unwrap();
    assert!(matches!(PrivateKey::read(&file), Err(Error::BadKey { .. })));
}

#[tokio::test]
async fn a_plugin_without_a_trusted_signature_is_refused_where_one_is_required() {
    let (_folder, mut settings) = project();
    let (_keys, key, keys) = key();
    (settings.keys, settings.require_signature) = (keys, true);
    put(&settings, "fares.wasm", b"one");
    let refused = fetch(&settings, &Lock::default(), "fares").await;
    assert!(matches!(refused, Err(Error::Unsigned { .. })), "{refused:?}");

    let (_elsewhere, stranger, _) = self::key();
    let digest = Digest::of(b"one");
    put(&settings, "fares.wasm.sig", stranger.sign(digest).to_string().as_bytes());
    let refused = fetch(&settings, &Lock::default(), "fares").await;
    assert!(matches!(refused, Err(Error::UnknownKey { .. })), "{refused:?}");
    settings.require_signature = false;
    assert_eq!(fetch(&settings, &Lock::default(), "fares").await.unwrap().signed_by, None);

    put(&settings, "fares.wasm.sig", key.sign(digest).to_string().as_bytes());
    settings.require_signature = true;
    assert_eq!(fetch(&settings, &Lock::default(), "fares").await.unwrap().signed_by.as_deref(), Some("team"));
    put(&settings, "fares.wasm", b"two");
    let refused = fetch(&settings, &Lock::default(), "fares").await;
    assert!(matches!(refused, Err(Error::WrongSignature { .. })), "{refused:?}");
}

#[test]
fn a_damaged_plugin_in_the_cache_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Bundle { beside: Beside { report: Some("{}".to_owned()), ..Beside::default() }, ..bundle(b"one") };
    let digest = Digest::of(b"one");
    kept::keep(folder.path(), digest, &kept);
    assert_eq!(kept::find(folder.path(), digest), Some(kept.clone()));
    std::fs::write(kept_path(folder.path(), digest), b"two").unwrap();
    assert_eq!(kept::find(folder.path(), digest), None);
    // Kept again, with more beside it.
    let more = Bundle { beside: Beside { goldens: Some("{}".to_owned()), ..kept.beside }, ..kept };
    kept::keep(folder.path(), digest, &more);
    assert_eq!(kept::find(folder.path(), digest), Some(more));
}

#[test]
fn a_place_is_told_by_its_look_and_refused_with_a_login_in_it() {
    let parse = |text: &str| Place::parse(text, Path::new("/project")).map(|place| place.to_string());
    assert_eq!(parse("wasm").unwrap(), "/project/wasm");
    assert_eq!(parse("https://plugins.example.com/team/").unwrap(), "https://plugins.example.com/team");
    assert_eq!(parse("oci://127.0.0.1:5000/team/plugins").unwrap(), "oci://127.0.0.1:5000/team/plugins");
    for wrong in
        ["", "https://", "https://me:secret@example.com", "oci://team/plugins", "oci://ghcr.io/Team", "http://a b"]
    {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    let none = BTreeMap::new();
    let url = |text: &str| Place::url(text).unwrap();
    assert_eq!(url("http://plugins.example.com/x").unencrypted(&none), Some("plugins.example.com"));
    for allowed in ["https://plugins.example.com", "http://127.0.0.1:8000/x", "http://localhost/x"] {
        assert_eq!(url(allowed).unencrypted(&none), None, "{allowed}");
    }
}
