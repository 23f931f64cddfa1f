//! `lockstep serve`: the gateway, until SIGTERM or Ctrl-C.

use super::{Context, Failure, Outcome, output};
use crate::app::{Project, Servers};

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let gateway = project.gateway().await?;
    let servers = Servers::start(&project, gateway).await?;
    output::note(format!(
        "HTTP on http://{}  ·  Arrow Flight on grpc://{}  ·  admin on http://{}",
        servers.http, servers.flight, servers.admin
    ));
    output::note(
        "Ctrl-C or SIGTERM stops the gateway once running requests have ended; a second one stops it at once.",
    );
    servers.until_stopped().await?;
    Ok(Outcome::Done)
}
