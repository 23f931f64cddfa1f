//! What a faulty plugin costs the others: a healthy one is called alone, beside as many healthy calls of another plugin,
//! and beside 10,000 faults.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array};
use hdrhistogram::Histogram;
use lockstep::catalog::Transform;
use lockstep::clock::Deadline;
use lockstep::transform::{Settings, Transforms};
use serde_json::json;
use tempfile::TempDir;

use crate::Result;
use crate::measure::{Spread, resident_bytes_of};
use crate::report::{Table, root};

const HEALTHY: &str = "haversine";
/// The plugins that misbehave where the first value is 13, and how many faults of each there are in one round.
const FAULTY: [(&str, u64); 6] = [
    ("fault_trap", 4_000),
    ("fault_rows", 3_000),
    ("fault_type", 2_400),
    ("fault_huge", 200),
    ("fault_hoard", 200),
    ("fault_endless", 200),
];
const MISCHIEF: f64 = 13.0;
/// Another healthy plugin in the place of the faulty ones.
const NEIGHBOUR: &str = "fault_trap";
const ROUNDS: usize = crate::measure::rounds(5);
const DEADLINE: Duration = Duration::from_secs(10);
/// Many times as long as a round of faults, so that its slowest hundredth is no accident.
const HEALTHY_ROUND: Duration = crate::measure::round_millis(1_500);
const FAULTS_OF_ONE: Duration = crate::measure::round_millis(300);
/// What a faulty call may burn; a team that ships loops has its budget from its own conformance run.
const FUEL_PER_CALL: u64 = 1_000_000;

/// What runs on the other CPU meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    Nothing,
    Healthy,
    Faults,
    /// Faults of one plugin alone.
    FaultsOf(usize),
}

impl Beside {
    const ALL: [Self; 3 + FAULTY.len()] = [
        Self::Nothing,
        Self::Healthy,
        Self::Faults,
        Self::FaultsOf(0),
        Self::FaultsOf(1),
        Self::FaultsOf(2),
        Self::FaultsOf(3),
        Self::FaultsOf(4),
        Self::FaultsOf(5),
    ];

    fn name(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Healthy => "healthy calls of another plugin".to_owned(),
            Self::Faults => "faults of six plugins".to_owned(),
            Self::FaultsOf(faulty) => format!("{} alone", FAULTY[faulty].0),
        }
    }
}

pub fn run() -> Result<()> {
    let faults: u64 = FAULTY.iter().map(|(_, faults)| faults).sum();
    let stage = Stage::start()?;
    let mut latencies = [const { Vec::new() }; Beside::ALL.len()];
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        for (beside, rounds) in Beside::ALL.into_iter().zip(&mut latencies) {
            rounds.push(stage.round(beside)?);
            if beside == Beside::Faults {
                resident.push(resident_bytes_of(std::process::id())? as f64 / 1e6);
            }
        }
    }

    let mut table = Table::new("faults", &["beside", "calls", "p50 µs", "p99 µs", "p99 ÷ p99 beside healthy calls"]);
    let p99 = |round: &Histogram<u64>| round.value_at_quantile(0.99) as f64 / 1e3;
    let healthy = &latencies[1];
    for (beside, rounds) in Beside::ALL.into_iter().zip(&latencies) {
        let p50s = Spread::of(rounds.iter().map(|round| round.value_at_quantile(0.5) as f64 / 1e3));
        let p99s = Spread::of(rounds.iter().map(p99));
        let ratio = Spread::of(rounds.iter().zip(healthy).map(|(round, healthy)| p99(round) / p99(healthy)));
        let calls: u64 = rounds.iter().map(Histogram::len).sum();
        let row =
            vec![beside.name(), calls.to_string(), format!("{p50s:.1}"), format!("{p99s:.1}"), format!("{ratio:.2}")];
        let result = json!({
            "beside": beside.name(), "calls": calls, "p50_micros": p50s, "p99_micros": p99s, "p99_against_healthy": ratio,
            "faults_per_round": faults, "resident_megabytes": resident,
        });
        table.push(row, result)?;
    }
    let kinds: Vec<String> = FAULTY.iter().map(|(plugin, faults)| format!("{faults} of {plugin}")).collect();
    table.note(format!(
        "{HEALTHY} on one thread, one row a call, a fresh instance each; on another thread, in the same stage, {faults} faults a round: {}. \
         {ROUNDS} rounds, all in turn; a round lasts as long as the faults do. Of one plugin alone: faults of it, one after the other, for {} ms.",
        kinds.join(", "),
        FAULTS_OF_ONE.as_millis()
    ));
    table.note(
        "Two threads share caches and memory whatever they do, so faults are measured against healthy calls in their place.",
    );
    table.note(format!(
        "Memory of the process after each round of faults: {} MB.",
        resident.iter().map(|megabytes| format!("{megabytes:.0}")).collect::<Vec<_>>().join(", ")
    ));
    table.publish()
}

