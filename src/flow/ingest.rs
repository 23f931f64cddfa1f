//! Rows that arrive: pushed by callers or read from an event source; appended to the history, and online at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray, new_null_array};

use super::Error;
use super::expectations::{Screened, only, screen};
use super::serve::micros;
use super::store::store;
use crate::batch::{FeatureRows, record_batch, timestamps};
use crate::cast;
use crate::catalog::{Catalog, DType, FeatureView, Field, Source, SourceKind, View};
use crate::clock::Deadline;
use crate::events::{self, EventSource};
use crate::gateway::Gateway;
use crate::limits::{EVENT_TIME_AHEAD_MAX, EVENTS_WAIT, PUSH_ROWS_MAX, WRITE_DEADLINE};
use crate::plan;
use crate::quality::Verdict;

/// Where pushed rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushTo {
    Online,
    Offline,
    OnlineAndOffline,
}

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ingested {
    /// Views that got the rows, derived ones included.
    pub views: Vec<String>,
    pub rows: u64,
    /// Rows, over all views, of which the online store had a newer version already.
    pub rows_older: u64,
    pub rows_appended: u64,
    /// Rows, over all views, that went to a side table because they are not as expected.
    pub rows_quarantined: u64,
    /// The expectations that do not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Verdict>,
}

/// Rows of a push source go to every feature view that reads it. `rows` has the source's columns under their own names
/// (join keys, features, event time, created time), of types that cast exactly; a missing feature column is null.
///
/// The history comes first: a row that serving knows is a row that training will find.
pub async fn ingest(
    gateway: &Gateway,
    push_source: &str,
    rows: &RecordBatch,
    to: PushTo,
    deadline: Deadline,
) -> Result<Ingested, Error> {
    static PUSHES: AtomicU64 = AtomicU64::new(0);
    let batch_id =
        format!("{:020}-{}-{}", gateway.clock.now(), std::process::id(), PUSHES.fetch_add(1, Ordering::Relaxed));
    ingest_as(gateway, push_source, &batch_id, rows, to, deadline).await
}

async fn ingest_as(
    gateway: &Gateway,
    push_source: &str,
    batch_id: &str,
    rows: &RecordBatch,
    to: PushTo,
    deadline: Deadline,
) -> Result<Ingested, Error> {
    let applied = gateway.applied.load_full();
    let source = push_source_of(&applied.catalog, push_source)?;
    let views: Vec<&Arc<FeatureView>> =
        feature_views(&applied.catalog).filter(|view| view.source == source.name).collect();
    let pushed = Pushed::check(gateway, source, &views, rows)?;
    let mut ingested = Ingested { rows: rows.num_rows() as u64, ..Ingested::default() };
    let screened = screened(gateway, &applied.catalog, &views, &pushed, &mut ingested).await?;

    if to != PushTo::Online {
        // A row that no view takes is in the side tables alone.
        let history = match &screened.taken {
            Some(taken) => only(&pushed.history(source), taken)?,
            None => pushed.history(source),
        };
        ingested.rows_appended = history.num_rows() as u64;
        gateway.offline.append(source, batch_id, &history).await?;
    }
    if to != PushTo::Offline {
        for (view, rows) in views.iter().zip(screened.rows).filter(|(view, _)| view.online) {
            write_view(gateway, &applied.catalog, view, rows, &mut ingested, deadline).await?;
        }
    }
    Ok(ingested)
}

/// Rows go to one feature view's online table and nowhere else (Feast's `write-to-online-store`).
pub async fn write_online(
    gateway: &Gateway,
    view: &str,
    rows: &RecordBatch,
    deadline: Deadline,
) -> Result<Ingested, Error> {
    let applied = gateway.applied.load_full();
    let storing = plan::storing(&applied.catalog, view)?;
    let source = &applied.catalog.sources[&storing.view.source];
    let pushed = Pushed::check(gateway, source, &[&storing.view], rows)?;
    let mut ingested = Ingested { rows: rows.num_rows() as u64, ..Ingested::default() };
    let mut screened = screened(gateway, &applied.catalog, &[&storing.view], &pushed, &mut ingested).await?;
    let rows = screened.rows.remove(0);
    write_view(gateway, &applied.catalog, &storing.view, rows, &mut ingested, deadline).await?;
    Ok(ingested)
}

/// The rows for each view that are as it expects them; refuses all of them where one must not be there.
async fn screened(
    gateway: &Gateway,
    catalog: &Catalog,
    views: &[&Arc<FeatureView>],
    pushed: &Pushed,
    ingested: &mut Ingested,
) -> Result<Screened, Error> {
    let rows: Vec<_> = views.iter().map(|view| (*view, pushed.rows_of(view))).collect();
    let mut screened = screen(gateway, catalog, &rows).await?;
    ingested.expectations = std::mem::take(&mut screened.verdicts);
    ingested.rows_quarantined = screened.rows_quarantined;
    Ok(screened)
}

