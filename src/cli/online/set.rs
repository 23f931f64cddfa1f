//! `lockstep online set`: one row out of words, or the rows of a file.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use clap::Args;

use super::{Context, Failure, Outcome, output, row, time};
use crate::app::{Project, read_rows};
use crate::clock::{Deadline, Micros};
use crate::flow::ingest::column_type;
use crate::flow::online::{Set, set, settable};
use crate::gateway::Gateway;
use crate::limits::{PUSH_ROWS_MAX, WRITE_DEADLINE};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep online set company_stats company='Flash Cab' avg_fare_30d=12.5 trips_30d=7\n  \
lockstep online set company_stats company='Flash Cab' trips_30d=7 --event-time 2016-12-31T08:00:00Z\n  \
lockstep online set company_stats --rows rows.parquet\n\nA row replaces its entity's whole row: a feature that is not named is null. A row that is older than \
what is stored is not written.\nWhat is set is online only: training does not find it, and lockstep parity shows the difference.\nWhile a gateway runs on the same \
embedded store, ask it over HTTP."
)]
pub(in crate::cli) struct Arguments {
    /// The feature view
    view: String,
    /// Join keys and features, as `name=value`
    #[arg(required_unless_present = "rows", conflicts_with = "rows")]
    values: Vec<String>,
    /// A Parquet file with join keys and features, and with the source's times if they differ from row to row
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// When it became true; now if not given
    #[arg(long, value_parser = time::parse)]
    event_time: Option<Micros>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let rows = match &arguments.rows {
        Some(file) => read_rows(file)?,
        None => typed_row(&gateway, arguments)?,
    };
    let done = set_all(&gateway, &arguments.view, &rows, arguments.event_time).await?;
    output::print(context.format, &done, report)?;
    Ok(Outcome::Done)
}

fn typed_row(gateway: &Gateway, arguments: &Arguments) -> Result<RecordBatch, Failure> {
    let applied = gateway.applied.load();
    let plan = settable(&applied.catalog, &arguments.view)?;
    let source = &applied.catalog.sources[&plan.view.source];
    row(&arguments.values, |name| column_type(name, source, [plan.view.as_ref()]))
}

/// Sets as many rows at a time as a caller may send. A part is taken whole or not at all.
async fn set_all(
    gateway: &Gateway,
    view: &str,
    rows: &RecordBatch,
    event_time: Option<Micros>,
) -> Result<Set, Failure> {
    let mut total = Set::default();
    for from in (0..rows.num_rows().max(1)).step_by(PUSH_ROWS_MAX) {
        let part = rows.slice(from, PUSH_ROWS_MAX.min(rows.num_rows() - from));
        let done = set(gateway, view, &part, event_time, Deadline::after(WRITE_DEADLINE)).await;
        let done = done.map_err(Failure::from).map_err(|failure| match from {
            0 => failure,
            _ => Failure { text: format!("{} (the {from} rows before were taken)", failure.text), ..failure },
        })?;
        total.views = done.views;
        total.rows += done.rows;
        total.rows_written += done.rows_written;
        total.rows_older += done.rows_older;
    }
    Ok(total)
}

fn report(done: &Set) -> String {
    let views = done.views.join(", ");
    match (done.rows, done.rows_older) {
        (1, 1) => {
            format!("older, not written: {} has a newer row", done.views.first().map_or("", String::as_str))
        }
        (rows, 0) => format!("{rows} rows set in {views}"),
        (rows, older) => format!("{} of {rows} rows set in {views}; {older} older, not written", done.rows_written),
    }
}
