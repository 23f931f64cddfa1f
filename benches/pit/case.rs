//! The cases of the join, and their data: made a batch at a time and once for all who join it.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use lockstep::app::Project as App;
use lockstep::batch::timestamps;
use lockstep::clock::Micros;

use crate::Result;
use crate::measure::{entities, rounds};
use crate::process::GIB;
use crate::synthetic::{BATCH_ROWS, DAY, JOIN_KEY, Project, Random, SECOND, Zipf, rows, write_parquet_batches};

pub const SERVICE: &str = "model";
pub const TTL_DAYS: i64 = 30;
/// Rows of history of one key, on average.
pub const ROWS_A_KEY: u64 = 100;
/// The first moment, 2016-01-01: always the same, so that the files are.
const BEGIN: Micros = 1_451_606_400 * SECOND;
/// The history covers so many days; with a ttl of 30, some labels find a row that is too old.
const DAYS: i64 = 200;
/// One label in so many is of a key without any history.
const UNKNOWN_ONE_IN: u64 = 100;

/// One join, with everything that makes it another.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub labels: u64,
    /// Rows of each view.
    pub history: u64,
    /// Of each view.
    pub features: usize,
    pub views: usize,
    /// Zipf, not uniform.
    pub skewed: bool,
    pub rounds: usize,
    /// Whether those take part that need seconds where others need a tenth of one.
    pub slow_peers: bool,
    /// The memory that each may take. With more than one bound the case is joined once within each.
    pub bounds: &'static [u64],
}

/// What keeps the machine alive where nobody asks for less.
pub const MACHINE: u64 = 16 * GIB;
const BASE: Case = Case {
    name: "100 k × 1 M × 4",
    labels: entities(100_000),
    history: entities(1_000_000),
    features: 4,
    views: 1,
    skewed: false,
    rounds: rounds(7),
    slow_peers: true,
    bounds: &[MACHINE],
};
pub const LARGE: Case = Case {
    name: "1 M × 50 M × 4",
    labels: entities(1_000_000),
    history: entities(50_000_000),
    rounds: rounds(3),
    slow_peers: false,
    bounds: &[MACHINE, 4 * GIB],
    ..BASE
};
/// The base, each axis once, and the two that are large.
pub const CASES: [Case; 5] = [
    BASE,
    Case { name: "100 k × 1 M × 4, Zipf keys", skewed: true, slow_peers: false, ..BASE },
    Case { name: "100 k × 5 views of 1 M × 4", views: 5, slow_peers: false, ..BASE },
    Case {
        name: "1 M × 10 M × 10",
        labels: entities(1_000_000),
        history: entities(10_000_000),
        features: 10,
        rounds: rounds(5),
        slow_peers: false,
        ..BASE
    },
    LARGE,
];

impl Case {
    /// Whether all who join it can stay in memory beside each other, warm, from one round to the next.
    pub fn is_small(&self) -> bool {
        self.history * (self.views * (self.features + 2)) as u64 * 8 < GIB / 2
    }

    pub fn features_of(&self, view: usize) -> std::ops::Range<usize> {
        view * self.features..(view + 1) * self.features
    }

    pub fn view(view: usize) -> String {
        format!("history_{view}")
    }

    pub fn labels_in(project: &Project) -> PathBuf {
        project.data("labels.parquet")
    }

    /// An applied project with the files of the case.
    pub async fn project(&self) -> Result<Project> {
        let mut project = Project::new()?;
        let views: Vec<_> = (0..self.views).map(|view| (Self::view(view), self.features_of(view))).collect();
        let names: Vec<&str> = views.iter().map(|(name, _)| name.as_str()).collect();
        project.define_views(&views, &format!("{TTL_DAYS}d"));
        project.define(&format!("feature_services:\n  - {{name: {SERVICE}, features: [{}]}}\n", names.join(", ")));
        project.write_definitions()?;
        for view in 0..self.views {
            let path = project.data(&format!("{}.parquet", Self::view(view)));
            write_parquet_batches(&path, self.history_of(view))?;
        }
        write_parquet_batches(&Self::labels_in(&project), self.label_batches())?;
        let app = App::open(project.folder())?;
        app.apply(&app.plan().await?, false).await?;
        Ok(project)
    }

    /// Every row has a time of its own, so that no peer has to break a tie.
    fn history_of(&self, view: usize) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut draw = Draw::new(self, view as u64);
        let features = self.features_of(view);
        batches(self.history).map(move |numbers| {
            let (keys, times) = draw.rows(numbers.clone(), self.history, |draw| draw.key());
            rows(&keys, times, features.clone(), |position| numbers.start + position as u64)
        })
    }

    fn label_batches(&self) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut draw = Draw::new(self, self.views as u64);
        batches(self.labels).map(move |numbers| {
            let (keys, times) = draw.rows(numbers.clone(), self.labels, |draw| draw.key_or_unknown());
            let columns = [
                (
                    "label_id",
                    Arc::new(Int64Array::from_iter_values(numbers.start as i64..numbers.end as i64)) as _,
                    false,
                ),
                (JOIN_KEY, Arc::new(Int64Array::from(keys)) as _, true),
                ("event_timestamp", Arc::new(timestamps(times)) as _, true),
            ];
            Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
        })
    }
}

fn batches(rows: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..rows).step_by(BATCH_ROWS as usize).map(move |from| from..rows.min(from + BATCH_ROWS))
}

/// Keys and times of one file, in its order.
struct Draw {
    random: Random,
    keys: u64,
    zipf: Option<Zipf>,
}

impl Draw {
    fn new(case: &Case, stream: u64) -> Self {
        let keys = (case.history / ROWS_A_KEY).max(1);
        Self { random: Random::new(1 + stream), keys, zipf: case.skewed.then(|| Zipf::below(keys)) }
    }

    fn key(&mut self) -> i64 {
        let key = match &self.zipf {
            Some(zipf) => zipf.draw(&mut self.random),
            None => self.random.below(self.keys),
        };
        key as i64
    }

    fn key_or_unknown(&mut self) -> i64 {
        match self.random.below(UNKNOWN_ONE_IN) {
            0 => (self.keys + self.random.below(self.keys)) as i64,
            _ => self.key(),
        }
    }

    /// The rows `numbers` of `all`, whose times are spread evenly.
    fn rows(
        &mut self,
        numbers: std::ops::Range<u64>,
        all: u64,
        key: impl Fn(&mut Self) -> i64,
    ) -> (Vec<i64>, Vec<Option<Micros>>) {
        let span = DAYS * DAY / all as i64;
        let row = |number: u64| {
            let time = BEGIN + number as i64 * span + self.random.below(span as u64) as i64;
            (key(self), Some(time))
        };
        numbers.map(row).unzip()
    }
}
