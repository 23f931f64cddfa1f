//! The targets beside what was measured last, from benches/results: written anew after every run of a table.

use std::fs;

use serde_json::{Value, json};

use crate::Result;
use crate::memory_flat as flat;
use crate::process::GIB;
use crate::report::{Table, root};

/// How a number has to stand to its target.
#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// One number that is owed.
struct Target {
    name: &'static str,
    what: &'static str,
    bound: Bound,
    unit: &'static str,
    /// The table it is from.
    table: &'static str,
    /// Picks the number out of the table's results.
    measured: fn(&[Value]) -> Option<f64>,
}

/// What stands in the way of a number where it is missed, as the profiles and the tables beside it say.
fn limit(name: &str, what: &str) -> &'static str {
    match (name, what) {
        ("P1", "the same: p99") => {
            "Redis, the generator and the kernel's own work share CPU 0; by round it is 0.7 to 7 ms, the gateway's CPU in it constant"
        }
        ("P1", "the same: gateway CPU a request") => {
            "two sleeps a request, for the question and for Redis' answer: saturated, when nobody sleeps, it is two thirds of this"
        }
        ("P1", _) => "two wake-ups of the gateway and one of Redis, about 12 µs each on this virtual machine",
        ("P2", what) if what.contains("p99") => "Redis' 500 rows take 0.4 ms of the CPU that the generator needs too",
        ("P2", _) => "44 % is writing JSON, half of it the digits of floats; Arrow on the same route has none",
        ("P3", what) if what.contains("bare") => {
            "CPU 0: beside Redis it has a generator that takes Arrow apart and compares it, which the bare client does not need"
        }
        ("P3", _) => "500 rows of Redis a question: a bare client that only asks and decodes them makes 25 M itself",
        ("P4", what) if what.starts_with("haversine") => {
            "a look at every result for a NaN: without it 1.9 ×, without fuel and epochs too 1.3 ×, see the table determinism"
        }
        ("P4", what) if what.starts_with("taxi") => {
            "short loops and calls, each with a look at the fuel and at the clock"
        }
        ("P4", what) if what.contains("Arrow columns") => {
            "50 Arrow arrays are read and 50 made and dropped: native code, which only makes them, takes longer than the target too"
        }
        ("P4", what) if what.contains("faults") => {
            "two of the six plugins grow their memory, beside them it is 1.9 ×, beside the others 0.8 to 1.0 ×"
        }
        ("P4", what) if what.contains("warm") => "a call of 1.4 µs, and one column more to read, to null and to write",
        ("P4", _) => {
            "a fresh instance takes 3 µs more than a warm one while all is in the caches, and 4 to 10 after a wait, when nothing is"
        }
        ("P6", _) => "the newest row of a key is known when all are read, so Redis works for 1.5 s of 2.7",
        ("P8", _) => {
            "a view is a row in Redis with a key of its own: 25 views of 2 features are 25 rows to ask for 50 values"
        }
        _ => "",
    }
}

impl Bound {
    fn tell(self, unit: &str) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most} {unit}"),
            Self::AtLeast(least) => format!("≥ {least} {unit}"),
        }
    }

    /// In numbers, also where it is met.
    fn verdict(self, measured: f64) -> String {
        let (met, over) = match self {
            Self::AtMost(most) => (measured <= most, measured / most),
            Self::AtLeast(least) => (measured >= least, measured / least),
        };
        let share = format!("{:.2} × the target", over);
        if met { format!("met: {share}") } else { format!("**missed**: {share}") }
    }
}

/// `what` of a serving result, for the open loop at half of saturation.
fn at_half(results: &[Value], what: &str, field: &str) -> Option<f64> {
    let found = results.iter().find(|result| result["what"] == what && result["load"]["of_saturation"] == 0.5)?;
    found[field]["median"].as_f64().or_else(|| found[field].as_f64())
}

