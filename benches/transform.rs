//! P4: one call of a transform against the native twin of the same function over the same arrays.

mod determinism;
mod languages;
mod native;

pub use determinism::run as determinism;
pub use languages::run as languages;
pub use native::distance_km;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use lockstep::catalog::{Parameter, Transform};
use lockstep::clock::Deadline;
use lockstep::transform::probe::Guest;
use lockstep::transform::{Reuse, Settings, Transforms};
use serde_json::json;
use tempfile::TempDir;

use crate::Result;
use crate::measure::{Spread, repeat};
use crate::report::{Table, root};
use crate::synthetic::{Random, value};

const ROWS: [usize; 4] = [1, 200, 1_000, 8_192];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(80);
const DEADLINE: Duration = Duration::from_secs(10);

/// A plugin and its twin.
struct Kernel {
    plugin: &'static str,
    parameters: Vec<(String, Parameter)>,
    columns: fn(usize) -> Vec<(String, ArrayRef)>,
    native: fn(&RecordBatch) -> Vec<ArrayRef>,
    /// The twin's libm is not the guest's, so the last digits may differ.
    exact: bool,
}

pub fn run() -> Result<()> {
    let header = [
        "plugin",
        "rows",
        "frame to frame µs",
        "warm µs a call",
        "fresh µs a call",
        "native µs a call",
        "warm ÷ native",
        "frame to frame ns a value",
        "warm ns a value",
        "native ns a value",
    ];
    let mut table = Table::new("transform", &header);
    let stages = [Stage::start(Reuse::Always)?, Stage::start(Reuse::Never)?];
    for kernel in kernels() {
        let component = fs::read(root().join(format!("plugins/built/{}.wasm", kernel.plugin)))?;
        let mut bound = Vec::new();
        for stage in &stages {
            let (digest, _) = stage.transforms.load(kernel.plugin, &component)?;
            bound.push((&stage.transforms, stage.transforms.bind(kernel.plugin, digest, &kernel.parameters, None)?));
        }
        for rows in ROWS {
            measure(&bound, &kernel, rows, &mut table)?;
        }
    }
    table.note(
        "`Transforms::apply` on one thread, all determinism flags on. A value is one cell of the outputs: 50 a row of \
         arithmetic, 1 of haversine, 2 of taxi_company.",
    );
    table.note(format!(
        "Frame to frame: the bytes of all rows go in and the bytes of the answer come out, as frame/1 has them; the rest \
         of a call is Arrow columns becoming that and that becoming Arrow columns. \
         Warm: the instance of the call before. Fresh: an instance of its own for each call, as a gateway has it for \
         plugins as small as these: it begins where \
         the first one was bound. {ROUNDS} rounds of {} ms, all four in turn; median (smallest–largest).",
        ROUND.as_millis()
    ));
    table.publish()
}

/// A transform stage with a folder for its compiled plugins.
struct Stage {
    transforms: Transforms,
    _cache: TempDir,
}

impl Stage {
    fn start(reuse: Reuse) -> Result<Self> {
        let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let cached = Some(cache.path().to_owned());
        let settings = Settings { cache: cached, reuse, snapshots: true, ..Settings::default() };
        Ok(Self { transforms: Transforms::start(settings)?, _cache: cache })
    }
}

fn kernels() -> [Kernel; 3] {
    [
        Kernel {
            plugin: "arithmetic",
            parameters: Vec::new(),
            columns: |rows| numbers((0..50).map(|column| format!("x_{column}")), rows),
            native: native::arithmetic,
            exact: true,
        },
        Kernel {
            plugin: "haversine",
            parameters: Vec::new(),
            columns: |rows| {
                let names = ["from_latitude", "from_longitude", "to_latitude", "to_longitude"];
                numbers(names.into_iter().map(str::to_owned), rows)
            },
            native: native::haversine,
            exact: false,
        },
        Kernel {
            plugin: "taxi_company",
            parameters: vec![("buckets".to_owned(), Parameter::Int(native::BUCKETS as i64))],
            columns: |rows| vec![("company_name".to_owned(), names(rows))],
            native: native::taxi_company,
            exact: true,
        },
    ]
}

fn numbers(names: impl Iterator<Item = String>, rows: usize) -> Vec<(String, ArrayRef)> {
    let column = |column: usize| Float64Array::from_iter((0..rows).map(|row| value(row as i64, column, 0)));
    names.enumerate().map(|(position, name)| (name, Arc::new(column(position)) as ArrayRef)).collect()
}

