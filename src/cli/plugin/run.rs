//! `lockstep plugin run`: a plugin over the rows of a Parquet file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use clap::Args;
use serde::Serialize;

use super::given::{Component, parameters, workbench};
use crate::app::read_rows;
use crate::batch::{record_batch, timestamps};
use crate::cast;
use crate::catalog::{Field, Signature, TimeUse};
use crate::cli::{Context, Failure, Outcome, output, time};
use crate::clock::{Deadline, Micros};
use crate::limits::CONFORMANCE_CALL_TIME_MAX;
use crate::offline::write_parquet;
use crate::transform::conformance::inputs_of;
use crate::transform::{Applied, RowError, Transforms, input_fields};
use crate::values::{Column, Times};

/// Rows of the printed table.
const ROWS_SHOWN: usize = 20;
/// Characters of a value in the table.
const CHARACTERS_SHOWN: usize = 32;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plugin run taxi_company --input trips.parquet\n  lockstep plugin run fare_ratio.wasm --input trips.parquet --param most=5 --to ratios.parquet"
)]
pub struct Arguments {
    /// A `.wasm` file, the folder of a plugin, or the name of a plugin of the project
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// A Parquet file with the plugin's inputs; other columns are left aside
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// A parameter that is not the plugin's default; repeat it for more
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// The time of every row, for a plugin that uses time; the column as_of of the file if not given
    #[arg(long, value_parser = time::parse)]
    as_of: Option<Micros>,
    /// Write the outputs to this Parquet file, in the order of the rows
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// What the plugin answered.
#[derive(Serialize)]
struct Answered {
    rows: usize,
    outputs: serde_json::Map<String, serde_json::Value>,
    refused_rows: usize,
    refused: Vec<Refused>,
    fuel: u64,
}

#[derive(Serialize)]
struct Refused {
    row: usize,
    code: u32,
    message: String,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let component = Component::read(context, &arguments.plugin)?;
    let rows = read_rows(&arguments.input)?;
    let stage = Transforms::start(workbench())?;
    let (digest, signature) = stage.load(&component.name, &component.bytes)?;
    let transform = stage.bind(&component.name, digest, &parameters(&signature, &arguments.parameters)?, None)?;
    let rows = with_times(&signature, rows, arguments.as_of)?;
    let inputs = inputs_of(&signature, &rows)?;
    let deadline = Deadline::after(CONFORMANCE_CALL_TIME_MAX);
    let applied = stage.apply(&transform, &inputs, rows.num_rows(), deadline)?;

    match &arguments.to {
        Some(path) => write(&applied.rows, path)?,
        None => {
            let named = input_fields(&signature);
            let inputs = record_batch(&nullable(named), inputs, rows.num_rows());
            output::print(context.format, &answered(&applied), |_| table(&inputs, &applied))?;
        }
    }
    if applied.error_count > 0 {
        let first = applied.errors.first().map_or(String::new(), |error| format!("; the first: {}", refusal(error)));
        output::note(format!("{} of {} rows were refused{first}", applied.error_count, rows.num_rows()));
    }
    Ok(Outcome::Done)
}

/// The same rows with the column `as_of`, if the plugin uses time and one time was given for all rows.
fn with_times(signature: &Signature, rows: RecordBatch, as_of: Option<Micros>) -> Result<RecordBatch, Failure> {
    let Some(as_of) = as_of else { return Ok(rows) };
    if signature.time == TimeUse::None {
        return Err(Failure::invalid(format!("--as-of is given, and {} uses no time", signature.name)));
    }
    let times: ArrayRef = Arc::new(timestamps(vec![Some(as_of); rows.num_rows()]));
    let others =
        rows.schema_ref().fields().iter().map(|field| field.name().clone()).zip(rows.columns().iter().cloned());
    let columns = others.filter(|(name, _)| name != "as_of").chain([("as_of".to_owned(), times)]);
    RecordBatch::try_from_iter(columns).map_err(|error| Failure::invalid(error.to_string()))
}

/// A null in a column that takes none is a refused row, and is shown as what it is.
fn nullable(fields: Vec<Field>) -> Vec<Field> {
    fields.into_iter().map(|field| Field { nullable: true, ..field }).collect()
}

fn write(rows: &RecordBatch, path: &Path) -> Result<(), Failure> {
    write_parquet(path, rows.schema_ref(), std::slice::from_ref(rows), &[])?;
    output::note(format!("wrote {} rows to {}", rows.num_rows(), path.display()));
    Ok(())
}

fn answered(applied: &Applied) -> Answered {
    let values = |column: &ArrayRef| {
        let mut json = vec![b'['];
        Column::of(column, Times::Micros).push_all(&mut json, column.len());
        json.push(b']');
        serde_json::from_slice(&json).unwrap_or_default()
    };
    let fields = applied.rows.schema_ref().fields().iter().zip(applied.rows.columns());
    let refused = applied.errors.iter();
    Answered {
        rows: applied.rows.num_rows(),
        outputs: fields.map(|(field, column)| (field.name().clone(), values(column))).collect(),
        refused_rows: applied.error_count,
        refused: refused
            .map(|error| Refused { row: error.row, code: error.code, message: error.message.clone() })
            .collect(),
        fuel: applied.fuel,
    }
}

/// The first rows: what went in, then what came out.
fn table(inputs: &RecordBatch, applied: &Applied) -> String {
    let rows = inputs.num_rows();
    let named = |batch: &RecordBatch, sign: &str| -> Vec<String> {
        batch.schema_ref().fields().iter().map(|field| format!("{sign}{}", field.name())).collect()
    };
    let header = [named(inputs, ""), named(&applied.rows, "→ ")].concat();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let cells = |row: usize| {
        let columns = inputs.columns().iter().chain(applied.rows.columns());
        columns.map(|column| clipped(&cast::to_text(column, row))).collect()
    };
    let mut text = output::table(&header, (0..rows.min(ROWS_SHOWN)).map(cells));
    if rows > ROWS_SHOWN {
        let _ = write!(text, "\n… {} more rows; --to writes all of them to a file", rows - ROWS_SHOWN);
    }
    text
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn refusal(error: &RowError) -> String {
    format!("row {} with code {}: {}", error.row, error.code, error.message)
}
