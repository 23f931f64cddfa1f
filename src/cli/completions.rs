//! `lockstep completions`: a script that lets a shell complete our commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, Outcome};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep completions bash > /etc/bash_completion.d/lockstep")]
pub(super) struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    clap_complete::generate(arguments.shell, &mut Cli::command(), "lockstep", &mut std::io::stdout());
    Ok(Outcome::Done)
}
