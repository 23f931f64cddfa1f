//! What calls cost: time and fuel by number of rows, memory, and what an instance gains with each call.

use std::time::{Duration, Instant};

use super::answer::{answer, taken};
use super::corpus::Corpus;
use super::report::{Measured, Timed};
use super::subject::Subject;
use crate::limits::FRAME_ROWS_MAX;
use crate::transform::{Error, Fault, Transforms, probe::Guest};

/// Calls of one measurement, and how long it may take, but for the fewest.
const CALLS_MAX: usize = 1_000;
const CALLS_MIN: usize = 3;
const TIME_MAX: Duration = Duration::from_millis(300);
/// Calls after which an instance has the memory that it needs, and those over which its growth is measured: it grows by
/// pages of 64 KiB, so that a few calls say nothing of a small leak.
const SETTLING_CALLS: usize = 64;
const LEAK_CALLS_MAX: usize = 2_000;
const LEAK_TIME_MAX: Duration = Duration::from_millis(1_500);
/// A later measurement that costs so much more is told.
const REGRESSION: f64 = 1.25;

/// Numbers of rows that are measured.
pub const SIZES: [usize; 3] = [1, 200, FRAME_ROWS_MAX];

/// Times calls with each of `SIZES`, on kept instances and on fresh ones.
pub fn sizes(subject: &Subject<'_>, corpus: &Corpus) -> Result<Vec<Timed>, Error> {
    let mut timed = Vec::new();
    for rows in SIZES {
        timed.push(timed_calls(subject, subject.warm, corpus, rows)?);
        timed.push(timed_calls(subject, subject.fresh, corpus, rows)?);
    }
    Ok(timed)
}

fn timed_calls(subject: &Subject<'_>, stage: &Transforms, corpus: &Corpus, rows: usize) -> Result<Timed, Error> {
    let transform = &subject.transform;
    let places: Vec<usize> = corpus.short_rows().into_iter().cycle().take(rows).collect();
    let inputs = taken(&corpus.columns(&corpus.rows), &places);
    // The first call finds cold caches and, on a kept instance, memory that it still has to ask for.
    let fuel = answer(stage, transform, &inputs, rows)?.fuel;
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < CALLS_MIN || (times.len() < CALLS_MAX && begun.elapsed() < TIME_MAX) {
        let call = Instant::now();
        answer(stage, transform, &inputs, rows)?;
        times.push(call.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let values = rows * (inputs.len() + transform.outputs.len());
    Ok(Timed {
        rows,
        warm: std::ptr::eq(stage, subject.warm),
        calls: times.len(),
        p50_ns: quantile(0.5),
        p99_ns: quantile(0.99),
        ns_per_value: hundredths(quantile(0.5) as f64 / values.max(1) as f64),
        fuel,
    })
}

/// Bytes that an instance gains with each call once it has settled; 0 where it only grew for a while.
pub fn leak_bytes_per_call(guest: &mut Guest, frame: &[u8], rows: usize) -> Result<f64, Fault> {
    let begun = Instant::now();
    let mut memory = vec![guest.memory_bytes()];
    while memory.len() <= CALLS_MIN || (memory.len() <= LEAK_CALLS_MAX && begun.elapsed() < LEAK_TIME_MAX) {
        match guest.call(frame, rows) {
            Ok(_) => memory.push(guest.memory_bytes()),
            // It has grown to its limit: that is the slope.
            Err(Fault::Memory { .. }) if memory.len() > CALLS_MIN => break,
            Err(fault) => return Err(fault),
        }
    }
    let settled = &memory[SETTLING_CALLS.min(memory.len() / 4)..];
    let (first, half, last) = (settled[0], settled[settled.len() / 2], settled[settled.len() - 1]);
    let grows = last > half && half > first;
    Ok(if grows { hundredths((last - first) as f64 / (settled.len() - 1) as f64) } else { 0.0 })
}

/// Nobody measures finer, and short numbers are the same after they were written down.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// What costs more than in an earlier report by more than a quarter.
pub fn regressions(before: &Measured, now: &Measured) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |what: String, before: f64, now: f64, unit: &str| {
        if before > 0.0 && now > before * REGRESSION {
            told.push(format!("{what} {now:.0} {unit}, before {before:.0}"));
        }
    };
    for timed in &now.sizes {
        let same = before.sizes.iter().find(|before| (before.rows, before.warm) == (timed.rows, timed.warm));
        let Some(before) = same else { continue };
        let instance = if timed.warm { "a kept" } else { "a fresh" };
        compare(
            format!("{} rows on {instance} instance take", timed.rows),
            before.p50_ns as f64,
            timed.p50_ns as f64,
            "ns",
        );
        if !timed.warm {
            compare(format!("{} rows burn", timed.rows), before.fuel as f64, timed.fuel as f64, "units of fuel");
        }
    }
    compare(
        "an instance has".to_owned(),
        before.memory_bytes_max as f64,
        now.memory_bytes_max as f64,
        "bytes of memory",
    );
    told
}
