//! A gateway's listeners and its schedules, from start to drained.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{Error, Project, allowances, swap};
use crate::flow::schedule;
use crate::gateway::{Gateway, Stop};
use crate::request_log::RequestLog;
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
    request_log: Arc<RequestLog>,
}

impl Servers {
    /// Binds all three listeners first, so that a gateway serves on all of them or not at all.
    pub async fn start(project: &Project, gateway: Arc<Gateway>) -> Result<Self, Error> {
        let listen = &project.config.listen;
        let http = bind(listen.http).await?;
        let flight = bind(listen.flight).await?;
        let admin = bind(listen.admin).await?;
        let addresses = (address(&http)?, address(&flight)?, address(&admin)?);
        let request_log = Arc::clone(&gateway.request_log);
        if let Some(settings) = &project.config.request_log {
            request_log.open(settings.clone())?;
        }
        let schedules = schedule::run(Arc::clone(&gateway), project.config.sync.schedules);
        let schedules = AbortOnDropHandle::new(tokio::spawn(schedules));
        let versions = AbortOnDropHandle::new(tokio::spawn(swap::watch(project.clone(), Arc::clone(&gateway))));
        let stop_syncs = gateway.syncing.stop.clone();
        let allowances = allowances::watch(project.config.folder.clone(), Arc::clone(&gateway.transforms));
        let _allowances = AbortOnDropHandle::new(tokio::spawn(allowances));
        let running = server::start(gateway, server::Listeners { http, flight, admin });
        let (http, flight, admin) = addresses;
        let _versions = versions;
        Ok(Self { http, flight, admin, running, schedules, _versions, stop_syncs, _allowances, request_log })
    }

    /// Waits for SIGTERM or Ctrl-C, then drains.
    pub async fn until_stopped(self) -> Result<(), Error> {
        let ended = self.running.until_stopped().await;
        self.stop_syncs.ask();
        drained(ended, self.schedules, self.request_log).await
    }

    /// Drains now.
    pub async fn stop(self) -> Result<(), Error> {
        let ended = self.running.stop().await;
        drained(ended, self.schedules, self.request_log).await
    }
}

/// Waits for scheduled syncs, each of which ends at its next checkpoint.
async fn drained(
    ended: Result<(), server::Error>,
    schedules: AbortOnDropHandle<()>,
    request_log: Arc<RequestLog>,
) -> Result<(), Error> {
    if let Err(broke_off) = tokio::task::spawn_blocking(move || request_log.close()).await {
        tracing::error!(error = %broke_off, "the request log was not closed");
    }
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
