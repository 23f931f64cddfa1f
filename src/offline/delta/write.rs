//! Adding batches to a Delta table.
//!
//! A commit carries the batch as an application transaction, `lockstep:<hash of the batch id>`, so whether a batch is in
//! the table is written in the table, and stands or falls with its rows. It is looked up before the rows are written;
//! if the batch lands in between by another hand, the commit fails on it and the next attempt finds it. Delta keeps
//! such marks for ever unless the table's `delta.setTransactionRetentionDuration` says otherwise.
//!
//! Whoever loses the race for a version looks at the table again and starts over, a bounded number of times.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use deltalake::kernel::Transaction;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::schema::StructType;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::super::Error;
use super::columns::conform;
use super::place::{Loaded, Place};
use super::{failure, features};
use crate::limits::{DELTA_ATTEMPTS_MAX, DELTA_RETRY_WAIT, DELTA_WRITE_MEMORY_BYTES_MAX};

/// Adds `rows`, unless the batch is in the table; makes the table if there is none.
pub(super) async fn append(place: &Place, batch_id: &str, rows: &RecordBatch) -> Result<(), Error> {
    for attempt in 1..=DELTA_ATTEMPTS_MAX {
        let Some(Writable { loaded, rows, grows }) = writable(place, batch_id, rows).await? else { return Ok(()) };
        match add(loaded.table, batch_id, rows, grows).await {
            Err(error) if failure::is_conflict(&error) => wait(attempt).await,
            Err(error) => return Err(failure::write(place, error)),
            Ok(_) => return Ok(()),
        }
    }
    Err(too_busy(place))
}

/// A table that rows can be added to, and the rows in its types.
pub(super) struct Writable {
    pub loaded: Loaded,
    pub rows: RecordBatch,
    /// Whether the rows bring new columns.
    pub grows: bool,
}

/// The table as it is now, made if there is none; `None` where the batch is in it.
pub(super) async fn writable(place: &Place, batch_id: &str, rows: &RecordBatch) -> Result<Option<Writable>, Error> {
    let loaded = match newest(place).await? {
        Some(loaded) => loaded,
        None => {
            let (rows, _) = conform(place, &Schema::empty(), rows)?;
            create(place, &rows.schema()).await?;
            newest(place).await?.ok_or_else(|| Error::Write {
                source_name: place.name.clone(),
                detail: format!("the table at {} went away while it was made", place.path),
            })?
        }
    };
    let state = loaded.table.snapshot().map_err(|error| failure::write(place, error))?;
    if has_batch(&loaded.table, state, batch_id).await.map_err(|error| failure::read(place, error))? {
        return Ok(None);
    }
    let (rows, grows) = conform(place, &state.snapshot().arrow_schema(), rows)?;
    Ok(Some(Writable { rows, grows, loaded }))
}

/// The newest version of a table that we may write to.
pub(super) async fn newest(place: &Place) -> Result<Option<Loaded>, Error> {
    let Some(mut loaded) = place.find().await? else { return Ok(None) };
    loaded.load(None).await.map_err(|error| failure::read(place, error))?;
    let state = loaded.table.snapshot().map_err(|error| failure::read(place, error))?;
    features::check_read(place, state)?;
    features::check_write(place, state)?;
    Ok(Some(loaded))
}

/// Makes an empty table with these columns, or leaves the one that somebody else has made meanwhile.
async fn create(place: &Place, columns: &Schema) -> Result<(), Error> {
    let failed = |error| failure::write(place, error);
    let schema: StructType =
        columns.try_into_kernel().map_err(|error| failed(DeltaTableError::Arrow { source: error }))?;
    let created = place
        .unloaded()
        .map_err(failed)?
        .table
        .create()
        .with_columns(schema.fields().cloned())
        .with_save_mode(SaveMode::Ignore)
        // Files are skipped by the event time wherever it stands among the columns.
        .with_configuration_property(deltalake::TableProperty::DataSkippingNumIndexedCols, Some("-1"))
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await;
    match created {
        Err(error) if !failure::is_conflict(&error) => Err(failed(error)),
        _ => Ok(()),
    }
}

async fn has_batch(table: &DeltaTable, state: &DeltaTableState, batch_id: &str) -> Result<bool, DeltaTableError> {
    let known = state.transaction_version(table.log_store().as_ref(), application_id(batch_id)).await?;
    Ok(known.is_some())
}

async fn add(table: DeltaTable, batch_id: &str, rows: RecordBatch, grows: bool) -> Result<DeltaTable, DeltaTableError> {
    let write = table
        .write([rows])
        .with_save_mode(SaveMode::Append)
        .with_session_state(session()?)
        .with_writer_properties(file_properties())
        .with_commit_properties(of_batch(batch_id));
    match grows {
        true => write.with_schema_mode(SchemaMode::Merge).await,
        false => write.await,
    }
}

/// What every commit of a batch carries.
pub(super) fn of_batch(batch_id: &str) -> CommitProperties {
    CommitProperties::default()
        .with_application_transaction(Transaction::new(application_id(batch_id), 1))
        .with_metadata([("lockstep.batch_id".to_owned(), batch_id.into())])
}

fn application_id(batch_id: &str) -> String {
    format!("lockstep:{}", hex::encode(&Sha256::digest(batch_id.as_bytes())[..16]))
}

pub(super) fn file_properties() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build()
}

/// The session of one write, bounded in memory.
pub(super) fn session() -> Result<Arc<dyn Session>, DeltaTableError> {
    Ok(Arc::new(state()?))
}

pub(super) fn state() -> Result<SessionState, DeltaTableError> {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.execution.parquet.schema_force_view_types = false;
    // Column names are taken as they are.
    options.sql_parser.enable_ident_normalization = false;
    let pool = Arc::new(FairSpillPool::new(DELTA_WRITE_MEMORY_BYTES_MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    Ok(SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_query_planner(deltalake::delta_datafusion::planner::DeltaPlanner::new())
        .build())
}

/// Time for the winner to be done, longer each time and different for each loser.
pub(super) async fn wait(attempt: u32) {
    let longest = DELTA_RETRY_WAIT.saturating_mul(1 << attempt.min(6));
    let part = (RandomState::new().hash_one(attempt) % 1_024) as u32;
    let until = Instant::now() + longest / 2 + longest.saturating_mul(part) / 2_048;
    tokio::time::sleep_until(until.into()).await;
}

pub(super) fn too_busy(place: &Place) -> Error {
    Error::Write {
        source_name: place.name.clone(),
        detail: format!("others wrote to {} faster, {DELTA_ATTEMPTS_MAX} times over; try again", place.path),
    }
}
