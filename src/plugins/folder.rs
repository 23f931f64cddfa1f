//! Plugins in a folder: of the project, of a shared disk, or the one that an HTTP server shows.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use semver::Version;

use super::layout::{self, Files, GOLDENS_FOLDER, goldens_beside};
use super::{Bundle, Error, Place, PluginPlace, Published, Release};

#[derive(Debug)]
pub(super) struct FolderPlace {
    folder: PathBuf,
    place: Place,
}

impl FolderPlace {
    pub fn new(folder: PathBuf) -> Self {
        Self { place: Place::Folder(folder.clone()), folder }
    }
}

#[async_trait]
impl Files for FolderPlace {
    async fn read(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, Error> {
        let file = self.folder.join(path);
        let failed = |source| Error::File { path: file.clone(), doing: "read", source };
        let opened = match fs::File::open(&file) {
            Err(error) if is_absent(&error) => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        opened.take(max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() > max {
            true => Err(Error::TooLarge { what: path.to_owned(), place: self.place.to_string(), max }),
            false => Ok(Some(bytes)),
        }
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

#[async_trait]
impl PluginPlace for FolderPlace {
    async fn fetch(&self, name: &str, version: Option<&Version>) -> Result<Bundle, Error> {
        let mut bundle = layout::fetch(self, name, version).await?;
        if bundle.beside.goldens.is_none() {
            // As an author has them: a folder of the plugin's own, one file a case.
            bundle.beside.goldens = goldens_beside(&self.folder.join(format!("{name}.{GOLDENS_FOLDER}")))?;
        }
        Ok(bundle)
    }

    async fn publish(&self, release: &Release<'_>) -> Result<Published, Error> {
        let Release { name, version, digest, bundle } = *release;
        let mut versions = layout::versions(self, name).await?;
        if let Some(there) = layout::other_digest(&versions, version, digest) {
            let (place, there) = (self.place.to_string(), there.to_owned());
            let version = format!("{name} {version}");
            return Err(Error::Exists { version, place, there, new: digest });
        }
        let folder = self.folder.join(name).join(version.to_string());
        fs::create_dir_all(&folder).map_err(|source| Error::File { path: folder.clone(), doing: "made", source })?;
        for (ending, bytes) in layout::parts(bundle) {
            replace(&folder.join(format!("{name}.{ending}")), bytes)?;
        }
        // Last, so that a version that is listed is there.
        let was_there = versions.insert(version.to_string(), digest.to_string()).is_some();
        let listed = serde_json::to_string_pretty(&versions).unwrap_or_default() + "\n";
        replace(&self.folder.join(name).join("versions.json"), listed.as_bytes())?;
        Ok(Published { at: folder.display().to_string(), was_there })
    }
}

/// Nothing is there, or something that is no folder stands in the way to it.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Readers see the file as it was, or as it is now.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), doing: "written", source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
