//! `lockstep push`: rows of a Parquet file, as if a caller had pushed them.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use clap::{Args, ValueEnum};

use super::{Context, Failure, Outcome, output};
use crate::app::{Project, read_rows};
use crate::clock::Deadline;
use crate::flow::ingest::{Ingested, PushTo, ingest};
use crate::gateway::Gateway;
use crate::limits::{PUSH_ROWS_MAX, WRITE_DEADLINE};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep push rides rides.parquet")]
pub(super) struct Arguments {
    /// The push source
    source: String,
    /// A Parquet file with the source's columns
    rows: PathBuf,
    /// Where the rows go
    #[arg(long, value_enum, default_value_t = To::OnlineAndOffline)]
    to: To,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    Online,
    Offline,
    OnlineAndOffline,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let rows = read_rows(&arguments.rows)?;
    let to = match arguments.to {
        To::Online => PushTo::Online,
        To::Offline => PushTo::Offline,
        To::OnlineAndOffline => PushTo::OnlineAndOffline,
    };
    let total = push(&gateway, &arguments.source, &rows, to).await?;
    output::print(context.format, &total, |total| {
        let quarantined = match total.rows_quarantined {
            0 => String::new(),
            rows => format!(", {rows} quarantined"),
        };
        format!(
            "{} rows to {} ({} rows were older than what is stored, {} added to the history{quarantined})",
            total.rows,
            total.views.join(", "),
            total.rows_older,
            total.rows_appended
        )
    })?;
    Ok(Outcome::Done)
}

/// Pushes as many rows at a time as a caller may send. A part is taken whole or not at all.
async fn push(gateway: &Gateway, source: &str, rows: &RecordBatch, to: PushTo) -> Result<Ingested, Failure> {
    let mut total = Ingested::default();
    // A file without rows is one empty part, so that its columns are checked all the same.
    for from in (0..rows.num_rows().max(1)).step_by(PUSH_ROWS_MAX) {
        let part = rows.slice(from, PUSH_ROWS_MAX.min(rows.num_rows() - from));
        let ingested = ingest(gateway, source, &part, to, Deadline::after(WRITE_DEADLINE)).await;
        let ingested = ingested.map_err(Failure::from).map_err(|failure| match from {
            0 => failure,
            _ => Failure { text: format!("{} (the {from} rows before were taken)", failure.text), ..failure },
        })?;
        total.views = ingested.views;
        total.rows += ingested.rows;
        total.rows_older += ingested.rows_older;
        total.rows_appended += ingested.rows_appended;
        total.rows_quarantined += ingested.rows_quarantined;
        for verdict in &ingested.expectations {
            output::note(format!("warning: {verdict}"));
        }
    }
    Ok(total)
}
