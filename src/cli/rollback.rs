//! `lockstep rollback`: an earlier version, or an earlier build of a plugin, is on again.

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output};
use crate::app::{Planned, Project};
use crate::plan::Change;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep rollback\n  lockstep rollback 12\n  lockstep rollback --plugin taxi_company=cf10a7deb1e2\n\n\
                  What is put back becomes the next version, so that the history stays whole and every gateway follows.\n\
                  It is never refused for what it breaks: what it puts back was in use. It says what that is."
)]
pub(super) struct Arguments {
    /// The version whose content is put back; the one before the last without it
    #[arg(conflicts_with = "plugin")]
    version: Option<u64>,
    /// Put one plugin back instead: its name, and how the digest of the build begins
    #[arg(long, value_name = "NAME=DIGEST")]
    plugin: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    version: u64,
    /// What is put back is on already.
    unchanged: bool,
    changes: &'a [Change],
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let planned: Planned = match &arguments.plugin {
        None => project.earlier(arguments.version).await?,
        Some(text) => match text.split_once('=') {
            Some((plugin, digest)) if !plugin.is_empty() && !digest.is_empty() => {
                project.with_plugin_of_digest(plugin, digest).await?
            }
            _ => {
                return Err(Failure::invalid(format!(
                    "{text:?} is not NAME=DIGEST, such as taxi_company=cf10a7deb1e2"
                )));
            }
        },
    };
    let version = project.put_back(&planned).await?;
    let shown = Shown { version: version.number, unchanged: version.unchanged, changes: &planned.changes };
    output::print(context.format, &shown, |shown| {
        if shown.unchanged {
            return format!("nothing to put back: version {} is that already", shown.version);
        }
        let lines: Vec<String> = shown.changes.iter().map(|change| format!("  {change}")).collect();
        format!(
            "{}\nput back as version {}; a running gateway takes it up within a second",
            lines.join("\n"),
            shown.version
        )
    })?;
    Ok(Outcome::Done)
}
