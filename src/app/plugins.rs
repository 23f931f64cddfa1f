//! The plugins of a project: they arrive, are pinned, and admitted to the stage.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Plugins, Project, verified};
use crate::catalog::{Definitions, Digest, Signature};
use crate::config;
use crate::error::chain;
use crate::plugins::{self, Beside, Bundle, Fetched, Lock, Locked, Place};
use crate::registry::{PluginFile, PluginTexts, Recorded};
use crate::transform::conformance::FuelBudget;
use crate::transform::{Child, Compiler, Settings, Transforms};

/// The plugins that definitions name: their bytes, or why there are none, and what is known of those that arrived.
pub(super) struct Arrived {
    pub components: Plugins,
    pub others: BTreeMap<String, Arrival>,
}

/// What is known of a plugin beside its bytes.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub beside: Beside,
    place: String,
    is_from_elsewhere: bool,
}

/// What of the report of a plugin's tests counts here. The rest is for people, and may change.
#[derive(Deserialize)]
struct Measured {
    /// Of the component, SHA-256 in hex.
    digest: String,
    fuel: FuelBudget,
}

/// A plugin that the lock file pins now.
#[derive(Clone, Debug, Serialize)]
pub struct Pinned {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub place: String,
    /// The digest that was pinned before; none if it is pinned for the first time.
    pub before: Option<Digest>,
}

/// A plugin of the project, as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub place: String,
    pub pinned: bool,
    /// What the project calls the key that signed it.
    pub signed_by: Option<String>,
    pub goldens: verified::Standing,
    /// Whether instances are used for more than one call.
    pub instances: &'static str,
    pub memory_mib: u64,
    pub fuel_per_call: u64,
    pub fuel_per_row: u64,
    pub call_time_ms: u64,
    pub output_mib: u64,
}

impl Project {
    /// Where the bytes of a plugin of the project are on this machine, if they are.
    pub fn plugin_path(&self, plugin: &str) -> PathBuf {
        let settings = &self.config.plugins;
        let locked = Lock::read(&settings.lock).ok().and_then(|lock| lock.plugins.get(plugin).cloned());
        match (self.plugin_in_folder(plugin), locked) {
            (Some(path), _) => path,
            (None, Some(locked)) => plugins::kept_path(&settings.cache, locked.digest),
            // Nothing of this name was fetched yet.
            (None, None) => settings.cache.join(format!("{plugin}.wasm")),
        }
    }

    /// The file that a plugin is built to, where its place is a folder.
    pub(super) fn plugin_in_folder(&self, plugin: &str) -> Option<PathBuf> {
        match self.config.plugins.chosen(plugin) {
            (Place::Folder(folder), _) => Some(folder.join(format!("{plugin}.wasm"))),
            _ => None,
        }
    }

    /// A stage for the project's plugins, to look at them.
    pub(super) fn transforms(&self) -> Result<Transforms, Error> {
        self.stage(false)
    }

    /// A stage for the project's plugins, to call them over and over.
    pub(super) fn transforms_of_gateway(&self) -> Result<Transforms, Error> {
        self.stage(true)
    }

    fn stage(&self, snapshots: bool) -> Result<Transforms, Error> {
        let config::Audit { compare_one_in, on_impure } = self.config.audit;
        let settings = compiling(Some(self.config.cache.clone()));
        let transforms = Transforms::start(Settings { compare_one_in, on_impure, snapshots, ..settings })?;
        transforms.set_limits(self.config.plugin_limits.clone());
        Ok(transforms)
    }

    /// The definitions as they are written.
    fn definitions(&self) -> Result<Definitions, Error> {
        let files = config::definition_files(&self.config.folder)?;
        Ok(Definitions::parse(&self.config.project, &files)?)
    }

