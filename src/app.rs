//! The composition root: a project's folder becomes a gateway, and a gateway becomes listening servers.
//!
//! The only file that names concrete adapters. Definitions are built the same way from files (`plan`, `apply`) and from
//! what the registry recorded (`gateway`), so what was applied is what runs.

mod allowances;
mod apply;
mod earlier;
mod goldens;
mod plugins;
mod publish;
mod reading;
mod servers;
mod services;
mod shadows;
mod swap;
mod verified;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::backend::Backend;
use crate::catalog::{self, Catalog, Day, DefinitionFile, Definitions, PluginUse, Source, Transform, Warning};
use crate::clock::{Clock, Deadline, Steady};
use crate::config::{self, Config, HotView};
use crate::document::Mistakes;
use crate::error::ErrorKind;
use crate::flow;
use crate::gateway::{Applied, Gateway, Swaps, Syncing};
use crate::limits;
use crate::metrics::Metrics;
use crate::offline::{
    self, DeltaTables, ObjectStores, OfflineStore, ParquetTables, PostgresTables, Reads, StoredSources,
};
use crate::online::cache::{CachedStore, Keeping};
use crate::online::embedded::EmbeddedStore;
use crate::online::guarded::{GuardedStore, Parts};
use crate::online::memory::MemoryStore;
use crate::online::redis::{self, Mode, RedisStore};
pub use crate::online::redis::{Copied, Copying, Layout};
use crate::online::{self, OnlineStore};
use crate::plan::{self, Change};
use crate::plugins::Beside;
use crate::registry::{self, Recorded, Registry};
use crate::request_log;
use crate::shadow::Shadows;
use crate::transform::{self, Transforms};

pub use goldens::{goldens_beside, read_goldens, write_golden};
pub use plugins::{Listed, Pinned};
pub use publish::{Publication, PublishedPlugin, beside, publish};
pub use reading::{Explained, file_statistics};
pub use servers::Servers;
pub use verified::Standing;

/// A project on this machine: its folder and what `lockstep.yaml` says.
#[derive(Clone, Debug)]
pub struct Project {
    pub config: Config,
}

/// The written definitions, checked and compared with the applied ones.
#[derive(Debug)]
pub struct Planned {
    pub catalog: Catalog,
    pub changes: Vec<Change>,
    pub warnings: Vec<Warning>,
    files: Vec<DefinitionFile>,
    plugins: BTreeMap<String, Vec<u8>>,
    /// What came beside them.
    beside: BTreeMap<String, Beside>,
}