/// Ingests events until the source ends: rows are stored first, then the position is committed, so a crash in between
/// repeats rows and loses none. A batch is named by its position, so that its repetition appends nothing.
pub async fn follow(
    gateway: &Gateway,
    push_source: &str,
    events: &dyn EventSource,
    to: PushTo,
) -> Result<Ingested, Error> {
    let mut total = Ingested::default();
    loop {
        let next = match events.next(PUSH_ROWS_MAX, Deadline::after(EVENTS_WAIT)).await {
            Ok(Some(next)) => next,
            Ok(None) => continue,
            Err(events::Error::Ended) => return Ok(total),
            Err(error) => return Err(Error::Invalid(error.to_string())),
        };
        let batch_id = format!("{push_source}@{:020}", next.position);
        let ingested =
            ingest_as(gateway, push_source, &batch_id, &next.rows, to, Deadline::after(WRITE_DEADLINE)).await?;
        events.commit(next.position).await.map_err(|error| Error::Invalid(error.to_string()))?;
        total.views = ingested.views;
        total.rows += ingested.rows;
        total.rows_older += ingested.rows_older;
        total.rows_appended += ingested.rows_appended;
        total.rows_quarantined += ingested.rows_quarantined;
        // Of a stream without end, what the last batch had.
        total.expectations = ingested.expectations;
    }
}

async fn write_view(
    gateway: &Gateway,
    catalog: &Catalog,
    view: &FeatureView,
    rows: FeatureRows,
    ingested: &mut Ingested,
    deadline: Deadline,
) -> Result<(), Error> {
    let plan = plan::storing(catalog, &view.name)?;
    let written = store(gateway, &plan, rows, deadline).await?;
    ingested.rows_older += written.older;
    ingested.views.push(view.name.clone());
    ingested.views.extend(plan.derived.iter().map(|derived| derived.name.clone()));
    Ok(())
}

/// No one could ever ask for such a row. Refused before anything is written, the history included.
fn refuse_null_keys(columns: &[(Field, ArrayRef)], views: &[&Arc<FeatureView>]) -> Result<(), Error> {
    for (field, column) in columns {
        let is_key = views.iter().any(|view| view.join_keys.iter().any(|key| key.name == field.name));
        if is_key && let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) {
            return Err(Error::NullJoinKey { join_key: field.name.clone(), row });
        }
    }
    Ok(())
}

fn push_source_of<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Source, Error> {
    match catalog.sources.get(name) {
        Some(source) if matches!(source.kind, SourceKind::Push { .. }) => Ok(source),
        _ => Err(Error::UnknownPushSource(name.to_owned())),
    }
}

fn feature_views(catalog: &Catalog) -> impl Iterator<Item = &Arc<FeatureView>> {
    catalog.views.values().filter_map(|view| match view {
        View::Feature(view) => Some(view),
        View::Derived(_) => None,
    })
}

/// Pushed rows, checked: every column is known and has its type, every row has a believable event time.
struct Pushed {
    /// Join keys and features of the views, by name, each once.
    columns: Vec<(Field, ArrayRef)>,
    event_time: TimestampMicrosecondArray,
    created_time: TimestampMicrosecondArray,
}

