//! Feast 0.67.0 itself on the same Redis: what it writes is read here, what is written here it reads, and both have the
//! same bytes. The rows are those of `tests/feast/rows.json`; `tests/feast/peer.py` is Feast's side.
//!
//! The rows leave out what Feast changes on its way to Redis: a float that is NaN becomes a null there, a column of
//! integers with a null goes through floats, and a timestamp loses its fraction.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef};
use redis::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::super::Rows;
use super::super::super::columns::ColumnBuilder;
use super::super::super::hash::value as json;
use super::super::super::link::Link;
use super::super::super::servers::Redis;
use super::super::super::settings::{Address, Expiry, Login, Mode, Server};
use super::super::{KeyVersion, rows};
use crate::batch::{FeatureRows, KeyBatch, timestamps};
use crate::catalog::Field;
use crate::online::conformance::{soon, view_of};
use crate::online::{OnlineView, Read};

#[derive(Deserialize)]
struct View {
    view: String,
    join_keys: Vec<[String; 2]>,
    features: Vec<[String; 2]>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    at: Box<RawValue>,
    keys: Vec<Box<RawValue>>,
    values: Vec<Box<RawValue>>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/feast")
}

fn column<'a>(field: &Field, values: impl Iterator<Item = &'a RawValue>) -> ArrayRef {
    let mut column = ColumnBuilder::new(field, 0);
    for value in values {
        json::read(value.get().as_bytes(), &mut column).unwrap_or_else(|error| panic!("{}: {error}", field.name));
    }
    column.finish()
}

/// Views and their rows out of text in the form of rows.json.
fn parse(text: &str) -> Vec<(Arc<OnlineView>, FeatureRows)> {
    let views: Vec<View> = serde_json::from_str(text).unwrap();
    let parse = |View { view, join_keys, features, rows }: View| {
        let fields = |columns: &[[String; 2]]| -> Vec<(String, crate::catalog::DType)> {
            columns.iter().map(|[name, dtype]| (name.clone(), dtype.parse().unwrap())).collect()
        };
        let (join_keys, features) = (fields(&join_keys), fields(&features));
        let named = |columns: &[(String, crate::catalog::DType)]| -> Vec<Field> {
            columns.iter().map(|(name, dtype)| Field::new(name.clone(), *dtype)).collect()
        };
        let mut online = (*view_of(&view, &[], &[])).clone();
        (online.join_keys, online.features) = (named(&join_keys), named(&features));
        let at = Field::new("at", crate::catalog::DType::TIMESTAMP);
        let event_time = column(&at, rows.iter().map(|row| &*row.at));
        let keys = online.join_keys.iter().enumerate();
        let keys = keys.map(|(position, field)| column(field, rows.iter().map(|row| &*row.keys[position]))).collect();
        let features = online.features.iter().enumerate();
        let features =
            features.map(|(position, field)| column(field, rows.iter().map(|row| &*row.values[position]))).collect();
        let event_time = arrow::array::AsArray::as_primitive(&*event_time).clone();
        let no_time = timestamps(vec![None; rows.len()]);
        (Arc::new(online), FeatureRows::new(keys, features, event_time, no_time))
    };
    views.into_iter().map(parse).collect()
}

fn expected() -> Vec<(Arc<OnlineView>, FeatureRows)> {
    parse(&std::fs::read_to_string(folder().join("rows.json")).unwrap())
}

/// What Feast printed.
fn feast(command: &str, redis: &Redis, version: KeyVersion) -> String {
    let python = std::env::var_os("LOCKSTEP_FEAST_PYTHON")
        .expect("LOCKSTEP_FEAST_PYTHON is not set: run bash tests/run, which installs Feast, or set it to a Python that has tests/feast/requirements.txt");
    let version = if version == KeyVersion::Two { "2" } else { "3" };
    let mut process = Command::new(python);
    process.arg(folder().join("peer.py")).args([command, &redis.port().to_string(), version]);
    let done = process.env("FEAST_USAGE", "False").output().expect("Python");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn link(redis: &Redis) -> Link {
    Link::new(Server {
        mode: Mode::Standalone,
        addresses: vec![Address::new("127.0.0.1", redis.port())],
        login: Login::default(),
        database: 0,
        tls: None,
        connections: 1,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(5),
    })
    .unwrap()
}

type Hashes = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Every hash of the server. A time that is missing is no bytes, also where Feast wrote its number for it.
async fn hashes(link: &Link) -> Hashes {
    let mut hashes = Hashes::new();
    let mut no_time = vec![8 << 3];
    prost::encoding::encode_varint(i64::MIN as u64, &mut no_time);
    let mut cursor = 0;
    loop {
        let primaries = link.primaries(soon()).await.unwrap();
        let (next, keys) = primaries[0].scan(b"*", cursor, soon()).await.unwrap();
        for key in keys {
            let mut command = redis::cmd("HGETALL");
            command.arg(&key);
            let fields = link.call(vec![command], soon()).await.remove(0).unwrap();
            let text = |value: &Value| match value {
                Value::BulkString(text) if *text == no_time => Vec::new(),
                Value::BulkString(text) => text.clone(),
                other => panic!("{other:?}"),
            };
            let fields = match &fields {
                Value::Map(fields) => fields.iter().map(|(field, value)| (text(field), text(value))).collect(),
                Value::Array(fields) => fields.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
                other => panic!("{other:?}"),
            };
            hashes.insert(key, fields);
        }
        cursor = next;
        if cursor == 0 {
            return hashes;
        }
    }
}

async fn check(version: KeyVersion) {
    let ours = rows("proj_a", version, "ours:", Expiry::default());
    let (theirs, mine) = (Redis::start(), Redis::start());
    let (their_link, my_link) = (link(&theirs), link(&mine));
    feast("write", &theirs, version);
    for (view, rows) in expected() {
        let columns: Vec<usize> = (0..view.features.len()).collect();
        let keys = KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows());
        let reads = [Read { view: &view, keys: &keys, columns: &columns }];
        let stored = ours.read(&their_link, &reads, soon()).await.unwrap().remove(0);
        assert_eq!(stored.columns, rows.features, "{} as Feast wrote it", view.name);
        assert_eq!(stored.event_time, rows.event_time, "{} as Feast wrote it", view.name);

        let done = ours.write(&their_link, &view, &rows, soon()).await.unwrap();
        assert_eq!((done.written, done.older), (0, rows.rows() as u64), "what Feast wrote stays at equal times");
        let done = ours.write(&my_link, &view, &rows, soon()).await.unwrap();
        assert_eq!(done.written, rows.rows() as u64);
    }
    let (mine_hold, theirs_hold) = (hashes(&my_link).await, hashes(&their_link).await);
    assert_eq!(mine_hold.len(), 10, "six drivers, two trips, a user and the totals");
    assert_eq!(mine_hold, theirs_hold, "byte for byte what Feast writes");

    let read_by_feast = parse(&feast("read", &mine, version));
    for ((view, rows), (_, read)) in expected().iter().zip(&read_by_feast) {
        assert_eq!(read.features, rows.features, "{} as Feast reads it", view.name);
        assert_eq!(read.event_time.to_data(), rows.event_time.to_data(), "{} as Feast reads it", view.name);
    }
    assert_eq!(read_by_feast.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn feast_and_we_read_each_others_rows_under_keys_of_version_3() {
    check(KeyVersion::Three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feast_and_we_read_each_others_rows_under_keys_of_version_2() {
    check(KeyVersion::Two).await;
}
