//! Side tables: the rows that are no rows of their view, with the reason.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use arrow::ipc::writer::StreamWriter;
use futures::StreamExt;

use super::{not_after, stopped};
use crate::batch::timestamps;
use crate::catalog::{Catalog, DType, Digest, FeatureView, Field, Source, SourceKind, Stored};
use crate::clock::Micros;
use crate::flow::Error;
use crate::gateway::Gateway;
use crate::limits::QUARANTINE_BATCH_ROWS;
use crate::offline::{OfflineStore, Scan};
use crate::quality::{Failed, RowChecks, quarantines, reasons};

/// The columns that a side table has besides the view's own.
const REASON: &str = "quarantine_reason";
const QUARANTINED_AT: &str = "quarantined_at";
const EVENT_TIME: &str = "event_time";
const CREATED_TIME: &str = "created_time";

/// Where rows of a view are put aside.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    source: Source,
    schema: Arc<Schema>,
    now: Micros,
}

impl Aside {
    /// Nothing for a view that quarantines no rows.
    pub fn of(gateway: &Gateway, catalog: &Catalog, view: &FeatureView) -> Option<Self> {
        if !view.expectations.iter().any(quarantines) {
            return None;
        }
        let named = view.quarantine.as_ref().and_then(|name| catalog.sources.get(name)).cloned();
        let source = named.unwrap_or_else(|| Source {
            name: format!("{}_quarantine", view.name),
            kind: SourceKind::Push { into: Stored::parquet(format!(".lockstep/quarantine/{}", view.name)) },
            event_time: EVENT_TIME.to_owned(),
            created_time: Some(CREATED_TIME.to_owned()),
            description: String::new(),
        });
        let time = |name: &str| Field::new(name, DType::TIMESTAMP).arrow();
        let mut fields: Vec<ArrowField> = view.join_keys.iter().chain(&view.features).map(Field::arrow).collect();
        fields.push(time(&source.event_time));
        fields.push(time(source.created_time.as_deref().unwrap_or(CREATED_TIME)));
        fields.push(ArrowField::new(REASON, DataType::Utf8, true));
        fields.push(time(QUARANTINED_AT));
        let fields: Vec<ArrowField> = fields.into_iter().map(|field| field.with_nullable(true)).collect();
        Some(Self { source, schema: Arc::new(Schema::new(fields)), now: gateway.clock.now() })
    }

    /// Writes rows (keys, features and the two times) with their reasons. The id is made of the rows themselves, so the
    /// same rows are written once.
    pub async fn write(
        &self,
        offline: &dyn OfflineStore,
        columns: Vec<ArrayRef>,
        why: StringArray,
    ) -> Result<u64, Error> {
        let rows = why.len();
        let mut columns = columns;
        columns.push(Arc::new(why));
        let id = content_id(&self.schema, &columns)?;
        columns.push(Arc::new(timestamps(vec![Some(self.now); rows])));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(stopped)?;
        offline.append(&self.source, &id, &batch).await?;
        Ok(rows as u64)
    }
}

fn content_id(schema: &Schema, columns: &[ArrayRef]) -> Result<String, Error> {
    let schema = Arc::new(schema.project(&(0..columns.len()).collect::<Vec<_>>()).map_err(stopped)?);
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec()).map_err(stopped)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(stopped)?;
    writer.write(&rows).map_err(stopped)?;
    Ok(format!("quarantine-{}", Digest::of(&writer.into_inner().map_err(stopped)?)))
}

/// Rows that are to be put aside, up to one file of them.
pub(super) struct Waiting {
    aside: Aside,
    parts: Vec<(Vec<ArrayRef>, StringArray)>,
    rows: usize,
    written: u64,
}

impl Waiting {
    pub fn new(aside: Aside) -> Self {
        Self { aside, parts: Vec::new(), rows: 0, written: 0 }
    }

    /// Adds the bad ones among rows with all columns of the view and the two times.
    pub async fn add(
        &mut self,
        offline: &dyn OfflineStore,
        view: &FeatureView,
        failed: &[Failed],
        batch: &RecordBatch,
    ) -> Result<(), Error> {
        let Some(bad) = quarantined(view, failed) else { return Ok(()) };
        self.parts.push(taken_aside(view, failed, &bad, batch.columns())?);
        self.rows += bad.count_set_bits();
        if self.rows >= QUARANTINE_BATCH_ROWS { self.write(offline).await } else { Ok(()) }
    }

    /// Adds the rows of a scan that is made a second time, once it is known that the run goes on.
    pub async fn read_again(
        &mut self,
        offline: &dyn OfflineStore,
        source: &Source,
        view: &Arc<FeatureView>,
        scan: &Scan,
        until: Micros,
    ) -> Result<(), Error> {
        let checks = RowChecks::of(&view.expectations, &scan.columns, quarantines);
        let mut batches = offline.scan(source, scan).await?;
        while let Some(batch) = batches.next().await {
            let batch = not_after(batch?, until)?;
            let failed = checks.failed(&batch.columns()[..batch.num_columns() - 2]);
            self.add(offline, view, &failed, &batch).await?;
        }
        Ok(())
    }

    async fn write(&mut self, offline: &dyn OfflineStore) -> Result<(), Error> {
        let parts = std::mem::take(&mut self.parts);
        self.rows = 0;
        let Some((first, _)) = parts.first() else { return Ok(()) };
        let column = |column: usize| {
            let arrays: Vec<&dyn Array> = parts.iter().map(|(columns, _)| columns[column].as_ref()).collect();
            concat(&arrays)
        };
        let columns = (0..first.len()).map(column).collect::<Result<_, _>>().map_err(stopped)?;
        let why: StringArray = parts.iter().flat_map(|(_, why)| why.iter()).collect();
        self.written += self.aside.write(offline, columns, why).await?;
        Ok(())
    }

    /// How many rows were put aside in all.
    pub async fn finish(mut self, offline: &dyn OfflineStore) -> Result<u64, Error> {
        self.write(offline).await?;
        Ok(self.written)
    }
}

/// The rows that some expectation takes away; nothing where there are none.
pub(super) fn quarantined(view: &FeatureView, failed: &[Failed]) -> Option<BooleanBuffer> {
    let bad = failed.iter().filter(|failed| quarantines(&view.expectations[failed.expectation]));
    bad.map(|failed| failed.rows.clone()).reduce(|all, rows| &all | &rows)
}

/// These rows of `columns`, and why each of them is bad.
pub(super) fn taken_aside(
    view: &FeatureView,
    failed: &[Failed],
    bad: &BooleanBuffer,
    columns: &[ArrayRef],
) -> Result<(Vec<ArrayRef>, StringArray), Error> {
    let mask = BooleanArray::new(bad.clone(), None);
    let columns = columns.iter().map(|column| filter(column, &mask)).collect::<Result<_, _>>().map_err(stopped)?;
    Ok((columns, reasons(view, failed, bad.set_indices())))
}
