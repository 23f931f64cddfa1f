//! Running a compiler: found or explained, and what it said when it failed.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use super::{Error, Folder, Language};

/// The last so many bytes of what a tool printed are told when it fails: a few screens.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// Runs a tool for the plugin in `folder`. A tool that is not there is [`Error::Missing`] with the command that
/// installs it, one that fails is [`Error::Failed`] with what it printed.
pub fn run(folder: &Folder, command: &mut Command, install: &str) -> Result<Output, Error> {
    let tool = name(command);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(missing(folder.language, &tool, install));
        }
        Err(source) => return Err(Error::File { path: command.get_program().into(), action: "run", source }),
    };
    match output.status.success() {
        true => Ok(output),
        false => Err(Error::Failed { tool, folder: folder.path.clone(), output: said(&output) }),
    }
}

/// What a tool prints about itself; nothing if it is not there or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub fn missing(language: Language, wanted: &str, install: &str) -> Error {
    Error::Missing { language, wanted: wanted.to_owned(), install: install.to_owned() }
}

/// The name of a tool for messages: without the folder it lies in.
fn name(command: &Command) -> String {
    let path = Path::new(command.get_program());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The end of what a tool printed, errors last.
fn said(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let shown = &all[all.len().saturating_sub(OUTPUT_BYTES_MAX)..];
    let text = String::from_utf8_lossy(shown);
    match text.trim_end() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    }
}
