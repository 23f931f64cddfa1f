//! The connections to one database: so many and no more, opened when they are wanted, used again when they are well.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CopyInSink, CopyOutStream, Row};

use super::connection::{Connection, State};
use super::failure::Failure;
use super::settings::Settings;

#[derive(Debug)]
pub(super) struct Pool {
    settings: Arc<Settings>,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection for one user. Dropped, it is there for the next one: what is left of a transaction is rolled back, and
/// a connection in the middle of a statement is closed.
#[derive(Debug)]
pub(super) struct Lease {
    /// Always there until the lease is dropped.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(settings: Settings) -> Self {
        let free = Arc::new(Semaphore::new(settings.connections));
        Self { settings: Arc::new(settings), free, idle: Mutex::default() }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A connection on which `begin` was done: some statements, the first of which begins a transaction.
    pub async fn begin(self: &Arc<Self>, begin: &str) -> Result<Lease, Failure> {
        loop {
            let (mut lease, is_new) = self.lease().await?;
            match timeout(self.settings.connect_timeout, lease.run(begin)).await {
                Ok(Ok(())) => return Ok(lease),
                // A connection may have died while nobody used it; the next one may be new.
                Ok(Err(failure)) if failure.is_lost() && !is_new => {}
                Err(_) if !is_new => {}
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Err(Failure::late(&self.settings)),
            }
        }
    }

    /// A connection without a transaction, and whether it was made just now.
    pub async fn lease(self: &Arc<Self>) -> Result<(Lease, bool), Failure> {
        let permit = timeout(self.settings.connect_timeout, Arc::clone(&self.free).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Failure::none_free(&self.settings)) };
        let (connection, is_new) = match self.idle() {
            Some(connection) => (connection, false),
            None => (Connection::open(&self.settings).await?, true),
        };
        Ok((Lease { connection: Some(connection), pool: Arc::clone(self), _permit: permit }, is_new))
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        idle.pop()
    }
}

impl Lease {
    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection until it is dropped")
    }

    pub fn settings(&self) -> &Settings {
        self.pool.settings()
    }

    /// Some statements without parameters, in one round trip.
    pub async fn run(&mut self, statements: &str) -> Result<(), Failure> {
        let connection = self.connection();
        connection.set(State::Busy);
        let done = connection.client().batch_execute(statements).await;
        connection.set(State::InTransaction);
        done.map_err(|error| Failure::of(self.settings(), &error))
    }

    /// Ends the transaction; all of it is done, or an error.
    pub async fn commit(mut self) -> Result<(), Failure> {
        self.run("COMMIT").await?;
        self.connection().set(State::Idle);
        Ok(())
    }

    /// One statement that cannot be part of a transaction.
    pub async fn run_alone(&mut self, statement: &str) -> Result<(), Failure> {
        self.run(statement).await?;
        self.connection().set(State::Idle);
        Ok(())
    }

    /// A query with texts as parameters.
    pub async fn query(&mut self, query: &str, texts: &[&str]) -> Result<Vec<Row>, Failure> {
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            texts.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let connection = self.connection();
        connection.set(State::Busy);
        let rows = connection.client().query_typed(query, &parameters).await;
        connection.set(State::InTransaction);
        rows.map_err(|error| Failure::of(self.settings(), &error))
    }

    /// Begins to receive the rows of a COPY … TO STDOUT. The connection is busy until [`Lease::received`].
    pub async fn receive(&mut self, copy: &str) -> Result<CopyOutStream, Failure> {
        let connection = self.connection();
        connection.set(State::Busy);
        let stream = connection.client().copy_out(copy).await;
        stream.map_err(|error| Failure::of(self.settings(), &error))
    }

    /// All rows were received.
    pub fn received(&mut self) {
        self.connection().set(State::InTransaction);
    }

    /// Begins to send the rows of a COPY … FROM STDIN. The connection is busy until [`Lease::received`].
    pub async fn send(&mut self, copy: &str) -> Result<CopyInSink<Bytes>, Failure> {
        let connection = self.connection();
        connection.set(State::Busy);
        let sink = connection.client().copy_in(copy).await;
        sink.map_err(|error| Failure::of(self.settings(), &error))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if connection.state() == State::InTransaction {
            // The statement is sent at the first look at the future; its answer is nobody's business, and the next
            // statement waits for it on the wire.
            let _ = connection.client().batch_execute("ROLLBACK").now_or_never();
            connection.set(State::Idle);
        }
        if connection.state() == State::Idle && connection.is_open() {
            let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(connection);
        }
    }
}
