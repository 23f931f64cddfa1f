//! A plugin leaves for where gateways fetch it: once the stage has taken it and all checks of it passed here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

use super::plugins::compiling;
use super::{Error, Project, goldens_beside, read_goldens};
use crate::catalog::{Digest, Signature, snake_case_mistake};
use crate::config;
use crate::plugins::{self, Beside, Bundle, Place, PrivateKey, Published, Release, Settings};
use crate::transform::conformance::{Case, Verdict, examine};
use crate::transform::{self, Transforms};

/// What is to be published, and where.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    pub file: &'a Path,
    /// A folder, an address or `oci://…`.
    pub to: &'a str,
    /// The folder with the golden cases; those beside the file where none is named.
    pub goldens: Option<&'a Path>,
    /// The key that signs; the signature beside the file where none is named.
    pub key: Option<&'a Path>,
}

/// A plugin that was published.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedPlugin {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub at: String,
    /// The same bytes were there already; what travels beside them was replaced.
    pub was_there: bool,
    pub signed: bool,
    pub golden_cases: usize,
}

/// Sends a plugin to a place. A project need not be there; if one is, it says how to log in.
pub async fn publish(project: &Path, publication: &Publication<'_>) -> Result<PublishedPlugin, Error> {
    let (settings, stage) = match Project::open(project) {
        Ok(project) => (project.config.plugins, compiling(Some(project.config.cache))),
        Err(Error::Config(config::Error::NoProject { .. })) => (nothing_said(project), compiling(None)),
        Err(error) => return Err(error),
    };
    let place = place(publication.to)?;
    let component = read(publication.file)?;
    let (digest, Signature { name, version, .. }) = loaded(publication.file, &component, &stage)?;
    let goldens = match publication.goldens.map(Path::to_owned).or_else(|| goldens_beside(publication.file)) {
        Some(folder) => read_goldens(&folder)?,
        None => Vec::new(),
    };
    let beside = Beside {
        report: Some(report(&component, &name, &goldens, &stage)?),
        goldens: travelling(&name, &goldens)?,
        signature: signature(publication, &name, digest, &settings)?,
    };
    let signed = beside.signature.is_some();
    let bundle = Bundle { component, beside };
    let release = Release { name: &name, version: &version, digest, bundle: &bundle };
    let Published { at, was_there } = plugins::publish(&settings, &place, &release).await?;
    let version = version.to_string();
    Ok(PublishedPlugin { name, version, digest, at, was_there, signed, golden_cases: goldens.len() })
}

fn place(to: &str) -> Result<Place, Error> {
    let no_place = |detail: String| plugins::Error::NoPlace { text: to.to_owned(), detail };
    let place = Place::parse(to, Path::new("")).map_err(no_place)?;
    if matches!(place, Place::Url(_)) {
        // Known before the checks, which take seconds.
        return Err(plugins::Error::ReadOnly { place: place.to_string() }.into());
    }
    Ok(place)
}

/// What the plugin says of itself; a place files it under that.
fn loaded(file: &Path, component: &[u8], stage: &transform::Settings) -> Result<(Digest, Signature), Error> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (digest, signature) = Transforms::start(stage.clone())?.load(&stem, component)?;
    match snake_case_mistake(&signature.name) {
        Some(wrong) => Err(Error::Failed { detail: format!("its name {wrong}"), plugin: signature.name }),
        None => Ok((digest, signature)),
    }
}

/// The report of all checks of a plugin; one that fails some is not published.
fn report(component: &[u8], plugin: &str, goldens: &[Case], stage: &transform::Settings) -> Result<String, Error> {
    let report = examine(plugin, component, goldens, stage, &mut |_| {})?;
    let failed = report.checks.iter().filter(|check| check.verdict == Verdict::Failed);
    let failed: Vec<String> = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    match failed.is_empty() {
        // A report is made of numbers and texts, which can always be written.
        true => Ok(serde_json::to_string_pretty(&report).unwrap_or_default()),
        false => Err(Error::Failed { plugin: plugin.to_owned(), detail: failed.join("; ") }),
    }
}

/// Golden cases as they travel: a JSON object of them by name.
fn travelling(plugin: &str, goldens: &[Case]) -> Result<Option<String>, Error> {
    let mut cases = BTreeMap::new();
    for case in goldens {
        let wrong = |detail: String| Error::GoldenCases { plugin: plugin.to_owned(), detail };
        if let Some(file) = case.input_file().or(case.output_file()) {
            let name = &case.name;
            return Err(wrong(format!(
                "case {name} has rows in {file}; write them into the case, so that it can travel"
            )));
        }
        let text = RawValue::from_string(case.text()).map_err(|error| wrong(error.to_string()))?;
        cases.insert(case.name.as_str(), text);
    }
    Ok((!cases.is_empty()).then(|| serde_json::to_string(&cases).unwrap_or_default()))
}

/// Made now, or the one that lies beside the file. Whose it is, is for those to say who take the plugin; that it is one of
/// these bytes is known here.
fn signature(
    publication: &Publication<'_>,
    plugin: &str,
    digest: Digest,
    settings: &Settings,
) -> Result<Option<String>, Error> {
    if let Some(key) = publication.key {
        return Ok(Some(PrivateKey::read(key)?.sign(digest).to_string()));
    }
    let path = beside(publication.file);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| plugins::Error::File { path, doing: "read", source })?,
    };
    match plugins::verify(plugin, digest, &text, &settings.keys) {
        Ok(_) | Err(plugins::Error::UnknownKey { .. }) => Ok(Some(text)),
        Err(error) => Err(error.into()),
    }
}

/// Where the signature of a component lies.
pub fn beside(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

fn read(path: &Path) -> Result<Vec<u8>, plugins::Error> {
    fs::read(path).map_err(|source| plugins::Error::File { path: path.to_owned(), doing: "read", source })
}

/// What a folder without a project says of plugins.
fn nothing_said(folder: &Path) -> Settings {
    Settings {
        project: folder.to_owned(),
        usual: Place::Folder(folder.to_owned()),
        from: BTreeMap::new(),
        logins: BTreeMap::new(),
        keys: BTreeMap::new(),
        require_signature: false,
        lock: folder.join(config::LOCK_FILE_NAME),
        cache: folder.to_owned(),
    }
}
