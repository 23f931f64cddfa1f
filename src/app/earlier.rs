//! What is applied, with something in it put back or exchanged: the content of an earlier version, or another build of one
//! plugin. It becomes the next version like any other, so every gateway and every command of the project follows.
//!
//! Written definitions play no part; what the registry recorded does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Error, Opened, Planned, Project};
use crate::catalog::{Catalog, Day, DefinitionFile, Digest};
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::online::memory::MemoryStore;
use crate::plan;
use crate::plugins::Beside;
use crate::registry::{Recorded, Registry};

impl Project {
    /// Everything a flow needs, with the definitions of an earlier version.
    pub async fn gateway_at(&self, version: u64) -> Result<Arc<Gateway>, Error> {
        let (registry, recorded) = self.recorded_at(version).await?;
        self.gateway_of(registry, recorded, self.online_store().await?).await
    }

    /// The same with an empty online store, for work that reads history alone; a running gateway keeps the real one.
    pub async fn gateway_offline_at(&self, version: u64) -> Result<Arc<Gateway>, Error> {
        let (registry, recorded) = self.recorded_at(version).await?;
        self.gateway_of(registry, recorded, Opened { store: Arc::new(MemoryStore::default()), server: None }).await
    }

    async fn recorded_at(&self, version: u64) -> Result<(Registry, Recorded), Error> {
        let registry = self.registry().await?;
        let recorded = registry.version(version).await?.ok_or(Error::NoVersion { version })?;
        Ok((registry, recorded))
    }

    /// The content of an earlier version; of the one before the last change without a number.
    pub async fn earlier(&self, number: Option<u64>) -> Result<Planned, Error> {
        let registry = self.registry().await?;
        let latest = registry.latest().await?.ok_or(Error::NothingApplied)?;
        let number = number.unwrap_or(latest.number.saturating_sub(1));
        let recorded = registry.version(number).await?.ok_or(Error::NoVersion { version: number })?;
        self.planned_of(latest, recorded, &registry).await
    }

    /// What is applied, with another build of one plugin.
    pub async fn with_plugin(&self, plugin: &str, bytes: Vec<u8>) -> Result<Planned, Error> {
        let registry = self.registry().await?;
        let latest = registry.latest().await?.ok_or(Error::NothingApplied)?;
        let mut recorded = latest.clone();
        let Some(of) = recorded.plugins.iter_mut().find(|of| of.name == plugin) else {
            let known = latest.plugins.iter().map(|of| of.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::NoPlugin { plugin: plugin.to_owned(), known });
        };
        let digest = Digest::of(&bytes);
        (of.digest, of.bytes, of.beside) = (digest, bytes, registry.plugin_texts(digest).await?);
        self.planned_of(latest, recorded, &registry).await
    }

    /// What is applied, with the build of one plugin whose digest begins so; some version had it.
    pub async fn with_plugin_of_digest(&self, plugin: &str, begin: &str) -> Result<Planned, Error> {
        let found = self.registry().await?.plugins_that_begin(plugin, begin).await?;
        match found.as_slice() {
            [(_, bytes)] => self.with_plugin(plugin, bytes.clone()).await,
            [] => Err(Error::NoBuild { plugin: plugin.to_owned(), digest: begin.to_owned() }),
            [..] => Err(Error::ManyBuilds { plugin: plugin.to_owned(), digest: begin.to_owned() }),
        }
    }

    async fn planned_of(&self, latest: Recorded, recorded: Recorded, registry: &Registry) -> Result<Planned, Error> {
        self.check_signatures(&recorded)?;
        let transforms = self.transforms()?;
        let files: Vec<DefinitionFile> = recorded
            .definitions
            .iter()
            .map(|file| DefinitionFile { path: file.name.clone(), text: file.text.clone() })
            .collect();
        let plugins: BTreeMap<String, Vec<u8>> =
            recorded.plugins.iter().map(|plugin| (plugin.name.clone(), plugin.bytes.clone())).collect();
        let beside = recorded.plugins.iter().map(|plugin| (plugin.name.clone(), Beside::from(plugin.beside.clone())));
        let beside = beside.collect();
        let catalog = self.built(recorded, &transforms)?;
        self.check_online_views(&catalog)?;
        // What cannot be loaded is what most needs to be undone; then everything is shown as new.
        let before = match self.load(latest, registry, &transforms).await {
            Ok(applied) => applied.catalog,
            Err(_) => Catalog::empty(&self.config.project),
        };
        let changes = plan::compare(&before, &catalog, Day::of(Clock::default().now()));
        Ok(Planned { catalog, changes, warnings: Vec::new(), files, plugins, beside })
    }
}