    /// The plugins that definitions name, fetched, and admitted to the stage.
    pub(super) async fn arrived(&self, definitions: &Definitions, transforms: &Transforms) -> Result<Arrived, Error> {
        let settings = &self.config.plugins;
        let lock = Lock::read(&settings.lock)?;
        let (mut components, mut others) = (Plugins::new(), BTreeMap::new());
        for name in definitions.plugins() {
            let component = plugins::fetch(settings, &lock, &name).await.map(|fetched| {
                let Fetched { bundle, place, is_from_elsewhere, .. } = fetched;
                let Bundle { component, beside } = bundle;
                others.insert(name.clone(), Arrival { beside, place, is_from_elsewhere });
                component
            });
            components.insert(name, component.map_err(|error| chain(&error)));
        }
        let beside = others.iter().map(|(name, arrival)| (name.clone(), arrival.beside.clone())).collect();
        self.admit(transforms, &mut components, &beside);
        Ok(Arrived { components, others })
    }

    /// Gives the stage what it must know of plugins, and has their golden cases run on this machine. One that is not
    /// admitted is one that is not there, and says why.
    pub(super) fn admit(&self, transforms: &Transforms, components: &mut Plugins, beside: &BTreeMap<String, Beside>) {
        for (name, component) in components {
            let Ok(bytes) = component else { continue };
            let Some(beside) = beside.get(name) else { continue };
            // What the stage itself says against a plugin is told where its transform is bound.
            let Ok((digest, _)) = transforms.load(name, bytes) else { continue };
            if let Err(refused) = self.admitted(transforms, name, digest, beside) {
                *component = Err(chain(&refused));
            }
        }
    }

    fn admitted(
        &self,
        transforms: &Transforms,
        name: &str,
        digest: Digest,
        beside: &Beside,
    ) -> Result<verified::Standing, Error> {
        if let Some(report) = &beside.report {
            let report: Measured = serde_json::from_str(report)
                .map_err(|error| Error::Report { plugin: name.to_owned(), detail: error.to_string() })?;
            if report.digest != digest.to_string() {
                let detail = format!("it is of the component {}", report.digest);
                return Err(Error::Report { plugin: name.to_owned(), detail });
            }
            transforms.set_fuel_budget(digest, report.fuel);
        }
        let Some(cases) = &beside.goldens else { return Ok(verified::Standing::NONE) };
        verified::verify(transforms, &self.config.cache, name, digest, cases)
    }

    /// Pins what comes from elsewhere and is not pinned yet; of everything, whether it is what was chosen.
    pub(super) fn pin_new(&self, arrived: &Arrived, transforms: &Transforms) -> Result<(), Error> {
        let settings = &self.config.plugins;
        let mut lock = Lock::read(&settings.lock)?;
        let mut changed = false;
        for (name, arrival) in &arrived.others {
            let Some(Ok(bytes)) = arrived.components.get(name) else { continue };
            // What the stage itself says against a plugin is told where its transform is bound.
            let Ok((digest, signature)) = transforms.load(name, bytes) else { continue };
            self.check_identity(name, &signature)?;
            if arrival.is_from_elsewhere && !lock.plugins.contains_key(name) {
                let locked = Locked { version: signature.version, digest, place: arrival.place.clone() };
                lock.plugins.insert(name.clone(), locked);
                changed = true;
            }
        }
        if changed { Ok(lock.write(&settings.lock)?) } else { Ok(()) }
    }

    /// A place may hold anything under a name; what counts is what the plugin says of itself.
    fn check_identity(&self, name: &str, signature: &Signature) -> Result<(), Error> {
        let (place, wanted) = self.config.plugins.chosen(name);
        let other_name = place.host().is_some() && signature.name != name;
        let other_version = wanted.is_some_and(|wanted| *wanted != signature.version);
        match other_name || other_version {
            true => Err(Error::OtherPlugin {
                plugin: wanted.map_or_else(|| name.to_owned(), |wanted| format!("{name} {wanted}")),
                place: self.config.plugins.place_text(place),
                is: format!("{} {}", signature.name, signature.version),
            }),
            false => Ok(()),
        }
    }

