//! `lockstep completions`: a script that lets a shell complete our commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, Outcome, output};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep completions bash > /etc/bash_completion.d/lockstep")]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    // Into memory first: the generator panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "lockstep", &mut script);
    output::say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Outcome::Done)
}
