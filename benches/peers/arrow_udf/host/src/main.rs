//! Measures arrow-udf with the function of `plugins/arithmetic`, as `benches/transform.rs` measures ours, and prints a
//! line of JSON for each form of the function and each number of rows.
//!
//! Its one argument is the guest's module.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use arrow_udf_runtime::wasm::{FunctionHandle, Runtime};
use mimalloc::MiMalloc;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The allocator of our benchmark, so that neither is slower for its memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The one that Cargo.toml names.
const VERSION: &str = "arrow-udf-runtime 0.10.0";
/// The form of the function, and what the guest calls it.
const FUNCTIONS: [(&str, &str); 2] = [("columns", "arithmetic_by_columns"), ("rows", "arithmetic_by_rows")];
const COLUMNS: usize = 50;
const ROWS: [usize; 3] = [1, 200, 8_192];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(80);
const SEED: u64 = 20_161_231;
/// One value in so many is null.
const NULL_ONE_IN: u64 = 64;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: arrow_udf_host MODULE.wasm")?;
    let runtime = Runtime::new(&std::fs::read(path)?)?;
    let outputs = (0..COLUMNS).map(|column| Field::new(format!("y_{column}"), DataType::Float64, true));
    let outputs = DataType::Struct(outputs.collect());
    for (form, name) in FUNCTIONS {
        let function = runtime.find_function(name, vec![DataType::Float64; COLUMNS], outputs.clone())?;
        for rows in ROWS {
            let mut rounds = measure(&runtime, &function, rows)?;
            rounds.sort_by(f64::total_cmp);
            let line = json!({
                "runtime": "wasm", "form": form, "rows": rows, "values": rows * COLUMNS, "version": VERSION,
                "seconds": {"median": rounds[ROUNDS / 2], "smallest": rounds[0], "largest": rounds[ROUNDS - 1]},
            });
            println!("{line}");
        }
    }
    Ok(())
}

/// Seconds a call, of each round. The first call makes the instance that the others take from the runtime's pool.
fn measure(runtime: &Runtime, function: &FunctionHandle, rows: usize) -> Result<Vec<f64>> {
    let input = input(rows)?;
    compare(&runtime.call(function, &input)?, &input)?;
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut calls = 0;
        while started.elapsed() < ROUND {
            black_box(runtime.call(function, &input)?);
            calls += 1;
        }
        seconds.push(started.elapsed().as_secs_f64() / f64::from(calls));
    }
    Ok(seconds)
}

/// The same values as in our benchmark.
fn input(rows: usize) -> Result<RecordBatch> {
    let column = |column: usize| Float64Array::from_iter((0..rows).map(|row| value(row as u64, column as u64)));
    let columns = (0..COLUMNS).map(|number| (format!("x_{number}"), Arc::new(column(number)) as ArrayRef, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn value(row: u64, column: u64) -> Option<f64> {
    let hash = scatter(scatter(scatter(SEED ^ row) ^ column));
    (!hash.is_multiple_of(NULL_ONE_IN)).then(|| (hash >> 11) as f64 / (1_u64 << 53) as f64 * 100.0)
}

/// SplitMix64.
fn scatter(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// # Errors
/// If a value is not the native one to its last bit.
fn compare(output: &RecordBatch, input: &RecordBatch) -> Result<()> {
    let outputs = output.column(0).as_struct();
    let same = |(output, input): (&ArrayRef, &ArrayRef)| {
        let native = input.as_primitive::<Float64Type>().iter().map(|x| x.map(|x| ((x - 3.5) * 0.25).clamp(-5.0, 5.0)));
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        output.as_primitive::<Float64Type>().iter().map(bits).eq(native.map(bits))
    };
    let complete = outputs.num_columns() == COLUMNS && outputs.null_count() == 0;
    match complete && outputs.columns().iter().zip(input.columns()).all(same) {
        true => Ok(()),
        false => Err("arrow-udf and the native twin give different values".into()),
    }
}
