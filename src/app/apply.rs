//! Planned definitions become the next version, unless that breaks someone.

use super::{Error, Planned, Project, services};
use crate::catalog::Digest;
use crate::clock::Clock;
use crate::config;
use crate::plan::{self, Change};
use crate::registry::{self, NewVersion, PluginTexts, Version};

impl Planned {
    /// What to do in place of changes that break someone, each as a sentence.
    pub fn ways_out(&self) -> Vec<String> {
        plan::ways_out(&self.changes, &self.catalog)
    }
}

impl Project {
    /// Records planned definitions as the next version.
    pub async fn apply(&self, planned: &Planned, allow_incompatible: bool) -> Result<Version, Error> {
        let told = |is: fn(&Change) -> bool| -> Vec<String> {
            planned.changes.iter().filter(|change| is(change)).map(ToString::to_string).collect()
        };
        let (promised, mut breaking) = (told(Change::is_refused), told(Change::is_incompatible));
        if !promised.is_empty() {
            return Err(Error::Promised(promised.join("\n")));
        }
        if !breaking.is_empty() && !allow_incompatible {
            breaking.extend(planned.ways_out());
            return Err(Error::Incompatible(breaking.join("\n")));
        }
        self.put_back(planned).await
    }

    /// The same without asking whom it breaks: what is put back was in use before.
    pub async fn put_back(&self, planned: &Planned) -> Result<Version, Error> {
        let plugins = planned.plugins.iter().map(|(name, bytes)| registry::PluginFile {
            name: name.clone(),
            digest: Digest::of(bytes),
            bytes: bytes.clone(),
            beside: planned.beside.get(name).map(PluginTexts::from).unwrap_or_default(),
        });
        let version = NewVersion {
            project: self.config.project.clone(),
            catalog_hash: planned.catalog.hash(),
            applied_by: config::user(),
            applied_at: Clock::default().now(),
            definitions: planned
                .files
                .iter()
                .map(|file| registry::DefinitionFile { name: file.path.clone(), text: file.text.clone() })
                .collect(),
            plugins: plugins.collect(),
            services: services::shapes(&planned.catalog),
            summary: planned.changes.iter().map(ToString::to_string).collect(),
        };
        Ok(self.registry().await?.record(version).await?)
    }
}
