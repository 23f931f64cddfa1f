//! What is stored: views of one entity, whose every value is known by its place, and a project filled with them.

use std::ops::Range;
use std::path::Path;

use super::gateway::Gateway;
use crate::Result;
use crate::store::Store;
use crate::synthetic::{DAY, Project, rows, value, write_parquet_batches};

/// Rows that are made at once.
const BATCH_ROWS: u64 = 65_536;

/// Views of the same entity with equally many float64 features each, and a service of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dataset {
    pub views: usize,
    /// Of all views together.
    pub features: usize,
    /// Their keys are 0 and up.
    pub entities: u64,
}

/// What the store has for one feature of one entity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored {
    /// The entity is in no view.
    Unknown,
    /// Its row is older than the view's ttl; the value would be this one.
    Expired(Option<f64>),
    Fresh(Option<f64>),
}

impl Dataset {
    pub const fn new(views: usize, features: usize, entities: u64) -> Self {
        Self { views, features, entities }
    }

    pub fn service(&self) -> String {
        format!("service_{}_v1", self.suffix())
    }

    /// Every feature of the service, computed by a plugin at the request; where it is defined.
    pub fn derived_service(&self) -> String {
        format!("derived_{}_v1", self.suffix())
    }

    /// The service's features and one more, computed of four of them at the request; where it is defined.
    pub fn service_with_distance(&self) -> String {
        format!("beside_{}_v1", self.suffix())
    }

    pub fn view(&self, view: usize) -> String {
        format!("view_{}_{view}", self.suffix())
    }

    /// The view that a feature stands in.
    pub fn view_of(&self, feature: usize) -> usize {
        feature / self.view_features()
    }

    pub fn view_features(&self) -> usize {
        self.features / self.views
    }

    /// Keys beyond the entities that are asked for too, one in a hundred, and found by nobody.
    pub fn absent(&self) -> u64 {
        self.entities / 100
    }

    pub fn stored(&self, entity: i64, feature: usize) -> Stored {
        if !u64::try_from(entity).is_ok_and(|entity| entity < self.entities) {
            return Stored::Unknown;
        }
        let value = value(entity, feature, 0);
        match self.is_expired(self.view_of(feature), entity) {
            true => Stored::Expired(value),
            false => Stored::Fresh(value),
        }
    }

    pub fn describe(&self) -> String {
        format!("{} × {} views, {} entities", self.features, self.views, self.entities)
    }

    /// In the last view one entity in a hundred has a row that is older than the ttl.
    fn is_expired(&self, view: usize, entity: i64) -> bool {
        view + 1 == self.views && entity % 100 == 7
    }

    fn suffix(&self) -> String {
        format!("{}x{}_{}", self.features, self.views, self.entities)
    }

    fn named_views(&self) -> Vec<(String, Range<usize>)> {
        let features = |view: usize| view * self.view_features()..(view + 1) * self.view_features();
        (0..self.views).map(|view| (self.view(view), features(view))).collect()
    }

    fn write(&self, project: &Project) -> Result<()> {
        for (number, (view, features)) in self.named_views().into_iter().enumerate() {
            let age = |entity: i64| if self.is_expired(number, entity) { 60 * DAY } else { DAY };
            let batch = |from: u64| {
                let entities: Vec<i64> = (from..(from + BATCH_ROWS).min(self.entities)).map(|key| key as i64).collect();
                let event_time = entities.iter().map(|entity| Some(project.now - age(*entity))).collect();
                rows(&entities, event_time, features.clone(), |_| 0)
            };
            let starts = (0..self.entities).step_by(BATCH_ROWS as usize);
            write_parquet_batches(&project.data(&format!("{view}.parquet")), starts.map(batch))?;
        }
        Ok(())
    }

    /// Derived views of all features and of the first four, and services of them.
    fn define_derived(&self) -> (String, String) {
        let input = |(feature, name): (usize, String)| {
            format!("      {name}: \"{}:f_{feature}\"\n", self.view(self.view_of(feature)))
        };
        let view = |name: &str, plugin: &str, inputs: &mut dyn Iterator<Item = String>| {
            let inputs: String = inputs.enumerate().map(input).collect();
            format!("  - name: {name}\n    plugin: {plugin}\n    placement: request\n    inputs:\n{inputs}")
        };
        let places = ["from_latitude", "from_longitude", "to_latitude", "to_longitude"].map(str::to_owned);
        let scaled = view("scaled", "arithmetic", &mut (0..self.features).map(|feature| format!("x_{feature}")));
        let distance = view("distance", "haversine", &mut places.into_iter());
        let stored: String = self.named_views().into_iter().map(|(view, _)| format!("{view}, ")).collect();
        let (derived, beside) = (self.derived_service(), self.service_with_distance());
        let services = format!(
            "  - {{name: {derived}, features: [scaled]}}\n  - {{name: {beside}, features: [{stored}distance]}}\n"
        );
        (scaled + &distance, services)
    }
}

/// A project, its store, and everything in it.
#[derive(Debug)]
pub struct Fixture {
    pub project: Project,
    pub store: Store,
}

impl Fixture {
    /// Syncs these datasets into a store; `derived` of them gets its derived services too.
    pub fn fill(store: Store, datasets: &[Dataset], derived: Option<Dataset>) -> Result<Self> {
        let mut project = Project::on(&store.yaml())?;
        let views: Vec<_> = datasets.iter().flat_map(Dataset::named_views).collect();
        project.define_views(&views, "30d");
        let service = |dataset: &Dataset| {
            let views: Vec<String> = dataset.named_views().into_iter().map(|(view, _)| view).collect();
            format!("  - {{name: {}, features: [{}]}}\n", dataset.service(), views.join(", "))
        };
        let mut services: String = datasets.iter().map(service).collect();
        if let Some(dataset) = derived {
            let (view, service) = dataset.define_derived();
            project.define(&format!("derived_views:\n{view}"));
            services.push_str(&service);
        }
        project.define(&format!("feature_services:\n{services}"));
        project.write_definitions()?;
        for dataset in datasets {
            eprintln!("-- {}", dataset.describe());
            dataset.write(&project)?;
        }
        Gateway::command(project.folder(), &["apply"])?;
        Gateway::command(project.folder(), &["sync"])?;
        Ok(Self { project, store })
    }

    pub fn folder(&self) -> &Path {
        self.project.folder()
    }

    /// Starts the gateway, on one CPU if `cpu` names one.
    pub fn serve(&self, cpu: Option<&str>) -> Result<Gateway> {
        Gateway::start(self.folder(), cpu, self.store.pids())
    }
}
