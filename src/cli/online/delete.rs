//! `lockstep online delete`: an entity, or one of its features.

use clap::Args;

use super::{Context, Failure, Outcome, output, row, time};
use crate::app::Project;
use crate::clock::{Deadline, Micros};
use crate::flow::online::{DeleteOutcome, Deleted, delete, delete_feature, settable};
use crate::limits::WRITE_DEADLINE;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep online delete company_stats company='Flash Cab'\n  \
lockstep online delete company_stats company='Flash Cab' --feature avg_fare_30d\n\nThe entity stays away until a row comes that is newer than the delete. A feature is \
null until a newer row comes.\nDerived views that are stored with the view change with it.\nWhile a gateway runs on the same embedded store, ask it over HTTP.")]
pub(in crate::cli) struct Arguments {
    /// The feature view
    view: String,
    /// The join keys of the entity, as `name=value`
    keys: Vec<String>,
    /// Deletes this feature only
    #[arg(long, conflicts_with = "event_time")]
    feature: Option<String>,
    /// Rows up to this time are deleted; up to now if not given
    #[arg(long, value_parser = time::parse)]
    event_time: Option<Micros>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let plan = settable(&gateway.applied.load().catalog, &arguments.view)?;
    let key = |name: &str| plan.view.join_keys.iter().find(|key| key.name == name).map(|key| key.dtype);
    let entity = row(&arguments.keys, key)?;
    let (view, deadline) = (&arguments.view, Deadline::after(WRITE_DEADLINE));
    let deleted = match &arguments.feature {
        Some(feature) => delete_feature(&gateway, view, &entity, feature, deadline).await?,
        None => delete(&gateway, view, &entity, arguments.event_time, deadline).await?,
    };
    output::print(context.format, &deleted, |deleted| report(deleted, arguments.feature.as_deref()))?;
    Ok(Outcome::Done)
}

fn report(deleted: &Deleted, feature: Option<&str>) -> String {
    let views = deleted.views.join(", ");
    let view = deleted.views.first().map_or("", String::as_str);
    let row = deleted.event_time.as_deref().unwrap_or_default();
    match (deleted.outcome, feature) {
        (DeleteOutcome::Deleted, None) => format!("deleted from {views} (the row was from {row})"),
        (DeleteOutcome::Deleted, Some(feature)) => format!("{feature} deleted from {views} (the row is from {row})"),
        (DeleteOutcome::Absent, None) => format!("{view} had no such entity; older rows stay away from now on"),
        (DeleteOutcome::Absent, Some(_)) => format!("{view} has no such entity; nothing was deleted"),
        (DeleteOutcome::AlreadyNull, _) => {
            format!("{} was null already (the row is from {row})", feature.unwrap_or_default())
        }
        (DeleteOutcome::Older, None) => format!("older, not deleted: the row in {view} is from {row}"),
        (DeleteOutcome::Older, Some(_)) => format!("not deleted: newer rows keep coming to {view}; try again"),
    }
}
