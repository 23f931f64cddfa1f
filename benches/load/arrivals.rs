//! Requests at fixed times (open loop), or one after the other as fast as answers come (closed loop, for saturation).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_flight::FlightData;
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};

use super::flight::{Exchange, Get};
use super::http::Http;
use super::question::{Case, Wire};
use crate::Result;
use crate::measure::Meter;

/// Connections; each of them has one request under way at most. More requests than that wait in the generator, and
/// their waiting counts.
pub const LANES: usize = 16;
/// Requests on each connection before a measurement begins.
const WARM_UP: usize = 4;
/// From the start of a run to its first request.
const LEAD: Duration = Duration::from_millis(5);
/// Significant digits of a histogram, and its largest value: 60 s.
const DIGITS: u8 = 3;
const NANOSECONDS_MAX: u64 = 60_000_000_000;

/// Who is asked, and whose CPU time is measured.
#[derive(Clone, Debug)]
pub struct Target {
    pub http: SocketAddr,
    pub flight: SocketAddr,
    /// The processes that answer.
    pub server: Vec<u32>,
    /// The processes of the store behind them.
    pub store: Vec<u32>,
}

/// What one run of a load has shown.
#[derive(Debug)]
pub struct Run {
    /// From the time at which a request should have left to the last byte of its answer, in ns.
    pub latency: Histogram<u64>,
    /// How late the generator itself was, while connections were idle, in ns.
    pub slip: Histogram<u64>,
    pub requests: usize,
    /// Every answer, with the question's number.
    pub answers: Vec<(usize, Answer)>,
    pub seconds: f64,
    /// CPU seconds of the server.
    pub server_cpu: f64,
    /// CPU seconds of the store.
    pub store_cpu: f64,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Json(Bytes),
    ArrowStream(Bytes),
    /// The schema, then batches.
    Flight(Vec<FlightData>),
}

impl Run {
    fn new() -> Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, NANOSECONDS_MAX, DIGITS);
        Ok(Self {
            latency: histogram()?,
            slip: histogram()?,
            requests: 0,
            answers: Vec::new(),
            seconds: 0.0,
            server_cpu: 0.0,
            store_cpu: 0.0,
        })
    }

    pub fn requests_a_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Microseconds of the server's CPU time for one request.
    pub fn server_micros(&self) -> f64 {
        self.server_cpu / self.requests as f64 * 1e6
    }

    /// Microseconds of the store's CPU time for one request.
    pub fn store_micros(&self) -> f64 {
        self.store_cpu / self.requests as f64 * 1e6
    }

    /// Once they are compared they only take room.
    pub fn forget_answers(&mut self) {
        self.answers = Vec::new();
    }
}

/// Asks `requests` questions, one every `interval`.
pub async fn open_loop(target: &Target, case: &Arc<Case>, interval: Duration, requests: usize) -> Result<Run> {
    let lanes = connect(target, case, LANES).await?;
    let queue = Arc::new(Queue::default());
    let meters = Meters::start(target)?;
    let begin = Instant::now() + LEAD;
    let running: Vec<JoinHandle<Result<Run>>> =
        lanes.into_iter().map(|lane| tokio::spawn(work(lane, Arc::clone(case), Arc::clone(&queue)))).collect();
    for number in 0..requests {
        let intended = begin + interval.mul_f64(number as f64);
        while Instant::now() < intended {
            // Whoever else has work on this CPU goes first: the store, if it has been pinned here.
            std::thread::yield_now();
            yield_now().await;
        }
        queue.push(number % case.questions.len(), intended);
    }
    queue.close();
    gather(running, begin, &meters).await
}

/// Keeps `lanes` connections busy for `time`: a closed loop, whose latencies mean little and whose rate is the most there
/// is.
pub async fn saturate_over(target: &Target, case: &Arc<Case>, time: Duration, lanes: usize) -> Result<Run> {
    let connected = connect(target, case, lanes).await?;
    let meters = Meters::start(target)?;
    let begin = Instant::now();
    let work = |(number, mut lane): (usize, Lane)| {
        let case = Arc::clone(case);
        tokio::spawn(async move {
            let mut run = Run::new()?;
            let mut question = number * case.questions.len() / lanes;
            while begin.elapsed() < time {
                let asked = Instant::now();
                question = (question + 1) % case.questions.len();
                let answer = lane.ask(&case, question).await?;
                run.latency.saturating_record(nanoseconds(asked.elapsed()));
                run.answers.push((question, answer));
            }
            Ok(run)
        })
    };
    let running = connected.into_iter().enumerate().map(work).collect();
    gather(running, begin, &meters).await
}

