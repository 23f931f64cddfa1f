//! `lockstep quickstart`: the whole way on real data, in one command and one process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::init::{self, Example};
use super::output::say;
use super::plan::Changes;
use super::sync::sync_views;
use super::{Context, Failure, Format, Outcome, output, sync, time};
use crate::app::{self, Project, Servers};
use crate::clock::Micros;
use crate::flow::parity::parity;
use crate::flow::sync::{Range, syncable_views};
use crate::gateway::Gateway;
use crate::manifest::OptionsUsed;
use crate::training::{self, Order, Target};

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep quickstart --dir /tmp/taxi --once")]
pub(super) struct Arguments {
    /// Where the project is made; if it is there already, it is used as it is
    #[arg(long, default_value = "lockstep-quickstart")]
    dir: PathBuf,
    /// End after the report instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
}

const SERVICE: &str = "tip_model_v1";
/// The trips end on 2016-12-30; a day later their 30-day ttl still holds.
const AS_OF: &str = "2016-12-31T00:00:00Z";

pub(super) async fn run(context: &Context, arguments: Arguments) -> Result<Outcome, Failure> {
    if context.format == Format::Json {
        return Err(Failure::invalid("quickstart is a tour for people and has no JSON; leave -o json out"));
    }
    let started = Instant::now();
    let mut project = make(&arguments.dir)?;

    step(2, "apply: the definitions, checked, become a version in the registry")?;
    let planned = project.plan().await?;
    let applied = project.apply(&planned, false).await?;
    say(format!("{}\n  version {}", Changes::of(&planned), applied.number))?;
    let gateway = project.gateway().await?;

    step(3, "sync: the newest row of each company, area and trip goes to the online store")?;
    let synced = sync_views(&gateway, &syncable_views(&gateway), Range::Full).await?;
    say(sync::report(&synced))?;

    step(4, "train: each trip with what was known when it began")?;
    training_set(&gateway, &arguments.dir).await?;

    step(5, "serve: HTTP and Arrow Flight, asked as clients ask")?;
    let servers = start(&mut project, &gateway).await?;
    ask(&servers).await?;

    step(6, "parity: what serving answers is what training sees, bit for bit")?;
    let as_of = time::parse(AS_OF).map_err(Failure::invalid)?;
    let outcome = prove(&gateway, as_of).await?;
    say(format!("\nAll of it took {:.1} s.", started.elapsed().as_secs_f64()))?;

    if !arguments.once {
        say(what_to_try(&servers, &arguments.dir))?;
        servers.until_stopped().await?;
        return Ok(outcome);
    }
    servers.stop().await?;
    Ok(outcome)
}

fn step(number: u8, title: &str) -> Result<(), Failure> {
    say(format!("\n[{number}/6] {title}"))
}

fn make(dir: &Path) -> Result<Project, Failure> {
    step(1, "make: a project of 15,002 real taxi trips")?;
    match dir.join("lockstep.yaml").exists() {
        true => say(format!("  {} is there already and is used as it is", dir.display()))?,
        false => {
            init::write(dir, Example::ChicagoTaxi)?;
            say(format!("  written to {}", dir.display()))?;
        }
    }
    Ok(Project::open(dir)?)
}

async fn training_set(gateway: &Gateway, dir: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    let bar = output::progress("joining labels to history");
    let order = Order {
        service: SERVICE.to_owned(),
        labels: dir.join("data/labels.parquet"),
        time_column: None,
        options: OptionsUsed::default(),
    };
    let path = dir.join("training.parquet");
    let made = training::make(gateway, &order, &Target::Parquet(path.clone())).await;
    bar.finish_and_clear();
    let made = made?;
    say(format!(
        "  {} rows × {} columns in {} ({:.1} s)",
        made.rows,
        made.columns,
        path.display(),
        started.elapsed().as_secs_f64()
    ))?;
    match made.manifest {
        Some(manifest) => say(format!("  {} says what it was made of", manifest.display())),
        None => Ok(()),
    }
}

/// On the project's ports; on free ones if another gateway has those, so that a first try never fails on a port.
async fn start(project: &mut Project, gateway: &Arc<Gateway>) -> Result<Servers, Failure> {
    match Servers::start(project, gateway.clone()).await {
        Err(app::Error::Listen { address, .. }) => {
            say(format!("  {address} is taken, so free ports are used this time"))?;
            for address in project.config.listen.all_mut() {
                address.set_port(0);
            }
            Ok(Servers::start(project, gateway.clone()).await?)
        }
        started => Ok(started?),
    }
}

/// One request over each wire, through real sockets.
async fn ask(servers: &Servers) -> Result<(), Failure> {
    let over_http = crate::client::get(servers.http, &http_path()).await.map_err(Failure::invalid)?;
    say(format!("  GET http://{}{}\n  {}", servers.http, http_path(), over_http.trim().replace('\n', "\n  ")))?;
    let over_flight = crate::client::flight_get(servers.flight, &flight_ticket()).await.map_err(Failure::invalid)?;
    say(format!("\n  DoGet grpc://{} {}", servers.flight, flight_ticket()))?;
    say(format!("  {} row × {} columns", over_flight.num_rows(), over_flight.num_columns()))
}

async fn prove(gateway: &Gateway, as_of: Micros) -> Result<Outcome, Failure> {
    let parity = parity(gateway, SERVICE, 1_000, Some(as_of)).await?;
    say(super::parity::report(&parity))?;
    Ok(if parity.differ > 0 { Outcome::Found } else { Outcome::Done })
}

fn http_path() -> String {
    format!(
        "/v1/services/{SERVICE}/features?company=Choice%20Taxi%20Association&area=8&hour=18&payment_type=Credit%20Card&planned_miles=2.5&as_of={AS_OF}"
    )
}

fn flight_ticket() -> String {
    format!(
        r#"{{"service": "{SERVICE}", "as_of": "{AS_OF}", "entities": {{"company": ["Choice Taxi Association"], "area": [8], "hour": [18], "payment_type": ["Credit Card"], "planned_miles": [2.5]}}}}"#
    )
}

/// The lines of Python begin at the margin, so that what is copied runs.
fn what_to_try(servers: &Servers, dir: &Path) -> String {
    format!(
        "
The gateway is up. Try it:

curl 'http://{http}{path}'

python3 -m pip install pyarrow
python3 - <<'END'
import pyarrow.flight as flight
client = flight.connect('grpc://{flight}')
ticket = flight.Ticket('''{ticket}''')
print(client.do_get(ticket).read_all().to_pylist()[0])
END

The HTTP routes are described at http://{http}/docs. The project is in {dir}: change features/taxi.yaml, stop this
with Ctrl-C, and run `lockstep -C {dir} plan`, `apply`, `sync` and `serve`.",
        http = servers.http,
        path = http_path(),
        flight = servers.flight,
        ticket = flight_ticket(),
        dir = dir.display(),
    )
}
