//! One server of Redis and our connections to it.
//!
//! A node has a few connections, one for each thread that asks; all tasks of a thread share its connection, and their
//! requests are pipelined on it. Picking one takes no lock. A connection that broke, or that is silent for longer than
//! the response timeout, is replaced by whoever asks next: one attempt at a time, which goes on when the request that
//! began it has run out of time. Requests in the short pause after a failed attempt get that attempt's failure.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisResult, Value};

use super::super::failure::{Failure, Outage};
use super::super::settings::Address;
use super::lane::{Gets, Lane, Values};
use super::opener::Opener;
use crate::clock::Deadline;
use crate::{document, limits};

#[derive(Debug)]
pub(super) struct Node {
    pub address: Address,
    opener: Arc<Opener>,
    seats: Box<[Seat]>,
    made: Instant,
}

/// The place of one connection.
#[derive(Debug, Default)]
struct Seat {
    live: ArcSwapOption<Live>,
    attempts: Mutex<Attempts>,
}

#[derive(Debug)]
struct Live {
    connection: MultiplexedConnection,
    /// The fast way to read; none where the connection is encrypted.
    lane: Option<Lane>,
    /// When the oldest request was sent that ran out of time while nothing was answered; milliseconds since the node
    /// was made, zero where there is none.
    silent_since: AtomicU64,
}

type Attempt = Shared<BoxFuture<'static, Result<Arc<Live>, Failure>>>;

#[derive(Debug, Default)]
struct Attempts {
    running: Option<Attempt>,
    failed: u32,
    /// The last failure, and until when it answers whoever asks.
    last: Option<(Failure, Instant)>,
}

impl Node {
    pub fn new(address: Address, opener: Arc<Opener>) -> Self {
        let seats = (0..opener.server.connections.max(1)).map(|_| Seat::default()).collect();
        Self { address, opener, seats, made: Instant::now() }
    }

    /// A connection beside the others, on which the server may send without being asked.
    pub async fn open_with_pushes(&self, pushes: impl AsyncPushSender) -> Result<MultiplexedConnection, Failure> {
        self.opener.open_with_pushes(&self.address, pushes).await
    }

    /// Sends all commands at once; one reply per command, errors among them.
    pub async fn send(self: &Arc<Self>, commands: &Pipeline, deadline: Deadline) -> Result<Vec<Value>, Failure> {
        let count = commands.len();
        let send = async |live: Arc<Live>| live.connection.clone().send_packed_commands(commands, 0, count).await;
        self.exchange(deadline, send).await
    }

    /// Sends one command; an error reply is a failure.
    pub async fn ask(self: &Arc<Self>, command: &Cmd, deadline: Deadline) -> Result<Value, Failure> {
        match self.send_one(command, deadline).await? {
            Value::ServerError(error) => Err(Failure::of_reply(&self.address, &error)),
            value => Ok(value),
        }
    }

    /// As `send`, for one command.
    pub async fn send_one(self: &Arc<Self>, command: &Cmd, deadline: Deadline) -> Result<Value, Failure> {
        let send = async |live: Arc<Live>| live.connection.clone().send_packed_command(command).await;
        self.exchange(deadline, send).await
    }

    /// Asks for values on the fast way; none where the server has no such way.
    pub async fn get(self: &Arc<Self>, gets: Gets, deadline: Deadline) -> Result<Option<Values>, Failure> {
        let ended = || io::Error::from(io::ErrorKind::ConnectionReset);
        let send = async |live: Arc<Live>| match &live.lane {
            None => Ok(None),
            Some(lane) => lane.ask(gets).await.map(Some).ok_or_else(|| ended().into()),
        };
        self.exchange(deadline, send).await
    }