/// The same over as many connections as an open loop has.
pub async fn saturate(target: &Target, case: &Arc<Case>, time: Duration) -> Result<Run> {
    saturate_over(target, case, time, LANES).await
}

/// One answer to each question, to be compared.
pub async fn ask_each(target: &Target, case: &Arc<Case>) -> Result<Run> {
    let mut lane = Lane::connect(target, case).await?;
    let mut run = Run::new()?;
    for question in 0..case.questions.len() {
        run.answers.push((question, lane.ask(case, question).await?));
    }
    run.requests = run.answers.len();
    Ok(run)
}

/// CPU time of both sides of a target.
struct Meters {
    server: Meter,
    store: Meter,
}

impl Meters {
    fn start(target: &Target) -> Result<Self> {
        Ok(Self { server: Meter::start(&target.server)?, store: Meter::start(&target.store)? })
    }
}

/// Waits for all lanes and adds up what they have seen.
async fn gather(running: Vec<JoinHandle<Result<Run>>>, begin: Instant, meters: &Meters) -> Result<Run> {
    let mut all = Run::new()?;
    let mut runs = Vec::with_capacity(running.len());
    for lane in running {
        runs.push(lane.await??);
    }
    all.seconds = begin.elapsed().as_secs_f64();
    all.server_cpu = meters.server.seconds()?;
    all.store_cpu = meters.store.seconds()?;
    for run in runs {
        all.latency.add(&run.latency)?;
        all.slip.add(&run.slip)?;
        all.requests += run.answers.len();
        all.answers.extend(run.answers);
    }
    Ok(all)
}

/// Takes due questions, one at a time, until there are no more.
async fn work(mut lane: Lane, case: Arc<Case>, queue: Arc<Queue>) -> Result<Run> {
    let mut run = Run::new()?;
    while let Some(due) = queue.next().await {
        if due.lane_was_idle {
            run.slip.saturating_record(nanoseconds(due.intended.elapsed()));
        }
        let answer = lane.ask(&case, due.question).await?;
        run.latency.saturating_record(nanoseconds(due.intended.elapsed()));
        run.answers.push((due.question, answer));
    }
    Ok(run)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NANOSECONDS_MAX).max(1)
}

/// A connection.
enum Lane {
    Http(Http),
    Get(Get),
    Exchange(Exchange),
}

/// Connections that have been used a little.
async fn connect(target: &Target, case: &Arc<Case>, count: usize) -> Result<Vec<Lane>> {
    let mut lanes = Vec::with_capacity(count);
    for number in 0..count {
        let mut lane = Lane::connect(target, case).await?;
        for question in 0..WARM_UP {
            lane.ask(case, (number * WARM_UP + question) % case.questions.len()).await?;
        }
        lanes.push(lane);
    }
    Ok(lanes)
}

impl Lane {
    async fn connect(target: &Target, case: &Case) -> Result<Self> {
        Ok(match case.plan.wire {
            Wire::HttpJson | Wire::HttpArrow => Self::Http(Http::connect(target.http, case).await?),
            Wire::DoGet => Self::Get(Get::connect(target.flight).await?),
            Wire::DoExchange => Self::Exchange(Exchange::connect(target.flight, case).await?),
        })
    }

    async fn ask(&mut self, case: &Case, question: usize) -> Result<Answer> {
        let question = &case.questions[question];
        Ok(match self {
            Self::Http(http) if case.plan.wire == Wire::HttpArrow => Answer::ArrowStream(http.ask(question).await?),
            Self::Http(http) => Answer::Json(http.ask(question).await?),
            Self::Get(get) => Answer::Flight(get.ask(question).await?),
            Self::Exchange(exchange) => Answer::Flight(exchange.ask(question).await?),
        })
    }
}

/// Questions that are due, for the first lane that is idle.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    due: VecDeque<Due>,
    idle: usize,
    closed: bool,
}

#[derive(Debug)]
struct Due {
    question: usize,
    intended: Instant,
    lane_was_idle: bool,
}

impl Queue {
    fn push(&self, question: usize, intended: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lane_was_idle = state.idle > state.due.len();
        state.due.push_back(Due { question, intended, lane_was_idle });
        self.wake.notify_one();
    }

    fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.wake.notify_waiters();
    }

    async fn next(&self) -> Option<Due> {
        let mut waits = false;
        loop {
            let notified = self.wake.notified();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if waits {
                    state.idle -= 1;
                }
                if let Some(due) = state.due.pop_front() {
                    return Some(due);
                }
                if state.closed {
                    return None;
                }
                state.idle += 1;
                waits = true;
            }
            notified.await;
        }
    }
}
