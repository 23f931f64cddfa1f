//! Rust: cargo for `wasm32-unknown-unknown`, which has no WASI to import.
//!
//! Where rustup cannot add the target, Debian's `rustc-web` and `rust-web-src` do: then the standard library is built
//! as well. Paths of this machine become fixed names, so that the same source and toolchain give the same bytes in any
//! folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::config::ToolFolders;

use super::{Error, Folder, Language, Made, tool};

const TARGET: &str = "wasm32-unknown-unknown";
/// A fresh instance costs what its memory does: with 32 KiB of stack, where rustc's own choice is a MiB, the data of most
/// plugins lie in the same page of 64 KiB. Two numbers at once, which every engine of components can, and four such pairs in
/// one pass of a loop: each pass looks at the fuel and at the clock.
const FLAGS: [&str; 3] =
    ["-Clink-arg=-zstack-size=32768", "-Ctarget-feature=+simd128", "-Cllvm-args=-force-vector-interleave=4"];
/// Where Debian's own compiler is, whatever else is in the PATH.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const INSTALL_RUST: &str = "curl -sSf https://sh.rustup.rs | sh";
const INSTALL_TARGET: &str = "rustup target add wasm32-unknown-unknown  (on Debian, without rustup's servers: apt-get install rustc-web rust-web-src)";

/// A compiler that can make WebAssembly.
struct Toolchain {
    /// What tells cargo to use it.
    variables: Vec<(&'static str, OsString)>,
    arguments: Vec<&'static str>,
    sysroot: PathBuf,
}

/// What `cargo metadata` says; we read three of its fields.
#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

/// A line of cargo's messages that tells of a file it made.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

pub fn make(folder: &Folder, tools: &ToolFolders) -> Result<Made, Error> {
    let toolchain = Toolchain::find(folder)?;
    let metadata = metadata(folder)?;
    let mut cargo = cargo(folder, &["build", "--release", "--message-format=json-render-diagnostics", "--target"]);
    cargo.arg(TARGET).args(&toolchain.arguments).envs(toolchain.variables.iter().cloned());
    // Flags from elsewhere would change the bytes; these win over all others.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(tools, &metadata, &toolchain));
    cargo.env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false");
    let output = tool::run(folder, &mut cargo, INSTALL_RUST)?;

    let module = core_module(folder, &output.stdout)?;
    std::fs::read(&module).map(Made::CoreModule).map_err(Error::read(&module))
}

/// Cargo in the plugin's folder, so that a `rust-toolchain.toml` and a `.cargo/config.toml` there are heeded.
fn cargo(folder: &Folder, arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&folder.path).args(arguments);
    cargo
}

fn metadata(folder: &Folder) -> Result<Metadata, Error> {
    let mut command = cargo(folder, &["metadata", "--no-deps", "--format-version=1"]);
    let output = tool::run(folder, &mut command, INSTALL_RUST)?;
    serde_json::from_slice(&output.stdout).map_err(|error| unusable(folder, format!("its metadata: {error}")))
}

/// The core module among the files that cargo says it made.
fn core_module(folder: &Folder, messages: &[u8]) -> Result<PathBuf, Error> {
    let manifest = folder.path.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(Error::read(&manifest))?;
    let artifacts =
        messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Artifact>(line).ok());
    let ours = artifacts
        .filter(|artifact| artifact.target.kind.iter().any(|kind| kind == "cdylib"))
        .find(|artifact| artifact.manifest_path.canonicalize().is_ok_and(|path| path == manifest));
    let module =
        ours.and_then(|ours| ours.filenames.into_iter().find(|path| path.extension() == Some("wasm".as_ref())));
    module.ok_or_else(|| {
        unusable(folder, "its Cargo.toml has no library for WebAssembly: write [lib] crate-type = [\"cdylib\"]")
    })
}

/// Flags as cargo takes them: those of every plugin, and those that give paths of this machine fixed names.
fn flags(tools: &ToolFolders, metadata: &Metadata, toolchain: &Toolchain) -> OsString {
    const BETWEEN: &str = "\x1f";
    let paths: [(&Path, &str); 4] = [
        (&metadata.workspace_root, "=/plugin"),
        (&tools.cargo_home, "=/cargo"),
        (&toolchain.sysroot, "=/rust"),
        (&metadata.target_directory, "=/target"),
    ];
    let mut flags = OsString::from(FLAGS.join(BETWEEN));
    for (path, name) in paths {
        flags.push(BETWEEN);
        flags.push("--remap-path-prefix=");
        flags.push(path);
        flags.push(name);
    }
    flags
}

fn unusable(folder: &Folder, reason: impl Into<String>) -> Error {
    Error::Unusable { tool: "cargo".to_owned(), folder: folder.path.clone(), reason: reason.into() }
}

impl Toolchain {
    fn find(folder: &Folder) -> Result<Self, Error> {
        let ask = |rustc: &str, what: &[&str]| tool::answer(Command::new(rustc).args(what).current_dir(&folder.path));
        let Some(sysroot) = ask("rustc", &["--print", "sysroot"]).map(PathBuf::from) else {
            return Err(tool::missing(Language::Rust, "rustc", INSTALL_RUST));
        };
        if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            return Ok(Self { variables: Vec::new(), arguments: Vec::new(), sysroot });
        }
        let host = ask("rustc", &["--print", "host-tuple"]);
        let linker = host.map(|host| sysroot.join("lib/rustlib").join(host).join("bin/rust-lld"));
        let debian = ask(DEBIAN_RUSTC, &["--print", "sysroot"]).map(PathBuf::from);
        let debian = debian.filter(|sysroot| sysroot.join("lib/rustlib/src/rust/library").is_dir());
        match (debian, linker) {
            (Some(sysroot), Some(linker)) if linker.is_file() => Ok(Self {
                variables: vec![
                    ("RUSTC", DEBIAN_RUSTC.into()),
                    ("RUSTC_BOOTSTRAP", "1".into()),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
                ],
                arguments: vec!["-Zbuild-std=std,panic_abort"],
                sysroot,
            }),
            _ => Err(tool::missing(Language::Rust, &format!("the target {TARGET} of rustc"), INSTALL_TARGET)),
        }
    }
}
