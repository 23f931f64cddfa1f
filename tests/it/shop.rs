//! A small project for tests that need data but no plugin: a shop's orders in a Parquet file, and its visits, pushed.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use lockstep::offline::write_parquet;
use tempfile::TempDir;

use crate::command::succeed;
use crate::world::project_folder;

pub const SHOP: &str = "
entities:
  - {name: customer, join_keys: [{name: customer_id, type: int64}]}
sources:
  - {name: orders, type: parquet, path: data/orders.parquet, event_time: ordered_at}
  - {name: visits, type: push, path: data/visits, event_time: visited_at}
feature_views:
  - name: customer_orders
    entities: [customer]
    source: orders
    ttl: 30d
    features: [{name: amount, type: float64}, {name: city, type: string}, {name: paid_at, type: timestamp}]
  - name: customer_visits
    entities: [customer]
    source: visits
    features: [{name: pages, type: int64}]
feature_services:
  - {name: customer_model, features: [customer_orders, customer_visits]}
";

/// A day after the last order.
pub const SHOP_AS_OF: &str = "2024-01-21T00:00:00Z";

/// The project, not applied yet.
pub fn shop() -> TempDir {
    shop_of(SHOP)
}

/// The shop's data with other definitions.
pub fn shop_of(definitions: &str) -> TempDir {
    let folder = project_folder(definitions);
    let orders: Vec<(&str, ArrayRef)> = vec![
        ("customer_id", Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(2), Some(3), None]))),
        ("amount", Arc::new(Float64Array::from(vec![10.5, 20.0, f64::NAN, 13.0, 1.0]))),
        ("city", Arc::new(StringArray::from(vec![Some("Berlin"), Some("Köln"), None, Some("Bonn"), None]))),
        ("paid_at", times(&["2024-01-11", "2024-01-20", "2024-01-15", "2024-01-16", "2024-01-16"])),
        ("ordered_at", times(&["2024-01-10", "2024-01-20", "2024-01-15", "2024-01-16", "2024-01-16"])),
    ];
    write(&folder.path().join("data/orders.parquet"), orders);
    let visits: Vec<(&str, ArrayRef)> = vec![
        ("customer_id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("pages", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ("visited_at", times(&["2024-01-19", "2024-01-19"])),
    ];
    write(&folder.path().join("visits.parquet"), visits);
    let labels: Vec<(&str, ArrayRef)> = vec![
        ("customer_id", Arc::new(Int64Array::from(vec![1, 1, 2, 9]))),
        ("event_timestamp", times(&["2024-01-12", "2024-01-21", "2024-01-16", "2024-01-16"])),
        ("label_noted_at", times(&["2024-02-01", "2024-02-01", "2024-02-01", "2024-02-01"])),
    ];
    write(&folder.path().join("labels.parquet"), labels);
    folder
}

/// The project, applied and synced.
pub fn synced_shop() -> TempDir {
    let folder = shop();
    succeed(folder.path(), &["apply"]);
    succeed(folder.path(), &["sync"]);
    folder
}

pub fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    let batch = batch.expect("columns of one length");
    write_parquet(path, batch.schema_ref(), std::slice::from_ref(&batch), &[]).expect("written");
}

/// Midnights, UTC.
pub fn times(days: &[&str]) -> ArrayRef {
    let micros = days.iter().map(|day| {
        let time: DateTime<Utc> = format!("{day}T00:00:00Z").parse().expect("a day");
        time.timestamp_micros()
    });
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}
