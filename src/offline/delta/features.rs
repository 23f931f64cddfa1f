//! What a Delta table may need of its readers and writers, and what of that is understood here. A table that needs more
//! is refused: rows that were deleted by a feature we do not know would come back.
//!
//! The lists are of what is tested here, and shorter than what the crate says it can do.

use std::collections::HashMap;

use deltalake::kernel::schema::StructField;
use deltalake::table::state::DeltaTableState;

use super::super::Error;
use super::place::Place;

/// Features of protocol 3 that readers know. The first two are refused where they are in use, and not where they are
/// only allowed.
const READ: [&str; 4] = ["deletionVectors", "columnMapping", "timestampNtz", "v2Checkpoint"];
/// Features of protocol 7 that writers know.
const WRITTEN: [&str; 8] = [
    "appendOnly",
    "invariants",
    "checkConstraints",
    "changeDataFeed",
    "timestampNtz",
    "v2Checkpoint",
    "deletionVectors",
    "columnMapping",
];

/// From here on tables say which features they need; later versions do not exist yet.
const WRITER_VERSION_MAX: i64 = 7;

/// What makes a column that the table computes by itself.
const COMPUTED: [&str; 2] = ["delta.generationExpression", "delta.identity.start"];

/// Refuses a table whose rows cannot be read as they are meant.
pub(super) fn check_read(place: &Place, table: &DeltaTableState) -> Result<(), Error> {
    let refused = |feature: &str| Error::Unreadable {
        source_name: place.name.clone(),
        detail: format!("{} uses the Delta feature {feature}, which is not read here; {}", place.path, advice(feature)),
    };
    let unknown = table.protocol().reader_features().into_iter().flatten().map(ToString::to_string);
    if let Some(feature) = unknown.into_iter().find(|feature| !READ.contains(&feature.as_str())) {
        return Err(refused(&feature));
    }
    if maps_columns(table.metadata().configuration()) {
        return Err(refused("columnMapping"));
    }
    for file in table.log_data().iter() {
        if file.deletion_vector_descriptor().is_some() {
            return Err(refused("deletionVectors"));
        }
        let path = file.path();
        if leaves_the_table(&path) {
            let detail = format!(
                "{} lists the file {path}, which is not in its folder (a shallow clone?); copy the table whole",
                place.path
            );
            return Err(Error::Unreadable { source_name: place.name.clone(), detail });
        }
    }
    Ok(())
}

/// Refuses a table that would not be whole after we wrote to it. [`check_read`] comes first.
pub(super) fn check_write(place: &Place, table: &DeltaTableState) -> Result<(), Error> {
    let refused = |detail: String| Error::NotWritable {
        source_name: place.name.clone(),
        detail: format!("{} {detail}", place.path),
    };
    let version = writer_version(table);
    if version > WRITER_VERSION_MAX {
        return Err(refused(format!(
            "is a table of writer version {version}, and {WRITER_VERSION_MAX} is the newest that is written; leave writing \
             to the engine that made it"
        )));
    }
    let mut needed = table.protocol().writer_features().into_iter().flatten().map(ToString::to_string);
    if let Some(feature) = needed.find(|feature| !WRITTEN.contains(&feature.as_str())) {
        let advice = advice(&feature);
        return Err(refused(format!("uses the Delta feature {feature}, which is not written here; {advice}")));
    }
    let schema = table.schema();
    if let Some(column) = schema.fields().find(|field| is_computed(field)) {
        let name = column.name();
        return Err(refused(format!(
            "computes its column {name} by itself, which is not done here; leave it to Spark"
        )));
    }
    Ok(())
}

/// The crate tells a protocol's versions only as it would write them.
fn writer_version(table: &DeltaTableState) -> i64 {
    let protocol = serde_json::to_value(table.protocol()).unwrap_or_default();
    protocol["minWriterVersion"].as_i64().unwrap_or(i64::MAX)
}

fn maps_columns(configuration: &HashMap<String, String>) -> bool {
    configuration.get("delta.columnMapping.mode").is_some_and(|mode| mode != "none")
}

fn is_computed(field: &StructField) -> bool {
    COMPUTED.iter().any(|key| field.metadata().contains_key(*key))
}

fn leaves_the_table(path: &str) -> bool {
    path.starts_with('/')
        || path.contains("://")
        || path.starts_with("file:")
        || path.split('/').any(|part| part == "..")
}

fn advice(feature: &str) -> &'static str {
    match feature {
        "deletionVectors" => {
            "run REORG TABLE … APPLY (PURGE) on the table and set its property delta.enableDeletionVectors to false"
        }
        "columnMapping" => "write the table anew with its property delta.columnMapping.mode set to none",
        "clustering" => "write to a table without liquid clustering (ALTER TABLE … CLUSTER BY NONE, then DROP FEATURE)",
        _ => "drop the feature (ALTER TABLE … DROP FEATURE), or write the table anew without it",
    }
}
