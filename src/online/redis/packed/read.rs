//! Reading packed rows: the keys of all questions in one MGET, or in one per slot of a cluster, all sent at once.

use arrow::array::BooleanBufferBuilder;
use redis::{Cmd, Value};

use super::super::failure::Failure;
use super::super::key::{RowKeys, bucket_of};
use super::super::link::{Answer, Gets, Link};
use super::Packed;
use crate::batch::StoredRows;
use crate::clock::Deadline;
use crate::limits::REDIS_BUCKETS;
use crate::online::packed::RowsDecoder;
use crate::online::{Error, Read};

const DOING: &str = "reading features";

/// The commands that ask for every key that is not null.
pub(super) struct Asked {
    commands: Vec<Cmd>,
    /// Which command asks for a key, in the order of the questions; empty where there is one command.
    command_of: Vec<u16>,
}

/// What the commands found: their values in the order of their keys, or why there are none.
pub(super) type Found = Vec<Result<Vec<Value>, Failure>>;

/// Why rows cannot be decoded.
enum Stop {
    /// A row of the read at this place has a schema that this process has not met yet.
    UnknownSchema {
        read: usize,
        id: u64,
    },
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Packed {
    pub(super) async fn read_all(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        if let Some(rows) = self.read_fast(link, reads, deadline).await {
            return rows;
        }
        let (asked, found) = self.find(link, reads, deadline).await;
        if let Some(failure) = found.iter().find_map(|found| found.as_ref().err()) {
            return Err(failure.clone().into_error(DOING));
        }
        self.decode_found(link, reads, &asked, &found, deadline).await
    }

    /// Reads where there is one server and it answers; none otherwise.
    async fn read_fast(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
    ) -> Option<Result<Vec<StoredRows>, Error>> {
        if link.is_cluster() {
            return None;
        }
        let values = link.get(self.gets(reads)?, deadline).await?;
        if values.of(0).is_err() {
            return None;
        }
        let found = || vec![values.of(0).map_err(|_| ())];
        Some(self.decode_all(link, reads, &[], found, deadline).await)
    }

    /// One command for all keys; none where there are none.
    fn gets(&self, reads: &[Read<'_>]) -> Option<Gets> {
        let is_asked = |read: &Read<'_>| (0..read.keys.rows()).filter(|row| !read.keys.is_null(*row)).count();
        let keys = reads.iter().map(is_asked).sum();
        if keys == 0 {
            return None;
        }
        let mut gets = Gets::with_capacity(self.bytes_of(reads) + keys * Gets::BYTES_PER_KEY);
        gets.begin(keys);
        for read in reads {
            let mut row_keys = RowKeys::of(&self.prefix, &read.view.name);
            for (row, entity) in read.keys.iter().enumerate() {
                if !read.keys.is_null(row) {
                    gets.key(row_keys.key(entity));
                }
            }
        }
        Some(gets)
    }

    pub(super) async fn read_what_answers(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        if let Some(Ok(rows)) = self.read_fast(link, reads, deadline).await {
            return Ok(rows);
        }
        let (asked, found) = self.find(link, reads, deadline).await;
        for failure in found.iter().filter_map(|found| found.as_ref().err()) {
            let error = failure.clone().into_error(DOING);
            if !error.is_outage() {
                return Err(error);
            }
        }
        match self.decode_found(link, reads, &asked, &found, deadline).await {
            // The rows are here, but the node that has their schema does not answer.
            Err(error) if error.is_outage() => Ok(reads.iter().map(Read::unreachable).collect()),
            answer => answer,
        }
    }

    pub(super) async fn find(&self, link: &Link, reads: &[Read<'_>], deadline: Deadline) -> (Asked, Found) {
        let mut asked = if link.is_cluster() { self.ask_by_bucket(reads) } else { self.ask_at_once(reads) };
        let answers = link.call(std::mem::take(&mut asked.commands), deadline).await;
        (asked, answers.into_iter().map(values).collect())
    }

    fn ask_at_once(&self, reads: &[Read<'_>]) -> Asked {
        let keys: usize = reads.iter().map(|read| read.keys.rows()).sum();
        let mut command = Cmd::with_capacity(1 + keys, self.bytes_of(reads));
        command.arg("MGET");
        let mut is_empty = true;
        for read in reads {
            let mut row_keys = RowKeys::of(&self.prefix, &read.view.name);
            for (row, entity) in read.keys.iter().enumerate() {
                if !read.keys.is_null(row) {
                    command.arg(row_keys.key(entity));
                    is_empty = false;
                }
            }
        }
        Asked { commands: if is_empty { Vec::new() } else { vec![command] }, command_of: Vec::new() }
    }

    fn ask_by_bucket(&self, reads: &[Read<'_>]) -> Asked {
        let mut asked = Asked { commands: Vec::new(), command_of: Vec::new() };
        let mut command_of_bucket = [None; REDIS_BUCKETS];
        for read in reads {
            let mut row_keys = RowKeys::of(&self.prefix, &read.view.name);
            for (row, entity) in read.keys.iter().enumerate() {
                if read.keys.is_null(row) {
                    continue;
                }
                let bucket = bucket_of(entity);
                let command = *command_of_bucket[bucket].get_or_insert_with(|| {
                    asked.commands.push(redis::cmd("MGET"));
                    asked.commands.len() - 1
                });
                asked.commands[command].arg(row_keys.key_in(bucket, entity));
                asked.command_of.push(command as u16);
            }
        }
        asked
    }

    /// Bytes of a command with all keys, about.
    fn bytes_of(&self, reads: &[Read<'_>]) -> usize {
        let of_read = |read: &Read<'_>| {
            let head = RowKeys::bytes_max(&self.prefix, &read.view.name);
            read.keys.rows() * head + read.keys.iter().map(<[u8]>::len).sum::<usize>()
        };
        reads.iter().map(of_read).sum::<usize>() + "MGET".len()
    }

    pub(super) async fn decode_found(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        asked: &Asked,
        found: &Found,
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        fn bytes(value: &Value) -> Option<&[u8]> {
            match value {
                Value::BulkString(bytes) => Some(bytes),
                _ => None,
            }
        }
        let found = || {
            let values =
                found.iter().map(|found| found.as_ref().map(|values| values.iter().map(bytes)).map_err(|_| ()));
            values.collect()
        };
        self.decode_all(link, reads, &asked.command_of, found, deadline).await
    }

    /// Decodes the rows; where one has a schema that this process has not met, gets it and begins again. `found` gives
    /// the values of each command, or that it has none.
    async fn decode_all<'v, V: Iterator<Item = Option<&'v [u8]>>>(
        &self,
        link: &Link,
        reads: &[Read<'_>],
        command_of: &[u16],
        found: impl Fn() -> Vec<Result<V, ()>>,
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        loop {
            match self.decode(reads, command_of, found()) {
                Ok(rows) => return Ok(rows),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::UnknownSchema { read, id }) => {
                    self.schemas.load(link, reads[read].view, id, deadline).await?;
                }
            }
        }
    }

    fn decode<'v>(
        &self,
        reads: &[Read<'_>],
        command_of: &[u16],
        mut found: Vec<Result<impl Iterator<Item = Option<&'v [u8]>>, ()>>,
    ) -> Result<Vec<StoredRows>, Stop> {
        let schemas = self.schemas.known();
        let mut command_of = command_of.iter();
        let mut rows = Vec::with_capacity(reads.len());
        for (at, read) in reads.iter().enumerate() {
            let mut decoder = RowsDecoder::new(read.view, read.columns, read.keys.rows());
            let mut unreachable: Option<BooleanBufferBuilder> = None;
            for row in 0..read.keys.rows() {
                if read.keys.is_null(row) {
                    decoder.push_absent();
                    continue;
                }
                let command = command_of.next().map_or(0, |command| usize::from(*command));
                match found[command].as_mut().map(|values| values.next().flatten()) {
                    Ok(Some(bytes)) => {
                        if let Some(id) = decoder.unknown_schema(bytes)? {
                            let schema = schemas.get(&id).ok_or(Stop::UnknownSchema { read: at, id })?;
                            decoder.learn(schema);
                        }
                        decoder.push(bytes)?;
                    }
                    Ok(None) => decoder.push_absent(),
                    Err(_) => {
                        decoder.push_absent();
                        unreachable.get_or_insert_with(|| cleared(read.keys.rows())).set_bit(row, true);
                    }
                }
            }
            let unreachable = unreachable.map(|mut rows| rows.finish());
            rows.push(StoredRows { unreachable, ..decoder.finish()? });
        }
        Ok(rows)
    }
}

impl Asked {
    /// The command that asks for each key that is not null, in order.
    pub fn commands_of_keys(&self) -> impl Iterator<Item = usize> {
        self.command_of.iter().map(|command| usize::from(*command)).chain(std::iter::repeat(0))
    }
}

fn values(answer: Answer) -> Result<Vec<Value>, Failure> {
    match answer? {
        Value::Array(values) => Ok(values),
        // MGET answers nothing else; without values every key is absent.
        _ => Ok(Vec::new()),
    }
}

fn cleared(rows: usize) -> BooleanBufferBuilder {
    let mut bits = BooleanBufferBuilder::new(rows);
    bits.append_n(rows, false);
    bits
}
