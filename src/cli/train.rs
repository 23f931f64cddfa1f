//! `lockstep train`: a training set as a Parquet file or a Delta table, with its manifest; `lockstep train verify`: made
//! again and compared.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::flow::Error;
use crate::flow::verify::{Changed, RowGroup, Verified};
use crate::manifest::OptionsUsed;
use crate::training::{self, Order, Target};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  lockstep train tip_model_v1 --labels data/labels.parquet --to training.parquet\n  lockstep train tip_model_v1 --labels data/labels.parquet --to delta:training\n  lockstep train verify training.parquet.manifest.json"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: Option<Make>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the set of a manifest again and compare
    #[command(
        after_help = "Example: lockstep train verify training.parquet.manifest.json\n\nExits with 1 when anything differs."
    )]
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Make {
    /// The feature service, or one of its lists, as `service@3`
    service: String,
    /// A Parquet file with join keys, request fields, the time of each label, and anything else you want to keep
    #[arg(long)]
    labels: PathBuf,
    /// The Parquet file to write, or `delta:FOLDER` for a new Delta table; its manifest is written beside it. `-` writes an
    /// Arrow stream to standard output
    #[arg(long, value_name = "FILE|delta:FOLDER|-")]
    to: Target,
    /// The column with the time of each label; event_timestamp, or the only timestamp, if not given
    #[arg(long)]
    time_column: Option<String>,
    /// Only rows that were written by then, such as 2016-12-31T00:00:00Z: the set as it would have been made at that time
    #[arg(long, value_parser = time::parse)]
    known_at: Option<Micros>,
    /// The column that says for each label by when rows were written that count
    #[arg(long)]
    known_at_column: Option<String>,
    /// Add a column with the digests of all transforms
    #[arg(long)]
    digest_column: bool,
}

#[derive(Debug, Args)]
struct Verify {
    /// The manifest, which stands beside the set
    manifest: PathBuf,
    /// Where the labels are now; where the manifest says if not given
    #[arg(long)]
    labels: Option<PathBuf>,
}

#[derive(Serialize)]
struct Trained {
    service: String,
    rows: u64,
    columns: usize,
    path: PathBuf,
    manifest: Option<PathBuf>,
    spilled_bytes: u64,
    seconds: f64,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    match (&arguments.command, &arguments.make) {
        (Some(Command::Verify(arguments)), _) => verify(context, arguments).await,
        (None, Some(arguments)) => make(context, arguments).await,
        (None, None) => Err(Failure::invalid("name the feature service, --labels and --to")),
    }
}

async fn make(context: &Context, arguments: &Make) -> Result<Outcome, Failure> {
    check_folder_of(arguments.to.path())?;
    let gateway = Project::open(&context.project)?.gateway().await?;
    let started = Instant::now();
    let bar = output::progress(&format!("training set of {}", arguments.service));
    let order = Order {
        service: arguments.service.clone(),
        labels: arguments.labels.clone(),
        time_column: arguments.time_column.clone(),
        options: OptionsUsed {
            digest_column: arguments.digest_column,
            known_at: arguments.known_at,
            known_at_column: arguments.known_at_column.clone(),
        },
    };
    let to_stream = arguments.to == Target::Parquet("-".into());
    let made = match to_stream {
        true => training::stream(&gateway, &order, std::io::stdout()).await,
        false => training::make(&gateway, &order, &arguments.to).await,
    };
    bar.finish_and_clear();
    let made = made.map_err(|error| match error {
        training::Error::Flow(Error::NoLabelTime(column)) => Failure::invalid(no_label_time(arguments, &column)),
        other => other.into(),
    })?;
    let trained = Trained {
        service: arguments.service.clone(),
        rows: made.rows,
        columns: made.columns,
        path: arguments.to.path().to_owned(),
        manifest: made.manifest,
        spilled_bytes: made.spilled_bytes,
        seconds: started.elapsed().as_secs_f64(),
    };
    if to_stream {
        output::note(said(&trained));
        return Ok(Outcome::Done);
    }
    output::print(context.format, &trained, said)?;
    Ok(Outcome::Done)
}

fn said(trained: &Trained) -> String {
    let Trained { rows, columns, path, seconds, .. } = trained;
    let spilled = match trained.spilled_bytes {
        0 => String::new(),
        bytes => format!("; {:.1} MiB were put aside on disk", bytes as f64 / (1 << 20) as f64),
    };
    format!("{rows} rows × {columns} columns in {} ({seconds:.2} s{spilled})", path.display())
}

async fn verify(context: &Context, arguments: &Verify) -> Result<Outcome, Failure> {
    let manifest = training::read_manifest(&arguments.manifest)?;
    let project = Project::open(&context.project)?;
    let gateway = project.gateway_at(manifest.definitions.version).await?;
    let bar = output::progress(&format!("training set of {}, made again", manifest.service));
    let verified = training::check(&gateway, &manifest, arguments.labels.as_deref()).await;
    bar.finish_and_clear();
    let verified = verified?;
    output::print(context.format, &verified, report)?;
    Ok(if verified.equal && verified.changed.is_empty() { Outcome::Done } else { Outcome::Found })
}

/// What was found, in lines.
fn report(verified: &Verified) -> String {
    let mut lines: Vec<String> = verified.changed.iter().map(changed).collect();
    match verified.equal {
        true => lines.push(format!("equal: {} rows, bit for bit", verified.rows)),
        false if verified.rows != verified.rows_were => {
            lines.push(format!("different: {} rows, there were {}", verified.rows, verified.rows_were));
        }
        false => lines.push("different".to_owned()),
    }
    lines.extend(verified.row_groups.iter().map(row_group));
    lines.join("\n")
}

fn changed(changed: &Changed) -> String {
    match changed {
        Changed::Definitions { was, is } => format!("the definitions have changed: {} → {}", &was[..12], &is[..12]),
        Changed::Transform { view, was, is } => {
            format!("the transform of {view} has changed: {} → {}", &was[..was.len().min(12)], &is[..is.len().min(12)])
        }
        Changed::Labels { rows_were, rows, row_groups } => {
            let groups: Vec<String> = row_groups.iter().map(|group| format!("\n  {}", row_group(group))).collect();
            format!("the labels have changed: {rows_were} rows → {rows} rows{}", groups.join(""))
        }
        Changed::SourceGone { source, detail } => format!("source {source} is no longer as it was: {detail}"),
        Changed::Columns { were, are } => format!("the columns were {} and are {}", were.join(", "), are.join(", ")),
    }
}

fn row_group(group: &RowGroup) -> String {
    let RowGroup { number, from, rows, columns } = group;
    format!("row group {number} (rows {from} to {}) differs in {}", from + rows, columns.join(", "))
}

/// Told before the work is done rather than after it.
fn check_folder_of(file: &Path) -> Result<(), Failure> {
    match file.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            let text = format!("there is no folder {} to write {} to", folder.display(), file.display());
            Err(Failure { kind: ErrorKind::NotFound, text })
        }
        _ => Ok(()),
    }
}

fn no_label_time(arguments: &Make, column: &str) -> String {
    let labels = arguments.labels.display();
    match arguments.time_column {
        Some(_) => format!("{labels} has no column {column}, which --time-column names"),
        None => format!("{labels} has no column {column}; say with --time-column which one has the time of each label"),
    }
}
