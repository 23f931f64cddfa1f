//! A gateway's listeners and its schedules, from start to drained.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{Error, Project, allowances, swap};
use crate::flow::schedule;
use crate::gateway::{Gateway, Stop};
use crate::{limits, server};

/// The listeners of a running gateway.
#[derive(Debug)]
pub struct Servers {
    pub http: SocketAddr,
    pub flight: SocketAddr,
    pub admin: SocketAddr,
    running: server::Running,
    /// Syncs views by their schedules, until the gateway stops.
    schedules: AbortOnDropHandle<()>,
    /// Takes up new versions, until the gateway stops.
    _versions: AbortOnDropHandle<()>,
    stop_syncs: Stop,
    /// Reads again what plugins may use, until the gateway stops.
    _allowances: AbortOnDropHandle<()>,
}

impl Servers {
    /// Binds all three listeners first, so that a gateway serves on all of them or not at all.
    pub async fn start(project: &Project, gateway: Arc<Gateway>) -> Result<Self, Error> {
        let listen = &project.config.listen;
        let http = bind(listen.http).await?;
        let flight = bind(listen.flight).await?;
        let admin = bind(listen.admin).await?;
        let addresses = (address(&http)?, address(&flight)?, address(&admin)?);
        let schedules = schedule::run(Arc::clone(&gateway), project.config.sync.schedules);
        let schedules = AbortOnDropHandle::new(tokio::spawn(schedules));
        let versions = AbortOnDropHandle::new(tokio::spawn(swap::watch(project.clone(), Arc::clone(&gateway))));
        let stop_syncs = gateway.syncing.stop.clone();
        let allowances = allowances::watch(project.config.folder.clone(), Arc::clone(&gateway.transforms));
        let _allowances = AbortOnDropHandle::new(tokio::spawn(allowances));
        let running = server::start(gateway, server::Listeners { http, flight, admin });
        let (http, flight, admin) = addresses;
        Ok(Self { http, flight, admin, running, schedules, _versions: versions, stop_syncs, _allowances })
    }

    /// Waits for SIGTERM or Ctrl-C, then drains.
    pub async fn until_stopped(self) -> Result<(), Error> {
        let ended = self.running.until_stopped().await;
        self.stop_syncs.ask();
        drained(ended, self.schedules).await
    }

    /// Drains now.
    pub async fn stop(self) -> Result<(), Error> {
        let ended = self.running.stop().await;
        drained(ended, self.schedules).await
    }
}

/// Waits for scheduled syncs, each of which ends at its next checkpoint.
async fn drained(ended: Result<(), server::Error>, schedules: AbortOnDropHandle<()>) -> Result<(), Error> {
    match tokio::time::timeout(limits::DRAIN_TIMEOUT, schedules).await {
        Ok(Ok(())) => {}
        Ok(Err(broke_off)) => tracing::error!(error = %broke_off, "the schedules broke off"),
        Err(_) => tracing::warn!("a scheduled sync does not reach its next checkpoint; it is cut"),
    }
    ended.map_err(|error| Error::Server(error.to_string()))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| Error::Server(error.to_string()))
}
