//! The manifest of a training set: what it says, and what is found when the set is made again.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use lockstep::clock::Micros;
use lockstep::flow::verify::{Changed, Verified};
use lockstep::gateway::Gateway;
use lockstep::manifest::{Manifest, OptionsUsed};
use lockstep::training::{self, Made, Order, Target};

use crate::light::{DAY, HOUR, Light, NOW, batch, floats, integers, texts, times, write_rows};

const DEFINITIONS: &str = "
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
sources:
  - {name: rides, type: parquet, path: rides, event_time: at, created_time: made}
feature_views:
  - {name: stats, entities: [company], source: rides, features: [{name: fare, type: float64}]}
feature_services:
  - {name: model, features: [stats]}
";

fn rides(fares: &[f64]) -> RecordBatch {
    let rows = fares.len();
    let at: Vec<Micros> = (0..rows as i64).map(|row| NOW - row * HOUR).collect();
    batch(&[
        ("company", texts(&vec!["a"; rows])),
        ("fare", floats(fares)),
        ("at", times(&at)),
        ("made", times(&vec![NOW; rows])),
    ])
}

fn labels(weight: i64) -> RecordBatch {
    batch(&[
        ("company", texts(&["a", "b", "a"])),
        ("weight", integers(&[1, 2, weight])),
        ("event_timestamp", times(&[NOW, NOW, NOW - HOUR])),
        ("scored_at", times(&[NOW, NOW, NOW])),
    ])
}

/// Every option that a set can have.
fn options() -> OptionsUsed {
    OptionsUsed { digest_column: true, known_at: Some(NOW + DAY), known_at_column: Some("scored_at".to_owned()) }
}

struct World {
    light: Light,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let light = Light::of(DEFINITIONS).await;
        light.put("rides", &rides(&[1.0, 2.0, 3.0]));
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_rows(&folder.path().join("labels.parquet"), &labels(3));
        Self { light, folder }
    }

    fn gateway(&self) -> &Gateway {
        &self.light.gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn make(&self) -> (Made, Manifest) {
        let order = Order {
            service: "model".to_owned(),
            labels: self.path("labels.parquet"),
            time_column: None,
            options: options(),
        };
        let made =
            training::make(self.gateway(), &order, &Target::Parquet(self.path("set.parquet"))).await.expect("made");
        let manifest = training::read_manifest(&self.path("set.parquet.manifest.json")).expect("a manifest");
        (made, manifest)
    }

    async fn check(&self, manifest: &Manifest, labels: Option<&Path>) -> Verified {
        training::check(self.gateway(), manifest, labels).await.expect("made again")
    }
}

#[tokio::test]
async fn a_manifest_says_what_a_set_was_made_of() {
    let world = World::new().await;
    let (made, manifest) = world.make().await;
    assert_eq!((made.rows, made.columns, made.spilled_bytes), (3, 6, 0));
    assert_eq!(made.manifest, Some(world.path("set.parquet.manifest.json")));
    assert_eq!((manifest.service.as_str(), manifest.features.as_slice()), ("model", &["stats:fare".to_owned()][..]));
    let applied = world.gateway().applied.load();
    assert_eq!(manifest.definitions.version, applied.version);
    assert_eq!(manifest.definitions.hash, applied.catalog.hash().to_string());
    assert_eq!((manifest.sources.len(), manifest.sources[0].name.as_str()), (1, "rides"));
    assert_eq!((manifest.labels.content.rows, manifest.content.rows), (3, 3));
    assert_eq!(manifest.labels.time_column, "event_timestamp");
    assert_eq!(manifest.options, options());
    assert_eq!(manifest.content.groups[0].columns.len(), 6);
    assert_eq!(manifest.columns[4], ("fare".to_owned(), "Float64".to_owned()));
}

