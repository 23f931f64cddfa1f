//! What the keys of a Redis store mean together, checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Duration;

use super::OnlineStore;
use super::file::{OnlineStoreFile, RedisFeastFile, RedisLayoutFile, RedisModeFile, RedisViewFile, TlsFile};
use super::password::Password;
use crate::document::{Document, Mistake, duration_text, parse_duration};
use crate::limits;
use crate::online::redis::{Address, Expiry, Layout, Login, Mode, Server, Settings, Tls, TlsClient};
use crate::secret::Secret;

/// The settings of a Redis store. Where there are mistakes they are added, and what is given is of no use.
pub(super) fn settings(
    folder: &Path,
    document: &Document,
    project: &str,
    file: &OnlineStoreFile,
    mistakes: &mut Vec<Mistake>,
) -> OnlineStore {
    let OnlineStoreFile::Redis {
        addresses,
        mode,
        master,
        username,
        password,
        password_file,
        sentinel_username,
        sentinel_password,
        database,
        tls,
        layout,
        prefix,
        shared,
        connections,
        connect_timeout,
        response_timeout,
        expire_after,
        views,
        feast,
    } = file
    else {
        return OnlineStore::Memory;
    };
    let mut checking = Checking { folder, document, mistakes };
    let asked = Password { pointer: "/online_store", text: password.as_deref(), file: password_file.as_deref() };
    let password = asked.read(folder, document, checking.mistakes);
    let login = checking.login("username", username.as_deref(), password);
    let sentinel_password = sentinel_password.as_deref().map(Secret::new);
    let sentinel_login = checking.login("sentinel_username", sentinel_username.as_deref(), sentinel_password);
    let server = Server {
        addresses: checking.addresses(addresses, *mode),
        mode: checking.mode(*mode, master.as_deref(), sentinel_login),
        login,
        database: checking.database(*database, *mode),
        tls: tls.as_ref().map(|tls| checking.tls(tls)),
        connections: checking.connections(*connections),
        connect_timeout: checking.timeout("connect_timeout", connect_timeout),
        response_timeout: checking.timeout("response_timeout", response_timeout),
    };
    let (layout, key_ttl) = checking.layout(*layout, feast.as_ref(), project);
    let mut expire = checking.expiry(expire_after.as_deref(), views);
    expire.all = key_ttl.or(expire.all);
    let prefix = checking.prefix(prefix);
    OnlineStore::Redis(Box::new(Settings {
        server,
        layout,
        project: project.to_owned(),
        prefix,
        shared: *shared,
        expire,
    }))
}

struct Checking<'a> {
    folder: &'a Path,
    document: &'a Document,
    mistakes: &'a mut Vec<Mistake>,
}

