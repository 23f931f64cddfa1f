//! `lockstep online health`: whether the store can be used, and what its operator should know.

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::clock::Deadline;
use crate::flow::online::{StoreHealth, health};
use crate::limits::HEALTH_DEADLINE;

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let health = health(&gateway, Deadline::after(HEALTH_DEADLINE)).await?;
    output::print(context.format, &health, report)?;
    Ok(Outcome::Done)
}

fn report(health: &StoreHealth) -> String {
    let facts = health.facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
    let mut text = health.store.clone();
    if !health.facts.is_empty() {
        text.push('\n');
        text.push_str(&output::table(&["fact", "value"], facts));
    }
    for warning in &health.warnings {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    text
}
