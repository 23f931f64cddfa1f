//! Where rows come from, as a definition file says it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where rows come from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::catalog) enum SourceFile {
    /// A Parquet file, or a folder of them.
    Parquet {
        /// In snake_case; the table's name in SQL sources.
        name: String,
        /// Relative to the project's folder, or `s3://bucket/path` in a bucket under `object_stores` in lockstep.yaml.
        path: String,
        /// The columns that stand in the names of the folders, such as `day=2026-01-31/`, in their order.
        #[serde(default)]
        partitions: Vec<PartitionFile>,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written; of rows with the same event time the later one counts.
        #[serde(default)]
        created_time: Option<String>,
        /// Whether requests that read its rows are kept out of the request log.
        #[serde(default)]
        sensitive: bool,
        #[serde(default)]
        description: String,
    },
    /// A Delta Lake table.
    Delta {
        /// In snake_case; the table's name in SQL sources.
        name: String,
        /// The table's folder, relative to the project's folder.
        path: String,
        /// The version to read, such as 12; the newest without it.
        #[serde(default)]
        version: Option<u64>,
        /// Reads the table as it was then, such as 2026-01-31T00:00:00Z.
        #[serde(default)]
        as_of: Option<String>,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written; of rows with the same event time the later one counts.
        #[serde(default)]
        created_time: Option<String>,
        /// Whether requests that read its rows are kept out of the request log.
        #[serde(default)]
        sensitive: bool,
        #[serde(default)]
        description: String,
    },
    /// A table or view of a PostgreSQL database.
    Postgres {
        /// In snake_case; the table's name in SQL sources.
        name: String,
        /// The name of the database under `postgres` in lockstep.yaml.
        connection: String,
        /// `schema.table`, or `table` in the schema `public`; as the database writes it, capitals and all.
        table: String,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written; of rows with the same event time the later one counts.
        #[serde(default)]
        created_time: Option<String>,
        /// Whether requests that read its rows are kept out of the request log.
        #[serde(default)]
        sensitive: bool,
        #[serde(default)]
        description: String,
    },
    /// A query over the other sources, which are tables under their names.
    Sql {
        /// In snake_case.
        name: String,
        /// One SELECT.
        query: String,
        /// The column of the result that says when a row became true.
        event_time: String,
        /// The column of the result that says when a row was written.
        #[serde(default)]
        created_time: Option<String>,
        /// Whether requests that read its rows are kept out of the request log.
        #[serde(default)]
        sensitive: bool,
        #[serde(default)]
        description: String,
    },
    /// One row for each value, as some stores keep them: whose it is, of which feature, when, and the value. Views read
    /// it as if it had a column for each of their features.
    Long {
        /// In snake_case.
        name: String,
        /// The source with the values.
        source: String,
        /// Only the rows that have this in that column.
        #[serde(default)]
        entity_type: Option<EntityTypeFile>,
        /// The column that says whose value it is.
        entity: LongEntityFile,
        /// The column with the name of the feature.
        name_column: String,
        /// The column with the values; text is parsed as the type of the feature.
        #[serde(default)]
        value_column: Option<String>,
        /// From type to column, where values of several types have columns of their own.
        #[serde(default)]
        value_columns: BTreeMap<String, String>,
        /// The column that says when a value became true.
        event_time: String,
        /// The column that says when a value was written; of values with the same event time the later one counts.
        #[serde(default)]
        created_time: Option<String>,
        /// Whether requests that read its rows are kept out of the request log.
        #[serde(default)]
        sensitive: bool,
        #[serde(default)]
        description: String,
    },
    /// Rows that callers push. They are online at once and kept in a table, so that training sees them.
    Push {
        /// In snake_case; what callers push to.
        name: String,
        /// Keeps the pushed rows as Parquet files in this folder, relative to the project's folder, or `s3://bucket/path`.
        #[serde(default)]
        path: Option<String>,
        /// Keeps the pushed rows in the Delta Lake table in this folder, relative to the project's folder, or `s3://bucket/path`.
        #[serde(default)]
        delta: Option<String>,
        /// The PostgreSQL table for the pushed rows, in place of a path. It is made if it is not there.
        #[serde(default)]
        postgres: Option<PostgresTableFile>,
        /// The columns by whose values pushed rows are put into folders, in the order of these.
        #[serde(default)]
        partitions: Vec<PartitionFile>,
        /// The column that says when a row became true.
        event_time: String,
        /// The column that says when a row was written.
        #[serde(default)]
        created_time: Option<String>,
        /// Whether requests that read its rows are kept out of the request log.
        #[serde(default)]
        sensitive: bool,
        #[serde(default)]
        description: String,
    },
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct EntityTypeFile {
    pub column: String,
    /// What stands there in the rows that count.
    pub value: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct LongEntityFile {
    pub column: String,
    /// The join key that its values are.
    pub join_key: String,
}

/// A column whose values stand in the names of folders.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct PartitionFile {
    /// The column, and what stands before the = in the folder's name.
    pub name: String,
    /// date, string, int32, int64 or bool.
    #[serde(rename = "type")]
    pub dtype: String,
    /// The column of times whose day in UTC this is, usually the event time. Files of other days are then not opened.
    #[serde(default)]
    pub day_of: Option<String>,
}

/// Which table of which PostgreSQL database.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::catalog) struct PostgresTableFile {
    /// The name of the database under `postgres` in lockstep.yaml.
    pub connection: String,
    /// `schema.table`, or `table` in the schema `public`; as the database writes it, capitals and all.
    pub table: String,
}

impl SourceFile {
    pub fn partitions(&self) -> &[PartitionFile] {
        match self {
            Self::Parquet { partitions, .. } | Self::Push { partitions, .. } => partitions,
            Self::Delta { .. } | Self::Postgres { .. } | Self::Sql { .. } | Self::Long { .. } => &[],
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Parquet { name, .. }
            | Self::Delta { name, .. }
            | Self::Postgres { name, .. }
            | Self::Sql { name, .. }
            | Self::Long { name, .. }
            | Self::Push { name, .. } => name,
        }
    }

    pub fn is_sensitive(&self) -> bool {
        match self {
            Self::Parquet { sensitive, .. }
            | Self::Delta { sensitive, .. }
            | Self::Postgres { sensitive, .. }
            | Self::Sql { sensitive, .. }
            | Self::Long { sensitive, .. }
            | Self::Push { sensitive, .. } => *sensitive,
        }
    }

    pub fn event_time(&self) -> &str {
        match self {
            Self::Parquet { event_time, .. }
            | Self::Delta { event_time, .. }
            | Self::Postgres { event_time, .. }
            | Self::Sql { event_time, .. }
            | Self::Long { event_time, .. }
            | Self::Push { event_time, .. } => event_time,
        }
    }

    pub fn created_time(&self) -> Option<&str> {
        match self {
            Self::Parquet { created_time, .. }
            | Self::Delta { created_time, .. }
            | Self::Postgres { created_time, .. }
            | Self::Sql { created_time, .. }
            | Self::Long { created_time, .. }
            | Self::Push { created_time, .. } => created_time.as_deref(),
        }
    }

    pub fn description(&self) -> &str {
        match self {
            Self::Parquet { description, .. }
            | Self::Delta { description, .. }
            | Self::Postgres { description, .. }
            | Self::Sql { description, .. }
            | Self::Long { description, .. }
            | Self::Push { description, .. } => description,
        }
    }
}