/// Why a project cannot be planned, applied or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    #[error(transparent)]
    Transform(#[from] transform::Error),
    #[error(transparent)]
    Conformance(#[from] transform::conformance::Error),
    #[error("golden cases {path}: {detail}")]
    Golden { path: PathBuf, detail: String },
    #[error(transparent)]
    Online(#[from] online::Error),
    #[error(transparent)]
    Offline(#[from] offline::Error),
    #[error(transparent)]
    Flow(#[from] flow::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Plan(#[from] plan::Error),
    #[error(transparent)]
    Plugins(#[from] crate::plugins::Error),
    #[error("plugin {plugin} computes otherwise on this machine than where it was tested: {detail}")]
    OtherHere { plugin: String, detail: String },
    #[error("the golden cases of plugin {plugin} cannot be run: {detail}")]
    GoldenCases { plugin: String, detail: String },
    #[error("the report of the tests of plugin {plugin} cannot be used: {detail}")]
    Report { plugin: String, detail: String },
    #[error("plugin {plugin} is not published: {detail}; lockstep plugin test shows the same checks")]
    Failed { plugin: String, detail: String },
    #[error("{place} has {is} where {plugin} should be; have its publisher put that right")]
    OtherPlugin { plugin: String, place: String, is: String },
    #[error("the definitions use no plugin {plugin}; they use {known}")]
    NotUsed { plugin: String, known: String },
    #[error(transparent)]
    RequestLog(#[from] request_log::Error),
    #[error("nothing is applied yet; run lockstep apply")]
    NothingApplied,
    #[error("the registry has no version {version}; lockstep history shows those that it has")]
    NoVersion { version: u64 },
    #[error("plugin {plugin} is not applied; these are: {known}")]
    NoPlugin { plugin: String, known: String },
    #[error(
        "no version had a build of plugin {plugin} whose digest begins with {digest}; lockstep history shows versions"
    )]
    NoBuild { plugin: String, digest: String },
    #[error("nothing runs beside the plugin of {view}; lockstep shadow start begins it")]
    NoShadow { view: String },
    #[error("{view} is not a derived view, so no plugin computes it")]
    NotDerived { view: String },
    #[error("the two builds of {view} cannot be compared: {why}")]
    NotComparable { view: String, why: String },
    #[error(
        "the new version is on, but {path} cannot be replaced; write the new build there, or the next apply undoes it"
    )]
    NotReplaced { path: PathBuf, source: io::Error },
    #[error("several builds of plugin {plugin} have digests that begin with {digest}; write more of it")]
    ManyBuilds { plugin: String, digest: String },
    #[error("these changes break what is in use:\n{0}\napply them with --allow-incompatible if that is meant")]
    Incompatible(String),
    #[error("these changes break a promise:\n{0}")]
    Promised(String),
    #[error("hot_cache names {view}, which is not a view of the online store; these are: {known}")]
    NotOnline { view: String, known: String },
    #[error("a running gateway cannot take up {what}; restart it")]
    NeedsRestart { what: String },
    #[error("cannot listen on {address}; is another gateway running?")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("folder {folder} cannot be made")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{path} does not fit in memory as one table: {detail}")]
    TooMuch { path: PathBuf, detail: String },
    #[error("the server stopped: {0}")]
    Server(String),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(source) => source.kind(),
            Self::Mistakes(source) => source.kind(),
            Self::Transform(source) => source.kind(),
            Self::Conformance(source) => source.kind(),
            Self::Golden { .. } => ErrorKind::Invalid,
            Self::Online(source) => source.kind(),
            Self::Offline(source) => source.kind(),
            Self::Flow(source) => source.kind(),
            Self::Registry(source) => source.kind(),
            Self::Plan(source) => source.kind(),
            Self::Plugins(source) => source.kind(),
            Self::OtherHere { .. } => ErrorKind::PluginFault,
            Self::GoldenCases { .. } | Self::Report { .. } | Self::Failed { .. } | Self::OtherPlugin { .. } => {
                ErrorKind::Invalid
            }
            Self::NothingApplied
            | Self::Incompatible(_)
            | Self::Promised(_)
            | Self::NeedsRestart { .. }
            | Self::Listen { .. } => ErrorKind::Conflict,
            Self::NotOnline { .. }
            | Self::NoVersion { .. }
            | Self::NoPlugin { .. }
            | Self::NoBuild { .. }
            | Self::NoShadow { .. }
            | Self::NotDerived { .. }
            | Self::NotUsed { .. } => ErrorKind::NotFound,
            Self::ManyBuilds { .. } | Self::NotComparable { .. } => ErrorKind::Invalid,
            Self::TooMuch { .. } => ErrorKind::TooLarge,
            Self::Server(_) | Self::Folder { .. } | Self::NotReplaced { .. } | Self::RequestLog(_) => {
                ErrorKind::Unavailable
            }
        }
    }
}

