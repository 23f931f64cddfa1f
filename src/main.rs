//! Parse → telemetry → run → print the error chain, exit code.

use std::process::ExitCode;

use clap::Parser;
use lockstep::cli::{Cli, Outcome, note, run};
use lockstep::{allocator, config, telemetry};
use mimalloc::MiMalloc;

/// An answer is some hundred small buffers that live for a moment: with the system's allocator they took a fifth of the
/// time of a request.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    config::this_is_the_program();
    allocator::keep_freed_memory();
    let cli = Cli::parse();
    let log = config::log_settings();
    telemetry::start(log.filter.as_deref(), cli.log_filter(), log.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(format!("error: cannot start threads: {error}"));
            return ExitCode::from(9);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Err(failure) => {
            note(format!("error: {}", failure.text));
            let (_, _, code) = failure.kind.codes();
            ExitCode::from(code)
        }
    }
}
