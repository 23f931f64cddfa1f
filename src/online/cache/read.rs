//! One question through the cache: look, ask for what is missing, wait for what others ask for, answer in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;

use super::CachedStore;
use super::flight::{Batch, Flight, TooLate};
use super::view::{CachedView, Looked, Moment, Row, Shape};
use crate::batch::{FeatureRows, KeyBatch, StoredRows, timestamps};
use crate::clock::Deadline;
use crate::online::packed::{RowEncoder, RowsDecoder};
use crate::online::{Error, Read};

/// Whether a part of the store that cannot be reached fails the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    Some,
}

/// One read of a question on its way.
enum Part<'a> {
    /// Of a view that is not kept: its answer is the store's.
    Straight(Option<StoredRows>),
    Cached(Box<CachedRead<'a>>),
}

struct CachedRead<'a> {
    read: &'a Read<'a>,
    shape: Arc<Shape>,
    rows: Vec<Found>,
    /// The rows that wait for other callers.
    joined: Vec<(usize, Flight)>,
    /// The rows that we ask for, and their keys.
    batch: Batch<'a>,
    asked: Vec<usize>,
    keys: KeyBatch,
    /// The store's own answer, where it has one for every row.
    answer: Option<StoredRows>,
}

/// What is known of a row of the answer.
enum Found {
    Known(Row),
    /// Asked for, or waited for.
    NotYet,
    Unreachable,
}

impl CachedStore {
    pub(super) async fn read_through(
        &self,
        reads: &[Read<'_>],
        reach: Reach,
        deadline: Deadline,
    ) -> Result<Vec<StoredRows>, Error> {
        if deadline.has_passed() {
            // The store knows what to say.
            return self.ask(reads, reach, deadline).await;
        }
        let began = self.clock.now();
        let watching = self.kept.watching.load(Ordering::Acquire);
        if !watching || !reads.iter().any(|read| self.kept.views.contains_key(&read.view.name)) {
            return self.ask(reads, reach, deadline).await;
        }
        let mut parts: Vec<Part<'_>> = reads
            .iter()
            .map(|read| match self.kept.views.get(&read.view.name) {
                Some(view) => Part::Cached(Box::new(CachedRead::look(view, read, began))),
                None => Part::Straight(None),
            })
            .collect();
        self.ask_for_missing(reads, &mut parts, reach, deadline).await?;
        for part in &mut parts {
            if let Part::Cached(read) = part {
                read.join(reach, deadline).await?;
            }
        }
        self.ask_again(&mut parts, reach, deadline).await?;
        parts.into_iter().map(Part::finish).collect()
    }

    async fn ask(&self, reads: &[Read<'_>], reach: Reach, deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        match reach {
            Reach::All => self.inner.read(reads, deadline).await,
            Reach::Some => self.inner.read_reachable(reads, deadline).await,
        }
    }

    /// One call for everything that is not kept.
    async fn ask_for_missing<'a>(
        &self,
        reads: &'a [Read<'a>],
        parts: &mut [Part<'a>],
        reach: Reach,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let missing = parts.iter().zip(reads).filter_map(|(part, read)| match part {
            Part::Straight(_) => Some(Read { ..*read }),
            Part::Cached(cached) if cached.batch.is_empty() => None,
            Part::Cached(cached) => Some(Read { view: read.view, keys: &cached.keys, columns: &cached.shape.columns }),
        });
        let missing: Vec<Read<'_>> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut answers = self.ask(&missing, reach, deadline).await?.into_iter();
        for part in parts {
            match part {
                Part::Straight(answer) => *answer = answers.next(),
                Part::Cached(cached) if cached.batch.is_empty() => {}
                Part::Cached(cached) => {
                    if let Some(answer) = answers.next() {
                        cached.land(answer);
                    }
                }
            }
        }
        Ok(())
    }

    /// A view of which something is still unknown (the caller who asked failed, or a row cannot be packed) is asked for
    /// as if there were no cache.
    async fn ask_again(&self, parts: &mut [Part<'_>], reach: Reach, deadline: Deadline) -> Result<(), Error> {
        let unknown = |part: &&mut Part<'_>| match part {
            Part::Cached(cached) => {
                cached.answer.is_none() && cached.rows.iter().any(|row| matches!(row, Found::NotYet))
            }
            Part::Straight(_) => false,
        };
        let unknown: Vec<&mut Part<'_>> = parts.iter_mut().filter(unknown).collect();
        let reads = unknown.iter().filter_map(|part| match part {
            Part::Cached(cached) => Some(Read { ..*cached.read }),
            Part::Straight(_) => None,
        });
        let reads: Vec<Read<'_>> = reads.collect();
        if reads.is_empty() {
            return Ok(());
        }
        let answers = self.ask(&reads, reach, deadline).await?;
        for (part, answer) in unknown.into_iter().zip(answers) {
            *part = Part::Straight(Some(answer));
        }
        Ok(())
    }
}

impl Part<'_> {
    fn finish(self) -> Result<StoredRows, Error> {
        match self {
            Self::Straight(Some(answer)) => Ok(answer),
            Self::Straight(None) => {
                Err(Error::Store { doing: "reading", detail: "it answered fewer views than were asked for".to_owned() })
            }
            Self::Cached(cached) => cached.finish(),
        }
    }
}

