//! Plugins that were fetched, by digest, so that a project runs while the place that it got them from is away.
//!
//! A component is asked for by its digest and looked at before it is given, so a damaged one is one that is not there. A
//! cache that cannot be written to costs a fetch the next time and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{Beside, Bundle};
use crate::catalog::Digest;
use crate::limits::COMPONENT_BYTES_MAX;

const COMPONENT: &str = "component.wasm";
const SIGNATURE: &str = "component.wasm.sig";
const GOLDENS: &str = "goldens.json";
const REPORT: &str = "report.json";

/// Where the component with this digest is kept, if it is.
pub fn path(cache: &Path, digest: Digest) -> PathBuf {
    folder(cache, digest).join(COMPONENT)
}

pub(super) fn find(cache: &Path, digest: Digest) -> Option<Bundle> {
    let file = path(cache, digest);
    if fs::metadata(&file).ok()?.len() > COMPONENT_BYTES_MAX as u64 {
        return None;
    }
    let component = fs::read(&file).ok()?;
    if Digest::of(&component) != digest {
        warn!(file = %file.display(), "a plugin in the cache is damaged; it is fetched again");
        return None;
    }
    let beside = beside(&folder(cache, digest)).ok()?;
    Some(Bundle { component, beside })
}

fn beside(folder: &Path) -> io::Result<Beside> {
    let text = |name: &str| match fs::read_to_string(folder.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    Ok(Beside { signature: text(SIGNATURE)?, goldens: text(GOLDENS)?, report: text(REPORT)? })
}

/// Keeps a plugin, in the place of what was kept of the same digest.
pub(super) fn keep(cache: &Path, digest: Digest, bundle: &Bundle) {
    if let Err(error) = try_keep(cache, digest, bundle) {
        warn!(cache = %cache.display(), "a plugin cannot be kept; it is fetched again the next time: {error}");
    }
}

fn try_keep(cache: &Path, digest: Digest, bundle: &Bundle) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    let made = tempfile::tempdir_in(cache)?;
    fs::write(made.path().join(COMPONENT), &bundle.component)?;
    let Beside { signature, goldens, report } = &bundle.beside;
    for (name, text) in [(SIGNATURE, signature), (GOLDENS, goldens), (REPORT, report)] {
        if let Some(text) = text {
            fs::write(made.path().join(name), text)?;
        }
    }
    let folder = folder(cache, digest);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let made = made.keep();
    fs::rename(&made, folder).inspect_err(|_| {
        // It is of no use under its temporary name, and whoever came first has kept the same bytes.
        let _ = fs::remove_dir_all(&made);
    })
}

fn folder(cache: &Path, digest: Digest) -> PathBuf {
    cache.join(digest.to_string())
}
