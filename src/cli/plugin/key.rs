//! `lockstep plugin key`: keys that sign plugins.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::cli::{Context, Failure, Outcome, output};
use crate::plugins::PrivateKey;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a private key, in a file that only you can read
    #[command(after_help = "Example: lockstep plugin key new team.key")]
    New {
        /// The file to make
        file: PathBuf,
    },
    /// Show the public key of a private one, for plugin_keys in lockstep.yaml
    #[command(after_help = "Example: lockstep plugin key show team.key")]
    Show {
        /// The private key
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Shown {
    key: String,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    let key = match command {
        Command::New { file } => PrivateKey::create(file)?,
        Command::Show { file } => PrivateKey::read(file)?,
    };
    output::print(context.format, &Shown { key: key.public().to_string() }, |shown| shown.key.clone())?;
    if let Command::New { file } = command {
        let file = file.display();
        output::note(format!(
            "{file} is the private key: keep it, and show it to nobody. The line above is for lockstep.yaml:"
        ));
        output::note(format!("plugin_keys: {{my_team: \"{}\"}}", key.public()));
    }
    Ok(Outcome::Done)
}
