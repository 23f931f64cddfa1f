//! Writing packed rows: encoded before anything is sent, then one script call for each bucket and each so many rows.
//!
//! Where rows are all new, as when a view is synced for the first time, comparing them with nothing is most of what the
//! script does. So the first rows of a large batch are written with MSETNX, which writes all of them or, if one key is
//! there already, none; and as long as that goes well, so are the next ones. What it does not write goes to the script.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::task::spawn_blocking;

use super::super::failure::Failure;
use super::super::key::{self, RowKeys, bucket_of};
use super::super::link::Link;
use super::super::script::{Script, ScriptCall};
use super::Packed;
use super::positions::After;
use crate::batch::{FeatureRows, KeyBatch};
use crate::clock::Deadline;
use crate::limits::{
    REDIS_BUCKETS, REDIS_CALL_BYTES, REDIS_CALL_ROWS_MAX, REDIS_CALLS_AT_ONCE, REDIS_EXPIRY_MAX, REDIS_INLINE_ROWS_MAX,
    REDIS_TOMBSTONES_KEPT, REDIS_WINDOW_BYTES,
};
use crate::online::packed::{RowEncoder, RowSchema};
use crate::online::{Error, OnlineView, Written};

const DOING: &str = "writing features";
/// Of so many script calls' rows that are tried as new ones, one call's may turn out not to be.
const NEW_PARTS_PER_OLD: usize = 8;

/// A batch that is ready to be sent.
#[derive(Debug)]
struct Batch {
    schema: Arc<RowSchema>,
    /// In the order in which they must be called.
    parts: Vec<Part>,
    without_key: u64,
    /// Whether a bucket has no row in the batch.
    empty: [bool; REDIS_BUCKETS],
}

/// Rows of one script call.
#[derive(Debug, Default)]
struct Part {
    bucket: usize,
    /// How many parts of the bucket come before it.
    number: usize,
    is_last_of_bucket: bool,
    last_row: usize,
    /// Keys and rows in turn, one behind the other.
    text: Vec<u8>,
    /// Where each key and its row end there.
    ends: Vec<(usize, usize)>,
    /// Whether two rows may have one key: then only the script knows which one stays.
    may_repeat_a_key: bool,
}

/// Where a batch stands in its stream: the field of its watermarks, its end, and what must be there before it.
#[derive(Debug)]
struct Progress<'a> {
    field: Vec<u8>,
    offsets: &'a [u64],
    after: Vec<u8>,
}

impl Packed {
    pub(super) async fn write_batch(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        let batch = self.encode(view, rows, link.is_cluster() || rows.origin.is_some()).await?;
        if deadline.has_passed() {
            return Err(Error::Late);
        }
        let origin = rows.origin.as_ref().filter(|origin| !origin.offsets.is_empty());
        let after = origin.map(|origin| self.positions.begin(&view.name, origin));
        let progress = origin.zip(after).map(|(origin, after)| Progress {
            field: key::watermark_field(&view.name, &origin.stream, origin.partition),
            offsets: &origin.offsets,
            after: after.argument(),
        });
        let (schema, without_key) = (Arc::clone(&batch.schema), batch.without_key);
        let is_known = self.schemas.known().contains_key(&schema.id);
        let keep_schema = self.schemas.keep(link, view, &schema, deadline);
        let send = self.send(link, view, batch, &self.write, progress.as_ref(), deadline);
        let written = if is_known {
            // Only a store that has lost its schemas gets rows and schema at the same time.
            let (kept, written) = tokio::join!(keep_schema, send);
            kept.and(written)?
        } else {
            keep_schema.await?;
            send.await?
        };
        if let Some((origin, after)) = origin.zip(after) {
            self.positions.end(&view.name, origin, after);
        }
        Ok(Written { without_key, ..written })
    }

    /// Writes what is newer than what is there, and moves no watermark: these rows are no stretch of their stream.
    pub(super) async fn write_newer_batch(
        &self,
        link: &Link,
        view: &Arc<OnlineView>,
        rows: &FeatureRows,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        let batch = self.encode(view, rows, link.is_cluster()).await?;
        let without_key = batch.without_key;
        self.schemas.keep(link, view, &batch.schema, deadline).await?;
        let written = self.send(link, view, batch, &self.write_newer, None, deadline).await?;
        Ok(Written { without_key, ..written })
    }

