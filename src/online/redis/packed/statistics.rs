//! Counting what is there: every primary is scanned once for the rows of all views, and some rows are looked into.
//!
//! A scan meets keys in the order of their hashes, so the first rows that it finds of a view are as good a sample as
//! any. Of views with more rows than are looked into the number of keys is an estimate: as many of them are tombstones
//! as of the sample. While a slot moves, its rows may be met twice or not at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redis::Value;

use super::super::failure::Failure;
use super::super::key;
use super::super::link::{Link, Primary};
use super::Packed;
use crate::clock::Deadline;
use crate::limits::STATISTICS_ROWS_MAX;
use crate::online::packed::Tally;
use crate::online::{Error, OnlineView, ViewStatistics};

const DOING: &str = "counting rows";

/// What is known of one view so far.
struct Sample<'a> {
    view: &'a Arc<OnlineView>,
    tally: Tally<'a>,
    /// Keys that were met.
    met: u64,
    /// Keys whose rows were looked into, whether they count or not.
    looked_at: HashSet<Vec<u8>>,
    counted: u64,
}

impl Packed {
    pub(super) async fn count(
        &self,
        link: &Link,
        views: &[Arc<OnlineView>],
        deadline: Deadline,
    ) -> Result<Vec<ViewStatistics>, Error> {
        let mut samples: Vec<Sample<'_>> = views.iter().map(Sample::of).collect();
        let places: HashMap<&[u8], usize> =
            views.iter().enumerate().map(|(place, view)| (view.name.as_bytes(), place)).collect();
        let pattern = key::rows_pattern(&self.prefix);
        let failed = |failure: Failure| failure.into_error(DOING);
        let primaries = if views.is_empty() { Vec::new() } else { link.primaries(deadline).await.map_err(failed)? };
        for primary in primaries {
            let mut cursor = 0;
            loop {
                let (next, keys) = primary.scan(&pattern, cursor, deadline).await.map_err(failed)?;
                let keys = keys.into_iter().filter_map(|key| {
                    let place = *places.get(key::view_of(&self.prefix, &key)?)?;
                    Some((place, key))
                });
                self.look_into(link, &primary, keys.collect(), &mut samples, deadline).await?;
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(samples.into_iter().map(Sample::finish).collect())
    }

    /// Counts the keys of one page, and looks into the rows of those that are still wanted.
    async fn look_into(
        &self,
        link: &Link,
        primary: &Primary,
        keys: Vec<(usize, Vec<u8>)>,
        samples: &mut [Sample<'_>],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        let mut commands = Vec::new();
        for (place, key) in keys {
            let sample = &mut samples[place];
            if sample.looked_at.contains(&key) {
                continue;
            }
            sample.met += 1;
            if (sample.looked_at.len() as u64) < STATISTICS_ROWS_MAX {
                let mut row = redis::cmd("GET");
                row.arg(&key);
                let mut memory = redis::cmd("MEMORY");
                memory.arg("USAGE").arg(&key);
                commands.extend([row, memory]);
                wanted.push(place);
                sample.looked_at.insert(key);
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        let mut answers = primary.call(commands, deadline).await.into_iter();
        for place in wanted {
            let mut next = || answers.next().transpose().map_err(|failure| failure.into_error(DOING));
            // A key that expired meanwhile has neither.
            if let (Some(Value::BulkString(row)), Some(Value::Int(bytes))) = (next()?, next()?) {
                self.add(link, &mut samples[place], &row, bytes, deadline).await?;
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        link: &Link,
        sample: &mut Sample<'_>,
        row: &[u8],
        bytes: i64,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if let Some(id) = sample.tally.unknown_schema(row) {
            if !self.schemas.known().contains_key(&id) {
                match self.schemas.load(link, sample.view, id, deadline).await {
                    // A row that no one can read does not count.
                    Err(Error::Damaged { .. }) => return Ok(()),
                    loaded => loaded?,
                }
            }
            if let Some(schema) = self.schemas.known().get(&id) {
                sample.tally.learn(schema);
            }
        }
        sample.counted += u64::from(sample.tally.add(row, bytes.unsigned_abs()));
        Ok(())
    }
}

impl<'a> Sample<'a> {
    fn of(view: &'a Arc<OnlineView>) -> Self {
        Self { view, tally: Tally::new(view), met: 0, looked_at: HashSet::new(), counted: 0 }
    }

    fn finish(self) -> ViewStatistics {
        let looked_at = self.looked_at.len() as u128;
        let keys = match looked_at {
            0 => 0,
            _ => u128::from(self.met) * u128::from(self.counted) / looked_at,
        };
        self.tally.finish(u64::try_from(keys).unwrap_or(u64::MAX))
    }
}