/// Names as the city's records write them.
fn names(rows: usize) -> ArrayRef {
    const WRITTEN: [&str; 8] = [
        "2733 - 74600 Benny Jona, Inc.",
        "Taxi Affiliation Services",
        "Dispatch Taxi Affiliation",
        "6742 - 83735 Tasha ride inc",
        "Checker Taxi Co., Inc.",
        "24 Seven Taxi",
        "KOAM Taxi Association",
        "3201 - C&D Cab Co Inc",
    ];
    let mut random = Random::new(4);
    let mut name = || random.below(WRITTEN.len() as u64) as usize;
    Arc::new(StringArray::from_iter_values((0..rows).map(|_| WRITTEN[name()])))
}

fn measure(bound: &[(&Transforms, Arc<Transform>)], kernel: &Kernel, rows: usize, table: &mut Table) -> Result<()> {
    let columns = (kernel.columns)(rows).into_iter().map(|(name, column)| (name, column, true));
    let input = RecordBatch::try_from_iter_with_nullable(columns)?;
    let apply = |(stage, transform): &(&Transforms, Arc<Transform>)| {
        stage.apply(transform, input.columns(), rows, Deadline::after(DEADLINE))
    };
    let twin = (kernel.native)(&input);
    for stage in bound {
        compare(apply(stage)?.rows.columns(), &twin, kernel.exact)?;
    }

    let mut guest = Guest::fresh(bound[0].0, &bound[0].1)?;
    let frames = guest.frames(input.columns(), rows);
    let mut crossings = Vec::new();
    let mut seconds = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        crossings.push(seconds_a_call(|| {
            for (frame, rows) in &frames {
                std::hint::black_box(guest.call(frame, *rows).map_err(|fault| fault.to_string())?);
            }
            Ok(())
        })?);
        for (stage, rounds) in bound.iter().zip(&mut seconds) {
            rounds.push(seconds_a_call(|| {
                std::hint::black_box(apply(stage)?);
                Ok(())
            })?);
        }
        seconds[2].push(seconds_a_call(|| {
            std::hint::black_box((kernel.native)(&input));
            Ok(())
        })?);
    }
    let ratio = Spread::of(seconds[0].iter().zip(&seconds[2]).map(|(warm, native)| warm / native));
    let [warm, fresh, native] = seconds.map(Spread::of);
    let crossing = Spread::of(crossings);
    let values = rows * twin.len();
    let a_value = 1e9 / values as f64;
    let row = vec![
        kernel.plugin.to_owned(),
        rows.to_string(),
        format!("{:.2}", crossing.times(1e6)),
        format!("{:.2}", warm.times(1e6)),
        format!("{:.2}", fresh.times(1e6)),
        format!("{:.2}", native.times(1e6)),
        format!("{ratio:.1}"),
        format!("{:.2}", crossing.median * a_value),
        format!("{:.2}", warm.median * a_value),
        format!("{:.2}", native.median * a_value),
    ];
    let result = json!({
        "plugin": kernel.plugin, "rows": rows, "values": values, "crossing_seconds": crossing, "warm_seconds": warm, "fresh_seconds": fresh,
        "native_seconds": native, "warm_against_native": ratio,
    });
    table.push(row, result)
}

fn seconds_a_call(call: impl FnMut() -> Result<()>) -> Result<f64> {
    let (calls, time) = repeat(ROUND, call)?;
    Ok(time.as_secs_f64() / f64::from(calls))
}

fn compare(applied: &[ArrayRef], twin: &[ArrayRef], exact: bool) -> Result<()> {
    let same = |(ours, theirs): (&ArrayRef, &ArrayRef)| match ours.data_type() {
        DataType::Float64 if !exact => near(ours.as_primitive::<Float64Type>(), theirs.as_primitive::<Float64Type>()),
        _ => ours == theirs,
    };
    if applied.len() == twin.len() && applied.iter().zip(twin).all(same) {
        return Ok(());
    }
    Err("the transform and its native twin give different values".into())
}

fn near(ours: &Float64Array, theirs: &Float64Array) -> bool {
    let near = |(ours, theirs): (Option<f64>, Option<f64>)| match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
        (ours, theirs) => ours == theirs,
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(near)
}
