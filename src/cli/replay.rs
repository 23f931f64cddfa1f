//! `lockstep replay`: what was served is computed again, and every bit is compared.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::error::ErrorKind;
use crate::flow::replay::{Replayed, ReplayedCell, Trained, TrainedCell, replay};
use crate::request_log::{LogFile, files};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep replay .lockstep/requests\n  lockstep replay .lockstep/requests --training --report replay.json\n\nExits with 1 when a value differs."
)]
pub(super) struct Arguments {
    /// The folder of a request log, or one of its files
    log: PathBuf,
    /// Compare with the training rows of the same entities and times as well
    #[arg(long)]
    training: bool,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let mut by_version: BTreeMap<u64, Vec<LogFile>> = BTreeMap::new();
    for file in files(&arguments.log)? {
        by_version.entry(file.version).or_default().push(file);
    }
    if by_version.is_empty() {
        let text = format!("there are no logged requests in {}", arguments.log.display());
        return Err(Failure { kind: ErrorKind::NotFound, text });
    }
    let mut found = Replayed::default();
    let bar = output::progress("logged requests, computed again");
    for (version, files) in by_version {
        let gateway = project.gateway_offline_at(version).await?;
        for file in files {
            replay(&gateway, &file, arguments.training, &mut found).await?;
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &arguments.report {
        write(path, &found)?;
    }
    output::print(context.format, &found, report)?;
    if found.not_null == 0 {
        output::note("warning: every value is null, which proves nothing");
    }
    let differs = found.differ > 0 || found.training.as_ref().is_some_and(|trained| trained.differ > 0);
    Ok(if differs { Outcome::Found } else { Outcome::Done })
}

fn write(path: &Path, found: &Replayed) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure {
        kind: ErrorKind::Unavailable,
        text: format!("{} cannot be written: {error}", path.display()),
    };
    let text = serde_json::to_string_pretty(found).map_err(|error| failed(error.into()))?;
    std::fs::File::create(path).and_then(|mut file| writeln!(file, "{text}")).map_err(failed)
}

/// The differing cells, then the lines that say it all.
fn report(found: &Replayed) -> String {
    let mut lines: Vec<String> = found.cells.iter().map(cell).collect();
    if found.differ > found.cells.len() as u64 {
        lines.push(format!("  … and {} more", found.differ - found.cells.len() as u64));
    }
    for (view, differ) in &found.differ_by_view {
        let digests = found.transforms.get(view).map(|digests| digests.join(", ")).unwrap_or_default();
        lines.push(format!("{view} does not repeat itself: {differ} values (transform {digests})"));
    }
    lines.push(format!(
        "replay: {} of {} values differ ({} requests, {} rows, {} values computed by transforms, {} not null)",
        found.differ, found.values, found.requests, found.rows, found.computed, found.not_null
    ));
    lines.extend(found.training.as_ref().map(trained));
    lines.join("\n")
}

fn trained(trained: &Trained) -> String {
    let mut lines: Vec<String> = trained.cells.iter().map(trained_cell).collect();
    if trained.differ > trained.cells.len() as u64 {
        lines.push(format!("  … and {} more", trained.differ - trained.cells.len() as u64));
    }
    let Trained { values, differ, transform, late, stored, .. } = trained;
    let why = match differ {
        0 => String::new(),
        _ => format!(
            " ({transform} by the transform, {late} by inputs written later, {stored} by inputs stored otherwise)"
        ),
    };
    lines.push(format!("training: {differ} of {values} values differ{why}"));
    lines.join("\n")
}

fn cell(cell: &ReplayedCell) -> String {
    let ReplayedCell { request, row, keys, view, feature, served, recomputed } = cell;
    let keys = shown(keys);
    format!("  request {request} row {row} {keys}  {view}:{feature}: served {served}, recomputed {recomputed}")
}

fn trained_cell(cell: &TrainedCell) -> String {
    let TrainedCell { request, row, keys, view, feature, served, trained, because } = cell;
    let (keys, because) = (shown(keys), because.words());
    format!("  request {request} row {row} {keys}  {view}:{feature}: served {served}, trained {trained}: {because}")
}

fn shown(keys: &BTreeMap<String, String>) -> String {
    keys.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
