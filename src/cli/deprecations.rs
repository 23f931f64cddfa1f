//! `lockstep deprecations`: what is going away, when, and who uses it still.

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::catalog::Day;
use crate::clock::Clock;
use crate::plan::{Deprecated, State};

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let catalog = Project::open(&context.project)?.applied_catalog().await?.catalog;
    let deprecated = crate::plan::deprecations(&catalog, Day::of(Clock::default().now()));
    output::print(context.format, &deprecated, |deprecated| {
        if deprecated.is_empty() {
            return "nothing is deprecated".to_owned();
        }
        let header = ["thing", "name", "state", "since", "remove after", "use", "used by"];
        output::table(&header, deprecated.iter().map(row))
    })?;
    Ok(Outcome::Done)
}

fn row(deprecated: &Deprecated) -> Vec<String> {
    let Deprecated { thing, notice, state, used_by } = deprecated;
    let state = match state {
        State::Announced => "announced",
        State::Deprecated => "deprecated",
        State::Removable => "removable",
    };
    let deprecation = &notice.deprecation;
    vec![
        (*thing).to_owned(),
        notice.name.clone(),
        state.to_owned(),
        deprecation.since.to_string(),
        deprecation.remove_after.map(|day| day.to_string()).unwrap_or_default(),
        deprecation.instead.clone().unwrap_or_default(),
        used_by.join("\n"),
    ]
}
