//! `lockstep plugin publish`: a plugin goes to where gateways fetch it.

use std::path::PathBuf;

use clap::Args;

use crate::app::{self, Publication, PublishedPlugin};
use crate::cli::{Context, Failure, Outcome, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plugin publish taxi_company.wasm --to oci://127.0.0.1:5000/team/plugins --key team.key\n  lockstep plugin publish taxi_company.wasm --to /srv/plugins"
)]
pub(in crate::cli) struct Arguments {
    /// The component
    file: PathBuf,
    /// A folder, or `oci://` with a registry and a path in it
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// The folder with its golden cases; `goldens` beside the file where none is named
    #[arg(long, value_name = "DIR")]
    goldens: Option<PathBuf>,
    /// The private key that signs it; the signature beside the file is taken where none is named
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { file, to, goldens, key } = arguments;
    let publication = Publication { file, to, goldens: goldens.as_deref(), key: key.as_deref() };
    let published = app::publish(&context.project, &publication).await?;
    output::print(context.format, &published, show)?;
    Ok(Outcome::Done)
}

fn show(published: &PublishedPlugin) -> String {
    let PublishedPlugin { name, version, digest, at, was_there, signed, golden_cases } = published;
    let there = if *was_there { "was there already, with the same bytes" } else { "is published" };
    let signed = if *signed { "signed" } else { "not signed" };
    format!("{name} {version} {there}: {at}\nsha256:{digest}  ·  {signed}  ·  {golden_cases} golden cases")
}
