//! P6: the real `lockstep sync`, from Parquet into the gateway's own file and into Redis, as a user runs it: start-up,
//! scan, newest row of each key, transform, write.

mod embedded;
mod redis;

use lockstep::app::Project as App;

pub use self::embedded::run as into_embedded;
pub use self::redis::run as into_redis;
use crate::Result;
use crate::measure::entities;
use crate::process::{Taken, lockstep};
use crate::synthetic::{BATCH_ROWS, DAY, Project, rows, write_parquet_batches};

pub const VIEW: &str = "customer_stats";
pub const DERIVED_VIEW: &str = "customer_distance";
const ENTITIES: u64 = entities(1_000_000);
const FEATURES: usize = 50;

/// 4 features in, 1 out, stored beside the view.
const DERIVED: &str = "derived_views:
  - name: customer_distance
    plugin: haversine
    inputs:
      from_latitude: customer_stats:f_0
      from_longitude: customer_stats:f_1
      to_latitude: customer_stats:f_2
      to_longitude: customer_stats:f_3
    placement: sync
";

/// What happens to the rows on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Derived,
}

impl Way {
    const ALL: [Self; 2] = [Self::Plain, Self::Derived];

    fn features(self) -> usize {
        FEATURES + usize::from(self == Self::Derived)
    }

    fn views(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[VIEW],
            Self::Derived => &[VIEW, DERIVED_VIEW],
        }
    }

    fn describe(self, store: &str) -> String {
        match self {
            Self::Plain => format!("lockstep sync: Parquet → {store}"),
            Self::Derived => format!("lockstep sync: Parquet → haversine → {store}"),
        }
    }

    async fn project(self, store: &str) -> Result<Project> {
        let derived = if self == Self::Derived { DERIVED } else { "" };
        project(store, ENTITIES, FEATURES, derived).await
    }
}

/// An applied project with one row of each entity in its offline store.
pub async fn project(store: &str, entities: u64, features: usize, derived: &str) -> Result<Project> {
    let mut project = Project::on(store)?;
    project.define_views(&[(VIEW.to_owned(), 0..features)], "30d");
    project.define(derived);
    project.write_definitions()?;
    let event_time = project.now - DAY;
    let batches = (0..entities).step_by(BATCH_ROWS as usize).map(|from| {
        let keys: Vec<i64> = (from as i64..entities.min(from + BATCH_ROWS) as i64).collect();
        rows(&keys, vec![Some(event_time); keys.len()], 0..features, |_| 0)
    });
    write_parquet_batches(&project.data(&format!("{VIEW}.parquet")), batches)?;
    let app = App::open(project.folder())?;
    app.apply(&app.plan().await?, false).await?;
    Ok(project)
}

/// One sync of a view into an empty store.
///
/// # Errors
/// If not every row was written.
pub fn sync(project: &Project, view: &str, rows: u64) -> Result<Taken> {
    let (taken, said) = lockstep(project.folder(), &["sync", view])?;
    match said[0]["rows_written"] == rows {
        true => Ok(taken),
        false => Err(format!("{rows} rows should have been written: {said}").into()),
    }
}
