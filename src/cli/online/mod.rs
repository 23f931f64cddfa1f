//! `lockstep online`: what operators do with the online store.

mod copy;

use clap::Subcommand;

use super::{Context, Failure, Outcome, output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Move the rows to another layout of Redis, while they are served
    Copy(copy::Arguments),
}

pub(super) async fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Copy(arguments) => copy::run(context, arguments).await,
    }
}
