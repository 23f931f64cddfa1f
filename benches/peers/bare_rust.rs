//! A bare Rust client of Redis: `MGET` of the gateway's own rows over one multiplexed connection, decoded into Arrow
//! columns. No server, no plan, no ttl: what is left when everything a gateway does is taken away.
//!
//! The rows are decoded here a second time, from their description alone, so that the comparison of values also
//! compares the two readings of the format.

use std::time::{Duration, Instant};

use arrow::array::{Array, Float64Array, Float64Builder};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Value};

use super::Round;
use crate::Result;
use crate::load::{Case, LANES, compare_columns};
use crate::measure::{Meter, Stopwatch};
use crate::store::RedisServer;

const HEADER_BYTES: usize = 34;
const BUCKETS: u16 = 256;
/// Questions whose values are compared before the first round.
const CHECKED: usize = 10;

#[derive(Debug)]
pub struct BareRust {
    connection: MultiplexedConnection,
    redis: u32,
    /// The keys of each question: all rows of the first view, then of the next.
    keys: Vec<Vec<Vec<u8>>>,
}

impl BareRust {
    pub async fn connect(redis: &RedisServer, case: &Case, prefix: &str) -> Result<Self> {
        let connection = redis::Client::open(redis.url(0))?.get_multiplexed_async_connection().await?;
        let views: Vec<String> = (0..case.plan.dataset.views).map(|view| case.plan.dataset.view(view)).collect();
        let keys = |rows: &Vec<i64>| {
            let of_view = |view: &String| rows.iter().map(|entity| key(prefix, view, *entity)).collect::<Vec<_>>();
            views.iter().flat_map(of_view).collect()
        };
        let keys = case.questions.iter().map(|question| keys(&question.keys)).collect();
        Ok(Self { connection, redis: redis.pid(), keys })
    }

    pub async fn verify(&mut self, case: &Case) -> Result<()> {
        for (question, keys) in case.questions.iter().zip(&self.keys).take(CHECKED) {
            let columns = ask(&mut self.connection, keys, case).await?;
            compare_columns(&case.plan, &question.keys, |feature, row| {
                columns[feature].is_valid(row).then(|| columns[feature].value(row))
            })?;
        }
        Ok(())
    }

    /// As many questions under way as the generator has connections.
    pub async fn round(&self, case: &Case, time: Duration) -> Result<Round> {
        let redis = Meter::start(&[self.redis])?;
        let stopwatch = Stopwatch::start()?;
        let began = Instant::now();
        let lane = |lane: usize| {
            let mut connection = self.connection.clone();
            async move {
                let mut requests = 0;
                let mut question = lane * self.keys.len() / LANES;
                while began.elapsed() < time {
                    question = (question + 1) % self.keys.len();
                    std::hint::black_box(ask(&mut connection, &self.keys[question], case).await?);
                    requests += 1;
                }
                Ok::<_, crate::Error>(requests)
            }
        };
        let requests: usize = futures::future::try_join_all((0..LANES).map(lane)).await?.into_iter().sum();
        let used = stopwatch.stop()?;
        Ok(Round { requests, seconds: used.wall, cpu: used.cpu, store_cpu: redis.seconds()? })
    }
}

/// The prefix of the gateway's keys, as it stands before the first view's.
pub fn prefix_of(redis: &RedisServer, view: &str) -> Result<String> {
    let found = redis.keys_like(&format!("*f:{view}:{{*"), 1)?;
    let key = found.first().ok_or_else(|| format!("Redis has no packed row of {view}"))?;
    let text = String::from_utf8_lossy(key);
    let end = text.find(&format!("f:{view}:{{")).ok_or("a key has another form")?;
    Ok(text[..end].to_owned())
}

/// The key of an entity's row in a view.
fn key(prefix: &str, view: &str, entity: i64) -> Vec<u8> {
    let entity = (entity ^ i64::MIN).to_be_bytes();
    let mut key = format!("{prefix}f:{view}:{{{}}}:", crc16(&entity) % BUCKETS).into_bytes();
    key.extend_from_slice(&entity);
    key
}

/// CRC-16/XMODEM, with which Redis Cluster finds a key's slot.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}

async fn ask(connection: &mut MultiplexedConnection, keys: &[Vec<u8>], case: &Case) -> Result<Vec<Float64Array>> {
    let mut command = Cmd::with_capacity(keys.len() + 1, keys.len() * 64);
    command.arg("MGET");
    for key in keys {
        command.arg(key);
    }
    match connection.req_packed_command(&command).await? {
        Value::Array(rows) => decode(&rows, case),
        other => Err(format!("MGET was answered with {other:?}").into()),
    }
}

/// One column a feature.
fn decode(stored: &[Value], case: &Case) -> Result<Vec<Float64Array>> {
    let dataset = case.plan.dataset;
    let (rows, features) = (stored.len() / dataset.views, dataset.view_features());
    let mut columns: Vec<Float64Builder> = (0..dataset.features).map(|_| Float64Builder::with_capacity(rows)).collect();
    let slots = HEADER_BYTES + features.div_ceil(8);
    for (view, stored) in stored.chunks(rows).enumerate() {
        let columns = &mut columns[view * features..(view + 1) * features];
        for row in stored {
            match row {
                Value::Nil => columns.iter_mut().for_each(Float64Builder::append_null),
                Value::BulkString(row) if row.len() >= slots + features * 8 => {
                    for (feature, (column, value)) in columns.iter_mut().zip(row[slots..].chunks_exact(8)).enumerate() {
                        match row[HEADER_BYTES + feature / 8] >> (feature % 8) & 1 {
                            1 => column.append_value(f64::from_le_bytes(std::array::from_fn(|byte| value[byte]))),
                            _ => column.append_null(),
                        }
                    }
                }
                other => return Err(format!("a stored row is {other:?}").into()),
            }
        }
    }
    Ok(columns.iter_mut().map(Float64Builder::finish).collect())
}
