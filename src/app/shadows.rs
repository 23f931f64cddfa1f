//! Builds of plugins that run beside the applied ones: started and ended in the registry, followed by every gateway.
//!
//! # Why in the registry and not in the definitions
//! A shadow answers nobody, so it changes nothing that a model was trained on. Were it a part of the definitions, starting
//! one would be a new version, and the files in the project's folder would have to be written by a command.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::{error, info};

use super::{Error, Planned, Project};
use crate::catalog::{Catalog, DerivedView, Digest, Placement, View};
use crate::clock::Clock;
use crate::config;
use crate::error::chain;
use crate::gateway::Gateway;
use crate::registry::{PluginFile, PluginTexts, Registry, ShadowRecord, Version};
use crate::shadow::Pair;
use crate::transform::Transforms;

/// What a gateway runs beside its answers, as the registry had it when it looked the last time.
#[derive(Default)]
pub(super) struct Followed {
    of: Option<(u64, Vec<ShadowRecord>)>,
}

impl Project {
    /// Has `bytes` run beside the plugin of a derived view on a share of its live calls.
    ///
    /// # Errors
    /// Also where the two cannot be compared: the other build reads something else, or lacks a feature of the view.
    pub async fn start_shadow(
        &self,
        view: &str,
        bytes: Vec<u8>,
        signature: Option<String>,
        share: f64,
    ) -> Result<Digest, Error> {
        let (registry, transforms) = (self.registry().await?, self.transforms()?);
        let on = self.applied_with(&registry, &transforms).await?;
        let plugin = derived(&on, view)?.transform.plugin.clone();
        let digest = Digest::of(&bytes);
        let known = registry.plugin_texts(digest).await?;
        let beside = PluginTexts { signature: signature.or(known.signature.clone()), ..known };
        let file = PluginFile { name: plugin, digest, bytes, beside };
        self.check_signature(&file)?;
        self.pair(&registry, &transforms, &on, view, &file).await?;
        registry.put_shadow(view, &file, share, &config::user(), Clock::default().now()).await?;
        Ok(digest)
    }

    /// The build that runs beside the one of a view, as the next version: like any other change of a plugin it must be
    /// allowed if services read the view. The shadow ends. Where the project's folder has the old build, the new one
    /// takes its place, so that the next apply does not undo this.
    pub async fn promote_shadow(&self, view: &str, allow_incompatible: bool) -> Result<(Planned, Version), Error> {
        let registry = self.registry().await?;
        let shadow = find(&registry, view).await?;
        let bytes = registry.plugin(shadow.digest).await?.ok_or_else(|| Error::NoShadow { view: view.to_owned() })?;
        let planned = self.with_plugin(&shadow.plugin, bytes.clone()).await?;
        let before = registry.latest().await?.ok_or(Error::NothingApplied)?;
        let version = self.apply(&planned, allow_incompatible).await?;
        registry.drop_shadow(view).await?;
        let old = before.plugins.iter().find(|of| of.name == shadow.plugin);
        if let (Some(path), Some(old)) = (self.plugin_in_folder(&shadow.plugin), old)
            && let Ok(written) = std::fs::read(&path)
            && Digest::of(&written) == old.digest
        {
            let beside = path.with_extension("wasm.new");
            let replaced = std::fs::write(&beside, &bytes).and_then(|()| std::fs::rename(&beside, &path));
            replaced.map_err(|source| Error::NotReplaced { path, source })?;
        }
        Ok((planned, version))
    }

    /// Ends the shadow of a view.
    pub async fn drop_shadow(&self, view: &str) -> Result<(), Error> {
        match self.registry().await?.drop_shadow(view).await? {
            true => Ok(()),
            false => Err(Error::NoShadow { view: view.to_owned() }),
        }
    }

    async fn applied_with(&self, registry: &Registry, transforms: &Transforms) -> Result<Catalog, Error> {
        let latest = registry.latest().await?.ok_or(Error::NothingApplied)?;
        self.built(latest, transforms)
    }

    /// The two transforms of a view. The new one is that of the definitions with the other build in them, so it has the
    /// parameters that it would have when it is promoted.
    async fn pair(
        &self,
        registry: &Registry,
        transforms: &Transforms,
        on: &Catalog,
        view: &str,
        plugin: &PluginFile,
    ) -> Result<Pair, Error> {
        let mut recorded = registry.latest().await?.ok_or(Error::NothingApplied)?;
        for of in recorded.plugins.iter_mut().filter(|of| of.name == plugin.name) {
            *of = plugin.clone();
        }
        let with_other = self.built(recorded, transforms)?;
        let (old, new) = (derived(on, view)?, derived(&with_other, view)?);
        if old.placement == Placement::Sync {
            let why = "it is computed at sync, and not when requests are answered".to_owned();
            return Err(Error::NotComparable { view: view.to_owned(), why });
        }
        Pair::new(old, new).map_err(|why| Error::NotComparable { view: view.to_owned(), why })
    }
}

/// Runs what the registry says, if that is something else than before. One that cannot be run is told and left out.
pub(super) async fn follow(project: &Project, gateway: &Arc<Gateway>, followed: &mut Followed) -> Result<(), Error> {
    let recorded = gateway.registry.shadows().await?;
    let now = (gateway.applied.load().version, recorded);
    if followed.of.as_ref() == Some(&now) || (now.1.is_empty() && !gateway.shadows.any()) {
        return Ok(());
    }
    let (loading, into, runtime, records) = (project.clone(), Arc::clone(gateway), Handle::current(), now.1.clone());
    // Off the async threads: compiling a plugin keeps a processor busy for seconds.
    let pairs = tokio::task::spawn_blocking(move || runtime.block_on(pairs(&loading, &into, &records))).await;
    let pairs = pairs.map_err(|stopped| Error::Server(stopped.to_string()))?;
    info!(shadows = pairs.len(), "builds of plugins run beside the applied ones");
    gateway.shadows.set(pairs);
    followed.of = Some(now);
    Ok(())
}

async fn pairs(project: &Project, gateway: &Gateway, records: &[ShadowRecord]) -> Vec<(Pair, f64)> {
    let on = gateway.applied.load_full();
    let mut pairs = Vec::with_capacity(records.len());
    for record in records {
        let pair = async {
            let bytes = gateway.registry.plugin(record.digest).await?;
            let bytes = bytes.ok_or_else(|| Error::NoShadow { view: record.view.clone() })?;
            let beside = gateway.registry.plugin_texts(record.digest).await?;
            let file = PluginFile { name: record.plugin.clone(), digest: record.digest, bytes, beside };
            project.check_signature(&file)?;
            project.pair(&gateway.registry, &gateway.transforms, &on.catalog, &record.view, &file).await
        };
        match pair.await {
            Ok(pair) => pairs.push((pair, record.share)),
            Err(failed) => error!(view = record.view, error = %chain(&failed), "a shadow cannot run"),
        }
    }
    pairs
}

async fn find(registry: &Registry, view: &str) -> Result<ShadowRecord, Error> {
    let found = registry.shadows().await?.into_iter().find(|shadow| shadow.view == view);
    found.ok_or_else(|| Error::NoShadow { view: view.to_owned() })
}

fn derived<'a>(catalog: &'a Catalog, view: &str) -> Result<&'a DerivedView, Error> {
    match catalog.view(view) {
        Some(View::Derived(derived)) => Ok(derived),
        Some(View::Feature(_)) | None => Err(Error::NotDerived { view: view.to_owned() }),
    }
}
