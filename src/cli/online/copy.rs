//! `lockstep online copy`: the rows of a project move to another layout of Redis.

use std::time::Instant;

use clap::{Args, ValueEnum};

use super::{Context, Failure, Outcome, output};
use crate::app::{Copied, CopyEnd, Copying, Layout, Project};
use crate::error::ErrorKind;

#[derive(Debug, Args)]
#[command(after_help = "Only newer rows are written, so the command may run while the project is served, and again.\n\
An interrupted copy goes on when the same command runs again.\n\n\
Examples:\n  lockstep online copy --from feast --to packed\n  \
lockstep online copy --from packed --to feast --feast-project taxi --feast-key-version 2\n  \
lockstep online copy prices --from packed --to hash --to-prefix shop2:")]
pub(in crate::cli) struct Arguments {
    /// The views; all stored ones if none is named
    views: Vec<String>,
    /// The layout that the rows are in
    #[arg(long, value_enum)]
    from: LayoutName,
    /// The layout that they go to
    #[arg(long, value_enum)]
    to: LayoutName,
    /// The prefix of the source's keys; that of lockstep.yaml if not given
    #[arg(long, value_name = "PREFIX")]
    from_prefix: Option<String>,
    /// The prefix of the target's keys; that of lockstep.yaml if not given
    #[arg(long, value_name = "PREFIX")]
    to_prefix: Option<String>,
    /// What Feast calls the project; as in lockstep.yaml, or the project's own name, if not given
    #[arg(long, value_name = "NAME")]
    feast_project: Option<String>,
    /// The entity_key_serialization_version of feature_store.yaml; as in lockstep.yaml, or 3, if not given
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(2..=3))]
    feast_key_version: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayoutName {
    Packed,
    Hash,
    Feast,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let ends = [
        CopyEnd { layout: arguments.layout(arguments.from, &project), prefix: arguments.from_prefix.clone() },
        CopyEnd { layout: arguments.layout(arguments.to, &project), prefix: arguments.to_prefix.clone() },
    ];
    let bar = output::progress("copy");
    let started = Instant::now();
    let tell = |copying: Copying| {
        let per_second = copying.rows as f64 / started.elapsed().as_secs_f64().max(0.001);
        let Copying { keys, rows, written } = copying;
        bar.set_message(format!("{keys} keys, {rows} rows, {written} written, {per_second:.0} rows/s"));
    };
    let copied = project.copy_online(ends, &arguments.views, &tell).await;
    bar.finish_and_clear();
    let copied = copied.inspect_err(|error| {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Late) {
            output::note("the copy is interrupted; the same command goes on with it");
        }
    })?;
    notes(&copied);
    output::print(context.format, &copied, report)?;
    Ok(Outcome::Done)
}

impl Arguments {
    fn layout(&self, name: LayoutName, project: &Project) -> Layout {
        match name {
            LayoutName::Packed => Layout::Packed,
            LayoutName::Hash => Layout::Hash,
            LayoutName::Feast => {
                let (project, key_version) = project.feast();
                Layout::Feast {
                    project: self.feast_project.clone().unwrap_or(project),
                    key_version: self.feast_key_version.unwrap_or(key_version),
                }
            }
        }
    }
}

/// What the numbers do not say.
fn notes(copied: &Copied) {
    if copied.resumed {
        output::note("this run went on with an interrupted copy; what that one did is not counted");
    }
    if copied.keys_of_no_view > 0 {
        output::note(format!("{} of {} keys are of no stored view", copied.keys_of_no_view, copied.keys));
    }
    for view in copied.views.iter().filter(|view| view.without_time > 0) {
        output::note(format!(
            "warning: {} rows of {} say no time; at the new place they count as older than all others",
            view.without_time, view.view
        ));
    }
}

/// A line for each view.
fn report(copied: &Copied) -> String {
    if copied.views.is_empty() {
        return "no view is stored, so there is nothing to copy".to_owned();
    }
    let header = ["view", "rows read", "written", "older", "tombstones"];
    let counts = copied.views.iter().map(|view| {
        let numbers = [view.read, view.written, view.older, view.tombstones];
        std::iter::once(view.view.clone()).chain(numbers.map(|number| number.to_string())).collect()
    });
    output::table(&header, counts)
}
