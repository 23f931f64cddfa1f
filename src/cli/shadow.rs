//! `lockstep shadow`: another build of a plugin beside the one that answers, before anybody is answered with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::plan::Changes;
use super::reload::{GatewayAddress, not_answered, read};
use super::{Context, Failure, Outcome, output};
use crate::app::{Project, beside};
use crate::client;
use crate::error::ErrorKind;
use crate::shadow::{Cost, Found};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run another build of a view's plugin on a share of its live calls
    #[command(after_help = "Example: lockstep shadow start pickup_distance --plugin haversine.wasm --share 5%")]
    Start(Start),
    /// Show how the two builds compare
    #[command(after_help = "Examples:\n  lockstep shadow status\n  lockstep shadow status pickup_distance --examples")]
    Status(Status),
    /// Answer with the other build from now on: it becomes the next version
    #[command(after_help = "Example: lockstep shadow promote pickup_distance")]
    Promote(Promote),
    /// End it
    #[command(after_help = "Example: lockstep shadow drop pickup_distance")]
    Drop {
        /// The derived view
        view: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// The derived view; it must be computed when requests are answered
    view: String,
    /// The file of the other build
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Of the live calls of the view, such as 5% or 0.05
    #[arg(long, default_value = "5%", value_parser = share)]
    share: f64,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The derived view; all of them without it
    view: Option<String>,
    /// Show the last cells that differ, with the values of requests in them
    #[arg(long)]
    examples: bool,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The derived view
    view: String,
    /// Apply although services get values of another computation
    #[arg(long)]
    allow_incompatible: bool,
}

#[derive(Serialize)]
struct Promoted<'a> {
    version: u64,
    #[serde(flatten)]
    changes: Changes<'a>,
}

pub(super) async fn run(context: &Context, command: &Command) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    match command {
        Command::Start(arguments) => start(context, &project, arguments).await?,
        Command::Status(arguments) => status(context, &project, arguments).await?,
        Command::Promote(Promote { view, allow_incompatible }) => {
            let (planned, version) = project.promote_shadow(view, *allow_incompatible).await?;
            let promoted = Promoted { version: version.number, changes: Changes::of(&planned) };
            output::print(context.format, &promoted, |promoted| {
                format!(
                    "{}\napplied as version {}; a running gateway takes it up within a second",
                    promoted.changes, promoted.version
                )
            })?;
        }
        Command::Drop { view } => {
            project.drop_shadow(view).await?;
            output::note(format!("nothing runs beside the plugin of {view} any more"));
        }
    }
    Ok(Outcome::Done)
}

async fn start(context: &Context, project: &Project, arguments: &Start) -> Result<(), Failure> {
    let path = &arguments.plugin;
    let unreadable = |error: std::io::Error| Failure {
        kind: ErrorKind::NotFound,
        text: format!("{} cannot be read: {error}", path.display()),
    };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let signature = std::fs::read_to_string(beside(path)).ok();
    let digest = project.start_shadow(&arguments.view, bytes, signature, arguments.share).await?.to_string();
    output::print(context.format, &serde_json::json!({"view": arguments.view, "digest": digest}), |_| {
        format!(
            "{} runs beside the plugin of {} on {} % of its live calls; a running gateway begins within a second",
            &digest[..12],
            arguments.view,
            arguments.share * 100.0
        )
    })
}

async fn status(context: &Context, project: &Project, arguments: &Status) -> Result<(), Failure> {
    let path = if arguments.examples { "/shadows?examples=true" } else { "/shadows" };
    let answer = client::get(arguments.gateway.of(project), path).await.map_err(not_answered)?;
    let mut found: Vec<Found> = read(&answer)?;
    found.retain(|found| arguments.view.as_ref().is_none_or(|view| found.view == *view));
    output::print(context.format, &found, |found| match found.is_empty() {
        true => "no shadow runs in this gateway".to_owned(),
        false => found.iter().map(shown).collect::<Vec<_>>().join("\n\n"),
    })
}

fn shown(found: &Found) -> String {
    let mut text = format!(
        "{}: {} beside {} on {} % of the calls\n{} of {} calls compared, {} rows; {} dropped, {} failed\n",
        found.view,
        &found.new[..12.min(found.new.len())],
        &found.old[..12.min(found.old.len())],
        found.share * 100.0,
        found.compared,
        found.calls,
        found.rows,
        found.dropped,
        found.failed,
    );
    if let Some(failure) = &found.last_failure {
        text.push_str(&format!("last failure: {failure}\n"));
    }
    let per_row = |cost: Cost| (cost.fuel / found.rows.max(1), cost.nanoseconds / found.rows.max(1));
    let (old, new) = (per_row(found.old_cost), per_row(found.new_cost));
    text.push_str(&format!("fuel a row: {} → {}; ns a row: {} → {}\n", old.0, new.0, old.1, new.1));
    let rows = found.features.iter().map(|feature| {
        let largest = feature.largest_difference.map_or_else(|| "-".to_owned(), |largest| largest.to_string());
        vec![feature.feature.clone(), feature.values.to_string(), feature.differ.to_string(), largest]
    });
    text.push_str(&output::table(&["feature", "values", "differ", "largest difference"], rows));
    for example in &found.examples {
        let inputs = example.inputs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
        text.push_str(&format!("\n{}: {} → {}   {inputs}", example.feature, example.old, example.new));
    }
    text
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    match number.trim().parse::<f64>().map(|number| number / unit) {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("{text:?} is no share; write 5% or 0.05")),
    }
}
