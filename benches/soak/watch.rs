//! The gateway's memory and open files, once a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure::{open_files_of, resident_bytes_of};

const INTERVAL: Duration = Duration::from_secs(1);
/// What an allocator keeps after its first minutes is no leak.
const SETTLED_AFTER: f64 = 0.1;

#[derive(Debug)]
pub struct Samples(Vec<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    resident: u64,
    files: usize,
}

/// Until it is over, or the gateway has ended, which is an error.
pub fn sample(pid: u32, begin: Instant, over: &AtomicBool) -> Result<Samples> {
    let mut samples = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let resident = resident_bytes_of(pid).map_err(|error| format!("the gateway has ended: {error}"))?;
        let files = open_files_of(pid)?;
        samples.push(Sample { seconds: begin.elapsed().as_secs_f64(), resident, files });
        std::thread::sleep(INTERVAL);
    }
    match samples.is_empty() {
        true => Err("the soak was over before the first sample".into()),
        false => Ok(Samples(samples)),
    }
}

impl Samples {
    /// Memory and files at the end of a minute.
    pub fn at_minute(&self, minute: usize) -> (u64, usize) {
        let end = (minute + 1) as f64 * 60.0;
        let sample = self.0.iter().rev().find(|sample| sample.seconds <= end).unwrap_or(&self.0[0]);
        (sample.resident, sample.files)
    }

    pub fn settled_bytes(&self) -> u64 {
        self.settled()[0].resident
    }

    pub fn last_bytes(&self) -> u64 {
        self.0[self.0.len() - 1].resident
    }

    pub fn files_max(&self) -> usize {
        self.0.iter().map(|sample| sample.files).max().unwrap_or(0)
    }

    /// Of the straight line with the smallest squares through everything after the first tenth.
    pub fn slope_bytes_an_hour(&self) -> f64 {
        let settled = self.settled();
        let count = settled.len() as f64;
        let seconds = settled.iter().map(|sample| sample.seconds).sum::<f64>() / count;
        let bytes = settled.iter().map(|sample| sample.resident as f64).sum::<f64>() / count;
        let (mut together, mut alone) = (0.0, 0.0);
        for sample in settled {
            together += (sample.seconds - seconds) * (sample.resident as f64 - bytes);
            alone += (sample.seconds - seconds).powi(2);
        }
        if alone > 0.0 { together / alone * 3_600.0 } else { 0.0 }
    }

    fn settled(&self) -> &[Sample] {
        &self.0[(self.0.len() as f64 * SETTLED_AFTER) as usize..]
    }
}
