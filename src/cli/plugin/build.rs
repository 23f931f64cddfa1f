//! `lockstep plugin build`: from a plugin's folder to a component that a gateway would load.

use std::path::{Path, PathBuf};

use clap::Args;

use super::given::workbench;
use super::inspect;
use crate::catalog::{Digest, Signature};
use crate::cli::{Context, Failure, Outcome, output};
use crate::config;
use crate::error::ErrorKind;
use crate::toolchain::{self, Folder};
use crate::transform::Transforms;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plugin build\n  lockstep plugin build fare_ratio --out my_project/plugins/fare_ratio.wasm"
)]
pub(in crate::cli) struct Arguments {
    /// The plugin's folder, with its plugin.yaml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component is written; FOLDER/NAME.wasm if left out
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A component that was built, checked and written.
pub(super) struct Built {
    pub path: PathBuf,
    pub digest: Digest,
    pub signature: Signature,
    pub component: Vec<u8>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let built = build(&arguments.folder, arguments.out.as_deref())?;
    inspect::print(context, &built.signature, built.digest, &built.path, &built.component)?;
    output::note(format!("wrote {}", built.path.display()));
    Ok(Outcome::Done)
}

/// Builds the plugin in `folder` and writes it to `out`. Nothing is written that a gateway would not load.
pub(super) fn build(folder: &Path, out: Option<&Path>) -> Result<Built, Failure> {
    let folder = Folder::open(folder)?;
    let bar = output::progress(&folder.name);
    bar.set_message(format!("building with the tools of {}", folder.language));
    let component = toolchain::build(&folder, &config::tool_folders());
    bar.finish_and_clear();
    let component = component?;
    let (digest, signature) = Transforms::start(workbench())?.load(&folder.name, &component)?;
    if signature.name != folder.name {
        let text = format!("its plugin.yaml calls the plugin {}, its source {}", folder.name, signature.name);
        return Err(Failure { kind: ErrorKind::Invalid, text });
    }
    let path = out.map_or_else(|| folder.component_path(), Path::to_owned);
    std::fs::write(&path, &component).map_err(|error| Failure {
        kind: ErrorKind::Unavailable,
        text: format!("{} cannot be written: {error}", path.display()),
    })?;
    Ok(Built { path, digest, signature, component })
}
