//! Does anything show in the answers but the rows: what an instance has seen before, what else runs, how often?

use std::thread;

use arrow::array::{Array, ArrayRef};

use super::answer::taken;
use super::measure::leak_bytes_per_call;
use super::report::{Check, Verdict};
use super::rowwise::Alone;
use crate::transform::{Error, probe::Guest};

/// Calls that an instance has served before its answers are compared with those of fresh ones.
const UNRELATED_CALLS: usize = 1_000;
const UNRELATED_ROWS: usize = 7;
const THREADS: usize = 4;
const CALLS_OF_THREAD: usize = 8;
/// Rows of calls whose fuel is compared; each is run twice.
const FUEL_ROWS: [usize; 4] = [0, 1, 7, 64];

impl Alone<'_> {
    /// An instance that has served a thousand other calls answers as one that nobody has used.
    pub fn warm(&self) -> Check {
        const NAME: &str = "warm";
        let fields = &self.subject.transform.outputs;
        for call in 0..UNRELATED_CALLS {
            let start = call * UNRELATED_ROWS % self.answer.rows.max(1);
            let (part, rows) = self.part(start, UNRELATED_ROWS);
            match self.subject.warm_answer(&part, rows) {
                Ok(got) => {
                    let places: Vec<usize> = (start..start + rows).collect();
                    if let Some(difference) = self.answer.at(&places).differs(fields, &got) {
                        let detail = format!("call {} of an instance: {difference}: it remembers", call + 1);
                        return Check::new(NAME, Verdict::Failed, detail);
                    }
                }
                Err(error) => return Check::new(NAME, Verdict::Failed, format!("call {}: {error}", call + 1)),
            }
        }
        match self.subject.warm_answer(self.inputs, self.answer.rows).map(|got| self.answer.differs(fields, &got)) {
            Ok(None) => {
                let detail = format!("after {UNRELATED_CALLS} other calls an instance answers as a fresh one");
                Check::new(NAME, Verdict::Passed, detail)
            }
            Ok(Some(difference)) => {
                Check::new(NAME, Verdict::Failed, format!("after {UNRELATED_CALLS} other calls: {difference}"))
            }
            Err(error) => Check::new(NAME, Verdict::Failed, format!("after {UNRELATED_CALLS} other calls: {error}")),
        }
    }

    /// Threads that call at once get what one gets.
    pub fn parallel(&self) -> Check {
        const NAME: &str = "parallel";
        let fields = &self.subject.transform.outputs;
        let call = || {
            (0..CALLS_OF_THREAD).find_map(|_| match self.subject.warm_answer(self.inputs, self.answer.rows) {
                Ok(got) => self.answer.differs(fields, &got).map(|difference| difference.to_string()),
                Err(error) => Some(error.to_string()),
            })
        };
        let found = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
            threads.into_iter().find_map(|thread| thread.join().unwrap_or_else(|_| Some("a thread stopped".to_owned())))
        });
        match found {
            None => {
                Check::new(NAME, Verdict::Passed, format!("{THREADS} threads at once, {CALLS_OF_THREAD} calls each"))
            }
            Some(detail) => Check::new(NAME, Verdict::Failed, format!("{THREADS} threads at once: {detail}")),
        }
    }

    /// Equal calls on fresh instances burn equal fuel: the verdict of a limit is the same on every node.
    pub fn equal_fuel(&self) -> Check {
        const NAME: &str = "fuel";
        for rows in FUEL_ROWS.into_iter().chain([self.answer.rows]) {
            let (part, rows) = self.part(0, rows);
            let fuel = || self.subject.fresh_answer(&part, rows).map(|answer| answer.fuel);
            match (fuel(), fuel()) {
                (Ok(first), Ok(second)) if first == second => {}
                (Ok(first), Ok(second)) => {
                    let detail =
                        format!("{rows} rows burned {first} units on one fresh instance and {second} on another");
                    return Check::new(NAME, Verdict::Failed, detail);
                }
                (Err(error), _) | (_, Err(error)) => {
                    return Check::new(NAME, Verdict::Failed, format!("{rows} rows: {error}"));
                }
            }
        }
        Check::new(NAME, Verdict::Passed, "equal calls on fresh instances burn equal fuel")
    }

    /// What an instance gains with each call. The gateway replaces it in time; a plugin that makes that necessary every
    /// few calls is refused.
    pub fn leak(&self, calls_min: u64, growth_bytes_max: usize) -> Result<(Check, f64), Error> {
        const NAME: &str = "memory";
        const ROWS: usize = 1_000;
        let places: Vec<usize> = self.corpus.short_rows().into_iter().cycle().take(ROWS).collect();
        let inputs = taken(self.inputs, &places);
        let mut guest = Guest::fresh(self.subject.warm, &self.subject.transform)?;
        // Half the rows as often as it takes to fit: a frame of very wide rows holds fewer.
        let mut rows = places.len();
        let frame = loop {
            match guest.frame(&inputs, 0..rows) {
                Some(frame) => break frame,
                None if rows > 1 => rows /= 2,
                None => return Ok((Check::new(NAME, Verdict::Skipped, "no row fits into a frame"), 0.0)),
            }
        };
        let slope = match leak_bytes_per_call(&mut guest, &frame, rows) {
            Ok(slope) => slope,
            Err(fault) => {
                let detail = format!("an instance that was used again and again {fault}");
                return Ok((Check::new(NAME, Verdict::Failed, detail), 0.0));
            }
        };
        let kept = if guest.is_kept_warm() { "an instance" } else { "an instance that is kept" };
        let check = match (slope > 0.0).then(|| (growth_bytes_max as f64 / slope) as u64) {
            None => Check::new(NAME, Verdict::Passed, format!("calls with {rows} rows leave nothing behind")),
            Some(calls) => {
                let verdict = if calls < calls_min { Verdict::Failed } else { Verdict::Warned };
                let detail = format!(
                    "{kept} gains {slope:.0} bytes with each call of {rows} rows; the gateway replaces it after {calls} such calls"
                );
                Check::new(NAME, verdict, detail)
            }
        };
        Ok((check, slope))
    }

    /// At most `rows` rows from `start` on.
    fn part(&self, start: usize, rows: usize) -> (Vec<ArrayRef>, usize) {
        let rows = rows.min(self.answer.rows - start);
        (self.inputs.iter().map(|column| column.slice(start, rows)).collect(), rows)
    }
}
