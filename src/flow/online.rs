//! The online store by hand: rows set and deleted by people and programs, how the store is, and what it holds.
//!
//! What is set or deleted here is online only: no history has it, so training does not find it and `parity` shows the
//! difference. Each change is a write like any other and goes the way of a push: where the store has something newer,
//! it stays, and the answer says so.
//!
//! # Why a feature is deleted at its row's own event time
//! A deleted feature says nothing new about the world, only that a value should not have been there. Were the row moved
//! to now, it would outlive its ttl and hide rows that are newer than it and have yet to come. So the row is written
//! again as of its own moment, known later: at the same event time the later created time wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field as ArrowField, Schema};
use schemars::JsonSchema;
use serde::Serialize;

use super::Error;
use super::ingest::{event_time_column, taken, write_online};
use super::serve::micros;
use super::store::{remove, store};
use crate::batch::{FeatureRows, KeyBatch, timestamps};
use crate::cast;
use crate::catalog::{Catalog, FeatureView, Placement, View};
use crate::clock::{Deadline, Micros};
use crate::gateway::Gateway;
use crate::limits::{DELETE_ATTEMPTS_MAX, EVENT_TIME_AHEAD_MAX};
use crate::online::{OnlineView, Read, ViewStatistics};
use crate::plan::{self, StorePlan};

/// What a set did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RowsSet")]
pub struct Set {
    /// Views that got the rows, derived ones included.
    pub views: Vec<String>,
    pub rows: u64,
    pub rows_written: u64,
    /// Rows of which the store has a newer version; they are not written.
    pub rows_older: u64,
    /// Rows that are not as the view expects and went to a side table; left out where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_quarantined: u64,
}

/// What a delete did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RowDeleted")]
pub struct Deleted {
    pub outcome: DeleteOutcome,
    /// The views concerned, derived ones included.
    pub views: Vec<String>,
    /// Event time of the row that was found there, RFC 3339.
    pub event_time: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeleteOutcome {
    Deleted,
    /// There was no row. Where an entity was to be deleted, older rows stay away from now on all the same.
    Absent,
    /// The feature had no value.
    AlreadyNull,
    /// The row is newer than the delete, and stays.
    Older,
}

/// How the online store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StoreHealth {
    /// What the store is and where.
    pub store: String,
    pub facts: BTreeMap<String, String>,
    /// What may lose or refuse data as the store is set up, with the setting that would change it.
    pub warnings: Vec<String>,
}

/// What the online store holds of one view.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StoredView {
    pub view: String,
    pub keys: u64,
    /// Keys whose rows were looked at; everything below is of these.
    pub sampled: u64,
    /// Bytes that the store keeps of a row, its key included.
    pub bytes_per_key: Option<f64>,
    /// The same bytes, over the values that are not null.
    pub bytes_per_value: Option<f64>,
    /// RFC 3339.
    pub oldest_event_time: Option<String>,
    pub newest_event_time: Option<String>,
    /// By feature, in the view's order.
    pub coverage: Vec<Coverage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Coverage {
    pub feature: String,
    /// Rows that have a value.
    pub values: u64,
    /// The same as a part of the sampled rows; none where there are no rows.
    pub share: Option<f64>,
}

/// Rows replace the rows of their entities, whole: a feature without a column is null. `rows` has the join keys and
/// features of the view by name, in types that cast exactly, and may have the times of its source. `event_time` is when
/// the rows became true where they do not say so themselves; now, if nobody says.
pub async fn set(
    gateway: &Gateway,
    view: &str,
    rows: &RecordBatch,
    event_time: Option<Micros>,
    deadline: Deadline,
) -> Result<Set, Error> {
    let applied = gateway.applied.load_full();
    let plan = settable(&applied.catalog, view)?;
    let source = &applied.catalog.sources[&plan.view.source];
    let rows = match (event_time_column(source, rows), event_time) {
        (Some(_), None) => rows.clone(),
        (None, time) => with_event_time(rows, &source.event_time, time.unwrap_or_else(|| gateway.clock.now()))?,
        (Some(_), Some(_)) => {
            return Err(Error::Invalid(
                "the rows have an event time each, so none can be given for all of them; leave one of the two out"
                    .to_owned(),
            ));
        }
    };
    let ingested = write_online(gateway, view, &rows, deadline).await?;
    Ok(Set {
        views: ingested.views,
        rows: ingested.rows,
        rows_written: ingested.rows.saturating_sub(ingested.rows_older + ingested.rows_quarantined),
        rows_older: ingested.rows_older,
        rows_quarantined: ingested.rows_quarantined,
    })
}

