//! What the keys of a Redis store mean together, checked.

use std::collections::BTreeMap;
use std::thread::available_parallelism;
use std::time::Duration;

use super::OnlineStore;
use super::file::{OnlineStoreFile, RedisFeastFile, RedisLayoutFile, RedisModeFile, RedisViewFile};
use super::section::Section;
use crate::limits;
use crate::online::redis::{Address, Expiry, Layout, Login, Mode, Server, Settings};
use crate::secret::Secret;

/// The settings of a Redis store. Where there are mistakes they are noted, and what is given is of no use.
pub(super) fn settings(mut section: Section<'_>, project: &str, file: &OnlineStoreFile) -> OnlineStore {
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
    let section = &mut section;
    let password = section.secret("password", password.as_deref(), password_file.as_deref());
    let sentinel_password = sentinel_password.as_deref().map(Secret::new);
    let sentinel_login = login_of(section, "sentinel_username", sentinel_username.as_deref(), sentinel_password);
    if *mode == RedisModeFile::Cluster && *database != 0 {
        section.refuse("database", "a cluster has database 0 only; write a prefix to keep projects apart");
    }
    let server = Server {
        addresses: addresses_of(section, addresses, *mode),
        mode: mode_of(section, *mode, master.as_deref(), sentinel_login),
        login: login_of(section, "username", username.as_deref(), password),
        database: *database,
        tls: tls.as_ref().map(|tls| section.tls(tls)),
        connections: section.connections(connections.unwrap_or_else(one_for_each_core), limits::REDIS_CONNECTIONS_MAX),
        connect_timeout: section.timeout("connect_timeout", connect_timeout, limits::REDIS_TIMEOUT_MAX),
        response_timeout: section.timeout("response_timeout", response_timeout, limits::REDIS_TIMEOUT_MAX),
    };
    let (layout, key_ttl) = layout_of(section, *layout, feast.as_ref(), project);
    let mut expire = expiry_of(section, expire_after.as_deref(), views);
    expire.all = key_ttl.or(expire.all);
    if let Some(wrong) = prefix_mistake(prefix) {
        section.refuse("prefix", wrong);
    }
    OnlineStore::Redis(Box::new(Settings {
        server,
        layout,
        project: project.to_owned(),
        prefix: prefix.clone(),
        shared: *shared,
        expire,
    }))
}

fn addresses_of(section: &mut Section<'_>, texts: &[String], mode: RedisModeFile) -> Vec<Address> {
    if mode == RedisModeFile::Standalone && texts.len() > 1 {
        let text = "a standalone server has one address; for several, write mode: sentinel or mode: cluster";
        section.refuse("addresses/1", text);
    }
    let mut addresses = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match address(text) {
            Some(address) => addresses.push(address),
            // Not the text itself: people put passwords into addresses.
            None => section.refuse(
                &format!("addresses/{at}"),
                "an address is a host and a port, such as redis.example.com:6379; login and database have keys of \
                 their own",
            ),
        }
    }
    addresses
}

fn mode_of(section: &mut Section<'_>, mode: RedisModeFile, master: Option<&str>, login: Login) -> Mode {
    if mode != RedisModeFile::Sentinel {
        if master.is_some() {
            section.refuse("master", "master is for mode: sentinel only");
        }
        if login != Login::default() {
            section.refuse("mode", "sentinel_username and sentinel_password are for mode: sentinel only");
        }
    }
    match mode {
        RedisModeFile::Standalone => Mode::Standalone,
        RedisModeFile::Cluster => Mode::Cluster,
        RedisModeFile::Sentinel => {
            let master = master.unwrap_or_default().trim();
            if master.is_empty() {
                section.refuse("mode", "mode: sentinel needs master, the name by which the sentinels know the primary");
            }
            Mode::Sentinel { master: master.to_owned(), login }
        }
    }
}

fn login_of(section: &mut Section<'_>, key: &str, username: Option<&str>, password: Option<Secret>) -> Login {
    if username.is_some() && password.is_none() {
        let password = key.replace("username", "password");
        section.refuse(key, format!("a {key} needs a {password}"));
    }
    Login { username: username.map(str::to_owned), password }
}

fn layout_of(
    section: &mut Section<'_>,
    layout: RedisLayoutFile,
    feast: Option<&RedisFeastFile>,
    project: &str,
) -> (Layout, Option<Duration>) {
    if layout != RedisLayoutFile::Feast && feast.is_some() {
        section.refuse("feast", "feast is for layout: feast only");
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
                section.refuse("feast/key_version", text);
            }
            let key_ttl = feast.key_ttl.as_deref().and_then(|text| section.duration("feast/key_ttl", text));
            let project = feast.project.as_deref().unwrap_or(project).to_owned();
            (Layout::Feast { project, key_version: feast.key_version }, key_ttl)
        }
    }
}

fn expiry_of(section: &mut Section<'_>, all: Option<&str>, views: &BTreeMap<String, RedisViewFile>) -> Expiry {
    let all = all.and_then(|text| section.duration("expire_after", text));
    let mut expire = Expiry { all, views: BTreeMap::new() };
    for (view, settings) in views {
        let key = format!("views/{view}/expire_after");
        if let Some(kept) = section.duration(&key, &settings.expire_after) {
            expire.views.insert(view.clone(), kept);
        }
    }
    expire
}

fn one_for_each_core() -> u32 {
    let max = limits::REDIS_CONNECTIONS_MAX;
    available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(max)).min(max)
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
