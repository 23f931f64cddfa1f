//! Requests at fixed times (open loop), or one after the other as fast as answers come (closed loop, for saturation).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};

use super::flight::{Exchange, Get};
use super::gateway::Gateway;
use super::http::Http;
use super::question::{Case, Wire};
use crate::Result;

/// Connections; each of them has one request under way at most. More requests than that wait in the generator, and
/// their waiting counts.
const LANES: usize = 16;
/// Requests on each connection before a measurement begins.
const WARM_UP: usize = 8;
/// From the start of a run to its first request.
const LEAD: Duration = Duration::from_millis(5);
/// Significant digits of a histogram, and its largest value: 60 s.
const DIGITS: u8 = 3;
const NANOSECONDS_MAX: u64 = 60_000_000_000;

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
    /// CPU seconds of the gateway.
    pub gateway_cpu: f64,
}

#[derive(Debug)]
pub enum Answer {
    Json(Bytes),
    ArrowStream(Bytes),
    Batches(Vec<RecordBatch>),
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
            gateway_cpu: 0.0,
        })
    }

    pub fn requests_a_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Once they are compared they only take room.
    pub fn forget_answers(&mut self) {
        self.answers = Vec::new();
    }
}

/// Asks `requests` questions, one every `interval`.
pub async fn open_loop(gateway: &Gateway, case: &Arc<Case>, interval: Duration, requests: usize) -> Result<Run> {
    let lanes = connect(gateway, case).await?;
    let queue = Arc::new(Queue::default());
    let begin = Instant::now() + LEAD;
    let cpu = gateway.cpu_seconds()?;
    let running: Vec<JoinHandle<Result<Run>>> =
        lanes.into_iter().map(|lane| tokio::spawn(work(lane, Arc::clone(case), Arc::clone(&queue)))).collect();
    for number in 0..requests {
        let intended = begin + interval.mul_f64(number as f64);
        while Instant::now() < intended {
            yield_now().await;
        }
        queue.push(number % case.questions.len(), intended);
    }
    queue.close();
    gather(gateway, running, begin, cpu).await
}

/// Keeps every connection busy for `time`: a closed loop, whose latencies mean little and whose rate is the most there is.
pub async fn saturate(gateway: &Gateway, case: &Arc<Case>, time: Duration) -> Result<Run> {
    let lanes = connect(gateway, case).await?;
    let begin = Instant::now();
    let cpu = gateway.cpu_seconds()?;
    let work = |(number, mut lane): (usize, Lane)| {
        let case = Arc::clone(case);
        tokio::spawn(async move {
            let mut run = Run::new()?;
            let mut question = number * case.questions.len() / LANES;
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
    let running = lanes.into_iter().enumerate().map(work).collect();
    gather(gateway, running, begin, cpu).await
}

/// Waits for all lanes and adds up what they have seen.
async fn gather(gateway: &Gateway, running: Vec<JoinHandle<Result<Run>>>, begin: Instant, cpu: f64) -> Result<Run> {
    let mut all = Run::new()?;
    for lane in running {
        let run = lane.await??;
        all.latency.add(&run.latency)?;
        all.slip.add(&run.slip)?;
        all.requests += run.answers.len();
        all.answers.extend(run.answers);
    }
    all.seconds = begin.elapsed().as_secs_f64();
    all.gateway_cpu = gateway.cpu_seconds()? - cpu;
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

async fn connect(gateway: &Gateway, case: &Arc<Case>) -> Result<Vec<Lane>> {
    let mut lanes = Vec::with_capacity(LANES);
    for number in 0..LANES {
        let mut lane = match case.wire {
            Wire::HttpJson | Wire::HttpArrow => Lane::Http(Http::connect(gateway.http, case).await?),
            Wire::DoGet => Lane::Get(Get::connect(gateway.flight).await?),
            Wire::DoExchange => Lane::Exchange(Exchange::connect(gateway.flight, case).await?),
        };
        for question in 0..WARM_UP {
            lane.ask(case, (number * WARM_UP + question) % case.questions.len()).await?;
        }
        lanes.push(lane);
    }
    Ok(lanes)
}

impl Lane {
    async fn ask(&mut self, case: &Case, question: usize) -> Result<Answer> {
        let question = &case.questions[question];
        Ok(match self {
            Self::Http(http) if case.wire == Wire::HttpArrow => Answer::ArrowStream(http.ask(question).await?),
            Self::Http(http) => Answer::Json(http.ask(question).await?),
            Self::Get(get) => Answer::Batches(get.ask(question).await?),
            Self::Exchange(exchange) => Answer::Batches(exchange.ask(question).await?),
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
