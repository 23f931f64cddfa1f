//! `lockstep plugin test`: the conformance harness over a component, for a person to read and as a report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::given::{Component, workbench};
use crate::app::write_golden;
use crate::cli::{Context, Failure, Outcome, output};
use crate::error::ErrorKind;
use crate::transform::Transforms;
use crate::transform::conformance::{Case, Check, Report, Verdict, examine, record, regressions};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plugin test fare_ratio/fare_ratio.wasm\n  lockstep plugin test taxi_company --goldens goldens/taxi_company --record\n  lockstep plugin test taxi_company --json plugins/taxi_company.report.json\n\nExits with 1 when a check fails."
)]
pub struct Arguments {
    /// A `.wasm` file, the folder of a plugin, or the name of a plugin of the project
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// The folder with golden cases; NAME.goldens or goldens beside the plugin if not given
    #[arg(long, value_name = "FOLDER")]
    goldens: Option<PathBuf>,
    /// Write what the plugin answers now into its golden cases, and say what changed
    #[arg(long)]
    record: bool,
    /// Write the report to this file too; what costs more than in the report that was there is told
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    json: Option<PathBuf>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let component = Component::read(context, &arguments.plugin)?;
    let (cases, folder) = component.goldens(arguments.goldens.as_deref())?;
    match (arguments.record, folder) {
        (true, Some(folder)) => record_all(&component, &cases, &folder),
        (true, None) => Err(Failure {
            kind: ErrorKind::NotFound,
            text: format!("{} has no golden cases to record; write one with its inputs", component.path.display()),
        }),
        (false, _) => test(context, &component, &cases, arguments.json.as_deref()),
    }
}

/// Examines a component and prints what was found.
pub fn test(context: &Context, component: &Component, cases: &[Case], json: Option<&Path>) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let bar = output::progress(&component.name);
    let examined = examine(&component.name, &component.bytes, cases, &workbench(), &mut |check: &str| {
        bar.set_message(check.to_owned());
    });
    bar.finish_and_clear();
    let mut report = examined?;
    if let Some(file) = json {
        compare_with_earlier(&mut report, file);
        write(&report, file)?;
    }
    output::print(context.format, &report, |report| shown(report, begun.elapsed().as_secs_f64()))?;
    Ok(if report.passed() { Outcome::Done } else { Outcome::Found })
}

fn record_all(component: &Component, cases: &[Case], folder: &Path) -> Result<Outcome, Failure> {
    let stage = Transforms::start(workbench())?;
    let (digest, _) = stage.load(&component.name, &component.bytes)?;
    for case in cases {
        let recorded = record(&stage, &component.name, digest, case)?;
        if recorded.changes.is_empty() {
            output::say(format!("{}: as it was", case.name))?;
            continue;
        }
        let path = write_golden(folder, &recorded)?;
        output::say(format!("{}: written to {}", case.name, path.display()))?;
        for change in &recorded.changes {
            output::say(format!("  {change}"))?;
        }
    }
    Ok(Outcome::Done)
}

/// A report of the same plugin that is there already is what the costs are compared with.
fn compare_with_earlier(report: &mut Report, file: &Path) {
    let earlier = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
    let Some(earlier) = earlier.filter(|earlier| earlier.plugin == report.plugin) else { return };
    let told = regressions(&earlier.measured, &report.measured);
    if let (false, Some(cost)) = (told.is_empty(), report.checks.iter_mut().find(|check| check.name == "cost")) {
        cost.verdict = Verdict::Warned;
        cost.detail = format!("more than a quarter above the earlier report: {}", told.join("; "));
    }
}

fn write(report: &Report, file: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::invalid(error.to_string()))?;
    std::fs::write(file, json + "\n").map_err(|error| Failure {
        kind: ErrorKind::Unavailable,
        text: format!("{} cannot be written: {error}", file.display()),
    })
}

/// A line for each check, then the verdict.
fn shown(report: &Report, seconds: f64) -> String {
    let line = |check: &Check| {
        let sign = match check.verdict {
            Verdict::Passed => "✓",
            Verdict::Warned => "!",
            Verdict::Failed => "✗",
            Verdict::Skipped => "-",
        };
        format!("{sign} {:<11} {}\n", check.name, check.detail)
    };
    let lines: String = report.checks.iter().map(line).collect();
    let failed: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Failed)
        .map(|check| check.name.as_str())
        .collect();
    let verdict = match failed.is_empty() {
        true => "passed".to_owned(),
        false => format!("failed: {}", failed.join(", ")),
    };
    let fuel = report.fuel;
    format!(
        "{} {}  ·  {} bytes  ·  sha256 {}\n{lines}{verdict}  ·  {} rows, {} golden cases, {seconds:.1} s  ·  fuel budget {} a call and {} a row",
        report.plugin,
        report.version,
        report.measured.bytes,
        report.digest,
        report.rows,
        report.golden_cases,
        fuel.per_call,
        fuel.per_row
    )
}