impl Project {
    /// Reads `lockstep.yaml` in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self { config: config::read(folder)? })
    }

    pub async fn registry(&self) -> Result<Registry, Error> {
        make_folder_of(&self.config.registry)?;
        Ok(Registry::open(&self.config.registry).await?)
    }

    /// Checks the definition files and compares them with what is applied.
    pub async fn plan(&self) -> Result<Planned, Error> {
        let files = config::definition_files(&self.config.folder)?;
        let definitions = Definitions::parse(&self.config.project, &files)?;
        let transforms = self.transforms()?;
        let arrived = self.arrived(&definitions, &transforms).await?;
        self.pin_new(&arrived, &transforms)?;
        let plugins = arrived.components;
        let columns = self.source_columns(&definitions).await?;
        let (catalog, mut warnings) = build(&definitions, &plugins, &transforms, &columns)?;
        warnings.extend(self.look_ahead(&definitions, &catalog).await?);
        self.check_online_views(&catalog)?;
        let before = match self.registry().await?.latest().await? {
            Some(_) => self.applied_catalog().await?.catalog,
            None => Catalog::empty(&self.config.project),
        };
        let changes = plan::compare(&before, &catalog, Day::of(Clock::default().now()));
        let plugins = plugins.into_iter().filter_map(|(name, bytes)| Some((name, bytes.ok()?))).collect();
        let beside = arrived.others.into_iter().map(|(name, arrival)| (name, arrival.beside)).collect();
        Ok(Planned { catalog, changes, warnings, files, plugins, beside })
    }

    /// The definitions as they were applied last, built of what the registry recorded.
    pub async fn applied_catalog(&self) -> Result<Applied, Error> {
        let registry = self.registry().await?;
        let recorded = registry.latest().await?.ok_or(Error::NothingApplied)?;
        self.load(recorded, &registry, &self.transforms()?).await
    }

    /// Everything a flow needs, with the definitions that were applied last.
    pub async fn gateway(&self) -> Result<Arc<Gateway>, Error> {
        let registry = self.registry().await?;
        let recorded = registry.latest().await?.ok_or(Error::NothingApplied)?;
        self.gateway_of(registry, recorded, self.online_store().await?).await
    }

    async fn gateway_of(&self, registry: Registry, recorded: Recorded, opened: Opened) -> Result<Arc<Gateway>, Error> {
        let transforms = self.transforms_of_gateway()?;
        self.check_signatures(&recorded)?;
        let applied = self.load(recorded, &registry, &transforms).await?;
        self.check_online_views(&applied.catalog)?;
        let (offline, reads) = self.stored_sources()?;
        offline.define(applied.catalog.sources.clone());
        let transforms = Arc::new(transforms);
        let mut metrics = Metrics::of(&transforms);
        metrics.of_reads(reads);
        let Opened { store, server } = opened;
        let request_log: Arc<request_log::RequestLog> = Arc::default();
        metrics.of_request_log(&request_log);
        let online = guard(store, server, &mut metrics);
        let online = cache(online, &self.config.hot_cache, &applied.catalog, &mut metrics)?;
        metrics.version_on(applied.version);
        let shadows = Arc::new(Shadows::default());
        metrics.of_shadows(Arc::clone(&shadows));
        Ok(Arc::new(Gateway {
            applied: ArcSwap::from_pointee(applied),
            online,
            offline: Arc::new(offline),
            metrics,
            transforms,
            registry,
            clock: Clock::default(),
            join_space: self.config.join_space.clone(),
            serve_deadline: self.config.serve_deadline,
            syncing: Syncing {
                memory_bytes: self.config.sync.memory_bytes,
                checkpoint_every: self.config.sync.checkpoint_every,
                ..Syncing::in_folder(self.config.sync.spool.clone())
            },
            swaps: Swaps::default(),
            shadows,
            request_log,
        }))
    }

    /// The offline store and the applied definitions, without the online store, which a running gateway may hold.
    pub async fn offline(&self) -> Result<(Arc<dyn OfflineStore>, Catalog), Error> {
        let catalog = self.applied_catalog().await?.catalog;
        let (offline, _) = self.stored_sources()?;
        offline.define(catalog.sources.clone());
        Ok((Arc::new(offline), catalog))
    }

    async fn load(&self, recorded: Recorded, registry: &Registry, transforms: &Transforms) -> Result<Applied, Error> {
        let number = recorded.number;
        let mut catalog = self.built(recorded, transforms)?;
        catalog.service_versions = services::versions(self, registry, transforms).await?;
        Ok(Applied::new(catalog, number))
    }

    /// The catalog that recorded definitions describe.
    fn built(&self, recorded: Recorded, transforms: &Transforms) -> Result<Catalog, Error> {
        let files: Vec<DefinitionFile> =
            recorded.definitions.into_iter().map(|file| DefinitionFile { path: file.name, text: file.text }).collect();
        let definitions = Definitions::parse(&recorded.project, &files)?;
        let (mut plugins, mut beside) = (Plugins::new(), BTreeMap::new());
        for plugin in recorded.plugins {
            beside.insert(plugin.name.clone(), Beside::from(plugin.beside));
            plugins.insert(plugin.name, Ok(plugin.bytes));
        }
        self.admit(transforms, &mut plugins, &beside);
        Ok(build(&definitions, &plugins, transforms, &BTreeMap::new())?.0)
    }

    /// Copies the rows of these stored views, of all where none is named, to another layout on the same Redis.
    pub async fn copy_online(
        &self,
        [from, to]: [CopyEnd; 2],
        views: &[String],
        tell: &(dyn Fn(Copying) + Sync),
    ) -> Result<Copied, Error> {
        let config::OnlineStore::Redis(settings) = &self.config.online_store else {
            let detail = "only a store in Redis has layouts, and lockstep.yaml names another".to_owned();
            return Err(online::Error::Setup { detail }.into());
        };
        let catalog = self.applied_catalog().await?.catalog;
        let mut stored = plan::online_views(&catalog);
        if let Some(unknown) = views.iter().find(|name| !stored.iter().any(|view| view.name == **name)) {
            return Err(plan::Error::UnknownView { view: unknown.clone(), project: catalog.project }.into());
        }
        stored.retain(|view| views.is_empty() || views.contains(&view.name));
        let end = |end: CopyEnd| {
            let prefix = end.prefix.unwrap_or_else(|| settings.prefix.clone());
            match config::prefix_mistake(&prefix) {
                Some(detail) => Err(online::Error::Setup { detail }),
                None => Ok(redis::Settings { layout: end.layout, prefix, ..(**settings).clone() }),
            }
        };
        Ok(redis::copy(&end(from)?, &end(to)?, &stored, tell).await?)
    }

    /// What Feast calls the project, and the version of its keys, as far as lockstep.yaml says it.
    pub fn feast(&self) -> (String, u8) {
        match &self.config.online_store {
            config::OnlineStore::Redis(settings) => match &settings.layout {
                Layout::Feast { project, key_version } => (project.clone(), *key_version),
                Layout::Packed | Layout::Hash => (self.config.project.clone(), 3),
            },
            config::OnlineStore::Embedded { .. } | config::OnlineStore::Memory => (self.config.project.clone(), 3),
        }
    }

    /// Whether the online store can hold the views of a catalog, as far as that can be said without asking it.
    fn check_online_views(&self, catalog: &Catalog) -> Result<(), Error> {
        match &self.config.online_store {
            config::OnlineStore::Embedded { .. } | config::OnlineStore::Memory => Ok(()),
            config::OnlineStore::Redis(settings) => Ok(redis::check(settings, &plan::online_views(catalog))?),
        }
    }

    async fn online_store(&self) -> Result<Opened, Error> {
        Ok(match &self.config.online_store {
            config::OnlineStore::Embedded { path } => {
                make_folder_of(path)?;
                Opened { store: Arc::new(EmbeddedStore::open(path)?), server: None }
            }
            config::OnlineStore::Memory => Opened { store: Arc::new(MemoryStore::default()), server: None },
            config::OnlineStore::Redis(settings) => {
                let store = RedisStore::connect(settings, Deadline::after(limits::ONLINE_OPEN_DEADLINE)).await?;
                let parts = match settings.server.mode {
                    Mode::Cluster => Parts::Many,
                    Mode::Standalone | Mode::Sentinel { .. } => Parts::One,
                };
                Opened { store: Arc::new(store), server: Some(("redis", parts)) }
            }
        })
    }

    /// The offline store, and what its scans will count.
    fn stored_sources(&self) -> Result<(StoredSources, Arc<Reads>), Error> {
        let buckets = Arc::new(ObjectStores::new(&self.config.object_stores)?);
        let parquet = ParquetTables::new(self.config.folder.clone(), Arc::clone(&buckets));
        let reads = parquet.reads();
        let delta = DeltaTables::new(self.config.folder.clone(), buckets);
        let postgres = PostgresTables::new(self.config.postgres.values().cloned());
        let sources = StoredSources::new(vec![Arc::new(parquet), Arc::new(delta), Arc::new(postgres)]);
        Ok((sources.within(self.config.join_space.clone()), reads))
    }

    /// The columns of each source, or why they cannot be read; a push source without rows has none yet.
    async fn source_columns(
        &self,
        definitions: &Definitions,
    ) -> Result<BTreeMap<String, Result<SchemaRef, String>>, Error> {
        let sources: BTreeMap<String, Source> =
            definitions.sources().into_iter().map(|source| (source.name.clone(), source)).collect();
        let (offline, _) = self.stored_sources()?;
        offline.define(sources.clone());
        let mut columns = BTreeMap::new();
        for (name, source) in
            sources.iter().filter(|(_, source)| !matches!(source.kind, catalog::SourceKind::Push { .. }))
        {
            let schema = offline.schema(source).await.map_err(|error| crate::error::chain(&error));
            columns.insert(name.clone(), schema);
        }
        Ok(columns)
    }
}

