//! P7: what one feature takes in Redis, in each layout and in Feast's own hands.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use serde_json::json;

use crate::Result;
use crate::load::Gateway;
use crate::measure::entities;
use crate::peers::{Repository, View};
use crate::report::Table;
use crate::store::RedisServer;
use crate::synthetic::{DAY, Project, rows_of, value, write_parquet};

const ENTITIES: u64 = entities(100_000);
/// Feast writes some 30,000 values a second, and what a feature takes does not depend on how many there are.
const ENTITIES_OF_FEAST: u64 = entities(10_000);
const LAYOUTS: [&str; 3] = ["packed", "hash", "feast"];
const STRING_BYTES: usize = 12;

/// What is stored.
#[derive(Clone, Copy, Debug)]
struct Shape {
    views: usize,
    view_features: usize,
    dtype: &'static str,
    /// Whether one value in 64 is null.
    nulls: bool,
}

const SHAPES: [Shape; 5] = [
    Shape { views: 1, view_features: 50, dtype: "float64", nulls: false },
    Shape { views: 1, view_features: 50, dtype: "float64", nulls: true },
    Shape { views: 5, view_features: 10, dtype: "float64", nulls: false },
    Shape { views: 5, view_features: 10, dtype: "float64", nulls: true },
    Shape { views: 1, view_features: 50, dtype: "string", nulls: true },
];

pub fn run() -> Result<()> {
    let header =
        ["layout", "type", "features × views", "nulls", "entities", "bytes a feature", "bytes an entity", "keys"];
    let mut table = Table::new("memory", &header);
    let redis = RedisServer::start()?;
    // What the server sets up once, such as its interpreter of scripts, is not part of any row.
    for layout in LAYOUTS {
        SHAPES[0].sync(&redis, layout, 1)?;
        redis.empty()?;
    }
    for shape in SHAPES {
        for layout in LAYOUTS {
            let used = measure(&redis, || shape.sync(&redis, layout, ENTITIES))?;
            push(layout, shape, ENTITIES, used, &mut table)?;
        }
    }
    for shape in [SHAPES[1], SHAPES[3], SHAPES[4]] {
        let project = shape.project(&redis, "packed", ENTITIES_OF_FEAST)?;
        let used = measure(&redis, || shape.fill_feast(&redis, &project))?;
        push("Feast 0.67.0 itself", shape, ENTITIES_OF_FEAST, used, &mut table)?;
    }
    table.note(format!(
        "Redis {}: `used_memory` after less before, over all features; keys, hash tables and what the store keeps beside the rows are in it. \
         Nulls: one value in 64. Strings have {STRING_BYTES} bytes.",
        redis.version()?
    ));
    table.note(
        "Redis doubles its table of keys when it is full, so bytes a key vary by up to 8 with the number of keys.",
    );
    table.publish()
}

/// The memory and the keys that `fill` has added to an empty server.
fn measure(redis: &RedisServer, fill: impl FnOnce() -> Result<()>) -> Result<(u64, u64)> {
    redis.empty()?;
    let before = redis.used_memory()?;
    fill()?;
    let keys: Vec<u64> = [0, 1].map(|database| redis.keys(database)).into_iter().collect::<Result<_>>()?;
    Ok((redis.used_memory()? - before, keys.iter().sum()))
}

fn push(who: &str, shape: Shape, entities: u64, (bytes, keys): (u64, u64), table: &mut Table) -> Result<()> {
    let Shape { views, view_features, dtype, nulls } = shape;
    let an_entity = bytes as f64 / entities as f64;
    let a_feature = an_entity / (views * view_features) as f64;
    let row = vec![
        who.to_owned(),
        dtype.to_owned(),
        format!("{} × {views}", views * view_features),
        if nulls { "1 in 64" } else { "none" }.to_owned(),
        entities.to_string(),
        format!("{a_feature:.2}"),
        format!("{an_entity:.0}"),
        keys.to_string(),
    ];
    let result = json!({
        "who": who, "type": dtype, "features": views * view_features, "views": views, "nulls": nulls,
        "entities": entities, "bytes": bytes, "keys": keys, "bytes_per_feature": a_feature,
    });
    table.push(row, result)
}

impl Shape {
    fn view(view: usize) -> String {
        format!("view_{view}")
    }

    /// Rows in Parquet, and definitions of them.
    fn project(self, redis: &RedisServer, layout: &str, entities: u64) -> Result<Project> {
        let mut project = Project::on(&redis.yaml(layout))?;
        let features = |view: usize| view * self.view_features..(view + 1) * self.view_features;
        let views: Vec<_> = (0..self.views).map(|view| (Self::view(view), features(view))).collect();
        project.define_views_of(&views, "30d", self.dtype);
        project.write_definitions()?;
        let keys: Vec<i64> = (0..entities as i64).collect();
        for (view, features) in views {
            let time = vec![Some(project.now - DAY); keys.len()];
            let columns = features.map(|feature| (feature, self.column(&keys, feature)));
            write_parquet(&project.data(&format!("{view}.parquet")), &rows_of(&keys, time, columns)?)?;
        }
        Ok(project)
    }

    fn column(self, keys: &[i64], feature: usize) -> ArrayRef {
        let values = keys.iter().map(|key| match value(*key, feature, 0) {
            None if !self.nulls => Some(0.5),
            value => value,
        });
        match self.dtype {
            "string" => {
                let text = |value: f64| format!("{:0width$.9}", value, width = STRING_BYTES)[..STRING_BYTES].to_owned();
                Arc::new(StringArray::from_iter(values.map(|value| value.map(text))))
            }
            _ => Arc::new(Float64Array::from_iter(values)),
        }
    }

    fn sync(self, redis: &RedisServer, layout: &str, entities: u64) -> Result<()> {
        let project = self.project(redis, layout, entities)?;
        Gateway::command(project.folder(), &["apply"])?;
        Gateway::command(project.folder(), &["sync"])
    }

    fn fill_feast(self, redis: &RedisServer, project: &Project) -> Result<()> {
        let features = |view: usize| view * self.view_features..(view + 1) * self.view_features;
        let view = |number: usize| {
            let name = Self::view(number);
            let parquet = project.data(&format!("{name}.parquet"));
            View { features: features(number).map(|feature| format!("f_{feature}")).collect(), parquet, name }
        };
        let views: Vec<View> = (0..self.views).map(view).collect();
        Repository::fill(redis, &views, self.dtype, "all_v1", false).map(drop)
    }
}
