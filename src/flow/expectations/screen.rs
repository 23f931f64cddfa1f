//! Rows that somebody writes, before anything of them is written.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, take};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use super::aside::{Aside, quarantined, taken_aside};
use super::{Examined, stopped, tell};
use crate::batch::{FeatureRows, Origin};
use crate::catalog::{Catalog, FeatureView, Field};
use crate::flow::Error;
use crate::flow::history::good;
use crate::gateway::Gateway;
use crate::quality::{Examination, Failed, Unmet, Verdict};

/// Rows on their way into views, and what is to be kept of them.
#[derive(Debug)]
pub(in crate::flow) struct Screened {
    /// What remains for each view, in the views' order.
    pub rows: Vec<FeatureRows>,
    /// The rows that at least one view takes; nothing where all of them are.
    pub taken: Option<BooleanBuffer>,
    /// What does not hold, over all views.
    pub verdicts: Vec<Verdict>,
    pub rows_quarantined: u64,
}

/// Rows that somebody writes, against what is expected of each row by itself. Nothing is put aside, and nothing may be
/// written, where a view must not have one of them.
pub(in crate::flow) async fn screen(
    gateway: &Gateway,
    catalog: &Catalog,
    views: &[(&Arc<FeatureView>, FeatureRows)],
) -> Result<Screened, Error> {
    let mut screened =
        Screened { rows: Vec::with_capacity(views.len()), taken: None, verdicts: Vec::new(), rows_quarantined: 0 };
    let mut aside = Vec::new();
    let mut refused: Option<BooleanBuffer> = None;
    for (view, rows) in views {
        let bad = screened.look_at(gateway, view, rows)?;
        if let (Some((bad, failed)), Some(to)) = (&bad, Aside::of(gateway, catalog, view)) {
            let times: [ArrayRef; 2] = [Arc::new(rows.event_time.clone()), Arc::new(rows.created_time.clone())];
            let columns: Vec<ArrayRef> = columns_of(rows).into_iter().chain(times).collect();
            aside.push((to, taken_aside(view, failed, bad, &columns)?));
        }
        let bad = bad.map_or_else(|| BooleanBuffer::new_unset(rows.rows()), |(bad, _)| bad);
        screened.rows.push(without(rows, &bad)?);
        refused = Some(refused.map_or_else(|| bad.clone(), |refused| &refused & &bad));
    }
    for (to, (columns, why)) in aside {
        to.write(gateway.offline.as_ref(), columns, why).await?;
    }
    screened.taken = refused.filter(|refused| refused.count_set_bits() > 0).map(|refused| !&refused);
    Ok(screened)
}

impl Screened {
    /// The rows of one view that are to be put aside, and why; an error where one of them must not be there at all.
    fn look_at(
        &mut self,
        gateway: &Gateway,
        view: &Arc<FeatureView>,
        rows: &FeatureRows,
    ) -> Result<Option<(BooleanBuffer, Vec<Failed>)>, Error> {
        if view.expectations.is_empty() {
            return Ok(None);
        }
        let fields: Vec<Field> = view.join_keys.iter().chain(&view.features).cloned().collect();
        let mut examination = Examination::of_each_row(Arc::clone(view), fields);
        let failed = examination.push(&columns_of(rows), &rows.event_time);
        let mut verdicts = examination.finish_each_row();
        verdicts.retain(|verdict| !verdict.holds);
        let goes_on = Unmet::among(&view.name, &verdicts);
        let bad = quarantined(view, &failed).filter(|_| goes_on.is_ok());
        let rows_quarantined = bad.as_ref().map_or(0, |bad| bad.count_set_bits() as u64);
        let examined = Examined { verdicts, rows_quarantined };
        tell(gateway, view, &examined);
        goes_on?;
        self.verdicts.extend(examined.verdicts);
        self.rows_quarantined += rows_quarantined;
        Ok(bad.map(|bad| (bad, failed)))
    }
}

/// The join keys and the features.
fn columns_of(rows: &FeatureRows) -> Vec<ArrayRef> {
    rows.keys.iter().chain(&rows.features).cloned().collect()
}

/// The rows that are not `bad`.
fn without(rows: &FeatureRows, bad: &BooleanBuffer) -> Result<FeatureRows, Error> {
    if bad.count_set_bits() == 0 {
        return Ok(rows.clone());
    }
    let mask = good(bad);
    let columns = |columns: &[ArrayRef]| columns.iter().map(|column| filter(column, &mask)).collect::<Result<_, _>>();
    let time = |times: &TimestampMicrosecondArray| {
        Ok::<_, ArrowError>(filter(times, &mask)?.as_primitive::<TimestampMicrosecondType>().clone())
    };
    let kept: Vec<usize> = mask.values().set_indices().collect();
    let origin = rows
        .origin
        .as_ref()
        .map(|origin| Origin { offsets: kept.iter().map(|row| origin.offsets[*row]).collect(), ..origin.clone() });
    let deleted = rows
        .deleted
        .as_ref()
        .map(|deleted| BooleanBuffer::collect_bool(kept.len(), |place| deleted.value(kept[place])));
    Ok(FeatureRows {
        keys: columns(&rows.keys).map_err(stopped)?,
        features: columns(&rows.features).map_err(stopped)?,
        event_time: time(&rows.event_time).map_err(stopped)?,
        created_time: time(&rows.created_time).map_err(stopped)?,
        deleted,
        origin,
    })
}

/// The rows of a batch that are set.
pub(in crate::flow) fn only(batch: &RecordBatch, taken: &BooleanBuffer) -> Result<RecordBatch, Error> {
    let rows = Int64Array::from_iter_values(taken.set_indices().map(|row| row as i64));
    let columns = batch.columns().iter().map(|column| take(column, &rows, None));
    let columns = columns.collect::<Result<_, _>>().map_err(stopped)?;
    RecordBatch::try_new(batch.schema(), columns).map_err(stopped)
}
