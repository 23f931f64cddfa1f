//! The three listeners of a running gateway, from start to drained.

use std::sync::Arc;

use axum::Router;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tracing::{info, warn};

use super::accept::{self, Limits};
use super::{Phase, admin, flight, http};
use crate::error::ErrorKind;
use crate::gateway::{Gateway, Stop};

/// Bound sockets, one for each wire.
#[derive(Debug)]
pub struct Listeners {
    pub http: TcpListener,
    pub flight: TcpListener,
    pub admin: TcpListener,
}

/// The running listeners. Dropping it ends the wires at once.
#[derive(Debug)]
pub struct Running {
    phase: watch::Sender<Phase>,
    serving: JoinSet<Result<usize, accept::Error>>,
    admin_phase: watch::Sender<Phase>,
    admin: JoinHandle<Result<usize, accept::Error>>,
    /// Asks running syncs to end, each at its next checkpoint.
    stop_syncs: Stop,
}

/// Why the listeners do not run any longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Accept(#[from] accept::Error),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error("a listener broke off")]
    BrokeOff(#[source] JoinError),
    #[error("a listener ended by itself")]
    Ended,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Accept(source) => source.kind(),
            Self::Signals(_) | Self::BrokeOff(_) | Self::Ended => ErrorKind::Internal,
        }
    }
}

/// Serves `gateway` on all three listeners.
pub fn start(gateway: Arc<Gateway>, listeners: Listeners) -> Running {
    let (phase, phases) = watch::channel(Phase::Serving);
    let connections = |listener| gateway.metrics.connections(listener);
    let wires = [
        (listeners.http, http::router(Arc::clone(&gateway)), connections("http")),
        (listeners.flight, flight::routes(Arc::clone(&gateway)), connections("flight")),
    ];
    let admin = (listeners.admin, admin::router(Arc::clone(&gateway), phases), connections("admin"));
    run(phase, wires, admin, gateway.syncing.stop.clone())
}

type Wire = (TcpListener, Router, Gauge);

fn run(phase: watch::Sender<Phase>, wires: [Wire; 2], admin: Wire, stop_syncs: Stop) -> Running {
    let mut serving = JoinSet::new();
    for (socket, router, connections) in wires {
        serving.spawn(accept::run(socket, router, phase.subscribe(), connections, Limits::default()));
    }
    let (admin_phase, admin_phases) = watch::channel(Phase::Serving);
    let (socket, router, connections) = admin;
    let admin = tokio::spawn(accept::run(socket, router, admin_phases, connections, Limits::default()));
    Running { phase, serving, admin_phase, admin, stop_syncs }
}

impl Running {
    /// Serves until SIGTERM or Ctrl-C, then drains; a second signal ends what still runs.
    pub async fn until_stopped(mut self) -> Result<(), Error> {
        let mut signals = Signals::listen()?;
        tokio::select! {
            () = signals.next() => info!("draining; a second signal stops at once"),
            ended = self.serving.join_next() => return Err(early_end(ended)),
            ended = &mut self.admin => return Err(early_end(Some(ended))),
        }
        self.drain(signals.next()).await
    }

    /// Drains now.
    pub async fn stop(self) -> Result<(), Error> {
        self.drain(std::future::pending()).await
    }

    /// No new connection on the wires, running requests end, then the admin listener goes too.
    async fn drain(mut self, second_signal: impl Future<Output = ()>) -> Result<(), Error> {
        self.stop_syncs.ask();
        self.phase.send_replace(Phase::Draining);
        let mut second_signal = std::pin::pin!(second_signal);
        let mut told = false;
        let mut cut = 0;
        loop {
            tokio::select! {
                ended = self.serving.join_next() => match ended {
                    Some(ended) => cut += ended.map_err(Error::BrokeOff)??,
                    None => break,
                },
                () = second_signal.as_mut(), if !told => {
                    told = true;
                    self.phase.send_replace(Phase::Stopping);
                }
            }
        }
        if cut > 0 {
            warn!(connections = cut, "connections were cut while they were in use");
        }
        self.admin_phase.send_replace(Phase::Stopping);
        self.admin.await.map_err(Error::BrokeOff)??;
        Ok(())
    }
}

fn early_end(ended: Option<Result<Result<usize, accept::Error>, JoinError>>) -> Error {
    match ended {
        Some(Ok(Err(error))) => Error::Accept(error),
        Some(Err(error)) => Error::BrokeOff(error),
        Some(Ok(Ok(_))) | None => Error::Ended,
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
