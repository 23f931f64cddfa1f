//! `lockstep reload`: a running gateway takes the latest version up now, and says what it serves with.

use std::net::SocketAddr;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::client;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep reload\n  lockstep reload --status -o json")]
pub(super) struct Arguments {
    /// Ask only; reload nothing
    #[arg(long)]
    status: bool,
    #[command(flatten)]
    gateway: GatewayAddress,
}

/// Which running gateway is asked.
#[derive(Debug, Args)]
pub(super) struct GatewayAddress {
    /// The admin address of the gateway; that of lockstep.yaml without it
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
}

impl GatewayAddress {
    pub fn of(&self, project: &Project) -> SocketAddr {
        self.admin.unwrap_or(project.config.listen.admin)
    }
}

#[derive(Deserialize, Serialize)]
struct OnNow {
    project: String,
    version: u64,
    kept: Vec<u64>,
    swaps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
}

#[derive(Deserialize, Serialize)]
struct Refused {
    version: u64,
    why: String,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let admin = arguments.gateway.of(&project);
    let answer = match arguments.status {
        true => client::get(admin, "/applied").await,
        false => client::post(admin, "/reload").await,
    };
    let on: OnNow = read(&answer.map_err(not_answered)?)?;
    output::print(context.format, &on, |on| {
        let kept = on.kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let kept = if kept.is_empty() { "no earlier one".to_owned() } else { kept };
        let refused = on.refused.as_ref().map_or_else(String::new, |refused| {
            format!("\nversion {} is not taken up: {}", refused.version, refused.why)
        });
        format!("version {} of {} is on; ready to go back to: {kept}{refused}", on.version, on.project)
    })?;
    Ok(if on.refused.is_some() { Outcome::Found } else { Outcome::Done })
}

/// What a gateway answered, in its shape.
pub(super) fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("the gateway's answer is not understood: {error}")))
}

/// Nobody answered, or what was asked for was refused.
pub(super) fn not_answered(text: String) -> Failure {
    Failure {
        kind: crate::error::ErrorKind::Unavailable,
        text: format!("{text}; is the gateway running? --admin says where"),
    }
}
