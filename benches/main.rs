//! The tables of docs/performance.md. `benches/run` makes all of them, `benches/run pit` makes one.
//!
//! Each table compares values before it measures anything, says how busy the machine was, and is written three times:
//! to the terminal, to docs/performance.md and, with everything that was measured, to benches/results.
//!
//! One program and not one for each table, because every program of this size takes minutes to link in release.

mod faults;
mod floors;
mod load;
mod measure;
mod memory;
mod memory_flat;
mod peers;
mod pit;
mod postgres;
mod process;
mod replay;
mod report;
mod serving;
mod soak;
mod store;
mod swap;
mod sync;
mod synthetic;
mod targets;
mod transform;

use std::process::ExitCode;

use mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// As in the gateway: what is measured in this process must not be slower than it is there.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The seed of all data and of all keys that are asked for.
const SEED: u64 = 20_161_231;

/// In the order in which they are made. The soak takes its time and is made only when it is asked for.
const TABLES: [(&str, fn() -> Result<()>); 20] = [
    ("transform", transform::run),
    ("determinism", transform::determinism),
    ("swap", swap::run),
    ("languages", transform::languages),
    ("faults", faults::run),
    ("replay", replay::run),
    ("pit", pit::run),
    ("sync", sync::into_embedded),
    ("writes", sync::into_redis),
    ("memory_flat", memory_flat::run),
    ("memory", memory::run),
    ("postgres", postgres::run),
    ("growth", serving::growth),
    ("peers", peers::run),
    ("matrix", serving::matrix),
    ("serving", serving::pinned),
    ("serving_transform", serving::request_transform),
    ("serving_unpinned", serving::unpinned),
    ("serving_embedded", serving::embedded),
    (SOAK, soak::run),
];
const SOAK: &str = "soak";
/// What the tables say of the targets: made anew after every run, and alone when it is asked for.
const TARGETS: &str = "targets";

fn main() -> ExitCode {
    lockstep::allocator::keep_freed_memory();
    // Cargo passes --bench to every benchmark.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    // What it starts itself as a process of its own.
    match asked.first().map(String::as_str) {
        Some(floors::COMMAND) => return ended(floors::COMMAND, floors::serve(&asked[1..])),
        Some(pit::COMMAND) => return ended(pit::COMMAND, pit::answer(&asked[1..])),
        _ => {}
    }
    if let Some(unknown) = asked.iter().find(|name| *name != TARGETS && !TABLES.iter().any(|(table, _)| table == name))
    {
        let tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
        eprintln!("there is no table {unknown}; there are {}", tables.join(", "));
        return ExitCode::from(2);
    }
    println!("{}", report::machine());
    let wanted = |name: &str| match asked.is_empty() {
        true => name != SOAK,
        false => asked.iter().any(|asked| asked == name),
    };
    for (name, run) in TABLES.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("== {name}");
        if ended(name, run()) == ExitCode::FAILURE {
            return ExitCode::FAILURE;
        }
    }
    ended(TARGETS, targets::run())
}

fn ended(name: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