    async fn exchange<T>(
        self: &Arc<Self>,
        deadline: Deadline,
        send: impl AsyncFnOnce(Arc<Live>) -> RedisResult<T>,
    ) -> Result<T, Failure> {
        let seat = turn() % self.seats.len();
        let live = self.live(seat, deadline).await?;
        let sent = Instant::now();
        let timeout = self.opener.server.response_timeout;
        let until = deadline.at_most(timeout).instant();
        let replied = tokio::time::timeout_at(until.into(), send(Arc::clone(&live))).await;
        match replied {
            Ok(Ok(replies)) => {
                if live.silent_since.load(Ordering::Relaxed) != 0 {
                    live.silent_since.store(0, Ordering::Relaxed);
                }
                Ok(replies)
            }
            Ok(Err(error)) => {
                self.give_up(seat, &live);
                Err(Failure::of_connection(&self.address, Outage::Broken, &error))
            }
            Err(_) => {
                let since = self.since(sent).max(1);
                let silent = live.silent_since.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
                let first = silent.unwrap_or_else(|earlier| if earlier == 0 { since } else { earlier });
                if self.since(Instant::now()).saturating_sub(first) < timeout.as_millis() as u64 {
                    return Err(Failure::Late);
                }
                self.give_up(seat, &live);
                let detail = format!("no answer within {}", document::duration_text(timeout));
                Err(Failure::unreachable(&self.address, Outage::Silent, detail))
            }
        }
    }

    fn since(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.made).as_millis()).unwrap_or(u64::MAX)
    }

    /// The seat's connection is not used any more, unless it is another one already.
    fn give_up(&self, seat: usize, live: &Arc<Live>) {
        let seat = &self.seats[seat].live;
        let ours = seat.load_full().filter(|current| Arc::ptr_eq(current, live));
        if ours.is_some() {
            seat.compare_and_swap(&ours, None);
        }
    }

    async fn live(self: &Arc<Self>, seat: usize, deadline: Deadline) -> Result<Arc<Live>, Failure> {
        if let Some(live) = self.seats[seat].live.load_full() {
            return Ok(live);
        }
        let attempt = self.attempt(seat)?;
        match tokio::time::timeout_at(deadline.instant().into(), attempt).await {
            Ok(done) => done,
            Err(_) => Err(Failure::Late),
        }
    }

    /// The attempt to connect that is running, or a new one.
    fn attempt(self: &Arc<Self>, seat: usize) -> Result<Attempt, Failure> {
        let mut attempts = self.seats[seat].attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &attempts.running {
            return Ok(running.clone());
        }
        if let Some((failure, until)) = &attempts.last
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        let node = Arc::clone(self);
        // A task of its own: the next request gains from it even if this one gives up.
        let task = tokio::spawn(async move { node.connect(seat).await });
        let gone = Failure::unreachable(&self.address, Outage::Broken, "the gateway is stopping");
        let running = task.map(|joined| joined.unwrap_or(Err(gone))).boxed().shared();
        attempts.running = Some(running.clone());
        Ok(running)
    }

    async fn open(&self) -> Result<(MultiplexedConnection, Option<Lane>), Failure> {
        let connection = self.opener.open(&self.address).await?;
        Ok((connection, self.opener.open_lane(&self.address).await?))
    }

    async fn connect(&self, seat: usize) -> Result<Arc<Live>, Failure> {
        let opened = self.open().await;
        let seat = &self.seats[seat];
        let mut attempts = seat.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.running = None;
        match opened {
            Ok((connection, lane)) => {
                let live = Arc::new(Live { connection, lane, silent_since: AtomicU64::new(0) });
                *attempts = Attempts::default();
                seat.live.store(Some(Arc::clone(&live)));
                Ok(live)
            }
            Err(failure) => {
                let until = Instant::now() + pause(attempts.failed);
                attempts.failed += 1;
                attempts.last = Some((failure.clone(), until));
                Err(failure)
            }
        }
    }
}

/// Which of a node's connections this thread uses: threads take turns when they first ask.
fn turn() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static TURN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    TURN.get().unwrap_or_else(|| {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        TURN.set(Some(turn));
        turn
    })
}

/// The pause after so many failed attempts before: it doubles up to a limit, and a random half of it keeps many
/// gateways apart.
pub fn pause(failed: u32) -> Duration {
    let longest = limits::REDIS_RECONNECT_PAUSE_MAX;
    let pause = limits::REDIS_RECONNECT_PAUSE.saturating_mul(1 << failed.min(10)).min(longest);
    pause / 2 + (pause / 2).mul_f64((random() % 1_024) as f64 / 1_024.0)
}

/// Not for secrets: what keeps gateways from all doing the same at the same time.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}
