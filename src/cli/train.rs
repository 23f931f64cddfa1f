//! `lockstep train`: a training set as a Parquet file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output};
use crate::app::{Project, read_rows, write_training_set};
use crate::catalog::Selection;
use crate::error::ErrorKind;
use crate::flow::Error;
use crate::flow::train::{Labels, Options, train};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep train tip_model_v1 --labels data/labels.parquet --to training.parquet")]
pub(super) struct Arguments {
    /// The feature service, or one of its lists, as `service@3`
    service: String,
    /// A Parquet file with join keys, request fields, the time of each label, and anything else you want to keep
    #[arg(long)]
    labels: PathBuf,
    /// The Parquet file to write
    #[arg(long)]
    to: PathBuf,
    /// The column with the time of each label; event_timestamp, or the only timestamp, if not given
    #[arg(long)]
    time_column: Option<String>,
    /// Add a column with the digests of all transforms
    #[arg(long)]
    digest_column: bool,
}

#[derive(Serialize)]
struct Trained {
    service: String,
    rows: usize,
    columns: usize,
    path: PathBuf,
    seconds: f64,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    check_folder_of(&arguments.to)?;
    let gateway = Project::open(&context.project)?.gateway().await?;
    let started = Instant::now();
    let bar = output::progress(&format!("training set of {}", arguments.service));
    let rows = read_rows(&arguments.labels)?;
    bar.set_message(format!("{} labels", rows.num_rows()));
    let selection = Selection::Service { name: arguments.service.clone(), full_feature_names: None };
    let labels = Labels { rows, time_column: arguments.time_column.clone() };
    let set = train(&gateway, &selection, labels, Options { digest_column: arguments.digest_column }).await;
    bar.finish_and_clear();
    let set = set.map_err(|error| match error {
        Error::NoLabelTime(column) => Failure::invalid(no_label_time(arguments, &column)),
        other => other.into(),
    })?;
    write_training_set(&arguments.to, &set)?;
    let trained = Trained {
        service: arguments.service.clone(),
        rows: set.num_rows(),
        columns: set.num_columns(),
        path: arguments.to.clone(),
        seconds: started.elapsed().as_secs_f64(),
    };
    output::print(context.format, &trained, |trained| {
        format!(
            "{} rows × {} columns in {} ({:.2} s)",
            trained.rows,
            trained.columns,
            trained.path.display(),
            trained.seconds
        )
    })?;
    Ok(Outcome::Done)
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

fn no_label_time(arguments: &Arguments, column: &str) -> String {
    let labels = arguments.labels.display();
    match arguments.time_column {
        Some(_) => format!("{labels} has no column {column}, which --time-column names"),
        None => format!("{labels} has no column {column}; say with --time-column which one has the time of each label"),
    }
}
