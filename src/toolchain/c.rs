//! C: clang and LLVM's linker, freestanding, so that there is no C library that could import anything.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Folder, Made, tool};

const INSTALL: &str = "apt-get install clang lld  (macOS: brew install llvm lld)";
/// Where the sources of a plugin are, and where its copy of the SDK is.
const SOURCES: &str = "src";
const HEADERS: &str = "sdk";

/// No contraction: a multiplication and an addition round twice, here as in every other language.
const COMPILE: [&str; 14] = [
    "--target=wasm32-unknown-unknown",
    "-std=c11",
    "-O2",
    "-ffreestanding",
    "-fno-builtin",
    "-nostdlib",
    "-mbulk-memory",
    "-msign-ext",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
    "-Werror=return-type",
];
/// The stack lies first, so that a recursion without end is a trap and not a write into the data; and it is small,
/// because a fresh instance costs what its memory does.
const LINK: [&str; 4] = ["-Wl,--no-entry", "-Wl,--stack-first", "-Wl,-z,stack-size=32768", "-Wl,--strip-debug"];

pub fn make(folder: &Folder) -> Result<Made, Error> {
    tool::run(folder, Command::new("wasm-ld").arg("--version"), INSTALL)?;
    let sources = sources(folder)?;
    let out = tempfile::tempdir().map_err(Error::write(Path::new("a temporary folder")))?;
    let module = out.path().join("module.wasm");
    let mut clang = Command::new("clang");
    // Relative to the folder, so that no path of this machine is in the module.
    clang.current_dir(&folder.path).args(COMPILE).args(LINK).args(["-I", HEADERS]).args(sources).arg("-o").arg(&module);
    tool::run(folder, &mut clang, INSTALL)?;
    std::fs::read(&module).map(Made::CoreModule).map_err(Error::read(&module))
}

/// All `.c` files of the plugin, in the order of their names: the linker keeps it.
fn sources(folder: &Folder) -> Result<Vec<PathBuf>, Error> {
    let path = folder.path.join(SOURCES);
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(Error::read(&path))? {
        let name = PathBuf::from(entry.map_err(Error::read(&path))?.file_name());
        if name.extension() == Some("c".as_ref()) {
            sources.push(Path::new(SOURCES).join(name));
        }
    }
    sources.sort();
    match sources.is_empty() {
        false => Ok(sources),
        true => Err(Error::Unusable {
            tool: "clang".to_owned(),
            folder: folder.path.clone(),
            reason: format!("there is no .c file in {SOURCES}/"),
        }),
    }
}
