//! Reads and writes at fixed times over a few connections, each answer checked as it comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::task::LocalSet;

use super::{ENTITIES, SERVICE, VIEW_FEATURES, VIEWS, view};
use crate::Result;
use crate::load::Http;
use crate::synthetic::{JOIN_KEY, Random, value};

pub const READ_ROWS: usize = 10;
pub const WRITE_ROWS: usize = 10;
/// One request in so many writes.
pub const WRITE_ONE_IN: u64 = 20;
/// A request that could not leave by then does not leave any more.
pub const BACKLOG_MAX: Duration = Duration::from_secs(2);
const LANES: usize = 16;
/// In which an answer is owed; the gateway has to give up by itself.
const DEADLINE_MILLIS: u64 = 1_000;
/// After which we give the gateway up.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// One minute's answers.
#[derive(Debug)]
pub struct Minute {
    /// Of good answers, from the intended time, in ns.
    pub latency: Histogram<u64>,
    pub errors: BTreeMap<String, u64>,
}

/// What a refused request is counted as.
struct Refusal {
    kind: String,
    /// What the gateway said, without the numbers that differ from one answer to the next.
    reason: String,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Seen {
    pub rate: f64,
    pub minutes: Vec<Minute>,
    pub values: u64,
    pub wrong: u64,
    /// Rows that were older than a write which had been acknowledged before the question left.
    pub lost_rows: u64,
    lost_seconds: Vec<u64>,
    pub skipped: u64,
    /// What the gateway said when it refused, and how often.
    pub reasons: BTreeMap<String, u64>,
}

/// What all lanes share on the one thread they run on.
struct Shared {
    begin: Instant,
    seen: Seen,
    /// The event time of the newest acknowledged write, by view and entity.
    acknowledged: Vec<i64>,
    random: Random,
    next: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Vec<Column<'a>>,
}

#[derive(Deserialize)]
struct Column<'a> {
    #[serde(borrow)]
    values: Vec<Option<&'a RawValue>>,
    #[serde(borrow)]
    event_timestamps: Vec<&'a str>,
}

/// Requests a second that a closed loop gets answered, all of them right.
pub async fn saturate(address: SocketAddr, time: Duration) -> Result<f64> {
    let seen = drive(address, Instant::now(), time, None).await?;
    let answers: u64 = seen.minutes.iter().map(|minute| minute.latency.len()).sum();
    match seen.minutes.iter().find_map(|minute| minute.errors.keys().next()) {
        Some(error) => Err(format!("before anything happened: {error}").into()),
        None => Ok(answers as f64 / time.as_secs_f64()),
    }
}

/// So many requests a second until `time` has passed.
pub async fn run(address: SocketAddr, begin: Instant, time: Duration, rate: f64) -> Result<Seen> {
    drive(address, begin, time, Some(rate)).await
}

async fn drive(address: SocketAddr, begin: Instant, time: Duration, rate: Option<f64>) -> Result<Seen> {
    let seen = Seen {
        rate: rate.unwrap_or(0.0),
        minutes: Vec::new(),
        values: 0,
        wrong: 0,
        lost_rows: 0,
        lost_seconds: Vec::new(),
        skipped: 0,
        reasons: BTreeMap::new(),
    };
    let acknowledged = vec![i64::MIN; VIEWS * ENTITIES as usize];
    // Other numbers each time, because a write of the run must not meet one of the closed loop before it.
    let random = Random::new(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos().into());
    let shared = Rc::new(RefCell::new(Shared { begin, seen, acknowledged, random, next: 0 }));
    let lanes = LocalSet::new();
    let running: Vec<_> =
        (0..LANES).map(|_| lanes.spawn_local(work(address, Rc::clone(&shared), begin, time, rate))).collect();
    lanes
        .run_until(async {
            for lane in running {
                lane.await??;
            }
            Ok::<_, crate::Error>(())
        })
        .await?;
    let shared = Rc::try_unwrap(shared).map_err(|_| "a lane still runs")?.into_inner();
    Ok(shared.seen)
}

