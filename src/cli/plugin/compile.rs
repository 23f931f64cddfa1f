//! `lockstep plugin compile`: what the program calls in a process of its own when it loads a plugin. Not for people.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::{Failure, Outcome};
use crate::transform::{Confinement, compile_confined};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// SHA-256 of the component, in hex
    #[arg(long)]
    digest: String,
    /// Memory that this process may take
    #[arg(long)]
    memory_bytes: u64,
    /// Processor time that it may take
    #[arg(long)]
    cpu_seconds: u64,
    /// The component
    from: PathBuf,
    /// The file to write
    to: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let cpu_time_max = Duration::from_secs(arguments.cpu_seconds);
    let within = Confinement { memory_bytes_max: arguments.memory_bytes, cpu_time_max };
    compile_confined(&arguments.from, &arguments.to, &arguments.digest, within)?;
    Ok(Outcome::Done)
}