    /// The least offset among the watermarks of all buckets.
    pub(super) async fn least_watermark(
        &self,
        link: &Link,
        view: &OnlineView,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        let doing = "asking how far a stream has come";
        let field = key::watermark_field(&view.name, stream, partition);
        let ask = |bucket| {
            let mut command = redis::cmd("HGET");
            command.arg(key::watermarks(&self.prefix, bucket)).arg(&field);
            command
        };
        let mut least = Some(u64::MAX);
        for answer in link.call((0..REDIS_BUCKETS).map(ask).collect(), deadline).await {
            let watermark = match answer.map_err(|failure| failure.into_error(doing))? {
                Value::Nil => None,
                Value::BulkString(text) => Some(offset(&text).ok_or_else(|| {
                    let detail = format!("a watermark of {} is {:?}", view.name, text.escape_ascii().to_string());
                    Error::Store { doing, detail }
                })?),
                other => return Err(unexpected(doing, &other)),
            };
            least = least.min(watermark);
        }
        self.positions.told(&view.name, stream, partition, least);
        Ok(least)
    }

    /// Encodes all rows; a large batch on a thread of its own.
    async fn encode(&self, view: &Arc<OnlineView>, rows: &FeatureRows, by_bucket: bool) -> Result<Batch, Error> {
        if rows.rows() <= REDIS_INLINE_ROWS_MAX {
            return Batch::encode(&self.prefix, view, rows, by_bucket);
        }
        let (prefix, view, rows) = (Arc::clone(&self.prefix), Arc::clone(view), rows.clone());
        let task = spawn_blocking(move || Batch::encode(&prefix, &view, &rows, by_bucket));
        let stopped = |error: tokio::task::JoinError| Error::Store { doing: DOING, detail: error.to_string() };
        task.await.map_err(stopped)?
    }

    /// Sends the rows window by window, then moves the watermarks of the buckets that have none.
    async fn send(
        &self,
        link: &Link,
        view: &OnlineView,
        batch: Batch,
        script: &Script,
        progress: Option<&Progress<'_>>,
        deadline: Deadline,
    ) -> Result<Written, Error> {
        let [rows_ms, tombstones_ms] = self.expiry(view);
        let mut written = Written::default();
        // A row that expires needs a command of its own, and a watermark moves with its rows.
        let mut are_new = progress.is_none() && rows_ms.is_empty() && batch.parts.len() > 1;
        let mut is_first = true;
        let mut parts = batch.parts.into_iter().peekable();
        while parts.peek().is_some() {
            let mut window = match are_new && std::mem::take(&mut is_first) {
                true => parts.next().into_iter().collect(),
                false => take_window(&mut parts, link.is_cluster()),
            };
            if are_new {
                let tried = window.len();
                window = self.set_new(link, window, &mut written, deadline).await?;
                are_new = window.len() * NEW_PARTS_PER_OLD <= tried;
            }
            let calls: Vec<ScriptCall> =
                window.into_iter().map(|part| self.call(part, &rows_ms, &tombstones_ms, progress)).collect();
            for reply in self.run(link, script, calls, deadline).await? {
                let (in_call, foreign_key) = counts(&reply).ok_or_else(|| unexpected(DOING, &reply))?;
                if let Some(key) = foreign_key {
                    return Err(Error::ForeignValue { view: view.name.clone(), key: key.escape_ascii().to_string() });
                }
                written.written += in_call.written;
                written.older += in_call.older;
            }
        }
        if let Some(progress) = progress {
            let buckets = (0..REDIS_BUCKETS).filter(|&bucket| batch.empty[bucket]);
            let keys: Vec<Vec<u8>> = buckets.map(|bucket| key::watermarks(&self.prefix, bucket)).collect();
            let arguments = vec![progress.field.clone(), progress.end(), progress.after.clone()];
            let call = |keys: &[Vec<u8>]| ScriptCall { keys: keys.to_vec(), arguments: arguments.clone() };
            let keys_of_call = if link.is_cluster() { 1 } else { REDIS_BUCKETS };
            self.run(link, &self.advance, keys.chunks(keys_of_call).map(call).collect(), deadline).await?;
        }
        Ok(written)
    }

