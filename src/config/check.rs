//! What the shape of `lockstep.yaml` cannot say: names, addresses and spans of time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::file::{
    ConfigFile, HotCacheFile, OfflineKindFile, OfflineStoreFile, OnlineStoreFile, SchedulesFile, SyncFile,
};
use super::{Config, HotCache, HotView, Listen, OnlineStore, Sync, object_stores, postgres, redis};
use crate::catalog::snake_case_mistake;
use crate::document::{Document, Mistake, Mistakes, duration_text, parse_duration, parse_size, size_text};
use crate::limits;
use crate::pit::Space;

/// The checked config; every mistake at once.
pub(super) fn config(folder: &Path, document: &Document, file: ConfigFile) -> Result<Config, Mistakes> {
    let mut mistakes = Vec::new();
    if let Some(wrong) = snake_case_mistake(&file.project) {
        mistakes.push(document.mistake("/project", format!("the name of the project {wrong}")));
    }
    let mut path = |pointer: &str, path: &str| {
        if path.trim().is_empty() {
            mistakes.push(document.mistake(pointer, "a path must not be empty"));
        }
        absolute(folder, path)
    };
    let registry = path("/registry/path", &file.registry.path);
    let plugins = path("/plugins", &file.plugins);
    let cache = path("/cache", &file.cache);
    let spool = path("/sync/spool", &file.sync.spool);
    let spill = path("/offline_store/spill", &file.offline_store.spill);
    let online_store = match &file.online_store {
        OnlineStoreFile::Embedded { path: file } => OnlineStore::Embedded { path: path("/online_store/path", file) },
        OnlineStoreFile::Memory {} => OnlineStore::Memory,
        redis @ OnlineStoreFile::Redis { .. } => redis::settings(folder, document, &file.project, redis, &mut mistakes),
    };
    let OfflineKindFile::Parquet = file.offline_store.kind;
    let join_space = join_space(document, &file.offline_store, spill, &mut mistakes);
    let object_stores = object_stores::settings(folder, document, &file.object_stores, &mut mistakes);
    let postgres = postgres::databases(folder, document, &file.postgres, &mut mistakes);
    let hot_cache = hot_cache(document, &file.hot_cache, &mut mistakes);
    let sync = sync(document, &file.sync, spool, &mut mistakes);
    let listen = listen(document, &file, &mut mistakes);
    let deadline = parse_duration(&file.serve.deadline).and_then(|deadline| {
        let max = limits::SERVE_DEADLINE_MAX;
        let too_long = || format!("a deadline may be {} at most", duration_text(max));
        if deadline <= max { Ok(deadline) } else { Err(too_long()) }
    });
    let deadline = deadline.map_err(|wrong| mistakes.push(document.mistake("/serve/deadline", wrong)));
    let (Some(listen), Ok(serve_deadline), Some(sync), Some(join_space), true) =
        (listen, deadline, sync, join_space, mistakes.is_empty())
    else {
        return Err(Mistakes::from(mistakes));
    };
    Ok(Config {
        folder: folder.to_owned(),
        project: file.project,
        registry,
        online_store,
        hot_cache,
        join_space,
        object_stores,
        postgres,
        plugins,
        cache,
        listen,
        serve_deadline,
        sync,
    })
}

fn sync(document: &Document, file: &SyncFile, spool: PathBuf, mistakes: &mut Vec<Mistake>) -> Option<Sync> {
    let least = limits::SYNC_MEMORY_BYTES_MIN;
    let memory_bytes = usize::try_from(file.memory_mib).ok().and_then(|mib| mib.checked_mul(1 << 20));
    if memory_bytes.is_none_or(|bytes| bytes < least) {
        let wrong = format!("a sync needs {} MiB at least", least >> 20);
        mistakes.push(document.mistake("/sync/memory_mib", wrong));
    }
    let refused = |wrong| mistakes.push(document.mistake("/sync/checkpoint_every", wrong));
    let checkpoint_every = parse_duration(&file.checkpoint_every).map_err(refused).ok()?;
    let schedules = file.schedules == SchedulesFile::On;
    Some(Sync { schedules, memory_bytes: memory_bytes?, checkpoint_every, spool })
}

fn join_space(
    document: &Document,
    file: &OfflineStoreFile,
    spill: PathBuf,
    mistakes: &mut Vec<Mistake>,
) -> Option<Space> {
    let mut size = |key: &str, text: &str, min: u64| {
        let checked = parse_size(text).and_then(|bytes| match bytes >= min {
            true => Ok(bytes),
            false => Err(format!("{text} is too little; a join needs {} at least", size_text(min))),
        });
        checked.map_err(|wrong| mistakes.push(document.mistake(&format!("/offline_store/{key}"), wrong))).ok()
    };
    let memory = size("memory", &file.memory, limits::PIT_MEMORY_BYTES_MIN as u64);
    let spill_bytes_max = size("spill_max", &file.spill_max, 0);
    let memory_bytes = usize::try_from(memory?).unwrap_or(usize::MAX);
    Some(Space { memory_bytes, spill, spill_bytes_max: spill_bytes_max? })
}

fn hot_cache(document: &Document, file: &HotCacheFile, mistakes: &mut Vec<Mistake>) -> HotCache {
    let mut views = BTreeMap::new();
    for (name, view) in &file.views {
        let mut refuse = |key: &str, wrong: String| {
            mistakes.push(document.mistake(&format!("/hot_cache/views/{name}/{key}"), wrong));
        };
        let rows_max = limits::HOT_CACHE_ROWS_MAX;
        if view.rows == 0 || view.rows > rows_max {
            refuse("rows", format!("1 to {rows_max} rows of a view can be kept; leave the view out to keep none"));
        }
        let age_max = limits::HOT_CACHE_AGE_MAX;
        match parse_duration(&view.max_age) {
            Ok(max_age) if max_age <= age_max => {
                views.insert(name.clone(), HotView { rows: view.rows, max_age, absent: view.absent });
            }
            Ok(_) => refuse("max_age", format!("a row may be kept for {} at most", duration_text(age_max))),
            Err(wrong) => refuse("max_age", wrong),
        }
    }
    HotCache { views }
}

fn absolute(folder: &Path, path: &str) -> PathBuf {
    // Joining an absolute path gives that path.
    folder.join(path)
}

fn listen(document: &Document, file: &ConfigFile, mistakes: &mut Vec<Mistake>) -> Option<Listen> {
    let mut read = |name: &str, text: &str| {
        let refused = |wrong| mistakes.push(document.mistake(&format!("/listen/{name}"), wrong));
        address(text).map_err(refused).ok()
    };
    let http = read("http", &file.listen.http);
    let flight = read("flight", &file.listen.flight);
    let admin = read("admin", &file.listen.admin);
    let listen = Listen { http: http?, flight: flight?, admin: admin? };
    let pairs = [
        ("flight", listen.flight, "http", listen.http),
        ("admin", listen.admin, "http", listen.http),
        ("admin", listen.admin, "flight", listen.flight),
    ];
    for (name, address, other, taken) in pairs {
        if address == taken && address.port() != 0 {
            let text = format!("{address} is the address of {other} already; give {name} another port");
            mistakes.push(document.mistake(&format!("/listen/{name}"), text));
        }
    }
    Some(listen)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address: SocketAddr = numeric
        .parse()
        .map_err(|_| format!("{text:?} is not an address; write a host's number and a port, such as 127.0.0.1:6566"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "until Lockstep can authenticate callers it listens on loopback only; {text} would let everybody in: \
         write 127.0.0.1:{} and put a proxy that authenticates in front",
        address.port()
    ))
}