#[tokio::test]
async fn a_set_made_again_is_equal_though_its_source_has_grown() {
    let world = World::new().await;
    let (_, manifest) = world.make().await;
    let equal = Verified { equal: true, rows: 3, rows_were: 3, ..Verified::default() };
    assert_eq!(world.check(&manifest, None).await, equal);
    world.light.put("rides", &rides(&[9.0]));
    assert_eq!(world.check(&manifest, None).await, equal, "it is made of the rows of that time");
    let (_, grown) = world.make().await;
    assert_eq!(grown.content.differences(&manifest.content), [(0, vec![4])], "and a new one of the new rows");
}

#[tokio::test]
async fn other_labels_are_found_with_what_they_change() {
    let world = World::new().await;
    let (_, manifest) = world.make().await;
    let moved = world.path("moved.parquet");
    fs::rename(world.path("labels.parquet"), &moved).expect("moved");
    assert!(world.check(&manifest, Some(&moved)).await.equal);
    assert!(training::check(world.gateway(), &manifest, None).await.is_err(), "they are where they were not");

    write_rows(&moved, &labels(4));
    let found = world.check(&manifest, Some(&moved)).await;
    assert!(!found.equal);
    let [Changed::Labels { rows: 3, rows_were: 3, row_groups }] = found.changed.as_slice() else { panic!("{found:?}") };
    assert_eq!((row_groups[0].from, row_groups[0].columns.as_slice()), (0, &["weight".to_owned()][..]));
    assert_eq!(found.row_groups[0].columns, ["weight"], "the same column of the set");
}

#[tokio::test]
async fn other_definitions_are_named() {
    let world = World::new().await;
    let (_, manifest) = world.make().await;
    world.light.apply(&DEFINITIONS.replace("source: rides", "source: rides, ttl: 1m"));
    let found = world.check(&manifest, None).await;
    assert!(matches!(found.changed.as_slice(), [Changed::Definitions { was, is }] if was != is), "{found:?}");
    assert!(found.equal, "the rows stand at the labels' very times, so the ttl changes nothing");
}

#[tokio::test]
async fn a_file_that_is_no_manifest_is_refused_with_the_reason() {
    let world = World::new().await;
    let path = world.path("no.json");
    for (text, expected) in [
        ("{}", "this is not the manifest of a training set: missing field `format`"),
        ("[1", "this is not the manifest of a training set: EOF while parsing"),
        ("{\"format\": 99}", "the manifest has format 99; this version of Lockstep reads format 1"),
    ] {
        fs::write(&path, text).expect("written");
        let error = training::read_manifest(&path).expect_err("no manifest").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let missing = training::read_manifest(&world.path("missing.json")).expect_err("no file");
    assert_eq!(missing.kind(), lockstep::error::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_set_that_cannot_be_made_leaves_nothing() {
    let world = World::new().await;
    let null: arrow::array::ArrayRef = std::sync::Arc::new(lockstep::batch::timestamps(vec![Some(NOW), None]));
    let rows = batch(&[("company", texts(&["a", "a"])), ("event_timestamp", null)]);
    write_rows(&world.path("labels.parquet"), &rows);
    let order = Order {
        service: "model".to_owned(),
        labels: world.path("labels.parquet"),
        time_column: None,
        options: OptionsUsed::default(),
    };
    let error = training::make(world.gateway(), &order, &Target::Parquet(world.path("set.parquet")))
        .await
        .expect_err("a null time");
    assert_eq!(error.to_string(), "row 1 of the labels has no event_timestamp; every label needs its time");
    let mut bytes = fs::read(world.path("labels.parquet")).expect("the labels");
    let middle = bytes.len() / 3;
    bytes[4..middle].fill(0xff);
    fs::write(world.path("labels.parquet"), bytes).expect("damaged");
    let error = training::make(world.gateway(), &order, &Target::Parquet(world.path("set.parquet")))
        .await
        .expect_err("damaged");
    assert!(error.to_string().contains("labels.parquet cannot be read"), "{error}");
    let left = fs::read_dir(world.folder.path()).expect("the folder").count();
    assert_eq!(left, 1, "the labels alone");
}
