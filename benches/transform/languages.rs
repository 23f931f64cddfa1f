//! P4 in every language: 50 columns scaled and clamped, the same function written four times, and beside them by arrow-udf.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::RecordBatch;
use lockstep::catalog::Transform;
use lockstep::clock::Deadline;
use lockstep::config::tool_folders;
use lockstep::toolchain::{self, Folder, Language};
use lockstep::transform::{Reuse, Transforms};
use serde::Deserialize;
use serde_json::json;

use super::{DEADLINE, ROUNDS, Stage, compare, native, numbers, seconds_a_call};
use crate::Result;
use crate::measure::Spread;
use crate::process;
use crate::report::{Table, root};

const PLUGIN: &str = "arithmetic";
const ROWS: [usize; 3] = [1, 200, 8_192];
/// A workspace of its own, built into a folder of its own.
const ARROW_UDF: &str = "benches/peers/arrow_udf";
const ARROW_UDF_TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/arrow_udf");
const WASM: &str = "wasm32-unknown-unknown";

pub fn run() -> Result<()> {
    let header = [
        "language",
        "component",
        "rows",
        "warm µs a call",
        "fresh µs a call",
        "warm ns a value",
        "against Rust, warm",
        "fuel a value",
    ];
    let mut table = Table::new("languages", &header);
    let stages = [Stage::start(Reuse::Always)?, Stage::start(Reuse::Never)?];
    let mut in_rust = [0.0; ROWS.len()];
    for language in Language::ALL {
        eprintln!("-- {language}");
        let component = component(language)?;
        let mut bound = Vec::new();
        for stage in &stages {
            let (digest, _) = stage.transforms.load(PLUGIN, &component)?;
            bound.push((&stage.transforms, stage.transforms.bind(PLUGIN, digest, &[], None)?));
        }
        for (rows, in_rust) in ROWS.into_iter().zip(&mut in_rust) {
            let measured = measure(&bound, rows)?;
            if language == Language::Rust {
                *in_rust = measured.warm.median;
            }
            let against_rust = measured.warm.median / *in_rust;
            let a_value = measured.warm.median * 1e9 / measured.values as f64;
            let row = vec![
                language.to_string(),
                format!("{:.2} MB", component.len() as f64 / 1e6),
                rows.to_string(),
                format!("{:.1}", measured.warm.times(1e6)),
                format!("{:.1}", measured.fresh.times(1e6)),
                format!("{a_value:.1}"),
                format!("{against_rust:.1}"),
                format!("{:.0}", measured.fuel_per_value),
            ];
            let result = json!({
                "plugin": PLUGIN, "language": language.name(), "component_bytes": component.len(), "rows": rows,
                "values": measured.values, "warm_seconds": measured.warm, "fresh_seconds": measured.fresh,
                "warm_against_rust": against_rust, "fuel_per_value": measured.fuel_per_value,
            });
            table.push(row, result)?;
        }
    }
    push_arrow_udf(&in_rust, &mut table)?;
    table.note(
        "The same function in every language, its outputs equal to the last bit: `plugins/arithmetic`, 50 columns in and 50 out. \
         `Transforms::apply` on one thread; a value is one cell of the outputs.",
    );
    table.note(
        "Rust and C get a fresh instance for each call by default; Python and JavaScript, where one takes milliseconds, are kept warm.",
    );
    table.note(
        "arrow-udf: `benches/peers/arrow_udf`, a core module and a program of its own, over the same values; its `Runtime::call` with an \
         instance from its pool, which is its way. By columns: a function of whole arrays (`batch_fn` of its macro), as ours is written. \
         By rows: a function of one row, as its documentation writes them. It counts no fuel, has no deadline and leaves NaNs as they are.",
    );
    table.publish()
}

/// The committed component of the Rust plugin; the others are large, and built from their sources.
fn component(language: Language) -> Result<Vec<u8>> {
    match language {
        Language::Rust => Ok(fs::read(root().join(format!("plugins/built/{PLUGIN}.wasm")))?),
        _ => {
            let folder = Folder::open(&root().join(format!("plugins/{PLUGIN}/{language}")))?;
            Ok(toolchain::build(&folder, &tool_folders())?)
        }
    }
}

