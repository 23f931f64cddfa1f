//! `lockstep plugin new`: the folder of a new plugin, which builds and passes its tests as it is.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::{Context, Failure, Outcome, output};
use crate::toolchain::{Language, templates};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plugin new fare_ratio\n  lockstep plugin new plugins/fare_ratio --lang c"
)]
pub(in crate::cli) struct Arguments {
    /// The folder to make; its last part is the plugin's name, in snake_case
    folder: PathBuf,
    /// The language to write it in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[derive(Serialize)]
struct Made {
    folder: PathBuf,
    language: Language,
    files: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let folder = arguments.folder.clone();
    let files = templates::write(&folder, arguments.lang)?;
    let made = Made { folder, language: arguments.lang, files };
    output::print(context.format, &made, |made| {
        let folder = made.folder.display();
        let ours: Vec<&str> = made.files.iter().map(String::as_str).filter(|path| !path.starts_with("sdk/")).collect();
        format!(
            "made {} and the SDK in {folder}\nnext: lockstep plugin build {folder} && lockstep plugin test {folder}",
            ours.join(", ")
        )
    })?;
    Ok(Outcome::Done)
}
