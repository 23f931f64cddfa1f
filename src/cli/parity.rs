//! `lockstep parity`: serving and training are asked the same, and the bits are compared.

use clap::Args;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::clock::Micros;
use crate::flow::parity::{Parity, parity};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep parity tip_model_v1 --sample 1000\n\nExits with 1 when a value differs.")]
pub(super) struct Arguments {
    /// The feature service; all of them if none is named
    service: Option<String>,
    /// How many entities to compare
    #[arg(long, default_value_t = 500)]
    sample: usize,
    /// The moment to ask about; the newest event time of the sample if not given
    #[arg(long, value_parser = time::parse)]
    as_of: Option<Micros>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let services = match &arguments.service {
        Some(service) => vec![service.clone()],
        None => gateway.applied.load().catalog.services.keys().cloned().collect(),
    };
    let mut all = Vec::with_capacity(services.len());
    for service in services {
        let bar = output::progress(&format!("parity of {service}"));
        let compared = parity(&gateway, &service, arguments.sample, arguments.as_of).await;
        bar.finish_and_clear();
        all.push(compared?);
    }
    output::print(context.format, &all, |all| all.iter().map(report).collect::<Vec<_>>().join("\n"))?;
    let differ = all.iter().any(|parity| parity.differ > 0);
    Ok(if differ { Outcome::Found } else { Outcome::Done })
}

/// The differing cells, then the line that says it all.
pub(super) fn report(parity: &Parity) -> String {
    let cell = |cell: &crate::flow::parity::DifferingCell| {
        let keys = cell.keys.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
        format!("  {keys}  {}: served {}, trained {}\n", cell.feature, cell.served, cell.trained)
    };
    let cells: String = parity.cells.iter().map(cell).collect();
    format!(
        "{cells}parity: {} of {} values differ ({}, {} rows as of {}, {} values not null)",
        parity.differ,
        parity.values,
        parity.service,
        parity.rows,
        time::show(parity.as_of),
        parity.not_null
    )
}
