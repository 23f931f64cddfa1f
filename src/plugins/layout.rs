//! How plugins lie in files, in a folder and behind an HTTP address alike.
//!
//! ```text
//! taxi_company.wasm                        as a build leaves it: one version, whichever it says it is
//! taxi_company.wasm.sig                    beside it: its signature,
//! taxi_company.report.json                 the report of its tests,
//! taxi_company.goldens.json                its golden cases, by name
//! taxi_company/versions.json               as it is published: the digests of all versions, and each in a folder
//! taxi_company/1.2.0/taxi_company.wasm …
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use async_trait::async_trait;
use semver::Version;

use super::{Beside, Bundle, Error, Place, newest, text};
use crate::catalog::Digest;
use crate::limits::{
    COMPONENT_BYTES_MAX, PLUGIN_GOLDENS_BYTES_MAX, PLUGIN_REPORT_BYTES_MAX, PLUGIN_SIGNATURE_BYTES_MAX,
    PLUGIN_VERSIONS_BYTES_MAX,
};

/// The folder with golden cases, one file each, beside a component that its author works on.
pub(super) const GOLDENS_FOLDER: &str = "goldens";

/// Files by their path below a place.
#[async_trait]
pub(super) trait Files: fmt::Debug + Send + Sync {
    /// The bytes of a file; none if there is no such file. More than `max` bytes are refused.
    async fn read(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, Error>;

    fn place(&self) -> &Place;
}

/// The published versions of a plugin: SHA-256 in hex by version.
pub(super) type Versions = BTreeMap<String, String>;

/// A plugin in some version: what lies there as built, where that is meant, else what is published.
pub(super) async fn fetch(files: &dyn Files, name: &str, version: Option<&Version>) -> Result<Bundle, Error> {
    if let Some(version) = version
        && let Some(bundle) = bundle(files, &format!("{name}/{version}/{name}")).await?
    {
        return Ok(bundle);
    }
    if let Some(bundle) = bundle(files, name).await? {
        return Ok(bundle);
    }
    let (plugin, place) = (name.to_owned(), files.place().to_string());
    if let Some(version) = version {
        return Err(Error::NoVersion { plugin, version: version.to_string(), place });
    }
    let published = versions(files, name).await?;
    let Some(newest) = newest(published.keys().filter_map(|version| version.parse().ok())) else {
        return Err(Error::NoPlugin { plugin, place });
    };
    let found = bundle(files, &format!("{name}/{newest}/{name}")).await?;
    found.ok_or_else(|| Error::NoVersion { plugin, version: newest.to_string(), place })
}

/// The versions that are published; none where nothing is.
pub(super) async fn versions(files: &dyn Files, name: &str) -> Result<Versions, Error> {
    let path = format!("{name}/versions.json");
    let Some(bytes) = files.read(&path, PLUGIN_VERSIONS_BYTES_MAX).await? else { return Ok(Versions::new()) };
    serde_json::from_slice(&bytes).map_err(|error| Error::Unusable {
        what: path,
        place: files.place().to_string(),
        detail: error.to_string(),
    })
}

/// The component whose path is `stem` with its ending, and what lies beside it.
async fn bundle(files: &dyn Files, stem: &str) -> Result<Option<Bundle>, Error> {
    let Some(component) = files.read(&format!("{stem}.wasm"), COMPONENT_BYTES_MAX).await? else { return Ok(None) };
    let beside = Beside {
        signature: beside(files, stem, "wasm.sig", PLUGIN_SIGNATURE_BYTES_MAX).await?,
        goldens: beside(files, stem, "goldens.json", PLUGIN_GOLDENS_BYTES_MAX).await?,
        report: beside(files, stem, "report.json", PLUGIN_REPORT_BYTES_MAX).await?,
    };
    Ok(Some(Bundle { component, beside }))
}

async fn beside(files: &dyn Files, stem: &str, ending: &str, max: usize) -> Result<Option<String>, Error> {
    let path = format!("{stem}.{ending}");
    let bytes = files.read(&path, max).await?;
    bytes.map(|bytes| text(bytes, &path, files.place())).transpose()
}

/// What is published under a path: the files of a bundle by their endings.
pub(super) fn parts(bundle: &Bundle) -> Vec<(&'static str, &[u8])> {
    let Beside { signature, goldens, report } = &bundle.beside;
    let mut parts = vec![("wasm", bundle.component.as_slice())];
    let beside = [("wasm.sig", signature), ("goldens.json", goldens), ("report.json", report)];
    parts.extend(beside.into_iter().filter_map(|(ending, text)| Some((ending, text.as_ref()?.as_bytes()))));
    parts
}

/// The golden cases in a folder, as one text: a JSON object of the cases by their files' names. None where there are none.
pub(super) fn goldens_beside(folder: &Path) -> Result<Option<String>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, doing: "read", source }
    };
    if !folder.is_dir() {
        return Ok(None);
    }
    let (mut cases, mut bytes) = (BTreeMap::new(), 0);
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let case = fs::read_to_string(&path).map_err(failed(&path))?;
        bytes += case.len();
        if bytes > PLUGIN_GOLDENS_BYTES_MAX {
            let (what, place) = ("golden cases".to_owned(), folder.display().to_string());
            return Err(Error::TooLarge { what, place, max: PLUGIN_GOLDENS_BYTES_MAX });
        }
        let case = serde_json::value::RawValue::from_string(case).map_err(|error| Error::Unusable {
            what: path.display().to_string(),
            place: folder.display().to_string(),
            detail: error.to_string(),
        })?;
        cases.insert(name, case);
    }
    // Texts as keys and JSON as values can always be written.
    Ok((!cases.is_empty()).then(|| serde_json::to_string(&cases).unwrap_or_default()))
}

/// The digest that `versions.json` has for a version, if another one is there under it.
pub(super) fn other_digest<'a>(versions: &'a Versions, version: &Version, digest: Digest) -> Option<&'a str> {
    let there = versions.get(&version.to_string())?;
    (*there != digest.to_string()).then_some(there)
}
