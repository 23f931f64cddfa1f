//! What the commands about plugins are given: a component, its golden cases, parameters and rows.

use std::path::{Path, PathBuf};

use super::path_of;
use crate::app::{goldens_beside, read_goldens};
use crate::catalog::{DType, Parameter, Scalar, Signature};
use crate::cli::{Context, Failure};
use crate::config;
use crate::error::ErrorKind;
use crate::transform::Settings;
use crate::transform::conformance::Case;

/// A component that was read, not yet looked at.
pub struct Component {
    pub name: String,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Component {
    pub fn read(context: &Context, plugin: &Path) -> Result<Self, Failure> {
        let path = path_of(context, plugin)?;
        let bytes = std::fs::read(&path).map_err(|error| Failure {
            kind: ErrorKind::Unavailable,
            text: format!("{} cannot be read: {error}", path.display()),
        })?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, path, bytes })
    }

    /// The golden cases in `folder`, or those beside the component, and where they are.
    pub fn goldens(&self, folder: Option<&Path>) -> Result<(Vec<Case>, Option<PathBuf>), Failure> {
        match folder.map(Path::to_owned).or_else(|| goldens_beside(&self.path)) {
            Some(folder) => Ok((read_goldens(&folder)?, Some(folder))),
            None => Ok((Vec::new(), None)),
        }
    }
}

/// A stage as a gateway has it; what it compiles is kept among the user's own files, because a component in Python takes
/// seconds and is looked at over and over.
pub fn workbench() -> Settings {
    let cache = config::tool_folders().cache.join("compiled");
    Settings { cache: Some(cache), snapshots: true, ..Settings::default() }
}

/// `name=value` texts as parameters of the types that the plugin declares.
pub fn parameters(signature: &Signature, texts: &[String]) -> Result<Vec<(String, Parameter)>, Failure> {
    texts.iter().map(|text| parameter(signature, text)).collect()
}

fn parameter(signature: &Signature, text: &str) -> Result<(String, Parameter), Failure> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Failure::invalid(format!("{text:?} is no parameter; write it as name=value")));
    };
    let spec = signature.parameters.iter().find(|spec| spec.name == name);
    let parsed = match spec.map(|spec| spec.dtype) {
        // Binding says which parameters there are.
        None | Some(DType::One(Scalar::String)) => Parameter::String(value.to_owned()),
        Some(dtype) => serde_json::from_str(value)
            .map_err(|_| Failure::invalid(format!("parameter {name} is {dtype}, and {value:?} is none")))?,
    };
    Ok((name.to_owned(), parsed))
}
