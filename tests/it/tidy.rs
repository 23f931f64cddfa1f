//! The rules that keep the source readable, held by reading it: who may import whom, how long a file may be, which
//! versions the lock file may hold.

use std::fs;
use std::path::{Path, PathBuf};

/// All Rust files under `folder`, with their path relative to the repository.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => walk(&path, files),
                false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                false => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    files.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("under the root").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("UTF-8"))
    };
    files.into_iter().map(named).collect()
}

/// The code of a file: without comments, and without the module of tests at its end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/conformance")
}

/// Files under one of `folders` must not contain one of `words`.
fn check_absent(folders: &[&str], words: &[&str]) {
    let mut found = Vec::new();
    for folder in folders {
        let files = match folder.ends_with(".rs") {
            true => rust_files("src").into_iter().filter(|(path, _)| path == folder).collect(),
            false => rust_files(folder),
        };
        assert!(!files.is_empty(), "{folder} has no files: correct this rule");
        for (path, text) in files.into_iter().filter(|(path, _)| !is_test(path)) {
            let code = code(&text);
            found
                .extend(words.iter().filter(|word| code.contains(*word)).map(|word| format!("{path} contains {word}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Only files under one of `allowed` may contain `word`.
fn check_only(word: &str, allowed: &[&str]) {
    let named = |(path, text): &(String, String)| {
        let ours = allowed.iter().any(|allowed| path.starts_with(allowed));
        (!ours && !is_test(path) && code(text).contains(word)).then(|| path.clone())
    };
    let found: Vec<String> = rust_files("src").iter().filter_map(named).collect();
    assert!(found.is_empty(), "{word} belongs to {allowed:?} but stands in {found:?}");
}

#[test]
fn flows_name_no_adapter_and_no_wire() {
    check_absent(
        &["src/flow"],
        &["embedded", "memory::", "parquet::", "crate::server", "crate::app", "crate::cli", "crate::config"],
    );
}

#[test]
fn the_server_names_no_port_and_no_adapter() {
    let ports = [
        "crate::online",
        "crate::offline",
        "crate::events",
        "crate::vectors",
        "crate::registry",
        "crate::app",
        "crate::cli",
        "crate::config",
    ];
    check_absent(&["src/server"], &ports);
}

#[test]
fn no_adapter_names_another_adapter() {
    check_absent(
        &["src/online/embedded", "src/online/memory.rs", "src/online/cache", "src/online/guarded.rs"],
        &["crate::offline", "crate::registry", "crate::flow", "crate::server"],
    );
    check_absent(
        &["src/backend"],
        &["crate::online", "crate::offline", "crate::events", "crate::flow", "crate::server", "crate::config"],
    );
    check_absent(&["src/offline"], &["crate::online", "crate::registry", "crate::flow", "crate::server"]);
    check_absent(&["src/registry"], &["crate::online", "crate::offline", "crate::flow", "crate::server"]);
    check_absent(
        &["src/plugins"],
        &[
            "crate::transform",
            "crate::online",
            "crate::offline",
            "crate::registry",
            "crate::flow",
            "crate::server",
            "crate::plan",
            "crate::app",
            "crate::config",
        ],
    );
    check_absent(
        &["src/transform"],
        &["crate::online", "crate::offline", "crate::registry", "crate::flow", "crate::server", "crate::plan"],
    );
}

#[test]
fn toolchains_are_for_authors_and_know_nothing_of_a_running_gateway() {
    check_only("crate::toolchain", &["src/cli/"]);
    let gateway =
        ["crate::online", "crate::offline", "crate::registry", "crate::flow", "crate::server", "crate::transform"];
    check_absent(&["src/toolchain"], &gateway);
}

#[test]
fn the_request_log_names_no_flow_and_no_store_that_serves() {
    check_absent(
        &["src/request_log"],
        &["crate::flow", "crate::online", "crate::registry", "crate::server", "crate::config", "crate::app"],
    );
}

#[test]
fn planning_and_the_catalog_are_pure() {
    let impure = ["async fn", ".await", "std::fs", "std::net", "tokio::", "std::env"];
    let pure = [
        "src/plan",
        "src/catalog",
        "src/pit/kernel.rs",
        "src/pit/keys.rs",
        "src/pit/newest.rs",
        "src/pit/mod.rs",
        "src/batch.rs",
        "src/cast.rs",
        "src/document",
        "src/values",
    ];
    check_absent(&pure, &impure);
}

#[test]
fn heavy_crates_are_named_by_one_folder() {
    check_only("wasmtime", &["src/transform/"]);
    check_only("datafusion", &["src/offline/", "src/pit/"]);
    check_only("axum::", &["src/server/"]);
    check_only("tonic::", &["src/server/", "src/client.rs"]);
    check_only("arrow_flight::", &["src/server/", "src/client.rs"]);
    check_only("redb::", &["src/online/embedded"]);
    check_only("redis::", &["src/online/redis", "src/app.rs", "src/config/"]);
    check_only("moka::", &["src/online/cache"]);
    check_only("sqlx::", &["src/registry/"]);
    check_only("std::env::", &["src/config/"]);
    check_only("wit_component", &["src/toolchain/"]);
}

#[test]
fn the_concrete_adapters_are_named_by_the_app_alone() {
    check_only("GuardedStore", &["src/app.rs", "src/online/guarded"]);
    check_only("CachedStore", &["src/app.rs", "src/online/cache", "src/metrics"]);
    check_only("EmbeddedStore", &["src/app.rs", "src/online/embedded"]);
    check_only("RedisStore", &["src/app.rs", "src/online/redis"]);
    check_only("ParquetTables", &["src/app.rs", "src/offline/"]);
    check_only("PostgresTables", &["src/app.rs", "src/offline/"]);
    check_only("StoredSources", &["src/app.rs", "src/offline/"]);
    check_only("DeltaTables", &["src/app.rs", "src/offline/"]);
    check_only("deltalake", &["src/offline/delta"]);
    check_only("tokio_postgres", &["src/offline/postgres"]);
    check_only("object_store::", &["src/offline/", "src/plugins/url.rs"]);
    check_only("oci_client", &["src/plugins/oci.rs"]);
    check_only("ring::signature", &["src/plugins/signature.rs"]);
}

#[test]
fn a_file_is_at_most_500_lines_and_begins_with_what_it_is_for() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src") {
        if text.lines().count() > 500 {
            wrong.push(format!("{path} has {} lines", text.lines().count()));
        }
        if !is_test(&path) && !text.starts_with("//!") {
            wrong.push(format!("{path} does not begin with a //! header"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME", "#[ignore", "thread::sleep", "time::sleep("];
    let mut found = Vec::new();
    for (path, text) in
        ["src", "tests", "benches"].into_iter().flat_map(rust_files).filter(|(path, _)| path != "tests/it/tidy.rs")
    {
        // The thread that counts the epochs of plugin calls has nothing to wait for but time.
        let sleeps_allowed = path.starts_with("benches/") || path == "src/transform/engine.rs";
        for word in words.iter().filter(|word| !(sleeps_allowed && word.contains("sleep"))) {
            if text.contains(word) {
                found.push(format!("{path} contains {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn code_that_answers_strangers_does_not_unwrap() {
    let mut found = Vec::new();
    for (path, text) in rust_files("src").into_iter().filter(|(path, _)| !is_test(path)) {
        let count = code(&text).matches(".unwrap()").count();
        if count > 0 {
            found.push(format!("{path}: {count}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_lock_file_has_one_version_of_each_heavy_crate() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("Cargo.lock");
    for name in [
        "arrow",
        "arrow-array",
        "arrow-flight",
        "arrow-ipc",
        "axum",
        "datafusion",
        "hyper",
        "parquet",
        "prost",
        "tokio",
        "tonic",
        "wasmtime",
    ] {
        let versions = lock.matches(&format!("name = \"{name}\"\n")).count();
        assert_eq!(versions, 1, "{name} is in Cargo.lock {versions} times");
    }
}