/// One connection. A wrong value ends it with an error; everything else is counted.
async fn work(
    address: SocketAddr,
    shared: Rc<RefCell<Shared>>,
    begin: Instant,
    time: Duration,
    rate: Option<f64>,
) -> Result<()> {
    let mut lanes: Option<(Http, Http)> = None;
    loop {
        let intended = match rate {
            Some(rate) => {
                let number = shared.borrow_mut().take();
                begin + Duration::from_secs_f64(number as f64 / rate)
            }
            None => Instant::now(),
        };
        if intended >= begin + time {
            return Ok(());
        }
        tokio::time::sleep_until(intended.into()).await;
        if intended.elapsed() > BACKLOG_MAX {
            shared.borrow_mut().seen.skipped += 1;
            continue;
        }
        let (reads, writes) = match &mut lanes {
            Some(open) => open,
            None => match connect(address).await {
                Ok(open) => lanes.insert(open),
                Err(error) => {
                    shared.borrow_mut().error(intended, format!("connect: {error}"));
                    tokio::time::sleep(RECONNECT_AFTER).await;
                    continue;
                }
            },
        };
        let is_write = shared.borrow_mut().random.below(WRITE_ONE_IN) == 0;
        let asked = match is_write {
            true => tokio::time::timeout(ANSWER_TIME_MAX, write(writes, &shared, intended)).await,
            false => tokio::time::timeout(ANSWER_TIME_MAX, read(reads, &shared, intended)).await,
        };
        match asked {
            Ok(Ok(())) => {}
            Ok(Err(Trouble::Wrong(what))) => return Err(what.into()),
            Ok(Err(Trouble::Connection(what))) => {
                shared.borrow_mut().error(intended, format!("connection: {what}"));
                lanes = None;
            }
            Err(_) => {
                shared.borrow_mut().error(intended, format!("no answer in {ANSWER_TIME_MAX:?}"));
                lanes = None;
            }
        }
    }
}

/// Why a lane cannot go on.
enum Trouble {
    /// The soak has failed.
    Wrong(String),
    Connection(crate::Error),
}

async fn connect(address: SocketAddr) -> Result<(Http, Http)> {
    let reads = Http::open(address, "/get-online-features", "application/json", Some(DEADLINE_MILLIS)).await?;
    let writes = Http::open(address, "/write-to-online-store", "application/json", Some(DEADLINE_MILLIS)).await?;
    Ok((reads, writes))
}

async fn read(http: &mut Http, shared: &RefCell<Shared>, intended: Instant) -> std::result::Result<(), Trouble> {
    let keys: Vec<i64> = (0..READ_ROWS).map(|_| shared.borrow_mut().random.below(ENTITIES) as i64).collect();
    let owed: Vec<i64> = {
        let shared = shared.borrow();
        (0..VIEWS)
            .flat_map(|view| keys.iter().map(move |key| (view, *key)))
            .map(|at| shared.acknowledged[place(at)])
            .collect()
    };
    let body = json!({"feature_service": SERVICE, "entities": {JOIN_KEY: keys}}).to_string();
    let (status, body) = http.post(body.as_bytes()).await.map_err(Trouble::Connection)?;
    let mut shared = shared.borrow_mut();
    if status != 200 {
        shared.refused(intended, refusal("read", status, &body));
        return Ok(());
    }
    shared.answered(intended);
    shared.check(&keys, &owed, &body).map_err(|error| {
        shared.seen.wrong += 1;
        Trouble::Wrong(format!("a wrong answer to {keys:?}: {error}"))
    })
}

async fn write(http: &mut Http, shared: &RefCell<Shared>, intended: Instant) -> std::result::Result<(), Trouble> {
    let (number, first) = {
        let mut shared = shared.borrow_mut();
        (shared.random.below(VIEWS as u64) as usize, shared.random.below(ENTITIES))
    };
    let keys: Vec<i64> = (0..WRITE_ROWS as u64).map(|row| ((first + row * 7) % ENTITIES) as i64).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let body = rows_of(number, &keys, now);
    let (status, body) = http.post(body.as_bytes()).await.map_err(Trouble::Connection)?;
    let mut shared = shared.borrow_mut();
    if status != 200 {
        shared.refused(intended, refusal("write", status, &body));
        return Ok(());
    }
    shared.answered(intended);
    for key in keys {
        let newest = &mut shared.acknowledged[place((number, key))];
        *newest = now.max(*newest);
    }
    Ok(())
}