/// One end of a copy within the online store: which rows are meant.
#[derive(Clone, Debug)]
pub struct CopyEnd {
    pub layout: Layout,
    /// Begins the keys; the prefix in lockstep.yaml where none is given.
    pub prefix: Option<String>,
}

/// An online store, and the name of the server behind it if there is one.
struct Opened {
    store: Arc<dyn OnlineStore>,
    /// The name of the server that keeps it, as metrics and errors say it.
    server: Option<(&'static str, Parts)>,
}

/// A store that another process keeps is asked through a guard; one in this process fails only with it.
fn guard(
    store: Arc<dyn OnlineStore>,
    server: Option<(&'static str, Parts)>,
    metrics: &mut Metrics,
) -> Arc<dyn OnlineStore> {
    let Some((server, parts)) = server else { return store };
    let backend = Arc::new(Backend::new(server, Steady::default()));
    metrics.of_backends(vec![Arc::clone(&backend)]);
    Arc::new(GuardedStore::new(store, parts, backend))
}

/// Rows of the views that the project chose stay in this process for a moment; without such views nothing is in between.
fn cache(
    store: Arc<dyn OnlineStore>,
    chosen: &config::HotCache,
    catalog: &Catalog,
    metrics: &mut Metrics,
) -> Result<Arc<dyn OnlineStore>, Error> {
    if chosen.views.is_empty() {
        return Ok(store);
    }
    let online = plan::online_views(catalog);
    let mut kept = Vec::with_capacity(chosen.views.len());
    for (name, HotView { rows, max_age, absent }) in &chosen.views {
        let Some(view) = online.iter().find(|view| view.name == *name) else {
            let known = online.iter().map(|view| view.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::NotOnline { view: name.clone(), known });
        };
        kept.push((Arc::clone(view), Keeping { rows: *rows, max_age: *max_age, absent: *absent }));
    }
    let cached = Arc::new(CachedStore::new(store, &kept, Steady::default()));
    metrics.of_cache(Arc::clone(&cached));
    Ok(cached)
}

/// The bytes of the plugins that definitions name, or why there are none.
type Plugins = BTreeMap<String, Result<Vec<u8>, String>>;

/// Definitions, plugin bytes and source columns become a catalog, or all mistakes.
fn build(
    definitions: &Definitions,
    plugins: &Plugins,
    transforms: &Transforms,
    columns: &BTreeMap<String, Result<SchemaRef, String>>,
) -> Result<(Catalog, Vec<Warning>), Error> {
    let bind = |plugin: &PluginUse| -> Result<Arc<Transform>, String> {
        let bytes = plugins.get(&plugin.plugin).ok_or_else(|| format!("plugin {} is not there", plugin.plugin))?;
        let bytes = bytes.as_ref().map_err(String::clone)?;
        let (digest, _) = transforms.load(&plugin.plugin, bytes).map_err(|error| crate::error::chain(&error))?;
        transforms
            .bind(&plugin.plugin, digest, &plugin.parameters, plugin.outputs.as_deref())
            .map_err(|error| crate::error::chain(&error))
    };
    Ok(catalog::build(definitions, &bind, &|source| columns.get(source).cloned())?)
}

/// The stores make their files, not the folders these lie in.
fn make_folder_of(file: &Path) -> Result<(), Error> {
    let Some(folder) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|source| Error::Folder { folder: folder.to_owned(), source })
}

/// All rows of a Parquet file: labels, or rows to push.
pub fn read_rows(path: &Path) -> Result<RecordBatch, Error> {
    let file = offline::read_parquet(path)?;
    concat_batches(&file.schema, &file.batches)
        .map_err(|error| Error::TooMuch { path: path.to_owned(), detail: error.to_string() })
}

#[cfg(test)]
mod tests;
