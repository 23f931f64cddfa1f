//! Compiling a component: in a process of its own that may take so much memory and time and no more, or right here.
//!
//! The compiler is large and not made for components that mean harm: one that makes it take all memory, or an hour, must
//! not take a serving gateway with it. So the program calls itself (`lockstep plugin compile`); the child bounds itself
//! before it looks at the component, and the parent ends it when it takes too long. Tests and other users of the
//! library, who have no such program, compile in their own process.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

use crate::catalog::Digest;
use crate::error::ErrorKind;
use crate::limits::{
    COMPONENT_BYTES_MAX, PLUGIN_COMPILE_CPU_TIME_MAX, PLUGIN_COMPILE_MEMORY_BYTES_MAX, PLUGIN_COMPILE_TIME_MAX,
    PLUGIN_COMPILE_WORDS_MAX, PLUGIN_COMPILED_BYTES_MAX,
};

use super::{Error, Settings, cache, engine};

/// Where components are compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    #[default]
    InProcess,
    InChild(Child),
}

/// A process for each component that is compiled.
#[derive(Clone, Debug)]
pub struct Child {
    /// This program, which knows the command `plugin compile`.
    pub program: PathBuf,
    pub time_max: Duration,
    pub confinement: Confinement,
}

/// What a compiling process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    pub memory_bytes_max: u64,
    /// Of all its threads together.
    pub cpu_time_max: Duration,
}

impl Child {
    /// With the usual bounds.
    pub fn of(program: PathBuf) -> Self {
        let (memory_bytes_max, cpu_time_max) = (PLUGIN_COMPILE_MEMORY_BYTES_MAX, PLUGIN_COMPILE_CPU_TIME_MAX);
        let confinement = Confinement { memory_bytes_max, cpu_time_max };
        Self { program, time_max: PLUGIN_COMPILE_TIME_MAX, confinement }
    }
}

/// The compiled code of a component.
pub fn compile(engine: &Engine, settings: &Settings, plugin: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    match &settings.compiler {
        Compiler::InProcess => precompile(engine, plugin, bytes),
        Compiler::InChild(child) => in_child(child, settings.cache.as_deref(), plugin, bytes),
    }
}

/// What the child does: it bounds itself, then compiles the component in `from` to `to`. The digest is that of the
/// component, so that nothing else is compiled than what was asked for.
pub fn compile_confined(from: &Path, to: &Path, digest: &str, within: Confinement) -> Result<(), Error> {
    let plugin = from.display().to_string();
    let failed =
        |what: &str, error: io::Error| Error::NoCompiler { plugin: plugin.clone(), detail: format!("{what}: {error}") };
    confine(within).map_err(|error| failed("it cannot be bounded", error))?;
    let mut bytes = Vec::new();
    let file = fs::File::open(from).map_err(|error| failed("its component cannot be read", error))?;
    let read = file.take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed("its component cannot be read", error))?;
    if Digest::of(&bytes).to_string() != digest {
        return Err(failed("its component", io::Error::other("is not the one that was asked for")));
    }
    let compiled = precompile(&engine::compiler()?, &plugin, &bytes)?;
    fs::write(to, compiled).map_err(|error| failed("what was compiled cannot be written", error))
}

fn precompile(engine: &Engine, plugin: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let not_a_component =
        |error: wasmtime::Error| Error::NotAComponent { plugin: plugin.to_owned(), detail: format!("{error:#}") };
    engine.precompile_component(bytes).map_err(not_a_component)
}

fn in_child(child: &Child, cache: Option<&Path>, plugin: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let no_compiler = |error: io::Error| Error::NoCompiler { plugin: plugin.to_owned(), detail: error.to_string() };
    let folder = workplace(cache).map_err(no_compiler)?;
    let (from, to) = (folder.path().join("component.wasm"), folder.path().join("component.cwasm"));
    fs::write(&from, bytes).map_err(no_compiler)?;
    let mut process = begin(child, Digest::of(bytes), &from, &to).map_err(no_compiler)?;
    let ended = end(&mut process, child.time_max).map_err(no_compiler)?;
    let not_compiled = |detail: String| Error::NotCompiled { plugin: plugin.to_owned(), detail };
    let Some((status, words)) = ended else {
        return Err(not_compiled(format!("it took more than {} ms", child.time_max.as_millis())));
    };
    if !status.success() {
        return Err(verdict(plugin, status, &words, &child.confinement));
    }
    let mut compiled = Vec::new();
    let file = fs::File::open(&to).map_err(no_compiler)?;
    file.take(PLUGIN_COMPILED_BYTES_MAX + 1).read_to_end(&mut compiled).map_err(no_compiler)?;
    match compiled.len() as u64 > PLUGIN_COMPILED_BYTES_MAX {
        true => Err(not_compiled(format!("compiled it has more than {PLUGIN_COMPILED_BYTES_MAX} bytes"))),
        false => Ok(compiled),
    }
}

