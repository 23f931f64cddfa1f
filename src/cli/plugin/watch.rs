//! `lockstep plugin watch`: builds and tests a plugin whenever its source changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::build::build;
use super::given::Component;
use super::test;
use crate::cli::{Context, Failure, Outcome, output};

/// How often the folder is looked at.
const POLL: Duration = Duration::from_millis(300);
/// Files that are looked at; a plugin has a handful.
const FILES_MAX: usize = 10_000;
/// Folders that tools fill.
const NOT_SOURCE: [&str; 4] = ["target", "node_modules", "__pycache__", "build"];

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep plugin watch fare_ratio\n\nEnds with Ctrl-C.")]
pub struct Arguments {
    /// The plugin's folder, with its plugin.yaml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Build and test once, whether or not anything changes, and end
    #[arg(long)]
    once: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    // Nobody sends: waiting for a message is waiting for time.
    let (_nobody, silence) = mpsc::channel::<()>();
    loop {
        let seen = modified(&arguments.folder);
        let outcome = build_and_test(context, &arguments.folder);
        if arguments.once {
            return outcome;
        }
        if let Err(failure) = outcome {
            output::note(format!("error: {}", failure.text));
        }
        output::note(format!("waiting for a change in {}", arguments.folder.display()));
        while modified(&arguments.folder) == seen {
            let _ = silence.recv_timeout(POLL);
        }
    }
}

fn build_and_test(context: &Context, folder: &Path) -> Result<Outcome, Failure> {
    let built = build(folder, None)?;
    let component = Component::read(context, &built.path)?;
    let (cases, _) = component.goldens(None)?;
    test::test(context, &component, &cases, None)
}

/// When each file of the source was last changed, and its bytes. A file that comes, goes or cannot be read is a change
/// too.
fn modified(folder: &Path) -> BTreeMap<PathBuf, Option<(SystemTime, u64)>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_made = name.starts_with('.') || name.ends_with(".wasm") || NOT_SOURCE.contains(&&*name);
            if is_made || files.len() >= FILES_MAX {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                _ => {
                    let changed = entry.metadata().and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
                    files.insert(path, changed.ok());
                }
            }
        }
    }
    files
}