impl<'a> CachedRead<'a> {
    fn look(view: &'a CachedView, read: &'a Read<'a>, began: u64) -> Self {
        let shape = view.shape_of(read.view);
        let now = view.moment(&shape, began);
        let rows = Vec::with_capacity(read.keys.rows());
        let batch = Batch::new(view, now);
        let (joined, asked, keys) = (Vec::new(), Vec::new(), KeyBatch::default());
        let mut cached = Self { read, shape, rows, joined, batch, asked, keys, answer: None };
        cached.look_at_keys(view, now);
        if !cached.asked.is_empty() {
            cached.keys = read.keys.select(&cached.asked);
        }
        cached
    }

    fn look_at_keys(&mut self, view: &CachedView, now: Moment) {
        let (mut hits, mut absent_hits) = (0, 0);
        for row in 0..self.read.keys.rows() {
            if self.read.keys.is_null(row) {
                self.rows.push(Found::Known(None));
                continue;
            }
            let key = self.read.keys.get(row);
            let looked = match view.find(key, now) {
                Some(row) => Looked::Kept(row),
                None => view.look(key, now, |version| self.batch.flight(version)),
            };
            self.rows.push(match looked {
                Looked::Kept(found) => {
                    let counter = if found.is_some() { &mut hits } else { &mut absent_hits };
                    *counter += 1;
                    Found::Known(found)
                }
                Looked::Join(flight) => {
                    self.joined.push((row, flight));
                    Found::NotYet
                }
                Looked::Ask { version } => {
                    self.batch.take(key, version);
                    self.asked.push(row);
                    Found::NotYet
                }
            });
        }
        view.count(hits, absent_hits, (self.joined.len() + self.asked.len()) as u64);
    }

    /// The store has answered what we asked for.
    fn land(&mut self, answer: StoredRows) {
        let found = packed(&self.shape, &answer, self.batch.len());
        for (row, found) in self.asked.iter().zip(&found) {
            self.rows[*row] = match found {
                Some(known) => Found::Known(known.clone()),
                None => Found::NotYet,
            };
        }
        if let Some(unreachable) = &answer.unreachable {
            for (place, row) in self.asked.iter().enumerate().filter(|(place, _)| unreachable.value(*place)) {
                debug_assert!(found[place].is_none(), "what cannot be reached is not known");
                self.rows[*row] = Found::Unreachable;
            }
        }
        let nothing = Batch::new(self.batch.view(), self.batch.moment());
        std::mem::replace(&mut self.batch, nothing).land(found);
        if self.asked.len() == self.rows.len() {
            let columns = self.read.columns.iter().map(|&column| Arc::clone(&answer.columns[column])).collect();
            self.answer = Some(StoredRows { columns, ..answer });
        }
    }

    /// Waits for the rows that other callers ask for.
    async fn join(&mut self, reach: Reach, deadline: Deadline) -> Result<(), Error> {
        for (row, flight) in std::mem::take(&mut self.joined) {
            self.rows[row] = match (flight.wait(deadline).await, reach) {
                (Ok(Some(found)), _) => Found::Known(found),
                (Ok(None), _) => Found::NotYet,
                (Err(TooLate), Reach::All) => return Err(Error::Late),
                (Err(TooLate), Reach::Some) => Found::Unreachable,
            };
        }
        Ok(())
    }

    fn finish(self) -> Result<StoredRows, Error> {
        if let Some(answer) = self.answer {
            return Ok(answer);
        }
        let mut decoder = RowsDecoder::new(self.read.view, self.read.columns, self.rows.len());
        decoder.learn(&self.shape.schema);
        for row in &self.rows {
            match row {
                Found::Known(Some(row)) => decoder.push(row)?,
                Found::Known(None) | Found::Unreachable | Found::NotYet => decoder.push_absent(),
            }
        }
        let mut stored = decoder.finish()?;
        let is_unreachable = |row: &Found| matches!(row, Found::Unreachable);
        if self.rows.iter().any(is_unreachable) {
            stored.unreachable =
                Some(BooleanBuffer::collect_bool(self.rows.len(), |row| is_unreachable(&self.rows[row])));
        }
        Ok(stored)
    }
}

/// The rows of an answer with all features, packed; none where one cannot be reached or packed.
fn packed(shape: &Shape, answer: &StoredRows, rows: usize) -> Vec<Option<Row>> {
    // Rows that are not there have no event time; they are not packed.
    let times = TimestampMicrosecondArray::new(answer.event_time.values().clone(), None).with_timezone("UTC");
    let whole = FeatureRows::new(no_keys(), answer.columns.clone(), times, timestamps(vec![None; rows]));
    let Ok(mut encoder) = RowEncoder::new(&shape.view, &shape.schema, &whole) else { return vec![None; rows] };
    let is_unreachable = |row: usize| answer.unreachable.as_ref().is_some_and(|unreachable| unreachable.value(row));
    let pack = |row: usize| match () {
        () if is_unreachable(row) => None,
        () if !answer.present.value(row) => Some(None),
        () => encoder.encode(row).ok().map(|bytes| Some(Arc::from(bytes))),
    };
    (0..rows).map(pack).collect()
}

/// The encoder reads no keys.
fn no_keys() -> Vec<ArrayRef> {
    Vec::new()
}
