//! `lockstep schema`: the JSON Schemas, for editors that check YAML while one types.

use clap::{Args, ValueEnum};

use super::{Failure, Outcome, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep schema > .vscode/lockstep.schema.json\n  lockstep schema project > .vscode/lockstep-project.schema.json"
)]
pub(super) struct Arguments {
    /// Which file's schema
    #[arg(value_enum, default_value_t = Kind::Definitions)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// features/*.yaml
    Definitions,
    /// lockstep.yaml
    Project,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let schema = match arguments.kind {
        Kind::Definitions => crate::catalog::schema(),
        Kind::Project => crate::config::schema(),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(|error| Failure::invalid(error.to_string()))?;
    output::say(text)?;
    Ok(Outcome::Done)
}
