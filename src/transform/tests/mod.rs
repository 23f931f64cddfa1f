//! The stage with real guests: the committed components, healthy ones and misbehaving ones.

mod audit;
mod faults;
mod goldens;
mod hostile;
mod limits;
mod loading;
mod parity;
mod snapshots;
pub mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use serde_json::Value;

use super::{Applied, Error, Reuse, Settings, Transforms};
use crate::batch::record_batch;
use crate::catalog::{Parameter, Transform};
use crate::clock::Deadline;

use self::values::array_of;

/// The components under test: those that are committed, or those of the folder that the environment names.
fn component(plugin: &str) -> Vec<u8> {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/built");
    let folder = std::env::var_os("LOCKSTEP_PLUGINS_DIR").map_or(built, PathBuf::from);
    let file = folder.join(format!("{plugin}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Few instances, so that many engines fit beside each other; warm ones, so that reuse is tested where it can go wrong.
fn settings() -> Settings {
    Settings { instances_max: 8, reuse: Reuse::Always, ..Settings::default() }
}

fn stage(settings: Settings) -> Transforms {
    Transforms::start(settings).unwrap()
}

fn bound(stage: &Transforms, plugin: &str, parameters: &[(String, Parameter)]) -> Arc<Transform> {
    let (digest, _) = stage.load(plugin, &component(plugin)).unwrap();
    stage.bind(plugin, digest, parameters, None).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A batch with the transform's input columns; `columns` are their values.
fn batch(transform: &Transform, columns: &[Vec<Value>]) -> RecordBatch {
    let fields = super::signature::input_fields(&transform.signature);
    let arrays = fields.iter().zip(columns).map(|(field, values)| array_of(field.dtype, values)).collect();
    // The stage itself says what is wrong with a null in a column that takes none.
    let nullable: Vec<_> = fields.into_iter().map(|field| crate::catalog::Field { nullable: true, ..field }).collect();
    record_batch(&nullable, arrays, columns[0].len())
}

fn applied(stage: &Transforms, transform: &Transform, columns: &[Vec<Value>]) -> Result<Applied, Error> {
    let rows = batch(transform, columns);
    stage.apply(transform, rows.columns(), rows.num_rows(), soon())
}