/// A write of one view's rows with this event time.
fn rows_of(number: usize, keys: &[i64], event_time: i64) -> String {
    let mut columns = Map::new();
    columns.insert(JOIN_KEY.to_owned(), json!(keys));
    let time = DateTime::from_timestamp_micros(event_time).unwrap_or_default();
    let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    columns.insert("event_timestamp".to_owned(), Value::from(vec![time; keys.len()]));
    for feature in number * VIEW_FEATURES..(number + 1) * VIEW_FEATURES {
        let values: Vec<Option<f64>> = keys.iter().map(|key| value(*key, feature, event_time as u64)).collect();
        columns.insert(format!("f_{feature}"), json!(values));
    }
    json!({"feature_view_name": view(number), "df": columns}).to_string()
}

fn refusal(doing: &str, status: u16, body: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(body).replace('\\', "");
    let message =
        text.split_once("\"message\":\"").map_or(text.as_str(), |(_, rest)| rest.split('"').next().unwrap_or(rest));
    let reason = message.split(|letter: char| letter.is_ascii_digit()).filter(|part| !part.is_empty());
    Refusal { kind: format!("{doing}: HTTP {status}"), reason: reason.collect::<Vec<_>>().join("N") }
}

fn place((view, entity): (usize, i64)) -> usize {
    view * ENTITIES as usize + entity as usize
}

impl Shared {
    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn minute(&mut self, at: Instant) -> &mut Minute {
        let number = (at.duration_since(self.begin).as_secs() / 60) as usize;
        while self.seen.minutes.len() <= number {
            let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds that are in order");
            self.seen.minutes.push(Minute { latency, errors: BTreeMap::new() });
        }
        &mut self.seen.minutes[number]
    }

    fn answered(&mut self, intended: Instant) {
        let nanoseconds = u64::try_from(intended.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.minute(intended).latency.saturating_record(nanoseconds.max(1));
    }

    fn refused(&mut self, intended: Instant, refusal: Refusal) {
        self.error(intended, refusal.kind);
        *self.seen.reasons.entry(refusal.reason).or_default() += 1;
    }

    fn error(&mut self, intended: Instant, kind: String) {
        *self.minute(intended).errors.entry(kind).or_default() += 1;
    }

    /// Every value must be the one that its entity had at the event time that stands beside it.
    fn check(&mut self, keys: &[i64], owed: &[i64], body: &[u8]) -> Result<()> {
        let answer: Answer<'_> = serde_json::from_slice(body)?;
        if answer.results.len() != VIEWS * VIEW_FEATURES + 1 {
            return Err(format!("{} columns", answer.results.len()).into());
        }
        for (feature, column) in answer.results[1..].iter().enumerate() {
            if [column.values.len(), column.event_timestamps.len()] != [keys.len(); 2] {
                return Err(format!("f_{feature} has another number of rows").into());
            }
            for (row, key) in keys.iter().enumerate() {
                let time = DateTime::parse_from_rfc3339(column.event_timestamps[row])?.timestamp_micros();
                let found = column.values[row].map(|text| text.get().parse::<f64>()).transpose()?;
                if found.map(f64::to_bits) != value(*key, feature, time as u64).map(f64::to_bits) {
                    let stamp = column.event_timestamps[row];
                    return Err(format!("f_{feature} of {key} at {stamp} is {found:?}").into());
                }
                if feature % VIEW_FEATURES == 0 && time < owed[feature / VIEW_FEATURES * keys.len() + row] {
                    self.seen.lost_rows += 1;
                    self.seen.lost_seconds.push(self.begin.elapsed().as_secs());
                }
            }
        }
        self.seen.values += (VIEWS * VIEW_FEATURES * keys.len()) as u64;
        Ok(())
    }
}

impl Seen {
    /// From when to when such rows were seen.
    pub fn lost_times(&self) -> String {
        match (self.lost_seconds.first(), self.lost_seconds.last()) {
            (Some(first), Some(last)) => format!(", from second {first} to second {last}"),
            _ => String::new(),
        }
    }
}