    /// Pins the plugins of the definitions, those of folders too. `anew` takes for these the ones that their places have
    /// now, whatever was pinned; the others stay as they are pinned. Nothing is written where one of them is refused.
    pub async fn lock_plugins(&self, anew: &[String]) -> Result<Vec<Pinned>, Error> {
        let settings = &self.config.plugins;
        let definitions = self.definitions()?;
        let transforms = self.transforms()?;
        let before = Lock::read(&settings.lock)?;
        let names = definitions.plugins();
        if let Some(unknown) = anew.iter().find(|name| !names.contains(*name)) {
            let known = names.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::NotUsed { plugin: unknown.clone(), known });
        }
        let (mut lock, mut pinned) = (Lock::default(), Vec::new());
        for name in names {
            let fetched = match anew.contains(&name) {
                true => plugins::fetch_anew(settings, &name).await?,
                false => plugins::fetch(settings, &before, &name).await?,
            };
            let Fetched { digest, bundle, place, .. } = fetched;
            let (_, signature) = transforms.load(&name, &bundle.component)?;
            self.check_identity(&name, &signature)?;
            self.admitted(&transforms, &name, digest, &bundle.beside)?;
            let version = signature.version;
            let before = before.plugins.get(&name).map(|locked| locked.digest);
            pinned.push(Pinned {
                name: name.clone(),
                version: version.to_string(),
                digest,
                place: place.clone(),
                before,
            });
            lock.plugins.insert(name, Locked { version, digest, place });
        }
        lock.write(&settings.lock)?;
        Ok(pinned)
    }

    /// The plugins of the definitions, as they would be applied now.
    pub async fn listed_plugins(&self) -> Result<Vec<Listed>, Error> {
        let settings = &self.config.plugins;
        let definitions = self.definitions()?;
        let transforms = self.transforms()?;
        let lock = Lock::read(&settings.lock)?;
        let mut listed = Vec::new();
        for name in definitions.plugins() {
            let Fetched { digest, bundle, place, signed_by, .. } = plugins::fetch(settings, &lock, &name).await?;
            let (_, signature) = transforms.load(&name, &bundle.component)?;
            let goldens = self.admitted(&transforms, &name, digest, &bundle.beside)?;
            let limits = transforms.limits(&name, digest);
            let mib = |bytes: usize| bytes as u64 >> 20;
            listed.push(Listed {
                version: signature.version.to_string(),
                digest,
                place,
                pinned: lock.plugins.contains_key(&name),
                signed_by,
                goldens,
                instances: if transforms.keeps_warm(digest) { "warm" } else { "fresh" },
                memory_mib: mib(limits.memory_bytes_max),
                fuel_per_call: limits.fuel_per_call,
                fuel_per_row: limits.fuel_per_row,
                call_time_ms: u64::try_from(limits.call_time_max.as_millis()).unwrap_or(u64::MAX),
                output_mib: mib(limits.output_bytes_max),
                name,
            });
        }
        Ok(listed)
    }

    /// Whether what the registry recorded of plugins is signed as the project wants it today.
    pub(super) fn check_signatures(&self, recorded: &Recorded) -> Result<(), Error> {
        recorded.plugins.iter().try_for_each(|plugin| self.check_signature(plugin))
    }

    /// The same of one plugin.
    pub(super) fn check_signature(&self, plugin: &PluginFile) -> Result<(), Error> {
        let settings = &self.config.plugins;
        let PluginFile { name, digest, beside, .. } = plugin;
        match &beside.signature {
            _ if !settings.require_signature => Ok(()),
            Some(text) => plugins::verify(name, *digest, text, &settings.keys).map(drop).map_err(Error::from),
            None => Err(plugins::Error::Unsigned { plugin: name.clone() }.into()),
        }
    }
}

/// A stage whose plugins are compiled in processes of their own, where this is the program that can be called for it.
pub(super) fn compiling(cache: Option<PathBuf>) -> Settings {
    let compiler = config::program().map_or(Compiler::InProcess, |program| Compiler::InChild(Child::of(program)));
    Settings { cache, compiler, ..Settings::default() }
}

impl From<&Beside> for PluginTexts {
    fn from(beside: &Beside) -> Self {
        let Beside { signature, goldens, report } = beside.clone();
        Self { signature, goldens, report }
    }
}

impl From<PluginTexts> for Beside {
    fn from(texts: PluginTexts) -> Self {
        let PluginTexts { signature, goldens, report } = texts;
        Self { signature, goldens, report }
    }
}
