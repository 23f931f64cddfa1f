//! The tables of docs/performance.md. `benches/run` makes all of them, `benches/run pit` makes one.
//!
//! Each table compares values before it measures anything, says how busy the machine was, and is written three times:
//! to the terminal, to docs/performance.md and, with everything that was measured, to benches/results.
//!
//! One program and not one for each table, because every program of this size takes minutes to link in release.

mod load;
mod measure;
mod pit;
mod report;
mod serving;
mod sync;
mod synthetic;
mod transform;

use std::process::ExitCode;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// The seed of all data and of all keys that are asked for.
const SEED: u64 = 20_161_231;

fn main() -> ExitCode {
    // Cargo passes --bench to every benchmark.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let tables: [(&str, fn() -> Result<()>); 4] =
        [("transform", transform::run), ("pit", pit::run), ("sync", sync::run), ("serving", serving::run)];
    if let Some(unknown) = asked.iter().find(|name| !tables.iter().any(|(table, _)| table == name)) {
        eprintln!("there is no table {unknown}; there are transform, pit, sync and serving");
        return ExitCode::from(2);
    }
    println!("{}", report::machine());
    for (name, run) in tables.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|asked| asked == name)) {
        eprintln!("== {name}");
        if let Err(error) = run() {
            eprintln!("error: {name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