fn saturated(results: &[Value], what: &str, field: &str) -> Option<f64> {
    results.iter().find(|result| result["what"] == what && result["load"]["closed_loop"] == true)?[field].as_f64()
}

const ONE: &str = "HTTP JSON, 1 × 50 of 5 views";
const HUNDRED: &str = "HTTP JSON, 100 × 50 of 5 views";
const EXCHANGE: &str = "Flight DoExchange, 100 × 50 of 5 views";

fn of_transform(results: &[Value], plugin: &str, rows: u64, field: &str) -> Option<f64> {
    let found = results.iter().find(|result| result["plugin"] == plugin && result["rows"] == rows)?;
    found[field]["median"].as_f64()
}

/// Labels a CPU-second in a case, against the best of the peers.
fn of_pit(results: &[Value], case: &str) -> Option<f64> {
    let peers = results.iter().filter(|result| result["case"] == case && result["is_ours"] == false);
    peers.filter_map(|result| result["cpu_against_ours"]["median"].as_f64()).min_by(f64::total_cmp)
}

/// What a service costs over HTTP JSON against the stored one.
fn against_stored(results: &[Value], rows: u64, service: &str, instances: &str) -> Option<f64> {
    let of_service = |result: &&Value| {
        let same_question = result["wire"] == "HTTP JSON" && result["rows"] == rows;
        same_question && result["service"] == service && result["instances"] == instances
    };
    results.iter().find(of_service)?["against_stored"]["median"].as_f64()
}

/// Rows a second into Redis, by `field`.
fn of_writes(results: &[Value], derived: bool, field: &str) -> Option<f64> {
    let ours = |result: &&Value| result["who"] == "lockstep" && result["derived"] == derived;
    results.iter().find(ours)?[field]["median"].as_f64()
}

/// Peak memory in MB at the largest size.
fn of_memory_flat(results: &[Value], what: &str) -> Option<f64> {
    let runs = results.iter().filter(|result| result["what"] == what);
    Some(runs.max_by_key(|result| result["rows"].as_u64())?["taken"]["peak_bytes"].as_f64()? / 1e6)
}

