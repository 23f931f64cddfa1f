//! `lockstep init`: the files of a new project.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Context, Failure, Outcome, output};
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
    taxi!("features/trips.yaml"),
    taxi!("data/trips.parquet"),
    taxi!("data/labels.parquet"),
    taxi!("plugins/taxi_company.wasm"),
    taxi!("plugins/taxi_recency.wasm"),
    taxi!("plugins/taxi_quote.wasm"),
    taxi!("variants/delta/fill.py"),
    taxi!("variants/delta/trips.yaml"),
    taxi!("variants/postgres/connection.yaml"),
    taxi!("variants/postgres/rows.py"),
    taxi!("variants/postgres/table.sql"),
    taxi!("variants/postgres/trips.yaml"),
];

const MINIMAL: Files = &[
    ("lockstep.yaml", include_bytes!("../../examples/minimal/lockstep.yaml")),
    ("features/features.yaml", include_bytes!("../../examples/minimal/features/features.yaml")),
];

#[derive(Serialize)]
struct Made {
    folder: PathBuf,
    files: Vec<&'static str>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    write(&arguments.dir, arguments.example)?;
    let files = files(arguments.example).iter().map(|(path, _)| *path).collect();
    let made = Made { folder: arguments.dir.clone(), files };
    output::print(context.format, &made, |made| {
        let folder = made.folder.display();
        format!("made {} in {folder}\nnext: lockstep -C {folder} apply", made.files.join(", "))
    })?;
    Ok(Outcome::Done)
}

/// Writes the example; a folder that has one of its files already is left alone.
pub(super) fn write(dir: &Path, example: Example) -> Result<(), Failure> {
    let files = files(example);
    if let Some((path, _)) = files.iter().find(|(path, _)| dir.join(path).exists()) {
        let text = format!("{} has a {path} already; nothing was written", dir.display());
        return Err(Failure { kind: ErrorKind::Conflict, text });
    }
    for (path, content) in files {
        let path = dir.join(path);
        write_file(&path, content).map_err(|error| Failure {
            kind: ErrorKind::Unavailable,
            text: format!("{} cannot be written: {error}", path.display()),
        })?;
    }
    Ok(())
}

fn files(example: Example) -> Files {
    match example {
        Example::Minimal => MINIMAL,
        Example::ChicagoTaxi => CHICAGO_TAXI,
    }
}

fn write_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, content)
}