    /// Writes those parts of which no key is there; gives the others.
    async fn set_new(
        &self,
        link: &Link,
        window: Vec<Part>,
        written: &mut Written,
        deadline: Deadline,
    ) -> Result<Vec<Part>, Error> {
        let (alike, others): (Vec<Part>, Vec<Part>) = window.into_iter().partition(|part| !part.may_repeat_a_key);
        let answers = link.call(alike.iter().map(Part::set_new).collect(), deadline).await;
        let mut left = others;
        for (part, answer) in alike.into_iter().zip(answers) {
            match answer {
                Ok(Value::Int(1)) => written.written += part.ends.len() as u64,
                // A user that was set up before this command was used may not be allowed it.
                Ok(Value::Int(0)) | Err(Failure::NotAllowed { .. }) => left.push(part),
                Ok(other) => return Err(unexpected(DOING, &other)),
                Err(failure) => return Err(failure.into_error(DOING)),
            }
        }
        left.sort_by_key(|part| part.number);
        Ok(left)
    }

    async fn run(
        &self,
        link: &Link,
        script: &Script,
        calls: Vec<ScriptCall>,
        deadline: Deadline,
    ) -> Result<Vec<Value>, Error> {
        let answers = link.run(script, calls, deadline).await;
        answers.into_iter().map(|answer| answer.map_err(|failure| failure.into_error(DOING))).collect()
    }

    fn call(&self, part: Part, rows_ms: &[u8], tombstones_ms: &[u8], progress: Option<&Progress<'_>>) -> ScriptCall {
        let mut keys = Vec::with_capacity(1 + part.ends.len());
        let mut arguments = Vec::with_capacity(5 + part.ends.len());
        arguments.extend([rows_ms.to_vec(), tombstones_ms.to_vec()]);
        match progress {
            None => arguments.extend([const { Vec::new() }; 3]),
            Some(progress) => {
                keys.push(key::watermarks(&self.prefix, part.bucket));
                let end = if part.is_last_of_bucket { progress.end() } else { progress.end_at(part.last_row) };
                arguments.extend([progress.field.clone(), end, progress.after.clone()]);
            }
        }
        for (key, row) in part.rows() {
            keys.push(key.to_vec());
            arguments.push(row.to_vec());
        }
        ScriptCall { keys, arguments }
    }

    /// For how many milliseconds rows and tombstones stay; nothing is for ever.
    fn expiry(&self, view: &OnlineView) -> [Vec<u8>; 2] {
        let Some(kept) = self.expire.of(&view.name) else { return [Vec::new(), Vec::new()] };
        let text = |kept: std::time::Duration| kept.min(REDIS_EXPIRY_MAX).as_millis().max(1).to_string().into_bytes();
        [text(kept), text(kept.max(REDIS_TOMBSTONES_KEPT))]
    }
}

impl Batch {
    /// `by_bucket`: a call may have rows of one bucket only.
    fn encode(prefix: &str, view: &OnlineView, rows: &FeatureRows, by_bucket: bool) -> Result<Self, Error> {
        let schema = Arc::new(RowSchema::of(view));
        let mut encoder = RowEncoder::new(view, &schema, rows)?;
        let entities = KeyBatch::encode(&view.join_keys, &rows.keys, rows.rows());
        let mut row_keys = RowKeys::of(prefix, &view.name);
        let mut parts: Vec<Part> = Vec::new();
        // The part of each bucket that takes its next row.
        let mut open: [Option<usize>; REDIS_BUCKETS] = [None; REDIS_BUCKETS];
        let mut without_key = 0;
        for (row, entity) in entities.iter().enumerate() {
            if entities.is_null(row) {
                without_key += 1;
                continue;
            }
            let bucket = bucket_of(entity);
            let key = row_keys.key_in(bucket, entity);
            let bytes = encoder.encode(row)?;
            let group = if by_bucket { bucket } else { 0 };
            let place = match open[group] {
                Some(place) if parts[place].has_room(bytes.len()) => place,
                before => {
                    let number = before.map_or(0, |place| parts[place].number + 1);
                    parts.push(Part { bucket: group, number, ..Part::default() });
                    *open[group].insert(parts.len() - 1)
                }
            };
            parts[place].push(row, key, bytes);
        }
        for place in open.into_iter().flatten() {
            parts[place].is_last_of_bucket = true;
        }
        let state = RandomState::new();
        for part in &mut parts {
            part.may_repeat_a_key = part.repeats_a_hash(&state);
        }
        // Rows of one key stand in one bucket, so their order is that of the bucket's parts.
        parts.sort_by_key(|part| part.number);
        drop(encoder);
        Ok(Self { schema, parts, without_key, empty: open.map(|place| place.is_none()) })
    }
}

