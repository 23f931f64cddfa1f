//! Tables: as text to the terminal and to docs/performance.md, as JSON to benches/results.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::{Value, json};

use crate::measure::load_average;
use crate::{Result, SEED};

/// One table of docs/performance.md, between `<!-- table: name -->` and `<!-- end: name -->`.
#[derive(Debug)]
pub struct Table {
    name: &'static str,
    load_before: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    results: Vec<Value>,
    notes: Vec<String>,
}

impl Table {
    /// Made before anything is measured, because it notes how busy the machine is.
    pub fn new(name: &'static str, header: &[&'static str]) -> Self {
        Self {
            name,
            load_before: load_average(),
            header: header.to_vec(),
            rows: Vec::new(),
            results: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// One row as people read it, and everything that was measured for it.
    pub fn push(&mut self, row: Vec<String>, result: impl Serialize) -> Result<()> {
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
        self.results.push(serde_json::to_value(result)?);
        Ok(())
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints the table, writes it into docs/performance.md, and the results beside it.
    pub fn publish(self) -> Result<()> {
        let load_after = load_average();
        let load = format!("load average before: {}, after: {load_after}", self.load_before);
        let text = self.markdown(&load);
        println!("\n{text}");
        if cfg!(debug_assertions) {
            eprintln!("a debug build: nothing is written to docs or results");
            return Ok(());
        }
        replace_section(&root().join("docs/performance.md"), self.name, &text)?;
        let results = json!({
            "table": self.name,
            "machine": machine(),
            "versions": versions(),
            "commit": first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            "seed": SEED,
            "load_average": { "before": self.load_before, "after": load_after },
            "notes": self.notes,
            "results": self.results,
        });
        let path = root().join(format!("benches/results/{}.json", self.name));
        fs::write(path, format!("{}\n", serde_json::to_string_pretty(&results)?))?;
        Ok(())
    }

    fn markdown(&self, load: &str) -> String {
        let mut text = format!("{}\n\n", machine());
        let _ = writeln!(text, "{}; seed {SEED}; {load}\n", versions());
        let _ = writeln!(text, "| {} |", self.header.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(self.header.len()));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }
}

/// The processor, the CPUs, the memory and the kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes: f64 = value(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    format!(
        "{} × {}, {:.0} GB of memory, Linux {}",
        cpus,
        value(&read("/proc/cpuinfo"), "model name"),
        kilobytes / 1e6,
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

fn versions() -> String {
    format!("lockstep {}, release build, {}", env!("CARGO_PKG_VERSION"), first_line("rustc", &["--version"]))
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn replace_section(path: &Path, name: &str, text: &str) -> Result<()> {
    let page = fs::read_to_string(path)?;
    let (begin, end) = (format!("<!-- table: {name} -->\n"), format!("<!-- end: {name} -->"));
    let missing = || format!("{} has no section {begin}", path.display());
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    fs::write(path, format!("{before}{begin}\n{text}\n{end}{after}"))?;
    Ok(())
}
