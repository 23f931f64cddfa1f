//! Trips with a fare and a company, of which a plugin makes more at sync: what syncs that break off are about.

use arrow::array::RecordBatch;

use crate::light::{batch, floats, integers, texts, times};

pub const DEFINITIONS: &str = "
entities: [{name: trip, join_keys: [{name: trip, type: int64}]}]
sources: [{name: trips, type: parquet, path: trips, event_time: at}]
feature_views:
  - name: stats
    entities: [trip]
    source: trips
    features: [{name: fare, type: float64}, {name: company_name, type: string}]
derived_views:
  - {name: identity, plugin: taxi_company, placement: sync, inputs: {company_name: 'stats:company_name'}}
feature_services: [{name: model, features: [stats, identity]}]
";

/// A row for each of these trips, with its fare and its time.
pub fn trips(numbers: &[i64], fare: impl Fn(i64) -> f64, at: impl Fn(i64) -> i64) -> RecordBatch {
    let fares: Vec<f64> = numbers.iter().map(|trip| fare(*trip)).collect();
    let companies: Vec<String> =
        numbers.iter().map(|trip| format!("{trip} - 7 Company {} of Chicago, Inc.", trip % 97)).collect();
    let at: Vec<i64> = numbers.iter().map(|trip| at(*trip)).collect();
    batch(&[
        ("trip", integers(numbers)),
        ("fare", floats(&fares)),
        ("company_name", texts(&companies)),
        ("at", times(&at)),
    ])
}