impl Part {
    fn has_room(&self, bytes: usize) -> bool {
        self.ends.len() < REDIS_CALL_ROWS_MAX && self.text.len() + bytes <= REDIS_CALL_BYTES
    }

    fn push(&mut self, row: usize, key: &[u8], bytes: &[u8]) {
        self.last_row = row;
        self.text.extend_from_slice(key);
        let key_end = self.text.len();
        self.text.extend_from_slice(bytes);
        self.ends.push((key_end, self.text.len()));
    }

    /// Each key with its row.
    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut from = 0;
        self.ends.iter().map(move |&(key_end, row_end)| {
            let key = &self.text[std::mem::replace(&mut from, row_end)..key_end];
            (key, &self.text[key_end..row_end])
        })
    }

    /// Whether two of its keys have one hash, as two that are the same do.
    fn repeats_a_hash(&self, state: &RandomState) -> bool {
        let mut hashes: Vec<u64> = self.rows().map(|(key, _)| state.hash_one(key)).collect();
        hashes.sort_unstable();
        hashes.windows(2).any(|two| two[0] == two[1])
    }

    fn set_new(&self) -> Cmd {
        let mut command = Cmd::with_capacity(1 + 2 * self.ends.len(), "MSETNX".len() + self.text.len());
        command.arg("MSETNX");
        for (key, row) in self.rows() {
            command.arg(key).arg(row);
        }
        command
    }
}

impl Progress<'_> {
    fn end(&self) -> Vec<u8> {
        self.end_at(self.offsets.len() - 1)
    }

    fn end_at(&self, row: usize) -> Vec<u8> {
        self.offsets[row].to_string().into_bytes()
    }
}

impl After {
    /// As the scripts take it.
    fn argument(self) -> Vec<u8> {
        match self {
            Self::Anything => Vec::new(),
            Self::Offset(offset) => offset.to_string().into_bytes(),
            // One more digit than the largest offset has.
            Self::Never => vec![b'9'; 21],
        }
    }
}

/// The next parts to be sent at once. In a cluster never two of one bucket: a slot on the move could swap them.
fn take_window(parts: &mut std::iter::Peekable<std::vec::IntoIter<Part>>, is_cluster: bool) -> Vec<Part> {
    let mut window: Vec<Part> = Vec::new();
    let mut bytes = 0;
    while let Some(part) = parts.next_if(|next| {
        window.last().is_none_or(|last| {
            let fits = window.len() < REDIS_CALLS_AT_ONCE && bytes + next.text.len() <= REDIS_WINDOW_BYTES;
            fits && !(is_cluster && last.number != next.number)
        })
    }) {
        bytes += part.text.len();
        window.push(part);
    }
    window
}

/// What a call has counted, and the key at which it stopped.
fn counts(reply: &Value) -> Option<(Written, Option<&[u8]>)> {
    let Value::Array(parts) = reply else { return None };
    let (&[Value::Int(written), Value::Int(older)], rest) = parts.split_first_chunk::<2>()? else { return None };
    let foreign_key = match rest {
        [] => None,
        [Value::BulkString(key)] => Some(key.as_slice()),
        _ => return None,
    };
    let count = |number| u64::try_from(number).ok();
    Some((Written { written: count(written)?, older: count(older)?, without_key: 0 }, foreign_key))
}

fn offset(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn unexpected(doing: &'static str, reply: &Value) -> Error {
    Error::Store { doing, detail: format!("Redis answered {reply:?}") }
}