impl Checking<'_> {
    fn refuse(&mut self, key: &str, text: impl Into<String>) {
        self.mistakes.push(self.document.mistake(&format!("/online_store/{key}"), text));
    }

    fn addresses(&mut self, texts: &[String], mode: RedisModeFile) -> Vec<Address> {
        if mode == RedisModeFile::Standalone && texts.len() > 1 {
            let text = "a standalone server has one address; for several, write mode: sentinel or mode: cluster";
            self.refuse("addresses/1", text);
        }
        let mut addresses = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            match address(text) {
                Some(address) => addresses.push(address),
                // Not the text itself: people put passwords into addresses.
                None => self.refuse(
                    &format!("addresses/{at}"),
                    "an address is a host and a port, such as redis.example.com:6379; login and database have keys of \
                     their own",
                ),
            }
        }
        addresses
    }

    fn mode(&mut self, mode: RedisModeFile, master: Option<&str>, login: Login) -> Mode {
        if mode != RedisModeFile::Sentinel {
            if master.is_some() {
                self.refuse("master", "master is for mode: sentinel only");
            }
            if login != Login::default() {
                self.refuse("mode", "sentinel_username and sentinel_password are for mode: sentinel only");
            }
        }
        match mode {
            RedisModeFile::Standalone => Mode::Standalone,
            RedisModeFile::Cluster => Mode::Cluster,
            RedisModeFile::Sentinel => {
                let master = master.unwrap_or_default().trim();
                if master.is_empty() {
                    self.refuse(
                        "mode",
                        "mode: sentinel needs master, the name by which the sentinels know the primary",
                    );
                }
                Mode::Sentinel { master: master.to_owned(), login }
            }
        }
    }

    fn login(&mut self, key: &str, username: Option<&str>, password: Option<Secret>) -> Login {
        if username.is_some() && password.is_none() {
            let password = key.replace("username", "password");
            self.refuse(key, format!("a {key} needs a {password}"));
        }
        Login { username: username.map(str::to_owned), password }
    }

    fn database(&mut self, database: u32, mode: RedisModeFile) -> u32 {
        if mode == RedisModeFile::Cluster && database != 0 {
            self.refuse("database", "a cluster has database 0 only; write a prefix to keep projects apart");
        }
        database
    }

    fn tls(&mut self, tls: &TlsFile) -> Tls {
        let path = |path: &String| self.folder.join(path);
        let client = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some(TlsClient { certificate: path(certificate), key: path(key) }),
            (None, None) => None,
            _ => {
                self.refuse("tls", "certificate and key of tls belong together; write both or none");
                None
            }
        };
        Tls { authority: tls.ca.as_ref().map(|ca| self.folder.join(ca)), client }
    }

    fn connections(&mut self, connections: Option<u32>) -> usize {
        let max = limits::REDIS_CONNECTIONS_MAX;
        let connections = connections.unwrap_or_else(|| {
            available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(max)).min(max)
        });
        if connections == 0 || connections > max {
            self.refuse("connections", format!("connections may be 1 to {max}"));
        }
        connections as usize
    }

    fn timeout(&mut self, key: &str, text: &str) -> Duration {
        let max = limits::REDIS_TIMEOUT_MAX;
        match parse_duration(text) {
            Ok(timeout) if timeout <= max => timeout,
            Ok(_) => {
                self.refuse(key, format!("{key} may be {} at most", duration_text(max)));
                max
            }
            Err(wrong) => {
                self.refuse(key, wrong);
                max
            }
        }
    }

    fn layout(
        &mut self,
        layout: RedisLayoutFile,
        feast: Option<&RedisFeastFile>,
        project: &str,
    ) -> (Layout, Option<Duration>) {
        if layout != RedisLayoutFile::Feast && feast.is_some() {
            self.refuse("feast", "feast is for layout: feast only");
        }
        let default = RedisFeastFile { project: None, key_version: 3, key_ttl: None };
        let feast = feast.unwrap_or(&default);
        match layout {
            RedisLayoutFile::Packed => (Layout::Packed, None),
            RedisLayoutFile::Hash => (Layout::Hash, None),
            RedisLayoutFile::Feast => {
                if ![2, 3].contains(&feast.key_version) {
                    let text =
                        "Feast's keys have version 2 or 3, as entity_key_serialization_version in feature_store.yaml";
                    self.refuse("feast/key_version", text);
                }
                let key_ttl = feast.key_ttl.as_deref().and_then(|text| self.kept("feast/key_ttl", text));
                let project = feast.project.as_deref().unwrap_or(project).to_owned();
                (Layout::Feast { project, key_version: feast.key_version }, key_ttl)
            }
        }
    }

    fn expiry(&mut self, all: Option<&str>, views: &BTreeMap<String, RedisViewFile>) -> Expiry {
        let all = all.and_then(|text| self.kept("expire_after", text));
        let mut expire = Expiry { all, views: BTreeMap::new() };
        for (view, settings) in views {
            let key = format!("views/{view}/expire_after");
            if let Some(kept) = self.kept(&key, &settings.expire_after) {
                expire.views.insert(view.clone(), kept);
            }
        }
        expire
    }

    fn kept(&mut self, key: &str, text: &str) -> Option<Duration> {
        parse_duration(text).map_err(|wrong| self.refuse(key, wrong)).ok()
    }

    fn prefix(&mut self, prefix: &str) -> String {
        if let Some(wrong) = prefix_mistake(prefix) {
            self.refuse("prefix", wrong);
        }
        prefix.to_owned()
    }
}

/// What is wrong with the prefix of a Redis store.
pub fn prefix_mistake(prefix: &str) -> Option<String> {
    let max = limits::REDIS_PREFIX_BYTES_MAX;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ":_-./".contains(letter);
    if prefix.len() > max {
        return Some(format!("a prefix may have {max} letters at most"));
    }
    // Braces would decide where a cluster keeps a key, and the others mean something in patterns.
    let is_wrong = !prefix.chars().all(is_plain);
    is_wrong.then(|| "a prefix is made of letters, digits and : _ - . /, such as taxi:".to_owned())
}

/// `host:port`, or `[::1]:6379`.
fn address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(number) => number.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:%".contains(letter);
    (!host.is_empty() && host.chars().all(is_plain)).then(|| Address::new(host, port))
}