/// A folder that only we can look into: beside the cache's files, or where temporary files are if that cannot be
/// written to.
fn workplace(cache: Option<&Path>) -> io::Result<tempfile::TempDir> {
    let in_cache = |folder: &Path| {
        cache::create_private(folder).ok()?;
        cache::is_ours_alone(folder).then(|| tempfile::tempdir_in(folder).ok()).flatten()
    };
    cache.and_then(in_cache).map_or_else(tempfile::tempdir, Ok)
}

/// Without our environment: what is in it (passwords above all) is none of a compiler's business.
fn begin(child: &Child, digest: Digest, from: &Path, to: &Path) -> io::Result<Process> {
    let Confinement { memory_bytes_max, cpu_time_max } = child.confinement;
    Command::new(&child.program)
        .args(["plugin", "compile", "--digest", &digest.to_string()])
        .args(["--memory-bytes", &memory_bytes_max.to_string()])
        .args(["--cpu-seconds", &cpu_time_max.as_secs().max(1).to_string()])
        .args([from, to])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// How the process ended and what it said; nothing if it did not end in time, and was ended.
fn end(process: &mut Process, time_max: Duration) -> io::Result<Option<(ExitStatus, String)>> {
    let (sender, words) = mpsc::channel();
    if let Some(stderr) = process.stderr.take() {
        // A process closes its end when it ends; so this is also how we wait for that, and not longer than we want to.
        thread::Builder::new().name("plugin-compiler".to_owned()).spawn(move || {
            let mut words = Vec::new();
            let read = stderr.take(PLUGIN_COMPILE_WORDS_MAX).read_to_end(&mut words);
            let _ = sender.send(read.map(|_| String::from_utf8_lossy(&words).into_owned()).unwrap_or_default());
        })?;
    }
    match words.recv_timeout(time_max) {
        Ok(words) => Ok(Some((process.wait()?, words))),
        Err(RecvTimeoutError::Disconnected) => Ok(Some((process.wait()?, String::new()))),
        Err(RecvTimeoutError::Timeout) => {
            process.kill()?;
            process.wait()?;
            Ok(None)
        }
    }
}

/// What a process that failed was guilty of.
fn verdict(plugin: &str, status: ExitStatus, words: &str, within: &Confinement) -> Error {
    let (_, _, invalid) = ErrorKind::Invalid.codes();
    let words = words.lines().map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect::<Vec<_>>().join(" ");
    let plugin = plugin.to_owned();
    if status.code() == Some(i32::from(invalid)) {
        // The child names the file in the place of the plugin.
        let detail = words.split_once("can run: ").map_or(words.as_str(), |(_, detail)| detail).to_owned();
        return Error::NotAComponent { plugin, detail };
    }
    if words.contains("memory allocation") || words.contains("Cannot allocate memory") {
        let detail = format!("that takes more than {} bytes of memory", within.memory_bytes_max);
        return Error::NotCompiled { plugin, detail };
    }
    let detail = match words.is_empty() {
        true => format!("the compiling process ended with {status}"),
        false => format!("the compiling process ended with {status}: {words}"),
    };
    Error::NotCompiled { plugin, detail }
}

/// Bounds this process: memory, processor time, bytes of a file; and no image of its memory is left behind.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn confine(within: Confinement) -> io::Result<()> {
    use std::ffi::c_int;

    // The numbers and the struct are those of Linux's setrlimit(2) on 64-bit machines.
    const CPU: c_int = 0;
    const FILE_BYTES: c_int = 1;
    const CORE: c_int = 4;
    const ADDRESS_SPACE: c_int = 9;
    #[repr(C)]
    struct Limit {
        soft: u64,
        hard: u64,
    }
    unsafe extern "C" {
        fn setrlimit(resource: c_int, limit: *const Limit) -> c_int;
    }
    let bounds = [
        (CPU, within.cpu_time_max.as_secs()),
        (FILE_BYTES, PLUGIN_COMPILED_BYTES_MAX),
        (CORE, 0),
        (ADDRESS_SPACE, within.memory_bytes_max),
    ];
    for (resource, bound) in bounds {
        // SAFETY: the struct is laid out as the system wants it, lives until the call returns, and is only read.
        if unsafe { setrlimit(resource, &Limit { soft: bound, hard: bound }) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Elsewhere the parent's clock is the only bound.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn confine(_: Confinement) -> io::Result<()> {
    Ok(())
}