/// One entity has no row any more, and rows older than `event_time` (now, if nobody says) stay away. `entity` is one row
/// of the view's join keys.
pub async fn delete(
    gateway: &Gateway,
    view: &str,
    entity: &RecordBatch,
    event_time: Option<Micros>,
    deadline: Deadline,
) -> Result<Deleted, Error> {
    let applied = gateway.applied.load_full();
    let plan = settable(&applied.catalog, view)?;
    let keys = keys_of(&plan.view, entity)?;
    let now = gateway.clock.now();
    let event_time = event_time.unwrap_or(now);
    if event_time > now.saturating_add(micros(EVENT_TIME_AHEAD_MAX)) {
        return Err(Error::Invalid(format!(
            "{} is more than a minute ahead of this gateway's clock; deleted then, the entity would lose every row until then",
            shown(event_time)
        )));
    }
    let mut found = read_row(gateway, &plan, &keys, deadline).await?;
    let mut written = remove(gateway, &plan, &keys, (event_time, now), deadline).await?;
    if written.older > 0 {
        found = read_row(gateway, &plan, &keys, deadline).await?;
        // A store that keeps the first of two rows of one moment says so although nothing newer is there.
        if found.as_ref().is_some_and(|row| row.event_time == event_time) {
            written = remove(gateway, &plan, &keys, (next(event_time), now), deadline).await?;
        }
    }
    let outcome = match &found {
        None => DeleteOutcome::Absent,
        Some(_) if written.older > 0 => DeleteOutcome::Older,
        Some(_) => DeleteOutcome::Deleted,
    };
    Ok(deleted(&plan, outcome, found.as_ref()))
}

/// One feature of one entity is null from now on, until a newer row comes; the other features stay. Derived views placed
/// at sync are computed again.
pub async fn delete_feature(
    gateway: &Gateway,
    view: &str,
    entity: &RecordBatch,
    feature: &str,
    deadline: Deadline,
) -> Result<Deleted, Error> {
    let applied = gateway.applied.load_full();
    let plan = settable(&applied.catalog, view)?;
    let keys = keys_of(&plan.view, entity)?;
    let position = position_of(&plan.view, feature)?;
    let mut refused: Option<Row> = None;
    for _ in 0..DELETE_ATTEMPTS_MAX {
        let Some(mut row) = read_row(gateway, &plan, &keys, deadline).await? else {
            return Ok(deleted(&plan, DeleteOutcome::Absent, None));
        };
        if row.features[position].is_null(0) {
            return Ok(deleted(&plan, DeleteOutcome::AlreadyNull, Some(&row)));
        }
        // Refused although the row is still of the same moment: this store keeps the first of two such rows.
        let is_same_moment = refused.is_some_and(|refused| refused.event_time == row.event_time);
        let event_time = if is_same_moment { next(row.event_time) } else { row.event_time };
        row.features[position] = new_null_array(row.features[position].data_type(), 1);
        let rows = FeatureRows::new(
            keys.clone(),
            row.features.clone(),
            timestamps(vec![Some(event_time)]),
            timestamps(vec![Some(gateway.clock.now())]),
        );
        if store(gateway, &plan, rows, deadline).await?.older == 0 {
            return Ok(deleted(&plan, DeleteOutcome::Deleted, Some(&row)));
        }
        refused = Some(row);
    }
    Ok(deleted(&plan, DeleteOutcome::Older, refused.as_ref()))
}

/// Asks the online store how it is.
pub async fn health(gateway: &Gateway, deadline: Deadline) -> Result<StoreHealth, Error> {
    let health = gateway.online.health(deadline).await?;
    Ok(StoreHealth { store: health.store, facts: health.facts.into_iter().collect(), warnings: health.warnings })
}

