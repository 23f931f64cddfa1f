//! `lockstep online snapshot`: the online rows of a view become rows of an offline table.

use clap::Args;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::flow::snapshot::{Snapshotted, snapshot};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep online snapshot company_last_ride --to rides\n  lockstep online snapshot company_last_ride --to rides --id before_the_move\n\nThe same id again adds nothing, so a snapshot that broke off is made again under its id."
)]
pub(in crate::cli) struct Arguments {
    /// The feature view, or derived view that is kept online
    view: String,
    /// The source to whose table the rows are added
    #[arg(long)]
    to: String,
    /// What the snapshot is called; the view and the time if not given
    #[arg(long)]
    id: Option<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let bar = output::progress(&arguments.view);
    let tell = |rows: u64| bar.set_message(format!("{rows} rows found"));
    let done = snapshot(&gateway, &arguments.view, &arguments.to, arguments.id.as_deref(), &tell).await;
    bar.finish_and_clear();
    output::print(context.format, &done?, report)?;
    Ok(Outcome::Done)
}

fn report(done: &Snapshotted) -> String {
    let Snapshotted { id, view, source, rows, .. } = done;
    format!("{rows} rows of {view} are in source {source}, as snapshot {id}")
}
