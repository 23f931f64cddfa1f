//! `lockstep plugin sign`: a key vouches for the bytes of a plugin.

use std::path::PathBuf;

use clap::Args;

use crate::app::beside;
use crate::catalog::Digest;
use crate::cli::{Failure, Outcome, output};
use crate::plugins::{Error, PrivateKey};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep plugin sign taxi_company.wasm --key team.key")]
pub(in crate::cli) struct Arguments {
    /// The component; its signature is written beside it, with `.sig` at the end of its name
    file: PathBuf,
    /// The private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { file, key } = arguments;
    let failed = |path: &PathBuf, doing: &'static str| {
        let path = path.clone();
        move |source| Error::File { path, doing, source }
    };
    let component = std::fs::read(file).map_err(failed(file, "read"))?;
    let key = PrivateKey::read(key)?;
    let signature = key.sign(Digest::of(&component));
    let to = beside(file);
    std::fs::write(&to, signature.to_string()).map_err(failed(&to, "written"))?;
    output::say(format!("{} says that {} signed it", to.display(), key.public()))?;
    Ok(Outcome::Done)
}