/// What the store holds of the named views, in that order, or of all views that are stored. Reads much of the store.
pub async fn statistics(gateway: &Gateway, views: &[String], deadline: Deadline) -> Result<Vec<StoredView>, Error> {
    let applied = gateway.applied.load_full();
    let stored = online_views(&applied.catalog)?;
    let asked: Vec<Arc<OnlineView>> = match views {
        [] => stored,
        names => names.iter().map(|name| stored_view(&applied.catalog, &stored, name)).collect::<Result<_, _>>()?,
    };
    let statistics = gateway.online.statistics(&asked, deadline).await?;
    Ok(statistics.into_iter().map(StoredView::of).collect())
}

/// The plan by which rows of `view` are set and deleted, or why they cannot be.
pub fn settable(catalog: &Catalog, view: &str) -> Result<StorePlan, Error> {
    if let Some(View::Derived(derived)) = catalog.view(view) {
        let reads = catalog.reach_of(derived).feature_views;
        let reads = reads.iter().map(|view| view.name.as_str()).collect::<Vec<_>>().join(" or ");
        return Err(Error::Invalid(match derived.placement {
            Placement::Sync => format!("{view} is computed and stored with the rows of {reads}; name {reads}"),
            Placement::Request => format!("{view} is computed when it is asked for, and nothing of it is stored"),
        }));
    }
    let plan = plan::storing(catalog, view)?;
    match plan.view.online {
        true => Ok(plan),
        false => Err(plan::Error::NotOnline { view: view.to_owned() }.into()),
    }
}

/// All views that have rows in the online store.
fn online_views(catalog: &Catalog) -> Result<Vec<Arc<OnlineView>>, Error> {
    let mut stored = Vec::new();
    for view in catalog.views.values() {
        if let View::Feature(view) = view
            && view.online
        {
            let plan = plan::storing(catalog, &view.name)?;
            stored.push(plan.online);
            stored.extend(plan.derived);
        }
    }
    Ok(stored)
}

fn stored_view(catalog: &Catalog, stored: &[Arc<OnlineView>], name: &str) -> Result<Arc<OnlineView>, Error> {
    let defined = catalog.view(name);
    if let Some(view) = stored.iter().find(|view| defined.is_some_and(|defined| defined.name() == view.name)) {
        return Ok(Arc::clone(view));
    }
    match defined {
        Some(View::Derived(_)) => {
            Err(Error::Invalid(format!("{name} is computed when it is asked for, and nothing of it is stored")))
        }
        Some(View::Feature(_)) => Err(plan::Error::NotOnline { view: name.to_owned() }.into()),
        None => Err(plan::Error::UnknownView { view: name.to_owned(), project: catalog.project.clone() }.into()),
    }
}

/// The join keys of the one entity that is meant, in the view's order and types.
fn keys_of(view: &FeatureView, entity: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    if entity.num_rows() != 1 {
        return Err(Error::Invalid(format!("{} entities came; one is deleted at a time", entity.num_rows())));
    }
    let is_key = |name: &str| view.join_keys.iter().any(|key| key.name == name);
    if let Some(other) = entity.schema_ref().fields().iter().find(|field| !is_key(field.name())) {
        let keys = view.join_keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::Invalid(format!("{} is no join key of {}; it has {keys}", other.name(), view.name)));
    }
    let key = |key: &crate::catalog::Field| {
        let missing = || Error::MissingColumn { column: key.name.clone(), what: "a join key" };
        let column = taken(entity.column_by_name(&key.name).ok_or_else(missing)?, &key.name, key.dtype)?;
        match column.is_null(0) {
            true => Err(Error::NullJoinKey { join_key: key.name.clone(), row: 0 }),
            false => Ok(column),
        }
    };
    view.join_keys.iter().map(key).collect()
}

fn position_of(view: &FeatureView, feature: &str) -> Result<usize, Error> {
    view.features.iter().position(|known| known.name == feature).ok_or_else(|| {
        let has = view.features.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ");
        plan::Error::UnknownFeature { view: view.name.clone(), feature: feature.to_owned(), has }.into()
    })
}

