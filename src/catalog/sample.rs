//! A small project for tests: taxi companies and areas, their features, and the signatures of a few plugins.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};

use super::{
    Catalog, DType, DefinitionFile, Definitions, Digest, Field, NullPolicy, PluginUse, Scalar, Signature, TimeUse,
    Transform, build,
};

const BASE: &str = "
entities:
  - {name: company, join_keys: [{name: company, type: string}]}
  - {name: area, join_keys: [{name: area, type: int64}]}
sources:
  - {name: trips, type: parquet, path: data/trips.parquet, event_time: trip_start, created_time: loaded_at}
  - name: area_history
    type: sql
    event_time: day
    query: select area, day, avg(fare) as avg_fare_30d from trips group by area, day
  - {name: rides, type: push, path: data/rides, event_time: at}
";

const VIEWS: &str = "
feature_views:
  - name: company_stats
    entities: [company]
    source: trips
    ttl: 30d
    features:
      - {name: avg_fare, type: float64, description: Mean fare of a day}
      - {name: last_trip_at, type: timestamp}
  - {name: area_stats, entities: [area], source: area_history, features: [{name: avg_fare_30d, type: float64}]}
  - {name: archive, entities: [company], source: trips, online: false, features: [{name: trip_count, type: int64}]}
derived_views:
  - {name: company_recency, plugin: recency, inputs: {last_trip_at: 'company_stats:last_trip_at'}}
  - {name: fare_bucket, plugin: bucket, inputs: {value: 'company_stats:avg_fare'}, placement: sync}
  - name: fare_ratio
    plugin: ratio
    inputs: {left: 'company_stats:avg_fare', right: 'area_stats:avg_fare_30d'}
feature_services:
  - {name: tip_model_v1, features: [company_stats, 'area_stats:avg_fare_30d', company_recency, fare_bucket]}
";

/// Entities and sources.
pub(crate) fn base_file() -> DefinitionFile {
    DefinitionFile { path: "features/base.yaml".to_owned(), text: BASE.to_owned() }
}

/// Views and a service over them.
pub(crate) fn views_file() -> DefinitionFile {
    DefinitionFile { path: "features/views.yaml".to_owned(), text: VIEWS.to_owned() }
}

/// The project of both files.
pub(crate) fn taxi() -> Catalog {
    taxi_from(&[base_file(), views_file()])
}

/// # Panics
/// If the files have a mistake.
pub(crate) fn taxi_from(files: &[DefinitionFile]) -> Catalog {
    let built = Definitions::parse("taxi", files).and_then(|files| build(&files, &bind, &columns));
    built.unwrap_or_else(|mistakes| panic!("{mistakes}")).0
}

/// The columns of the sources; of the pushed one nothing is known.
pub(crate) fn columns(source: &str) -> Option<Result<SchemaRef, String>> {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let columns = match source {
        "trips" => vec![
            ("company", DataType::Utf8View),
            ("area", DataType::Int32),
            ("trip_start", time.clone()),
            ("loaded_at", time.clone()),
            ("avg_fare", DataType::Float64),
            ("last_trip_at", time),
            ("trip_count", DataType::Int64),
            ("note", DataType::Utf8),
        ],
        "area_history" => {
            vec![("area", DataType::Int64), ("day", DataType::Date32), ("avg_fare_30d", DataType::Float32)]
        }
        "gone" => return Some(Err("source gone has no file at data/gone.parquet".to_owned())),
        _ => return None,
    };
    let fields: Vec<_> = columns.into_iter().map(|(name, dtype)| ArrowField::new(name, dtype, true)).collect();
    Some(Ok(Arc::new(Schema::new(fields))))
}

/// Binds a plugin of this sample.
pub(crate) fn bind(wanted: &PluginUse) -> Result<Arc<Transform>, String> {
    let signature = signature(&wanted.plugin).ok_or_else(|| format!("there is no plugin {}", wanted.plugin))?;
    if let Some((name, _)) = wanted.parameters.iter().find(|(name, _)| name != "buckets") {
        return Err(format!("plugin {} has no parameter {name}", wanted.plugin));
    }
    let is_wanted = |name: &String| wanted.outputs.as_ref().is_none_or(|outputs| outputs.contains(name));
    let outputs = signature.outputs.iter().filter(|output| is_wanted(&output.name)).cloned().collect();
    let component = Digest::of(wanted.plugin.as_bytes());
    let parameters = serde_json::to_string(&wanted.parameters).unwrap_or_default();
    Ok(Arc::new(Transform {
        plugin: wanted.plugin.clone(),
        component,
        parameters: wanted.parameters.clone(),
        digest: Digest::of(format!("{component}{parameters}{}", signature.version).as_bytes()),
        outputs,
        signature,
    }))
}

fn signature(plugin: &str) -> Option<Signature> {
    let float = DType::One(Scalar::Float64);
    let (features, request, outputs, time) = match plugin {
        "recency" => {
            let outputs = vec![("days_since_last_trip", float), ("is_recent", DType::One(Scalar::Bool))];
            (vec![("last_trip_at", DType::TIMESTAMP)], vec![], outputs, TimeUse::AsOf)
        }
        "bucket" => (vec![("value", float)], vec![], vec![("bucket", DType::One(Scalar::Int64))], TimeUse::None),
        "ratio" => (vec![("left", float), ("right", float)], vec![], vec![("ratio", float)], TimeUse::None),
        "identity" | "strict" => (vec![("value", float)], vec![], vec![("value_again", float)], TimeUse::None),
        "hour_fare" => {
            let request = vec![("hour", DType::One(Scalar::Int32)), ("minute", DType::One(Scalar::Int32))];
            (vec![("value", float)], request, vec![("fare_at_hour", float)], TimeUse::None)
        }
        "hour_text" => (vec![], vec![("hour", DType::One(Scalar::String))], vec![("hour_name", float)], TimeUse::None),
        "company_name" => {
            let request = vec![("company", DType::One(Scalar::String))];
            (vec![], request, vec![("company_length", DType::One(Scalar::Int64))], TimeUse::None)
        }
        "shadow" => (vec![("value", float)], vec![], vec![("company", float)], TimeUse::None),
        _ => return None,
    };
    let fields = |columns: Vec<(&str, DType)>| -> Vec<Field> {
        columns.into_iter().map(|(name, dtype)| Field::new(name, dtype)).collect()
    };
    let is_strict = plugin == "strict";
    let mut features = fields(features);
    features.iter_mut().for_each(|column| column.nullable = !is_strict);
    Some(Signature {
        name: plugin.to_owned(),
        version: semver::Version::new(1, 0, 0),
        doc: String::new(),
        features,
        request: fields(request),
        outputs: fields(outputs),
        parameters: Vec::new(),
        time,
        nulls: if is_strict { NullPolicy::Handle } else { NullPolicy::Propagate },
        frame_version: 1,
    })
}
