//! `lockstep plugin`: transform plugins, from the first line to the gateway.

mod build;
mod compile;
mod inspect;
mod key;
mod list;
mod lock;
mod new;
mod publish;
mod sign;

mod bench;
mod diff;
mod given;
mod run;
mod test;
mod watch;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Context, Failure, Outcome};
use crate::app::Project;
use crate::error::ErrorKind;
use crate::toolchain::Folder;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a plugin and show its signature, digest, size, memory and cost
    #[command(
        after_help = "Examples:\n  lockstep plugin inspect taxi_company\n  lockstep plugin inspect plugins/built/taxi_company.wasm"
    )]
    Inspect {
        /// A `.wasm` file, the folder of a plugin, or the name of a plugin of the project
        #[arg(default_value = ".")]
        plugin: PathBuf,
    },
    /// Write the folder of a new plugin: source, test, golden case and README
    New(new::Arguments),
    /// Build the plugin in a folder with its language's own tools, and check it as a gateway would
    Build(build::Arguments),
    /// Prove that a plugin is pure: golden cases, edge values, cuts, orders, used instances, damaged frames
    Test(test::Arguments),
    /// Measure what calls of a plugin cost
    Bench(bench::Arguments),
    /// Apply a plugin to the rows of a Parquet file
    Run(run::Arguments),
    /// Compare what two versions of a plugin answer, and whether the second may have its number
    Diff(diff::Arguments),
    /// Build and test a plugin whenever its source changes
    Watch(watch::Arguments),
    /// Send a plugin to a folder or to a registry of images, with its golden cases, report and signature
    Publish(publish::Arguments),
    /// Make and show keys that sign plugins
    #[command(subcommand)]
    Key(key::Command),
    /// Sign a plugin
    Sign(sign::Arguments),
    /// Pin the bytes of all plugins that the definitions use, in plugins.lock
    #[command(after_help = "Example: lockstep plugin lock")]
    Lock,
    /// Pin what the places of some plugins have now, in place of what was pinned
    #[command(after_help = "Example: lockstep plugin update taxi_company")]
    Update {
        /// Names of plugins
        #[arg(required = true)]
        plugins: Vec<String>,
    },
    /// Show the plugins of the project: version, digest, signature, golden cases, limits
    #[command(after_help = "Examples:\n  lockstep plugin list\n  lockstep plugin list -o json")]
    List,
    /// Compile a plugin in a process of its own
    #[command(hide = true)]
    Compile(compile::Arguments),
}

pub(super) async fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Inspect { plugin } => inspect::run(context, plugin),
        Command::New(arguments) => new::run(context, arguments),
        Command::Build(arguments) => build::run(context, arguments),
        Command::Test(arguments) => test::run(context, arguments),
        Command::Bench(arguments) => bench::run(context, arguments),
        Command::Run(arguments) => run::run(context, arguments),
        Command::Diff(arguments) => diff::run(context, arguments),
        Command::Watch(arguments) => watch::run(context, arguments),
        Command::Publish(arguments) => publish::run(context, arguments).await,
        Command::Key(command) => key::run(context, command),
        Command::Sign(arguments) => sign::run(arguments),
        Command::Lock => lock::run(context, &[]).await,
        Command::Update { plugins } => lock::run(context, plugins).await,
        Command::List => list::run(context).await,
        Command::Compile(arguments) => compile::run(arguments),
    }
}

/// A folder with a plugin in it is what was built there; a word that is no path is the name of a plugin of the project.
fn path_of(context: &Context, plugin: &Path) -> Result<PathBuf, Failure> {
    let is_path = plugin.extension().is_some() || plugin.components().count() > 1;
    let path = match (plugin.is_dir(), is_path) {
        (true, _) => Folder::open(plugin)?.component_path(),
        (false, true) => plugin.to_owned(),
        (false, false) => Project::open(&context.project)?.plugin_path(&plugin.to_string_lossy()),
    };
    match path.is_file() {
        true => Ok(path),
        false => Err(Failure { kind: ErrorKind::NotFound, text: format!("there is no file {}", path.display()) }),
    }
}
