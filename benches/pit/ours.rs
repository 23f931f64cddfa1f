//! Our side of the join, in a process of its own like everybody's: `tables join FOLDER`.
//!
//! It joins once for each line of its input, as pit/contender.py has its peers do, and says what that took and a checksum
//! of all values.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use futures::TryStreamExt;
use lockstep::app::Project as App;
use lockstep::catalog::Selection;
use lockstep::flow::train::{Options, train};
use lockstep::gateway::Gateway;
use lockstep::training::read_labels;
use serde_json::json;

use super::case::SERVICE;
use crate::Result;
use crate::measure::{Stopwatch, runtime};
use crate::process::{Memory, forget_peak};
use crate::synthetic::scatter;

pub const COMMAND: &str = "join";
/// Of one label before the next: more than any case has features.
const PLACES_A_LABEL: u64 = 1_024;
const NULL: u64 = u64::MAX;

/// `FOLDER`: joins once for each line, until there is no more.
pub fn answer(arguments: &[String]) -> Result<()> {
    let [folder] = arguments else { return Err("the join wants the folder of a project".into()) };
    let folder = PathBuf::from(folder);
    let labels = folder.join("data/labels.parquet");
    let runtime = runtime()?;
    let gateway = runtime.block_on(async { App::open(&folder)?.gateway().await })?;
    println!("{}", json!({"ready": "lockstep, flow::train"}));
    for line in std::io::stdin().lock().lines() {
        line?;
        forget_peak()?;
        let stopwatch = Stopwatch::start()?;
        let set = runtime.block_on(join(&gateway, &labels))?;
        let seconds = stopwatch.stop()?;
        let memory = Memory::of(std::process::id()).ok_or("this process has no memory")?;
        let rows: usize = set.iter().map(RecordBatch::num_rows).sum();
        let answer = json!({
            "wall": seconds.wall, "cpu": seconds.cpu, "peak_bytes": memory.peak_bytes, "rows": rows,
            "checksum": format!("{:016x}", checksum(&set)?),
        });
        println!("{answer}");
    }
    Ok(())
}

/// The whole way of `lockstep train` but for the file it writes: labels from Parquet, plan, scan, join, Arrow.
async fn join(gateway: &Gateway, labels: &Path) -> Result<Vec<RecordBatch>> {
    let selection = Selection::Service { name: SERVICE.to_owned(), full_feature_names: None };
    let set = train(gateway, &selection, read_labels(labels, None)?, Options::default()).await?;
    Ok(set.batches.try_collect().await?)
}

/// The sum over all values, each with its label and feature, whatever the order of the rows; as in pit/contender.py.
fn checksum(set: &[RecordBatch]) -> Result<u64> {
    let mut sum = 0_u64;
    for batch in set {
        let labels = batch.column_by_name("label_id").ok_or("the labels have lost their numbers")?;
        let labels = labels.as_primitive::<Int64Type>();
        let schema = batch.schema_ref();
        let features = (0..batch.num_columns()).filter(|column| schema.field(*column).name().starts_with("f_"));
        for (feature, column) in features.enumerate() {
            let values = batch.column(column).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let bits = if values.is_null(row) { NULL } else { values.value(row).to_bits() };
                let place = labels.value(row) as u64 * PLACES_A_LABEL + feature as u64;
                sum = sum.wrapping_add(scatter(bits ^ scatter(place)));
            }
        }
    }
    Ok(sum)
}
