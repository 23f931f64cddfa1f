//! The transform stage: named columns in, new columns out, computed by WASM plugins.
//!
//! Knows nothing of stores, flows or wires; takes a batch and gives a batch. Serving, sync, ingest and training all
//! pass through [`Transforms::apply`]; there is no second way to run a plugin, so a feature cannot differ between them.
//! This is the only folder that names wasmtime.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::catalog::{Digest, Parameter, Signature, Transform};
use crate::clock::Deadline;
use crate::error::ErrorKind;

/// Where compiled plugins are kept, by digest; `None` compiles at every start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub cache: Option<PathBuf>,
}

/// The loaded plugins and their instances.
#[derive(Debug)]
pub struct Transforms {}

/// What one call gave: a batch with the transform's outputs, in order, and the rows that the plugin refused (their
/// outputs are null).
#[derive(Clone, Debug)]
pub struct Applied {
    pub rows: RecordBatch,
    pub errors: Vec<RowError>,
    /// All row errors, those beyond the bound of `errors` included.
    pub error_count: usize,
    pub fuel: u64,
}

/// A row that a plugin refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    pub row: usize,
    pub code: u32,
    pub message: String,
}

impl Transforms {
    /// Starts the stage: the engine, its pool, and the thread that counts milliseconds for deadlines.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let _ = settings;
        todo!()
    }

    /// Checks, compiles (or takes from the cache) and describes a component. Loading the same bytes again is cheap.
    pub fn load(&self, plugin: &str, component: &[u8]) -> Result<(Digest, Signature), Error> {
        let _ = (plugin, component);
        todo!()
    }

    /// A loaded component with its parameters filled in. `outputs` selects some of its outputs; `None` takes all.
    pub fn bind(
        &self,
        plugin: &str,
        component: Digest,
        parameters: &[(String, Parameter)],
        outputs: Option<&[String]>,
    ) -> Result<Arc<Transform>, Error> {
        let _ = (plugin, component, parameters, outputs);
        todo!()
    }

    /// Applies a transform to a batch of any length. The batch has the transform's input columns in its order.
    /// Computes on the calling thread.
    pub fn apply(&self, transform: &Transform, rows: &RecordBatch, deadline: Deadline) -> Result<Applied, Error> {
        let _ = (transform, rows, deadline);
        todo!()
    }
}

/// Why a plugin cannot be loaded, or why a call of it failed. A fault is of that call alone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("plugin {plugin} is not a component we can run: {detail}")]
    NotAComponent { plugin: String, detail: String },
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAComponent { .. } => ErrorKind::Invalid,
        }
    }
}