impl Pushed {
    fn check(
        gateway: &Gateway,
        source: &Source,
        views: &[&Arc<FeatureView>],
        rows: &RecordBatch,
    ) -> Result<Self, Error> {
        if rows.num_rows() > PUSH_ROWS_MAX {
            return Err(Error::TooManyRows { rows: rows.num_rows(), max: PUSH_ROWS_MAX });
        }
        let mut known: Vec<(Field, bool)> = Vec::new();
        for view in views {
            for (field, is_key) in
                view.join_keys.iter().map(|key| (key, true)).chain(view.features.iter().map(|feature| (feature, false)))
            {
                if !known.iter().any(|(known, _)| known.name == field.name) {
                    known.push((field.clone(), is_key));
                }
            }
        }
        refuse_unknown_columns(source, &known, rows)?;
        let columns = known
            .into_iter()
            .map(|(field, is_key)| match rows.column_by_name(&field.name) {
                Some(column) => Ok((field.clone(), taken(column, &field.name, field.dtype)?)),
                None if is_key => Err(Error::MissingColumn { column: field.name, what: "a join key" }),
                None => Ok((field.clone(), new_null_array(&field.dtype.arrow(), rows.num_rows()))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        refuse_null_keys(&columns, views)?;
        let event_time = event_times(gateway, source, rows)?;
        let created_time = match created_column(source, rows) {
            Some(column) => cast::to_times(column).map_err(|error| Error::wrong_type("created", error))?,
            None if source.created_time.is_some() => timestamps(vec![Some(gateway.clock.now()); rows.num_rows()]),
            None => timestamps(vec![None; rows.num_rows()]),
        };
        Ok(Self { columns, event_time, created_time })
    }

    fn rows_of(&self, view: &FeatureView) -> FeatureRows {
        let column = |field: &Field| {
            let found = self.columns.iter().find(|(known, _)| known.name == field.name);
            Arc::clone(&found.expect("the columns were made of the fields of these views").1)
        };
        let (keys, features) = (view.join_keys.iter().map(column), view.features.iter().map(column));
        FeatureRows::new(keys.collect(), features.collect(), self.event_time.clone(), self.created_time.clone())
    }

    /// The rows as the source's history keeps them.
    fn history(&self, source: &Source) -> RecordBatch {
        let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = self.columns.iter().cloned().unzip();
        fields.push(Field::new(&source.event_time, DType::TIMESTAMP));
        columns.push(Arc::new(self.event_time.clone()));
        if let Some(created_time) = &source.created_time {
            fields.push(Field::new(created_time, DType::TIMESTAMP));
            columns.push(Arc::new(self.created_time.clone()));
        }
        record_batch(&fields, columns, self.event_time.len())
    }
}

/// Feast's clients always call the times `event_timestamp` and `created`, whatever the source calls them.
const FEAST_EVENT_TIME: &str = "event_timestamp";
const FEAST_CREATED_TIME: &str = "created";

fn refuse_unknown_columns(source: &Source, known: &[(Field, bool)], rows: &RecordBatch) -> Result<(), Error> {
    let mut names: BTreeSet<&str> = known.iter().map(|(field, _)| field.name.as_str()).collect();
    names.extend([source.event_time.as_str(), FEAST_EVENT_TIME, FEAST_CREATED_TIME]);
    names.extend(source.created_time.as_deref());
    match rows.schema_ref().fields().iter().find(|field| !names.contains(field.name().as_str())) {
        None => Ok(()),
        Some(field) => Err(Error::Invalid(format!(
            "column {} is not one of source {}; it has {}",
            field.name(),
            source.name,
            known
                .iter()
                .map(|(field, _)| field.name.as_str())
                .chain([source.event_time.as_str()])
                .collect::<Vec<_>>()
                .join(", "),
        ))),
    }
}

/// The type that a column of rows for `views` must have; none for a column that has no place in them.
pub fn column_type<'a>(name: &str, source: &Source, views: impl IntoIterator<Item = &'a FeatureView>) -> Option<DType> {
    let mut fields = views.into_iter().flat_map(|view| view.join_keys.iter().chain(&view.features));
    let is_time = name == source.event_time
        || Some(name) == source.created_time.as_deref()
        || [FEAST_EVENT_TIME, FEAST_CREATED_TIME].contains(&name);
    fields.find(|field| field.name == name).map(|field| field.dtype).or(is_time.then_some(DType::TIMESTAMP))
}

pub(super) fn event_time_column<'a>(source: &Source, rows: &'a RecordBatch) -> Option<&'a ArrayRef> {
    rows.column_by_name(&source.event_time).or_else(|| rows.column_by_name(FEAST_EVENT_TIME))
}

fn event_times(gateway: &Gateway, source: &Source, rows: &RecordBatch) -> Result<TimestampMicrosecondArray, Error> {
    let column = event_time_column(source, rows).ok_or_else(|| Error::MissingColumn {
        column: source.event_time.clone(),
        what: "the time at which each row became true",
    })?;
    let times = cast::to_times(column).map_err(|error| Error::wrong_type(&source.event_time, error))?;
    let latest = gateway.clock.now().saturating_add(micros(EVENT_TIME_AHEAD_MAX));
    for row in 0..times.len() {
        if times.is_null(row) {
            return Err(Error::Invalid(format!(
                "row {row} has no {}; every row needs the time at which it became true",
                source.event_time
            )));
        }
        if times.value(row) > latest {
            return Err(Error::Invalid(format!(
                "row {row} is from more than a minute after this gateway's clock; one of the two clocks is wrong, and the row would hide every later one"
            )));
        }
    }
    Ok(times)
}

/// Of a source without a created time there is none: its history would not keep it, and so training could not break ties
/// by it.
fn created_column<'a>(source: &Source, rows: &'a RecordBatch) -> Option<&'a ArrayRef> {
    let name = source.created_time.as_deref()?;
    rows.column_by_name(name).or_else(|| rows.column_by_name(FEAST_CREATED_TIME))
}

/// A column of the caller's, as the type it must have.
pub(super) fn taken(column: &ArrayRef, name: &str, dtype: DType) -> Result<ArrayRef, Error> {
    cast::exactly_by_row(column, dtype).map_err(|error| Error::wrong_type(name, error))
}
