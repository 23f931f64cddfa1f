//! The accept loop of every listener: HTTP, Flight and admin alike.
//!
//! Servers from a box leave most limits off: `axum::serve` sets no timer, so a slow client is never cut, and tonic's
//! server removes hyper's bounds on streams and resets. So the connections are ours, and every bound of `limits.rs`
//! that a connection can be held to is set in this one file.
//!
//! # Why not hyper-util's version detection
//! It reads a connection's first bytes without a timeout, so a client that connects and says nothing holds its place
//! for ever, and it does not pass on the bound on header bytes. [`open`] reads those bytes itself, under the header
//! timeout, and hands the connection to hyper's HTTP/1 or HTTP/2 server.

use std::future::pending;
use std::io::Cursor;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Phase;
use crate::error::ErrorKind;
use crate::limits;

/// The first bytes of every HTTP/2 connection.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait after the system had no file handle left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bounds that tests make smaller; everything else comes from `limits.rs` directly.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    pub header_read_timeout: Duration,
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            header_read_timeout: limits::HEADER_READ_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

/// Why a listener did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{address} can be reached from other machines, and there is neither TLS nor a login in this version; listen on 127.0.0.1 or [::1], and put a proxy that has both in front of it"
    )]
    NotLoopback { address: SocketAddr },
    #[error("the listener has no address: {0}")]
    NoAddress(std::io::Error),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLoopback { .. } => ErrorKind::Invalid,
            Self::NoAddress(_) => ErrorKind::Unavailable,
        }
    }
}

/// Serves `router` on every connection of `socket` until the gateway drains, then lets running requests end.
///
/// Answers how many connections were cut because they were still open after the drain timeout, or because the gateway
/// was told to stop at once.
pub async fn run(
    socket: TcpListener,
    router: Router,
    mut phase: watch::Receiver<Phase>,
    connections: Gauge,
    limits: Limits,
) -> Result<usize, Error> {
    let address = socket.local_addr().map_err(Error::NoAddress)?;
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback { address });
    }
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let protocols = Arc::new(Protocols::new(&limits));
    let mut open_connections = JoinSet::new();
    loop {
        tokio::select! {
            () = reached(&mut phase, Phase::Draining) => break,
            Some(_) = open_connections.join_next() => {}
            (stream, permit) = accept(&socket, &permits) => {
                let served = Counted::new(connections.clone(), permit);
                let (protocols, router, phase) = (Arc::clone(&protocols), router.clone(), phase.clone());
                open_connections.spawn(async move {
                    open(stream, &protocols, router, phase).await;
                    drop(served);
                });
            }
        }
    }
    drop(socket);
    Ok(drain(open_connections, &mut phase, limits.drain_timeout).await)
}

/// Waits until every connection has ended, the time is up, or a second signal says to stop at once.
async fn drain(mut open_connections: JoinSet<()>, phase: &mut watch::Receiver<Phase>, timeout: Duration) -> usize {
    let ended = async { while open_connections.join_next().await.is_some() {} };
    let ended_or_told = async {
        tokio::select! {
            () = ended => {}
            () = reached(phase, Phase::Stopping) => {}
        }
    };
    // Whether it was in time shows in what is still open.
    let _ = tokio::time::timeout(timeout, ended_or_told).await;
    let cut = open_connections.len();
    open_connections.shutdown().await;
    cut
}

/// The next connection, once there is room for one. Connections beyond the bound wait in the system's queue.
async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) if is_of_one_connection(&error) => debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                warn!(%error, "no connection can be accepted for now");
                let _ = tokio::time::timeout(ACCEPT_PAUSE, pending::<()>()).await;
            }
        }
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Finds out which HTTP a connection speaks and serves it to its end.
async fn open(stream: TcpStream, protocols: &Protocols, router: Router, mut phase: watch::Receiver<Phase>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection keeps its delay");
    }
    let (mut reader, writer) = stream.into_split();
    let first_bytes = tokio::select! {
        () = reached(&mut phase, Phase::Draining) => return,
        read = tokio::time::timeout(protocols.header_read_timeout, read_preface(&mut reader)) => match read {
            Ok(Ok(first_bytes)) => first_bytes,
            // The client left, or sent nothing in time; there is no request to answer.
            Ok(Err(_)) | Err(_) => return,
        }
    };
    let http2 = first_bytes == HTTP2_PREFACE;
    let stream = TokioIo::new(tokio::io::join(Cursor::new(first_bytes).chain(reader), writer));
    if http2 {
        serve(protocols.http2.serve_connection(stream, TowerToHyperService::new(router)), phase).await;
    } else {
        serve(protocols.http1.serve_connection(stream, TowerToHyperService::new(router)), phase).await;
    }
}

/// Reads until the bytes are HTTP/2's preface, or cannot become it.
async fn read_preface(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut first_bytes = vec![0; HTTP2_PREFACE.len()];
    let mut length = 0;
    while length < HTTP2_PREFACE.len() && first_bytes[..length] == HTTP2_PREFACE[..length] {
        match reader.read(&mut first_bytes[length..]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    first_bytes.truncate(length);
    Ok(first_bytes)
}

/// Drives a connection; when the gateway drains, the requests on it end and no new one is taken.
async fn serve<C>(connection: C, mut phase: watch::Receiver<Phase>)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = reached(&mut phase, Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended with an error");
    }
}

/// Waits for a phase. Whoever tells the phases being gone counts as every phase reached.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// The two HTTP servers with their bounds set.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_read_timeout: Duration,
}

impl Protocols {
    fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_read_timeout)
            .max_headers(limits::HEADERS_MAX)
            .max_header_size(limits::HEADER_BYTES_MAX as usize);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
            .max_pending_accept_reset_streams(limits::HTTP2_PENDING_RESET_STREAMS_MAX)
            .max_local_error_reset_streams(limits::HTTP2_LOCAL_ERROR_RESET_STREAMS_MAX)
            .max_header_list_size(limits::HEADER_BYTES_MAX)
            .keep_alive_interval(limits::HTTP2_KEEPALIVE_INTERVAL)
            .keep_alive_timeout(limits::HTTP2_KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES);
        Self { http1, http2, header_read_timeout: limits.header_read_timeout }
    }
}

/// One open connection, counted while it lives.
struct Counted {
    connections: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(connections: Gauge, permit: OwnedSemaphorePermit) -> Self {
        connections.inc();
        Self { connections, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

#[cfg(test)]
mod tests;
