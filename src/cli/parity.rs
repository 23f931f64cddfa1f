//! `lockstep parity`: serving and training are asked the same, and the bits are compared.

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::flow::parity::{DifferingCell, Parity, parity};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep parity\n  lockstep parity tip_model_v1 --sample 1000\n\nExits with 1 when a value differs."
)]
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

/// What the comparison found, with its time in words.
#[derive(Serialize)]
struct Shown<'a> {
    service: &'a str,
    rows: usize,
    values: usize,
    differ: usize,
    not_null: usize,
    as_of: String,
    cells: &'a [DifferingCell],
}

impl<'a> Shown<'a> {
    fn of(parity: &'a Parity) -> Self {
        Self {
            service: &parity.service,
            rows: parity.rows,
            values: parity.values,
            differ: parity.differ,
            not_null: parity.not_null,
            as_of: time::show(parity.as_of),
            cells: &parity.cells,
        }
    }
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let services = match &arguments.service {
        Some(service) => vec![service.clone()],
        None => gateway.applied.load().catalog.services.keys().cloned().collect(),
    };
    if services.is_empty() {
        return Err(Failure {
            kind: ErrorKind::NotFound,
            text: "no feature service is applied, so there is nothing to compare".to_owned(),
        });
    }
    let mut all = Vec::with_capacity(services.len());
    for service in services {
        let bar = output::progress(&format!("parity of {service}"));
        let compared = parity(&gateway, &service, arguments.sample, arguments.as_of).await;
        bar.finish_and_clear();
        all.push(compared?);
    }
    let shown: Vec<Shown<'_>> = all.iter().map(Shown::of).collect();
    output::print(context.format, &shown, |_| all.iter().map(report).collect::<Vec<_>>().join("\n"))?;
    for parity in all.iter().filter(|parity| parity.not_null == 0) {
        output::note(format!(
            "warning: every value of {} is null, which proves nothing; sync or push rows, or ask about an earlier moment with --as-of",
            parity.service
        ));
    }
    let differ = all.iter().any(|parity| parity.differ > 0);
    Ok(if differ { Outcome::Found } else { Outcome::Done })
}

/// The differing cells, then the line that says it all.
pub(super) fn report(parity: &Parity) -> String {
    let cell = |cell: &DifferingCell| {
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
