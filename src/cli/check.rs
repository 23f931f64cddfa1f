//! `lockstep check`: the rows of feature views against what is expected of them. Nothing is written.

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::catalog::View;
use crate::clock::Micros;
use crate::flow::expectations::check;
use crate::quality::Verdict;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep check company_stats\n  lockstep check --from 2016-12-01 -o json\n\nExits with 1 when an expectation does not hold."
)]
pub(super) struct Arguments {
    /// The feature views; all that expect something if none is named
    views: Vec<String>,
    /// The first event time to look at, such as 2016-01-01 or 2016-01-01T08:00:00Z
    #[arg(long, value_parser = time::parse)]
    from: Option<Micros>,
    /// The last event time to look at; now if not given
    #[arg(long, value_parser = time::parse, visible_alias = "until")]
    to: Option<Micros>,
}

#[derive(Serialize)]
struct Checked {
    view: String,
    expectations: Vec<Verdict>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let views = match arguments.views.as_slice() {
        [] => {
            let applied = gateway.applied.load();
            let expecting = |view: &View| match view {
                View::Feature(view) if !view.expectations.is_empty() => Some(view.name.clone()),
                View::Feature(_) | View::Derived(_) => None,
            };
            applied.catalog.views.values().filter_map(expecting).collect()
        }
        named => named.to_vec(),
    };
    let mut checked = Vec::with_capacity(views.len());
    for view in views {
        let bar = output::progress(&view);
        let expectations = check(&gateway, &view, arguments.from, arguments.to).await;
        bar.finish_and_clear();
        checked.push(Checked { expectations: expectations?, view });
    }
    output::print(context.format, &checked, |checked| report(checked))?;
    let all_hold = checked.iter().flat_map(|view| &view.expectations).all(|verdict| verdict.holds);
    Ok(if all_hold { Outcome::Done } else { Outcome::Found })
}

fn report(checked: &[Checked]) -> String {
    let row = |view: &str, verdict: &Verdict| {
        let mut found = vec![verdict.found.clone()];
        found.extend(verdict.examples.iter().map(|example| format!("  {example}")));
        let holds = if verdict.holds { "yes" } else { "NO" };
        vec![
            view.to_owned(),
            verdict.expects.clone(),
            holds.to_owned(),
            verdict.on_failure.to_owned(),
            found.join("\n"),
        ]
    };
    let rows = checked.iter().flat_map(|view| view.expectations.iter().map(|verdict| row(&view.view, verdict)));
    let rows: Vec<Vec<String>> = rows.collect();
    match rows.is_empty() {
        true => "nothing is expected of these views; write expectations in their definitions".to_owned(),
        false => output::table(&["view", "expectation", "holds", "on failure", "found"], rows),
    }
}
