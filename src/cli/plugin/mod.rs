//! `lockstep plugin`: transform plugins, from the first line to the gateway.

mod build;
mod inspect;
mod new;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Context, Failure, Outcome};
use crate::app::Project;
use crate::error::ErrorKind;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a plugin and show its signature, digest and size
    #[command(
        after_help = "Examples:\n  lockstep plugin inspect taxi_company\n  lockstep plugin inspect plugins/built/taxi_company.wasm"
    )]
    Inspect {
        /// A `.wasm` file, or the name of a plugin of the project
        plugin: PathBuf,
    },
    /// Write the folder of a new plugin: source, test, golden case and README
    New(new::Arguments),
    /// Build the plugin in a folder with its language's own tools, and check it as a gateway would
    Build(build::Arguments),
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Inspect { plugin } => inspect::run(context, plugin),
        Command::New(arguments) => new::run(context, arguments),
        Command::Build(arguments) => build::run(context, arguments),
    }
}

/// A word that is no path is the name of a plugin of the project.
fn path_of(context: &Context, plugin: &Path) -> Result<PathBuf, Failure> {
    let is_path = plugin.extension().is_some() || plugin.components().count() > 1;
    let path = match is_path {
        true => plugin.to_owned(),
        false => Project::open(&context.project)?.plugin_path(&plugin.to_string_lossy()),
    };
    match path.is_file() {
        true => Ok(path),
        false => Err(Failure { kind: ErrorKind::NotFound, text: format!("there is no file {}", path.display()) }),
    }
}
