//! Python: componentize-py, which imports the plugin in CPython for WebAssembly and keeps what is in memory then.
//!
//! All of WASI is replaced by stubs, so that nothing is imported. The stubs alone would kill an instance without a word,
//! or answer what was true at build time; the SDK's `seal.py` raises an error with advice instead.
//!
//! # Why two builds differ
//! CPython draws the seed of its hashes when it starts, and it is in the snapshot. No value may depend on it (`hash()` of
//! a text raises); the component's digest does.

use std::path::PathBuf;
use std::process::Command;

use crate::config::ToolFolders;

use super::{Error, Folder, Language, Made, stage, tool};

const TOOL: &str = "componentize-py";
const VERSION: &str = "0.25.1";
/// Closes what a transform cannot have, before and after the plugin's own module is imported.
const ENTRY: &str = "from lockstep_plugin import seal

seal.before_import()

import {{name}}
from lockstep_plugin.component import Transform

seal.after_import()
";
const ENTRY_MODULE: &str = "lockstep_component";

pub fn make(folder: &Folder, tools: &ToolFolders) -> Result<Made, Error> {
    stage::check_source(folder, TOOL, "py")?;
    let tool = find(tools)?;
    let stage = stage::stage(folder, &format!("{ENTRY_MODULE}.py"), &ENTRY.replace("{{name}}", &folder.name))?;
    let mut command = Command::new(tool);
    // An active environment of the author would be searched for packages.
    command.current_dir(stage.path()).env_remove("VIRTUAL_ENV");
    command.args(["--quiet", "--wit-path", stage::WIT, "--world", "transform-plugin", "componentize", "--stub-wasi"]);
    command.args(["--python-path", ".", "--python-path", stage::SOURCES, "--python-path", stage::SDK]);
    command.args(["--output", stage::COMPONENT, ENTRY_MODULE]);
    let ran = tool::run(folder, &mut command, "");
    ran.map_err(|error| stage::plugins_words(error, "AssertionError: ", &["\nStack backtrace:", "\nCaused by:"]))?;
    stage::component(&stage).map(Made::Component)
}

/// The tool in our cache, or of the same version in the PATH.
fn find(tools: &ToolFolders) -> Result<PathBuf, Error> {
    let environment = tools.cache.join(format!("{TOOL}-{VERSION}"));
    let ours = environment.join("bin").join(TOOL);
    if ours.is_file() {
        return Ok(ours);
    }
    let said = tool::answer(Command::new(TOOL).arg("--version"));
    if said.is_some_and(|said| said.split_whitespace().last() == Some(VERSION)) {
        return Ok(PathBuf::from(TOOL));
    }
    let folder = environment.display();
    let install = format!("python3 -m venv {folder} && {folder}/bin/pip install {TOOL}=={VERSION}");
    Err(tool::missing(Language::Python, &format!("{TOOL} {VERSION}"), &install))
}
