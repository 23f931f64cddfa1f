//! What the shape of `lockstep.yaml` cannot say: names, addresses and spans of time.

use std::net::SocketAddr;
use std::path::Path;

use super::file::{
    AuditFile, ConfigFile, HotCacheFile, HotViewFile, ListenFile, OfflineKindFile, OfflineStoreFile, OnImpureFile,
    OnlineStoreFile, SchedulesFile, SyncFile,
};
use super::section::Section;
use super::{
    Audit, Config, HotCache, HotView, Listen, OnlineStore, Sync, object_stores, plugins, postgres, redis, request_log,
};
use crate::catalog::snake_case_mistake;
use crate::document::{Document, Mistakes, parse_size, size_text};
use crate::limits;
use crate::pit::Space;
use crate::transform::OnImpure;

/// The checked config; every mistake at once.
pub(super) fn config(folder: &Path, document: &Document, file: ConfigFile) -> Result<Config, Mistakes> {
    let mut mistakes = Vec::new();
    let mut whole = Section::whole(folder, document, &mut mistakes);
    if let Some(wrong) = snake_case_mistake(&file.project) {
        whole.refuse("project", format!("the name of the project {wrong}"));
    }
    let registry = whole.path("registry/path", &file.registry.path);
    let cache = whole.path("cache", &file.cache);
    let plugins = plugins::settings(&mut whole, folder, &cache, &file);
    let plugin_limits = plugins::limits(whole.inner("plugin_limits"), &file.plugin_limits);
    let online_store = match &file.online_store {
        OnlineStoreFile::Embedded { path } => OnlineStore::Embedded { path: whole.path("online_store/path", path) },
        OnlineStoreFile::Memory {} => OnlineStore::Memory,
        redis @ OnlineStoreFile::Redis { .. } => redis::settings(whole.inner("online_store"), &file.project, redis),
    };
    let OfflineKindFile::Parquet = file.offline_store.kind;
    let join_space = join_space(whole.inner("offline_store"), &file.offline_store);
    let object_stores = object_stores::settings(whole.inner("object_stores"), &file.object_stores);
    let postgres = postgres::databases(whole.inner("postgres"), &file.postgres);
    let hot_cache = hot_cache(whole.inner("hot_cache"), &file.hot_cache);
    let sync = sync(whole.inner("sync"), &file.sync);
    let request_log = file.request_log.as_ref().map(|file| request_log::settings(whole.inner("request_log"), file));
    let listen = listen(whole.inner("listen"), &file.listen);
    let too_long = |max| format!("a deadline may be {max} at most");
    let serve_deadline =
        whole.duration_within("serve/deadline", &file.serve.deadline, limits::SERVE_DEADLINE_MAX, too_long);
    let (Some(listen), Some(sync), Some(join_space), true) = (listen, sync, join_space, mistakes.is_empty()) else {
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
        plugin_limits,
        cache,
        audit: audit(&file.audit),
        listen,
        serve_deadline,
        sync,
        request_log,
    })
}

fn sync(mut section: Section<'_>, file: &SyncFile) -> Option<Sync> {
    let spool = section.path("spool", &file.spool);
    let least = limits::SYNC_MEMORY_BYTES_MIN;
    let memory_bytes = usize::try_from(file.memory_mib).ok().and_then(|mib| mib.checked_mul(1 << 20));
    if memory_bytes.is_none_or(|bytes| bytes < least) {
        section.refuse("memory_mib", format!("a sync needs {} MiB at least", least >> 20));
    }
    let checkpoint_every = section.duration("checkpoint_every", &file.checkpoint_every)?;
    let schedules = file.schedules == SchedulesFile::On;
    Some(Sync { schedules, memory_bytes: memory_bytes?, checkpoint_every, spool })
}

/// A share as one in so many; its bounds are those of the file's shape.
fn audit(file: &AuditFile) -> Audit {
    let compare_one_in = match file.share > 0.0 {
        // A cast of a float to an integer ends at the integer's largest value.
        true => (1.0 / file.share).round() as u32,
        false => 0,
    };
    let on_impure = match file.on_impure {
        OnImpureFile::Warn => OnImpure::Warn,
        OnImpureFile::Quarantine => OnImpure::Quarantine,
    };
    Audit { compare_one_in, on_impure }
}

fn join_space(mut section: Section<'_>, file: &OfflineStoreFile) -> Option<Space> {
    let spill = section.path("spill", &file.spill);
    let mut size = |key: &str, text: &str, min: u64| {
        let checked = parse_size(text).and_then(|bytes| match bytes >= min {
            true => Ok(bytes),
            false => Err(format!("{text} is too little; a join needs {} at least", size_text(min))),
        });
        checked.map_err(|wrong| section.refuse(key, wrong)).ok()
    };
    let memory = size("memory", &file.memory, limits::PIT_MEMORY_BYTES_MIN as u64);
    let spill_bytes_max = size("spill_max", &file.spill_max, 0);
    let memory_bytes = usize::try_from(memory?).unwrap_or(usize::MAX);
    Some(Space { memory_bytes, spill, spill_bytes_max: spill_bytes_max? })
}

fn hot_cache(mut section: Section<'_>, file: &HotCacheFile) -> HotCache {
    let mut views = section.inner("views");
    let view = |(name, view): (&String, &HotViewFile)| {
        let mut section = views.inner(name);
        let rows_max = limits::HOT_CACHE_ROWS_MAX;
        if view.rows == 0 || view.rows > rows_max {
            section
                .refuse("rows", format!("1 to {rows_max} rows of a view can be kept; leave the view out to keep none"));
        }
        let too_long = |max| format!("a row may be kept for {max} at most");
        let max_age = section.duration_within("max_age", &view.max_age, limits::HOT_CACHE_AGE_MAX, too_long);
        (name.clone(), HotView { rows: view.rows, max_age, absent: view.absent })
    };
    HotCache { views: file.views.iter().map(view).collect() }
}

fn listen(mut section: Section<'_>, file: &ListenFile) -> Option<Listen> {
    let mut read = |name: &str, text: &str| address(text).map_err(|wrong| section.refuse(name, wrong)).ok();
    let http = read("http", &file.http);
    let flight = read("flight", &file.flight);
    let admin = read("admin", &file.admin);
    let listen = Listen { http: http?, flight: flight?, admin: admin? };
    let pairs = [
        ("flight", listen.flight, "http", listen.http),
        ("admin", listen.admin, "http", listen.http),
        ("admin", listen.admin, "flight", listen.flight),
    ];
    for (name, address, other, taken) in pairs {
        if address == taken && address.port() != 0 {
            section.refuse(name, format!("{address} is the address of {other} already; give {name} another port"));
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