fn targets() -> [Target; 36] {
    let target = |name, what, bound, unit, table, measured| Target { name, what, bound, unit, table, measured };
    use Bound::{AtLeast, AtMost};
    [
        target("P1", "HTTP JSON, 1 × 50: p50 at half of saturation", AtMost(120.0), "µs", "serving", |results| {
            at_half(results, ONE, "p50_micros")
        }),
        target("P1", "the same: p99", AtMost(300.0), "µs", "serving", |results| at_half(results, ONE, "p99_micros")),
        target("P1", "the same: gateway CPU a request", AtMost(60.0), "µs", "serving", |results| {
            at_half(results, ONE, "gateway_cpu_micros_per_request")
        }),
        target("P2", "HTTP JSON, 100 × 50: p99 at half of saturation", AtMost(1_000.0), "µs", "serving", |results| {
            at_half(results, HUNDRED, "p99_micros")
        }),
        target("P2", "the same: values a CPU-second, saturated", AtLeast(15.0), "M", "serving", |results| {
            Some(1e3 / saturated(results, HUNDRED, "gateway_cpu_nanos_per_value")?)
        }),
        target(
            "P3",
            "DoExchange, 100 × 50: values a CPU-second, saturated",
            AtLeast(60.0),
            "M",
            "serving",
            |results| Some(1e3 / saturated(results, EXCHANGE, "gateway_cpu_nanos_per_value")?),
        ),
        target(
            "P3",
            "DoExchange, 100 × 50: rows a second against a bare Rust client",
            AtLeast(0.7),
            "×",
            "peers",
            |results| {
                let bare = |result: &&Value| {
                    result["who"].as_str().is_some_and(|who| who.starts_with("bare Rust")) && result["rows"] == 100
                };
                Some(1.0 / results.iter().find(bare)?["rows_per_second_against_ours"]["median"].as_f64()?)
            },
        ),
        target("P4", "transform, 1 × 50, warm: frame to frame", AtMost(1.5), "µs", "transform", |results| {
            Some(of_transform(results, "arithmetic", 1, "crossing_seconds")? * 1e6)
        }),
        target("P4", "the same, from Arrow columns to Arrow columns", AtMost(1.5), "µs", "transform", |results| {
            Some(of_transform(results, "arithmetic", 1, "warm_seconds")? * 1e6)
        }),
        target("P4", "the same: fresh instance", AtMost(12.0), "µs", "transform", |results| {
            Some(of_transform(results, "arithmetic", 1, "fresh_seconds")? * 1e6)
        }),
        target("P4", "haversine, 1,000 rows, against its native twin", AtMost(2.0), "×", "transform", |results| {
            of_transform(results, "haversine", 1_000, "warm_against_native")
        }),
        target("P4", "taxi_company, 1,000 rows, against its native twin", AtMost(2.0), "×", "transform", |results| {
            of_transform(results, "taxi_company", 1_000, "warm_against_native")
        }),
        target("P4", "arithmetic, 8,192 rows, frame to frame: a value", AtMost(3.0), "ns", "transform", |results| {
            Some(of_transform(results, "arithmetic", 8_192, "crossing_seconds")? * 1e9 / (8_192.0 * 50.0))
        }),
        target("P4", "the same, from Arrow columns to Arrow columns", AtMost(3.0), "ns", "transform", |results| {
            Some(of_transform(results, "arithmetic", 8_192, "warm_seconds")? * 1e9 / (8_192.0 * 50.0))
        }),
        target(
            "P4",
            "HTTP JSON, 1 × 50 and a distance by a Rust plugin, fresh, against 1 × 50: CPU",
            AtMost(1.1),
            "×",
            "serving_transform",
            |results| against_stored(results, 1, "Beside", "fresh"),
        ),
        target("P4", "the same, warm", AtMost(1.1), "×", "serving_transform", |results| {
            against_stored(results, 1, "Beside", "warm")
        }),
        target("P4", "the same, 100 × 50, fresh", AtMost(1.1), "×", "serving_transform", |results| {
            against_stored(results, 100, "Beside", "fresh")
        }),
        target("P4", "the same, 100 × 50, warm", AtMost(1.1), "×", "serving_transform", |results| {
            against_stored(results, 100, "Beside", "warm")
        }),
        target(
            "P4",
            "HTTP JSON, 1 × 50, all by a Rust plugin, fresh, against the same stored: CPU",
            AtMost(1.1),
            "×",
            "serving_transform",
            |results| against_stored(results, 1, "Derived", "fresh"),
        ),
        target("P4", "the same, all computed, warm", AtMost(1.1), "×", "serving_transform", |results| {
            against_stored(results, 1, "Derived", "warm")
        }),
        target(
            "P4",
            "p99 beside 10,000 faults, against healthy calls in their place",
            AtMost(1.1),
            "×",
            "faults",
            |results| {
                let found = results.iter().find(|result| result["beside"] == "faults of six plugins")?;
                found["p99_against_healthy"]["median"].as_f64()
            },
        ),
        target(
            "P5",
            "labels a CPU-second against the best peer: 100 k × 1 M × 4",
            AtLeast(1.0),
            "×",
            "pit",
            |results| of_pit(results, "100 k × 1 M × 4"),
        ),
        target("P5", "the same, Zipf keys", AtLeast(1.0), "×", "pit", |results| {
            of_pit(results, "100 k × 1 M × 4, Zipf keys")
        }),
        target("P5", "the same, 5 views", AtLeast(1.0), "×", "pit", |results| {
            of_pit(results, "100 k × 5 views of 1 M × 4")
        }),
        target("P5", "the same: 1 M × 10 M × 10", AtLeast(1.0), "×", "pit", |results| {
            of_pit(results, "1 M × 10 M × 10")
        }),
        target("P5", "the same: 1 M × 50 M × 4", AtLeast(1.0), "×", "pit", |results| {
            of_pit(results, "1 M × 50 M × 4")
        }),
        target(
            "P5",
            "1 M × 50 M × 4: peak memory",
            AtMost((4.0 * GIB as f64 / 1e6).round()),
            "MB",
            "pit",
            |results| {
                let ours = |result: &&Value| result["case"] == "1 M × 50 M × 4, 4 GiB" && result["is_ours"] == true;
                Some(results.iter().find(ours)?["peak_bytes"].as_f64()? / 1e6)
            },
        ),
        target("P6", "sync into Redis against redis-benchmark", AtLeast(0.7), "×", "writes", |results| {
            of_writes(results, false, "ratio")
        }),
        target("P6", "the same, with a transform", AtLeast(0.7), "×", "writes", |results| {
            of_writes(results, true, "ratio")
        }),
        target("P6", "sync into Redis against Feast materialize", AtLeast(100.0), "×", "writes", |results| {
            of_writes(results, false, "against_feast")
        }),
        target(
            "flat",
            "peak memory: 10 M rows of PostgreSQL",
            AtMost(flat::POSTGRES_MB),
            "MB",
            "memory_flat",
            |results| of_memory_flat(results, flat::POSTGRES),
        ),
        target("flat", "peak memory: a join with 50 M rows", AtMost(flat::JOIN_MB), "MB", "memory_flat", |results| {
            of_memory_flat(results, flat::JOIN)
        }),
        target("flat", "peak memory: a sync of 5 M rows", AtMost(flat::SYNC_MB), "MB", "memory_flat", |results| {
            of_memory_flat(results, flat::SYNC)
        }),
        target(
            "P7",
            "Redis, 50 float64 features a row, packed",
            AtMost(12.0),
            "bytes a feature",
            "memory",
            |results| {
                let packed =
                    |result: &&Value| result["who"] == "packed" && result["views"] == 1 && result["nulls"] == false;
                results.iter().find(packed)?["bytes_per_feature"].as_f64()
            },
        ),
        target("P8", "cost of a value, 10⁴ → 10⁶ entities", AtMost(1.2), "×", "growth", |results| {
            let many = |result: &&Value| result["entities"] == 1_000_000;
            Some(1.0 + results.iter().find(many)?["against_usual"].as_f64()?)
        }),
        target("P8", "cost of a value, 1 → 25 views of 50 features", AtMost(1.2), "×", "growth", |results| {
            let of = |views: u64| {
                let step = results.iter().find(|result| result["axis"] == "views" && result["views"] == views)?;
                Some(1.0 + step["against_usual"].as_f64()?)
            };
            Some(of(25)? / of(1)?)
        }),
    ]
}

pub fn run() -> Result<()> {
    let mut table = Table::new("targets", &["", "what", "target", "measured", "verdict", "what limits it", "table"]);
    for target in targets() {
        let measured = results_of(target.table).and_then(|results| (target.measured)(&results));
        let (shown, verdict) = match measured {
            Some(number) => (format!("{number:.2} {}", target.unit), target.bound.verdict(number)),
            None => ("–".to_owned(), "not measured".to_owned()),
        };
        let row = [target.name, target.what].map(str::to_owned).into_iter();
        let limit = if verdict.contains("missed") { limit(target.name, target.what) } else { "" }.to_owned();
        let row = row.chain([target.bound.tell(target.unit), shown, verdict, limit, format!("`{}`", target.table)]);
        let row = row.collect();
        table.push(row, json!({"target": target.name, "what": target.what, "measured": measured}))?;
    }
    table.publish()
}

/// What a table has measured last.
fn results_of(table: &str) -> Option<Vec<Value>> {
    let text = fs::read_to_string(root().join(format!("benches/results/{table}.json"))).ok()?;
    let results: Value = serde_json::from_str(&text).ok()?;
    results["results"].as_array().cloned()
}
