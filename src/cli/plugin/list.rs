//! `lockstep plugin list`: the plugins that the definitions use, as they stand.

use crate::app::{Listed, Project};
use crate::cli::{Context, Failure, Outcome, output, time};

const HEADER: [&str; 9] =
    ["plugin", "version", "digest", "place", "pinned", "signed by", "golden cases", "instances", "limits"];

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let listed = Project::open(&context.project)?.listed_plugins().await?;
    output::print(context.format, &listed, |listed| match listed.is_empty() {
        true => "the definitions use no plugin".to_owned(),
        false => output::table(&HEADER, listed.iter().map(row)),
    })?;
    Ok(Outcome::Done)
}

fn row(plugin: &Listed) -> Vec<String> {
    let goldens = match plugin.goldens.verified_at {
        Some(at) => format!("{} held here at {}", plugin.goldens.cases, time::show(at)),
        None => "none".to_owned(),
    };
    let limits = format!(
        "{} MiB · {} + {} a row fuel · {} ms · {} MiB out",
        plugin.memory_mib, plugin.fuel_per_call, plugin.fuel_per_row, plugin.call_time_ms, plugin.output_mib
    );
    vec![
        plugin.name.clone(),
        plugin.version.clone(),
        plugin.digest.short(),
        plugin.place.clone(),
        if plugin.pinned { "yes" } else { "no" }.to_owned(),
        plugin.signed_by.clone().unwrap_or_else(|| "nobody".to_owned()),
        goldens,
        plugin.instances.to_owned(),
        limits,
    ]
}