struct Measured {
    warm: Spread,
    fresh: Spread,
    values: usize,
    fuel_per_value: f64,
}

fn measure(bound: &[(&Transforms, Arc<Transform>)], rows: usize) -> Result<Measured> {
    let columns = numbers((0..50).map(|column| format!("x_{column}")), rows);
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let input = RecordBatch::try_from_iter_with_nullable(columns)?;
    let twin = native::arithmetic(&input);
    let apply = |(stage, transform): &(&Transforms, Arc<Transform>)| {
        stage.apply(transform, input.columns(), rows, Deadline::after(DEADLINE))
    };
    let mut fuel = 0;
    for stage in bound {
        let applied = apply(stage)?;
        compare(applied.rows.columns(), &twin, true)?;
        fuel = applied.fuel;
    }
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (stage, rounds) in bound.iter().zip(&mut seconds) {
            rounds.push(seconds_a_call(|| {
                std::hint::black_box(apply(stage)?);
                Ok(())
            })?);
        }
    }
    let [warm, fresh] = seconds.map(Spread::of);
    let values = rows * twin.len();
    Ok(Measured { warm, fresh, values, fuel_per_value: fuel as f64 / values as f64 })
}

/// What arrow-udf's program measured of one form of the function.
#[derive(Deserialize)]
struct MeasuredArrowUdf {
    version: String,
    form: String,
    rows: usize,
    values: usize,
    seconds: Seconds,
}

#[derive(Deserialize)]
struct Seconds {
    median: f64,
    smallest: f64,
    largest: f64,
}

/// `in_rust` is what our own took for each of `ROWS`.
fn push_arrow_udf(in_rust: &[f64; ROWS.len()], table: &mut Table) -> Result<()> {
    eprintln!("-- arrow-udf; to build it the first time takes minutes");
    cargo_build(&["--package", "arrow_udf_guest", "--target", WASM])?;
    cargo_build(&["--package", "arrow_udf_host"])?;
    let target = Path::new(ARROW_UDF_TARGET);
    let module = target.join(WASM).join("release/arrow_udf_guest.wasm");
    let module_bytes = fs::metadata(&module)?.len();
    let (_, lines) = process::run(Command::new(target.join("release/arrow_udf_host")).arg(&module))?;
    for line in lines.lines() {
        let measured: MeasuredArrowUdf = serde_json::from_str(line)?;
        let position = ROWS.iter().position(|rows| *rows == measured.rows);
        let in_rust = in_rust[position.ok_or("arrow-udf's program measures other numbers of rows")?];
        let Seconds { median, smallest, largest } = measured.seconds;
        let warm = Spread { median, min: smallest, max: largest };
        let language = format!("{}, Rust, by {}", measured.version, measured.form);
        let row = vec![
            language.clone(),
            format!("{:.2} MB", module_bytes as f64 / 1e6),
            measured.rows.to_string(),
            format!("{:.1}", warm.times(1e6)),
            "–".to_owned(),
            format!("{:.1}", warm.median * 1e9 / measured.values as f64),
            format!("{:.1}", warm.median / in_rust),
            "–".to_owned(),
        ];
        let result = json!({
            "plugin": PLUGIN, "language": language, "component_bytes": module_bytes, "rows": measured.rows,
            "values": measured.values, "warm_seconds": warm, "fresh_seconds": null,
            "warm_against_rust": warm.median / in_rust, "fuel_per_value": null,
        });
        table.push(row, result)?;
    }
    Ok(())
}

/// In the folder of the workspace, because flags for WebAssembly stand there.
fn cargo_build(arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root().join(ARROW_UDF)).args(["build", "--release", "--locked"]).args(arguments);
    match cargo.args(["--target-dir", ARROW_UDF_TARGET]).status()?.success() {
        true => Ok(()),
        false => Err(format!("cargo cannot build {ARROW_UDF} {}", arguments.join(" ")).into()),
    }
}