/// The row of one entity, as it is stored.
struct Row {
    event_time: Micros,
    features: Vec<ArrayRef>,
}

async fn read_row(
    gateway: &Gateway,
    plan: &StorePlan,
    keys: &[ArrayRef],
    deadline: Deadline,
) -> Result<Option<Row>, Error> {
    let keys = KeyBatch::encode(&plan.online.join_keys, keys, 1);
    let columns: Vec<usize> = (0..plan.online.features.len()).collect();
    let read = Read { view: &plan.online, keys: &keys, columns: &columns };
    let found = gateway.online.read(&[read], deadline).await?.into_iter().next();
    Ok(found
        .filter(|rows| rows.present.value(0))
        .map(|rows| Row { event_time: rows.event_time.value(0), features: rows.columns }))
}

/// The moment after; times are whole microseconds.
fn next(time: Micros) -> Micros {
    time.saturating_add(1)
}

fn with_event_time(rows: &RecordBatch, name: &str, time: Micros) -> Result<RecordBatch, Error> {
    let times: ArrayRef = Arc::new(timestamps(vec![Some(time); rows.num_rows()]));
    let mut fields: Vec<Arc<ArrowField>> = rows.schema_ref().fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new(name, times.data_type().clone(), true)));
    let columns = rows.columns().iter().cloned().chain([times]).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Error::Stopped(error.to_string()))
}

fn deleted(plan: &StorePlan, outcome: DeleteOutcome, row: Option<&Row>) -> Deleted {
    let derived = plan.derived.iter().map(|view| view.name.clone());
    let views = [plan.view.name.clone()].into_iter().chain(derived).collect();
    Deleted { outcome, views, event_time: row.map(|row| shown(row.event_time)) }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// RFC 3339.
fn shown(time: Micros) -> String {
    let column: ArrayRef = Arc::new(timestamps(vec![Some(time)]));
    cast::to_text(&column, 0)
}

impl StoredView {
    fn of(statistics: ViewStatistics) -> Self {
        let per = |number: u64| (number > 0).then(|| statistics.bytes as f64 / number as f64);
        let values: u64 = statistics.values.iter().map(|(_, values)| values).sum();
        let (bytes_per_key, bytes_per_value) = (per(statistics.sampled), per(values));
        let share = |values: u64| (statistics.sampled > 0).then(|| values as f64 / statistics.sampled as f64);
        let coverage = |(feature, values)| Coverage { feature, values, share: share(values) };
        Self {
            view: statistics.view,
            keys: statistics.keys,
            sampled: statistics.sampled,
            bytes_per_key,
            bytes_per_value,
            oldest_event_time: statistics.oldest_event_time.map(shown),
            newest_event_time: statistics.newest_event_time.map(shown),
            coverage: statistics.values.into_iter().map(coverage).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_coverage_are_those_of_the_sampled_rows() {
        let statistics = ViewStatistics {
            view: "stats".to_owned(),
            keys: 1_000,
            sampled: 10,
            bytes: 400,
            oldest_event_time: Some(0),
            newest_event_time: Some(1_500_000),
            values: vec![("fare".to_owned(), 10), ("tip".to_owned(), 6)],
        };
        let stored = StoredView::of(statistics);
        assert_eq!((stored.bytes_per_key, stored.bytes_per_value), (Some(40.0), Some(25.0)));
        let shares: Vec<_> = stored.coverage.iter().map(|each| (each.feature.as_str(), each.share)).collect();
        assert_eq!(shares, [("fare", Some(1.0)), ("tip", Some(0.6))]);
        assert_eq!(stored.oldest_event_time.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(stored.newest_event_time.as_deref(), Some("1970-01-01T00:00:01.500Z"));
    }

    #[test]
    fn a_view_without_rows_has_no_averages() {
        let values = vec![("fare".to_owned(), 0)];
        let stored = StoredView::of(ViewStatistics { values, ..ViewStatistics::default() });
        assert_eq!((stored.bytes_per_key, stored.bytes_per_value), (None, None));
        assert_eq!((stored.coverage[0].share, &stored.newest_event_time), (None, &None));
    }
}
