//! JavaScript: componentize-js, which evaluates the plugin's module in SpiderMonkey for WebAssembly and keeps what is in
//! memory then.
//!
//! Every feature that would import something is disabled. Without them the engine would answer with the time of the build,
//! or with nothing; the SDK's `seal.js`, which is evaluated first, throws an error with advice instead.

use std::path::PathBuf;
use std::process::Command;

use crate::config::ToolFolders;

use super::{Error, Folder, Language, Made, stage, tool};

const TOOL: &str = "componentize-js";
const PACKAGE: &str = "@bytecodealliance/componentize-js";
const VERSION: &str = "0.23.0";
const INSTALL_NODE: &str = "apt-get install nodejs npm  (or from https://nodejs.org, version 20 or newer)";
const ENTRY: &str = "import \"./sdk/lockstep_plugin/seal.js\";
import plugin from \"./src/{{name}}.js\";
import { component } from \"./sdk/lockstep_plugin/component.js\";

export const transform = component(plugin);
";
const ENTRY_MODULE: &str = "lockstep_component.js";

pub fn make(folder: &Folder, tools: &ToolFolders) -> Result<Made, Error> {
    stage::check_source(folder, TOOL, "js")?;
    let program = find(tools)?;
    let stage = stage::stage(folder, ENTRY_MODULE, &ENTRY.replace("{{name}}", &folder.name))?;
    let mut node = Command::new("node");
    node.current_dir(stage.path()).arg(program).arg(ENTRY_MODULE);
    node.args(["--wit", stage::WIT, "--world-name", "transform-plugin"]);
    node.args(["--disable", "random", "stdio", "clocks", "http", "fetch-event"]);
    node.args(["--out", stage::COMPONENT]);
    let ran = tool::run(folder, &mut node, INSTALL_NODE);
    ran.map_err(|error| stage::plugins_words(error, "Exception while evaluating top-level script", &["\n    at "]))?;
    stage::component(&stage).map(Made::Component)
}

/// The tool's program in our cache.
fn find(tools: &ToolFolders) -> Result<PathBuf, Error> {
    let installed = tools.cache.join(format!("{TOOL}-{VERSION}"));
    let program = installed.join("node_modules").join(PACKAGE).join("src/cli.js");
    match program.is_file() {
        true => Ok(program),
        false => {
            let install = format!("npm install --prefix {} {PACKAGE}@{VERSION}", installed.display());
            Err(tool::missing(Language::Js, &format!("{TOOL} {VERSION}"), &install))
        }
    }
}
