//! Statistics of the history of a view, of a source, or of a file: all rows of a range, read once.
//!
//! A view's rows are counted as they stand in its source, also those that are quarantined: that is how one finds out what
//! to expect of them. A derived view is computed over the history of the feature view that it reads.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::{max, min};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::Error;
use super::derive::off_the_async_threads;
use super::store::compute_derived;
use crate::batch::{FeatureRows, timestamps};
use crate::cast;
use crate::catalog::{Catalog, DType, FeatureView, Field, Source, View};
use crate::clock::{Deadline, Micros};
use crate::gateway::Gateway;
use crate::limits::{STATISTICS_AT_ONCE, STATISTICS_COLUMNS_MAX};
use crate::offline::{self, Rows, Scan};
use crate::plan::{self, StorePlan};
use crate::statistics::{ColumnStatistics, Profile};

/// What is asked about the columns of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The first event time, inclusive.
    pub from: Option<Micros>,
    /// The last one, inclusive.
    pub to: Option<Micros>,
    /// The columns; all of them if none is named.
    pub columns: Vec<String>,
}

/// Statistics of the rows of a range.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Statistics {
    /// The view, the source or the file.
    pub name: String,
    /// `feature_view`, `derived_view`, `source` or `file`.
    pub kind: &'static str,
    pub rows: u64,
    /// Of the rows that were read, RFC 3339; of a file they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_event_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_event_time: Option<String>,
    pub columns: Vec<ColumnStatistics>,
    /// Columns of types that nothing is said of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftOut {
    pub column: String,
    #[serde(rename = "type")]
    pub dtype: String,
}

/// Each keeps a processor busy for long.
static QUESTIONS: Semaphore = Semaphore::const_new(STATISTICS_AT_ONCE);

/// Statistics of the view or source of this name; views go before sources.
pub async fn statistics(gateway: &Gateway, name: &str, asked: &Asked, deadline: Deadline) -> Result<Statistics, Error> {
    let _turn = QUESTIONS.try_acquire().map_err(|_| Error::StatisticsBusy { most: STATISTICS_AT_ONCE })?;
    let applied = gateway.applied.load_full();
    let catalog = &applied.catalog;
    match (catalog.views.get(name), catalog.sources.get(name)) {
        (Some(View::Feature(view)), _) => of_feature_view(gateway, catalog, view, asked, deadline).await,
        (Some(View::Derived(_)), _) => of_derived_view(gateway, catalog, name, asked, deadline).await,
        (None, Some(source)) => of_source(gateway, source, asked, deadline).await,
        (None, None) => {
            Err(plan::Error::UnknownView { view: name.to_owned(), project: catalog.project.clone() }.into())
        }
    }
}

/// Statistics of the columns of a Parquet file. Blocks.
pub fn of_file(path: &Path, asked: &Asked) -> Result<Statistics, Error> {
    let name = path.display().to_string();
    if asked.from.is_some() || asked.to.is_some() {
        let text = format!("nothing says which column of {name} is its event time; ask about all of it");
        return Err(Error::Invalid(text));
    }
    let file = offline::ParquetBatches::open(path)?;
    let (fields, left_out) = columns_of(&name, &file.schema(), &asked.columns)?;
    let mut profile = Profile::new(&fields);
    for batch in file {
        let batch = batch?;
        let cast = |field: &Field| {
            let column = batch
                .column_by_name(&field.name)
                .ok_or_else(|| Error::MissingColumn { column: field.name.clone(), what: "values of the file" })?;
            cast::exactly(column, field.dtype).map_err(|error| Error::wrong_type(&field.name, error))
        };
        let columns: Vec<ArrayRef> = fields.iter().map(cast).collect::<Result<_, Error>>()?;
        profile.push(&columns, batch.num_rows());
    }
    let rows = profile.rows();
    let (oldest_event_time, newest_event_time) = (None, None);
    let columns = profile.finish();
    Ok(Statistics { name, kind: "file", rows, oldest_event_time, newest_event_time, columns, left_out })
}

async fn of_feature_view(
    gateway: &Gateway,
    catalog: &Catalog,
    view: &Arc<FeatureView>,
    asked: &Asked,
    deadline: Deadline,
) -> Result<Statistics, Error> {
    let all: Vec<Field> = view.join_keys.iter().chain(&view.features).cloned().collect();
    let fields = chosen(&view.name, all, &asked.columns)?;
    let rows = scan(gateway, &catalog.sources[&view.source], &fields, asked).await?;
    let read = off_the_async_threads(profile(rows, fields, deadline)).await?;
    Ok(read.statistics(&view.name, "feature_view"))
}

async fn of_source(gateway: &Gateway, source: &Source, asked: &Asked, deadline: Deadline) -> Result<Statistics, Error> {
    let schema = gateway.offline.schema(source).await?;
    let (fields, left_out) = columns_of(&source.name, &schema, &asked.columns)?;
    let rows = scan(gateway, source, &fields, asked).await?;
    let read = off_the_async_threads(profile(rows, fields, deadline)).await?;
    Ok(Statistics { left_out, ..read.statistics(&source.name, "source") })
}

