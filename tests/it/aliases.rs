//! One view read twice in one service, under two names and with other join keys.

use arrow::array::RecordBatch;
use lockstep::catalog::Selection;
use lockstep::clock::Micros;
use lockstep::flow::parity::parity;
use lockstep::flow::sync::Range;
use lockstep::flow::train::{Labels, Options, train};

use crate::light::{DAY, HOUR, Light, NOW, batch, floats, floats_of, integers, served_floats, times};

const DEFINITIONS: &str = "
entities:
  - {name: area, join_keys: [{name: area, type: int64}]}
sources:
  - {name: areas, type: parquet, path: areas, event_time: at}
feature_views:
  - {name: area_stats, entities: [area], source: areas, features: [{name: fare, type: float64}, {name: miles, type: float64}]}
derived_views:
  - name: quote
    plugin: taxi_quote
    inputs: {area_fare_30d: 'area_stats:fare', area_miles_30d: 'area_stats:miles'}
    features: [expected_fare]
feature_services:
  - name: trip
    full_feature_names: true
    features:
      - {view: area_stats, as: pickup, join_keys: {area: pickup_area}}
      - {view: area_stats, as: dropoff, join_keys: {area: dropoff_area}, features: [fare]}
      - 'area_stats:fare'
      - quote
      - {view: quote, as: way_back, join_keys: {area: dropoff_area}}
";

async fn light() -> Light {
    let light = Light::of(DEFINITIONS).await;
    light.put(
        "areas",
        &batch(&[
            ("area", integers(&[8, 9, 8])),
            ("fare", floats(&[10.0, 20.0, 30.0])),
            ("miles", floats(&[5.0, 4.0, 10.0])),
            ("at", times(&[NOW - DAY, NOW - DAY, NOW - HOUR])),
        ]),
    );
    light
}

fn rows(areas: [&[i64]; 3], at: &[Micros]) -> RecordBatch {
    let miles = vec![2.0; at.len()];
    batch(&[
        ("area", integers(areas[0])),
        ("pickup_area", integers(areas[1])),
        ("dropoff_area", integers(areas[2])),
        ("planned_miles", floats(&miles)),
        ("event_timestamp", times(at)),
    ])
}

const COLUMNS: [&str; 6] = [
    "pickup__fare",
    "pickup__miles",
    "dropoff__fare",
    "area_stats__fare",
    "quote__expected_fare",
    "way_back__expected_fare",
];

#[tokio::test]
async fn each_alias_finds_the_rows_of_its_own_keys() {
    let light = light().await;
    let service = Selection::Service { name: "trip".to_owned(), full_feature_names: None };
    let labels = rows([&[8, 9], &[9, 8], &[8, 7]], &[NOW, NOW - 2 * HOUR]);
    let set = train(&light.gateway, &service, Labels::of(labels, None), Options::default()).await.expect("trained");
    let set = set.collect().await.expect("trained");
    let expected = [
        [Some(20.0), Some(10.0)],
        [Some(4.0), Some(5.0)],
        [Some(30.0), None],
        [Some(30.0), Some(20.0)],
        [Some(6.0), Some(10.0)],
    ];
    for (column, expected) in COLUMNS.iter().zip(expected) {
        assert_eq!(floats_of(&set, column), expected, "{column}");
    }
    assert_eq!(floats_of(&set, "way_back__expected_fare")[0], Some(6.0));
}

#[tokio::test]
async fn serving_and_training_agree_on_aliases() {
    let light = light().await;
    light.sync("area_stats", Range::Full).await.expect("synced");
    let proof = parity(&light.gateway, "trip", 20, Some(NOW)).await.expect("compared");
    assert_eq!((proof.differ, proof.values), (0, proof.rows * COLUMNS.len()), "{:?}", proof.cells);
    assert!(proof.not_null > proof.rows);
}

#[tokio::test]
async fn an_alias_can_be_asked_for_like_a_view() {
    let light = light().await;
    light.sync("area_stats", Range::Full).await.expect("synced");
    let asked = batch(&[("pickup_area", integers(&[8, 9])), ("dropoff_area", integers(&[9, 1]))]);
    let answer = light.serve(&["dropoff:fare", "pickup:fare"], &asked, NOW).await.expect("served");
    assert_eq!(served_floats(&answer, 0), [Some(20.0), None]);
    assert_eq!(served_floats(&answer, 1), [Some(30.0), Some(20.0)]);
}
