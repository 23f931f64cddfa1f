//! Other programs and the memory that they take: the real `lockstep` run to its end, and a bound that ends a program.
//!
//! A bound counts what is a program's own, anonymous and shared memory. Pages of files that it has mapped are not
//! counted, because the kernel takes them back when it needs them; they are in the peak that is shown, as they are in
//! what `time -v` shows.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::measure::cpu_seconds_of;

pub const LOCKSTEP: &str = env!("CARGO_BIN_EXE_lockstep");
pub const GIB: u64 = 1 << 30;
/// Between two looks at a program. Its peak is kept by the kernel, so only what it grew by in its last moment is missed.
const LOOK: Duration = Duration::from_millis(5);

/// What a program took until it ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Taken {
    pub wall: f64,
    /// To 10 ms.
    pub cpu: f64,
    pub peak_bytes: u64,
}

/// Runs a command of `lockstep` in a project to its end and reads its JSON.
///
/// # Errors
/// If it fails, in its own words.
pub fn lockstep(project: &Path, arguments: &[&str]) -> Result<(Taken, Value)> {
    let mut command = Command::new(LOCKSTEP);
    command.arg("--project").arg(project).args(["--output", "json"]).args(arguments);
    let (taken, out) = run(&mut command).map_err(|error| format!("lockstep {}: {error}", arguments.join(" ")))?;
    let said = serde_json::from_str(&out)
        .map_err(|error| format!("lockstep {} said {out:?}: {error}", arguments.join(" ")))?;
    Ok((taken, said))
}

/// Runs a program to its end; what it took, and what it wrote.
pub fn run(command: &mut Command) -> Result<(Taken, String)> {
    let (mut out, mut errors) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(errors.try_clone()?);
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut peak_bytes = 0;
    let ended = loop {
        match Memory::of(child.id()) {
            Some(memory) => peak_bytes = memory.peak_bytes,
            // It has ended, and the kernel keeps its times until somebody waits for it.
            None if peak_bytes > 0 => break started.elapsed(),
            None if child.try_wait()?.is_some() => {
                return Err(format!("it ended before it began: {}", text_of(&mut errors)?).into());
            }
            None => {}
        }
        std::thread::sleep(LOOK);
    };
    let cpu = cpu_seconds_of(child.id())?;
    match child.wait()?.success() {
        true => Ok((Taken { wall: ended.as_secs_f64(), cpu, peak_bytes }, text_of(&mut out)?)),
        false => Err(text_of(&mut errors)?.into()),
    }
}

fn text_of(file: &mut File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// The memory of a running program.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The most that was resident since the program began, or since [`forget_peak`].
    pub peak_bytes: u64,
    /// Resident now and not pages of files.
    pub own_bytes: u64,
}

impl Memory {
    /// `None` once it has ended.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1_024)
        };
        Some(Self { peak_bytes: bytes("VmHWM:")?, own_bytes: bytes("RssAnon:")? + bytes("RssShmem:")? })
    }
}

/// From now on the peak of this process is that of what it does next.
pub fn forget_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// A child that is killed when this value goes.
#[derive(Debug)]
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
