//! The command line: one file per command. A command parses, calls the app or a flow, and prints; it decides nothing.

mod apply;
mod check;
mod compact;
mod completions;
mod deprecations;
mod get;
mod history;
mod init;
mod lineage;
mod online;
mod output;
mod parity;
mod plan;
mod plugin;
mod push;
mod quickstart;
mod reload;
mod replay;
mod rollback;
mod schema;
mod serve;
mod services;
mod shadow;
mod stats;
mod sync;
mod syncs;
mod time;
mod train;
mod vacuum;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::error::{ErrorKind, chain};
use crate::{app, config};

const GLOBAL: &str = "Options of every command";

/// A feature gateway: one WebAssembly transform for sync, ingest, serving and training.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done · 1 a check found something (parity, replay, plan, check, plugin test) · 2 invalid input · 3 not found · \
4 conflict · 5 too large · 6 a plugin failed · 7 exhausted · 8 too late · 9 unavailable · 10 internal"
)]
pub struct Cli {
    /// The folder with `lockstep.yaml`
    #[arg(long, short = 'C', global = true, default_value = ".", env = "LOCKSTEP_PROJECT", help_heading = GLOBAL)]
    project: PathBuf,
    /// How results are printed: for people or for programs
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table, help_heading = GLOBAL)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the Chicago Taxi example, run all of it, and serve it
    Quickstart(quickstart::Arguments),
    /// Write a new project
    Init(init::Arguments),
    /// Show what `apply` would change, and everything that is wrong
    Plan(plan::Arguments),
    /// Record the definitions in the registry
    Apply(apply::Arguments),
    /// Put an earlier version, or an earlier build of a plugin, on again
    Rollback(rollback::Arguments),
    /// Compare another build of a plugin with the one that answers, on live calls
    #[command(subcommand)]
    Shadow(shadow::Command),
    /// Have a running gateway take the latest version up now
    Reload(reload::Arguments),
    /// Show what was applied, when and by whom
    History(history::Arguments),
    /// Show where a feature comes from and who uses it
    Lineage(lineage::Arguments),
    /// Show the feature services and the lists of features that they have had
    Services(services::Arguments),
    /// Show what is going away, when, and who uses it still
    #[command(after_help = "Example: lockstep deprecations")]
    Deprecations,
    /// Bring offline rows to the online store
    Sync(sync::Arguments),
    /// Show the runs of sync, and what runs next
    Syncs(syncs::Arguments),
    /// Answer requests over HTTP and Arrow Flight
    #[command(after_help = "Example: lockstep -C my_project serve")]
    Serve,
    /// Look features up
    Get(get::Arguments),
    /// Make a training set
    Train(train::Arguments),
    /// Push rows of a Parquet file to a push source
    Push(push::Arguments),
    /// Show what values the columns of a view, a source or a Parquet file have
    Stats(stats::Arguments),
    /// Look whether the rows of feature views are as they are expected to be
    Check(check::Arguments),
    /// Set, delete and copy rows of the online store, and see how it is
    #[command(subcommand)]
    Online(online::Command),
    /// Make few large files of the many small ones that a source consists of
    Compact(compact::Arguments),
    /// Remove files of a source that nobody reads any more
    Vacuum(vacuum::Arguments),
    /// Prove that serving and training give the same values
    Parity(parity::Arguments),
    /// Compute logged requests again and prove that the values are the same
    Replay(replay::Arguments),
    /// Write, build and look into transform plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Print the JSON Schema of the definition files
    Schema(schema::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

pub use output::note;

/// How a command ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A check ran and found something: exit code 1.
    Found,
}

/// An error of any module, with its kind.
#[derive(Debug)]
pub struct Failure {
    pub kind: ErrorKind,
    pub text: String,
}

impl Failure {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, text: text.into() }
    }
}

/// Errors of our modules become failures with their whole chain.
macro_rules! failure_from {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { kind: error.kind(), text: chain(&error) }
            }
        })+
    };
}

failure_from!(
    crate::flow::Error,
    crate::offline::Error,
    crate::toolchain::Error,
    crate::training::Error,
    crate::plan::Error,
    crate::plugins::Error,
    crate::registry::Error,
    crate::transform::Error,
    crate::transform::conformance::Error,
);

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        let text = match &error {
            // Each mistake begins with its place, so that editors and terminals can follow it.
            app::Error::Mistakes(mistakes) | app::Error::Config(config::Error::Mistakes(mistakes))
                if mistakes.as_slice().len() > 1 =>
            {
                format!("{} mistakes\n{mistakes}", mistakes.as_slice().len())
            }
            error => chain(error),
        };
        Self { kind: error.kind(), text }
    }
}

impl Cli {
    /// What is logged unless somebody asks for something else: warnings. What is not as expected a command that ends
    /// tells by itself, so that it is not told twice.
    pub fn log_filter(&self) -> &'static str {
        match self.command {
            Command::Serve => "warn",
            _ => "warn,lockstep::flow::expectations=error",
        }
    }
}

/// Runs the command that the arguments name.
pub async fn run(cli: Cli) -> Result<Outcome, Failure> {
    let context = Context { project: cli.project, format: cli.output };
    match cli.command {
        Command::Quickstart(arguments) => quickstart::run(&context, arguments).await,
        Command::Init(arguments) => init::run(&context, &arguments),
        Command::Plan(arguments) => plan::run(&context, &arguments).await,
        Command::Apply(arguments) => apply::run(&context, &arguments).await,
        Command::Rollback(arguments) => rollback::run(&context, &arguments).await,
        Command::Shadow(command) => shadow::run(&context, &command).await,
        Command::Reload(arguments) => reload::run(&context, &arguments).await,
        Command::History(arguments) => history::run(&context, &arguments).await,
        Command::Lineage(arguments) => lineage::run(&context, &arguments).await,
        Command::Services(arguments) => services::run(&context, &arguments).await,
        Command::Deprecations => deprecations::run(&context).await,
        Command::Sync(arguments) => sync::run(&context, &arguments).await,
        Command::Syncs(arguments) => syncs::run(&context, &arguments).await,
        Command::Serve => serve::run(&context).await,
        Command::Get(arguments) => get::run(&context, &arguments).await,
        Command::Train(arguments) => train::run(&context, &arguments).await,
        Command::Push(arguments) => push::run(&context, &arguments).await,
        Command::Stats(arguments) => stats::run(&context, &arguments).await,
        Command::Check(arguments) => check::run(&context, &arguments).await,
        Command::Online(command) => online::run(&context, &command).await,
        Command::Compact(arguments) => compact::run(&context, &arguments).await,
        Command::Vacuum(arguments) => vacuum::run(&context, &arguments).await,
        Command::Parity(arguments) => parity::run(&context, &arguments).await,
        Command::Replay(arguments) => replay::run(&context, &arguments).await,
        Command::Plugin(command) => plugin::run(&context, &command).await,
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// What every command is told.
#[derive(Debug)]
pub(crate) struct Context {
    pub project: PathBuf,
    pub format: Format,
}
