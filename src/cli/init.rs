//! `lockstep init`: the files of a new project.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Failure, Outcome};
use crate::error::ErrorKind;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep init my_project\n  lockstep init taxi --example chicago-taxi")]
pub(super) struct Arguments {
    /// The folder to make
    dir: PathBuf,
    /// What to put in it
    #[arg(long, value_enum, default_value_t = Example::Minimal)]
    example: Example,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Example {
    /// One entity, one view that is pushed to, one service
    Minimal,
    /// Real taxi trips, SQL views and three transforms
    ChicagoTaxi,
}

/// The files of an example: path in the project, content.
type Files = &'static [(&'static str, &'static [u8])];

macro_rules! taxi {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../examples/chicago_taxi/", $path)) as &[u8])
    };
}

const CHICAGO_TAXI: Files = &[
    taxi!("lockstep.yaml"),
    taxi!("README.md"),
    taxi!("features/taxi.yaml"),
    taxi!("data/trips.parquet"),
    taxi!("data/labels.parquet"),
    taxi!("plugins/taxi_company.wasm"),
    taxi!("plugins/taxi_recency.wasm"),
    taxi!("plugins/taxi_quote.wasm"),
];

const MINIMAL: Files = &[
    ("lockstep.yaml", include_bytes!("../../examples/minimal/lockstep.yaml")),
    ("features/features.yaml", include_bytes!("../../examples/minimal/features/features.yaml")),
];

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    write(&arguments.dir, arguments.example)?;
    println!("made {}; next: lockstep -C {} apply", arguments.dir.display(), arguments.dir.display());
    Ok(Outcome::Done)
}

/// Writes the example; a folder that has a project already is left alone.
pub(super) fn write(dir: &Path, example: Example) -> Result<(), Failure> {
    if dir.join("lockstep.yaml").exists() {
        return Err(Failure {
            kind: ErrorKind::Conflict,
            text: format!("{} has a lockstep.yaml already", dir.display()),
        });
    }
    let files = match example {
        Example::Minimal => MINIMAL,
        Example::ChicagoTaxi => CHICAGO_TAXI,
    };
    for (path, content) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(path, content)?;
    }
    Ok(())
}