async fn of_derived_view(
    gateway: &Gateway,
    catalog: &Catalog,
    name: &str,
    asked: &Asked,
    deadline: Deadline,
) -> Result<Statistics, Error> {
    let plan = plan::over_history(catalog, name)?;
    let place = plan.derived.iter().position(|derived| derived.name == name);
    let place = place.ok_or_else(|| Error::Stopped(format!("{name} is not among the views that were planned")))?;
    let all = plan.derived[place].features.clone();
    let fields = chosen(name, all.clone(), &asked.columns)?;
    let positions: Vec<usize> =
        fields.iter().filter_map(|field| all.iter().position(|known| known.name == field.name)).collect();
    let read = plan.view.join_keys.iter().chain(&plan.view.features).cloned().collect::<Vec<_>>();
    let mut rows = scan(gateway, &catalog.sources[&plan.view.source], &read, asked).await?;
    let mut reading = Reading::new(&fields);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if deadline.has_passed() {
            return Err(Error::Late("reading the history"));
        }
        let rows = feature_rows(&plan, &batch);
        let computed = compute_derived(gateway, &plan, &rows, deadline).await?;
        let columns: Vec<ArrayRef> = positions.iter().map(|position| Arc::clone(&computed[place][*position])).collect();
        reading.push(&columns, &rows.event_time);
    }
    Ok(reading.statistics(name, "derived_view"))
}

fn feature_rows(plan: &StorePlan, batch: &arrow::array::RecordBatch) -> FeatureRows {
    let (keys, features) = (plan.view.join_keys.len(), plan.view.features.len());
    let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().clone();
    FeatureRows::new(
        batch.columns()[..keys].to_vec(),
        batch.columns()[keys..keys + features].to_vec(),
        time(keys + features),
        time(keys + features + 1),
    )
}

async fn scan(gateway: &Gateway, source: &Source, fields: &[Field], asked: &Asked) -> Result<Rows, Error> {
    let scan = Scan { from: asked.from, until: asked.to, ..Scan::of(fields.to_vec()) };
    Ok(gateway.offline.scan(source, &scan).await?)
}

async fn profile(mut rows: Rows, fields: Vec<Field>, deadline: Deadline) -> Result<Reading, Error> {
    let mut reading = Reading::new(&fields);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if deadline.has_passed() {
            return Err(Error::Late("reading the history"));
        }
        let times = batch.num_columns() - 2;
        reading.push(&batch.columns()[..times], batch.column(times).as_primitive());
    }
    Ok(reading)
}

/// Columns and times so far.
struct Reading {
    profile: Profile,
    oldest: Option<Micros>,
    newest: Option<Micros>,
}

impl Reading {
    fn new(fields: &[Field]) -> Self {
        Self { profile: Profile::new(fields), oldest: None, newest: None }
    }

    fn push(&mut self, columns: &[ArrayRef], event_time: &TimestampMicrosecondArray) {
        self.profile.push(columns, event_time.len());
        self.oldest = [self.oldest, min(event_time)].into_iter().flatten().min();
        self.newest = self.newest.max(max(event_time));
    }

    fn statistics(self, name: &str, kind: &'static str) -> Statistics {
        let shown = |time: Option<Micros>| {
            time.map(|time| cast::to_text(&(Arc::new(timestamps(vec![Some(time)])) as ArrayRef), 0))
        };
        Statistics {
            name: name.to_owned(),
            kind,
            rows: self.profile.rows(),
            oldest_event_time: shown(self.oldest),
            newest_event_time: shown(self.newest),
            columns: self.profile.finish(),
            left_out: Vec::new(),
        }
    }
}

/// The named ones of some fields, in the order in which they were named; all of them if none is.
fn chosen(of: &str, all: Vec<Field>, names: &[String]) -> Result<Vec<Field>, Error> {
    let fields = match names {
        [] => all,
        names => {
            let find = |name: &String| {
                all.iter().find(|field| field.name == *name).cloned().ok_or_else(|| {
                    let has = all.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
                    Error::from(plan::Error::UnknownFeature { view: of.to_owned(), feature: name.clone(), has })
                })
            };
            names.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    match fields.len() {
        columns if columns > STATISTICS_COLUMNS_MAX => Err(Error::Invalid(format!(
            "{of} has {columns} columns, at most {STATISTICS_COLUMNS_MAX} are looked at; name some of them"
        ))),
        _ => Ok(fields),
    }
}

/// The columns of a source or a file in types of ours, and those that have none.
fn columns_of(of: &str, schema: &SchemaRef, names: &[String]) -> Result<(Vec<Field>, Vec<LeftOut>), Error> {
    let (mut fields, mut left_out) = (Vec::new(), Vec::new());
    for column in schema.fields() {
        match DType::of_arrow(column.data_type()) {
            Some(dtype) => fields.push(Field::new(column.name(), dtype)),
            None => {
                let dtype = cast::type_name(column.data_type());
                left_out.push(LeftOut { column: column.name().clone(), dtype });
            }
        }
    }
    if let Some(refused) = left_out.iter().find(|refused| names.contains(&refused.column)) {
        let text = format!("column {} of {of} is {}, of which there are no statistics", refused.column, refused.dtype);
        return Err(Error::Invalid(text));
    }
    let left_out = if names.is_empty() { left_out } else { Vec::new() };
    Ok((chosen(of, fields, names)?, left_out))
}