/// A stage with all plugins in it.
struct Stage {
    transforms: Transforms,
    healthy: Arc<Transform>,
    neighbour: Arc<Transform>,
    faulty: Vec<(Arc<Transform>, u64)>,
    _cache: TempDir,
}

impl Stage {
    fn start() -> Result<Self> {
        let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let settings = Settings {
            cache: Some(cache.path().to_owned()),
            fuel_per_call: FUEL_PER_CALL,
            snapshots: true,
            ..Settings::default()
        };
        let transforms = Transforms::start(settings)?;
        let bind = |plugin: &str| -> Result<Arc<Transform>> {
            let component = fs::read(root().join(format!("plugins/built/{plugin}.wasm")))?;
            let (digest, _) = transforms.load(plugin, &component)?;
            Ok(transforms.bind(plugin, digest, &[], None)?)
        };
        let faulty = FAULTY.iter().map(|(plugin, faults)| Ok((bind(plugin)?, *faults))).collect::<Result<_>>()?;
        let (healthy, neighbour) = (bind(HEALTHY)?, bind(NEIGHBOUR)?);
        Ok(Self { transforms, healthy, neighbour, faulty, _cache: cache })
    }

    /// Calls the healthy plugin until what runs beside it has ended; how long each call took, in ns.
    fn round(&self, beside: Beside) -> Result<Histogram<u64>> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let ended = self.beside(beside);
                is_over.store(true, Ordering::Release);
                ended
            });
            let place: ArrayRef = Arc::new(Float64Array::from(vec![41.88]));
            let columns = [Arc::clone(&place), Arc::clone(&place), Arc::clone(&place), place];
            let mut latency = Histogram::new(3)?;
            while !is_over.load(Ordering::Acquire) {
                let begun = Instant::now();
                self.transforms.apply(&self.healthy, &columns, 1, Deadline::after(DEADLINE))?;
                latency.record(begun.elapsed().as_nanos() as u64)?;
            }
            other.join().map_err(|_| "the thread beside panicked")??;
            Ok(latency)
        })
    }

    fn beside(&self, beside: Beside) -> Result<()> {
        match beside {
            Beside::Nothing => thread::sleep(HEALTHY_ROUND),
            Beside::Healthy => {
                let begun = Instant::now();
                while begun.elapsed() < HEALTHY_ROUND {
                    self.transforms.apply(&self.neighbour, &[x(1.0)], 1, Deadline::after(DEADLINE))?;
                }
            }
            Beside::Faults => {
                for (transform, faults) in &self.faulty {
                    for _ in 0..*faults {
                        self.misbehave(transform)?;
                    }
                }
            }
            Beside::FaultsOf(faulty) => {
                let begun = Instant::now();
                while begun.elapsed() < FAULTS_OF_ONE {
                    self.misbehave(&self.faulty[faulty].0)?;
                }
            }
        }
        Ok(())
    }

    fn misbehave(&self, faulty: &Transform) -> Result<()> {
        match self.transforms.apply(faulty, &[x(MISCHIEF)], 1, Deadline::after(DEADLINE)) {
            Ok(_) => Err(format!("{} did not misbehave", faulty.plugin).into()),
            Err(_) => Ok(()),
        }
    }
}

fn x(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}
