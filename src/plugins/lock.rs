//! `plugins.lock`: which bytes of each plugin a project uses. Written by us, kept with the definitions, read by people
//! who review a change of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use semver::Version;
use serde::Deserialize;

use super::Error;
use crate::catalog::Digest;
use crate::document::{Document, Mistakes, Shape, schema_of};

const HEAD: &str = "\
# The bytes of each plugin that this project uses. Written by lockstep plugin lock and lockstep plugin update; keep it
# with the definitions.
";
const SHA256: &str = "sha256:";

/// The pinned plugins, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub plugins: BTreeMap<String, Locked>,
}

/// One pinned plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    pub version: Version,
    pub digest: Digest,
    /// As [`super::Settings::place_text`] gives it.
    pub place: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LockFile {
    #[serde(default)]
    plugins: BTreeMap<String, LockedFile>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LockedFile {
    version: String,
    digest: String,
    place: String,
}

impl Lock {
    /// The lock file at `path`; one that is not there pins nothing.
    pub fn read(path: &Path) -> Result<Self, Error> {
        match fs::read_to_string(path) {
            Ok(text) => {
                let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                Ok(Self::parse(&name, &text)?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::File { path: path.to_owned(), doing: "read", source }),
        }
    }

    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Mistakes> {
        let document = Document::parse(name, text)?;
        let schema = schema_of::<LockFile>("urn:lockstep:schema:plugins-lock:1", "plugins.lock");
        let file: LockFile = document.read(&Shape::new(schema))?;
        let (mut plugins, mut mistakes) = (BTreeMap::new(), Vec::new());
        for (plugin, LockedFile { version, digest, place }) in file.plugins {
            let mut told = |key: &str, text: String| {
                mistakes.push(document.mistake(&format!("/plugins/{plugin}/{key}"), text));
            };
            let version = Version::parse(&version).map_err(|wrong| told("version", format!("{version:?}: {wrong}")));
            let digest = digest.strip_prefix(SHA256).and_then(|hex| hex.parse().ok());
            if digest.is_none() {
                told("digest", format!("a digest is {SHA256} and 64 hex digits"));
            }
            if let (Ok(version), Some(digest)) = (version, digest) {
                plugins.insert(plugin, Locked { version, digest, place });
            }
        }
        if mistakes.is_empty() { Ok(Self { plugins }) } else { Err(Mistakes::from(mistakes)) }
    }

    /// Replaces the file as a whole.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File { path: path.to_owned(), doing: "written", source };
        let beside = path.with_extension("lock.new");
        fs::write(&beside, self.text()).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        text.push_str(if self.plugins.is_empty() { "plugins: {}\n" } else { "plugins:\n" });
        for (name, Locked { version, digest, place }) in &self.plugins {
            // A JSON string is a YAML string.
            let place = serde_json::Value::from(place.as_str());
            let _ =
                writeln!(text, "  {name}:\n    version: {version}\n    digest: {SHA256}{digest}\n    place: {place}");
        }
        text
    }
}
