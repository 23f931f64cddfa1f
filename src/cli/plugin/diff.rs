//! `lockstep plugin diff`: two versions of a plugin are asked the same, and the bits are compared.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::given::{Component, parameters, workbench};
use crate::app::read_rows;
use crate::cli::{Context, Failure, Outcome, output};
use crate::transform::Transforms;
use crate::transform::conformance::{Comparison, OutputChange, Side, compare_versions};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plugin diff old/taxi_quote.wasm new/taxi_quote.wasm\n  lockstep plugin diff taxi_quote new/taxi_quote.wasm --input trips.parquet\n\nExits with 1 when the new version may not have its number: a patch changes no answer, a minor version only adds outputs."
)]
pub struct Arguments {
    /// The version that is used: a `.wasm` file, the folder of a plugin, or the name of a plugin of the project
    old: PathBuf,
    /// The version that is to follow
    new: PathBuf,
    /// The folder with golden cases; those beside either plugin if not given
    #[arg(long, value_name = "FOLDER")]
    goldens: Option<PathBuf>,
    /// A Parquet file with real rows
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// A parameter for the rows of the file; repeat it for more
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let old = Component::read(context, &arguments.old)?;
    let new = Component::read(context, &arguments.new)?;
    let mut cases = new.goldens(arguments.goldens.as_deref())?.0;
    if cases.is_empty() {
        cases = old.goldens(arguments.goldens.as_deref())?.0;
    }
    let rows = arguments.input.as_deref().map(read_rows).transpose()?;
    let stage = Transforms::start(workbench())?;
    let (old_digest, old_signature) = stage.load(&old.name, &old.bytes)?;
    let (new_digest, new_signature) = stage.load(&new.name, &new.bytes)?;
    let given = parameters(&old_signature, &arguments.parameters)?;
    let old = Side { plugin: &old.name, component: old_digest, signature: &old_signature };
    let new = Side { plugin: &new.name, component: new_digest, signature: &new_signature };
    let comparison = compare_versions(&stage, old, new, &cases, rows.as_ref(), &given)?;
    output::print(context.format, &comparison, shown)?;
    if comparison.rows == 0 {
        output::note("warning: no row was compared; write golden cases, or give real rows with --input");
    }
    Ok(if comparison.refused.is_some() { Outcome::Found } else { Outcome::Done })
}

fn shown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for change in &comparison.signature {
        let _ = writeln!(text, "signature: {}", change.what);
    }
    for output in comparison.outputs.iter().filter(|output| output.differing_rows > 0) {
        text.push_str(&output_lines(output, comparison.rows));
    }
    if comparison.refused_otherwise > 0 {
        let _ = writeln!(text, "{} rows are refused by one of them only", comparison.refused_otherwise);
    }
    for why in &comparison.not_compared {
        let _ = writeln!(text, "not compared: {why}");
    }
    let differing = comparison.outputs.iter().filter(|output| output.differing_rows > 0).count();
    let (old, new, rows) = (&comparison.old, &comparison.new, comparison.rows);
    let _ =
        writeln!(text, "{old} → {new}: {differing} of {} outputs differ over {rows} rows", comparison.outputs.len());
    match &comparison.refused {
        Some(why) => text + "refused: " + why,
        None => text + "the number fits",
    }
}

fn output_lines(output: &OutputChange, rows: usize) -> String {
    let largest = output.largest_difference.map_or(String::new(), |most| format!(", at most by {most}"));
    let mut text = format!("output {}: {} of {rows} rows differ{largest}\n", output.output, output.differing_rows);
    for example in &output.examples {
        let _ = writeln!(text, "  {}, row {}: {} → {}", example.case, example.row, example.old, example.new);
    }
    text
}
