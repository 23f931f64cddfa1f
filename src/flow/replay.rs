//! Logged requests are computed again: the same bytes through the same transforms, and every bit of every answer is
//! compared with what was served. And they are compared with the training rows of the same entities at the same times.
//!
//! The first comparison needs nothing but the log and the plugins that the registry keeps: what differs in it was not
//! computed from its inputs alone. Where it finds nothing, a difference in the second one lies in the inputs: the online
//! store did not have what the history has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, make_comparator};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{Field as ArrowField, Int32Type, Int64Type, Schema};
use serde::Serialize;

use super::derive::{Working, derive};
use super::serve::{digests, provenance};
use super::train::{Labels, Options, train};
use super::{Error, Selection};
use crate::cast::to_text;
use crate::catalog::DType;
use crate::clock::Deadline;
use crate::gateway::Gateway;
use crate::limits::{REPLAY_CELLS_MAX, TRAIN_DEADLINE};
use crate::plan::{self, ColumnRef, FeaturePlan, InputKind};
use crate::request_log::{LogFile, Logged};

/// What a replay found so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replayed {
    pub files: usize,
    pub requests: u64,
    pub rows: u64,
    /// Cells of the answers, each of which was compared.
    pub values: u64,
    /// Of these, those that a transform computed when the request was answered; the others were read.
    pub computed: u64,
    /// Cells that are not null; a comparison of nothing proves nothing.
    pub not_null: u64,
    /// Cells whose bits differ from what was served.
    pub differ: u64,
    /// By view: cells that differ.
    pub differ_by_view: BTreeMap<String, u64>,
    /// The first of them.
    pub cells: Vec<ReplayedCell>,
    /// The transform behind each derived view, as `view` → digests.
    pub transforms: BTreeMap<String, Vec<String>>,
    /// The versions of the definitions that answered.
    pub versions: Vec<u64>,
    /// The comparison with training, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Trained>,
}

/// A value that a transform gave once and gives no more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayedCell {
    pub request: i64,
    pub row: i32,
    pub keys: BTreeMap<String, String>,
    pub view: String,
    pub feature: String,
    pub served: String,
    pub recomputed: String,
}

/// How the logged rows compare with the training rows of the same entities and times.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trained {
    pub values: u64,
    pub differ: u64,
    /// Of these, cells whose transform differs: it is another one now, or it is the one that does not repeat itself.
    pub transform: u64,
    /// Cells whose inputs came to the history after the request was answered.
    pub late: u64,
    /// Cells whose inputs the online store had otherwise: not synced yet, deleted, or overwritten by hand.
    pub stored: u64,
    pub cells: Vec<TrainedCell>,
}

/// A value that training would see otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainedCell {
    pub request: i64,
    pub row: i32,
    pub keys: BTreeMap<String, String>,
    pub view: String,
    pub feature: String,
    pub served: String,
    pub trained: String,
    pub because: Because,
}

/// Why serving and training differ in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Transform,
    Late,
    Stored,
}

impl Because {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Transform => "the transform differs",
            Self::Late => "the input was written after the request",
            Self::Stored => "the online store had another input",
        }
    }
}

/// Computes the requests of one file again. `gateway` has the definitions of the file's version; its online store is not
/// asked. With `training`, its histories are.
pub async fn replay(gateway: &Gateway, file: &LogFile, training: bool, found: &mut Replayed) -> Result<(), Error> {
    let applied = gateway.applied.load_full();
    let plan = Arc::new(plan::serving(&applied.catalog, &file.selection)?);
    check_provenance(&plan, file)?;
    note_file(&plan, file, found);
    let mut differing = Differing::default();
    let mut logged_rows = Vec::new();
    let mut last_request = None;
    for logged in file.rows(&plan)? {
        let logged = logged?;
        let recomputed = compute(gateway, &plan, &logged).await?;
        compare(&plan, &logged, &recomputed, found, &mut differing)?;
        count_requests(&logged, &mut last_request, found);
        if training {
            logged_rows.push(logged);
        }
    }
    if training {
        compare_with_training(gateway, &plan, &logged_rows, &differing, found).await?;
    }
    Ok(())
}

/// The file must have been answered by what is about to compute it again.
fn check_provenance(plan: &FeaturePlan, file: &LogFile) -> Result<(), Error> {
    let compared = |key: &str| key.starts_with("lockstep.digest.") || key == "lockstep.schema_fingerprint";
    for (key, is) in provenance(plan, file.version).into_iter().filter(|(key, _)| compared(key)) {
        let was = file.provenance.get(&key).cloned().unwrap_or_default();
        if was != is {
            let path = file.path.display();
            return Err(Error::Invalid(format!(
                "{path} was answered with {key} {was}; version {} of the definitions has {is}",
                file.version
            )));
        }
    }
    Ok(())
}

fn note_file(plan: &FeaturePlan, file: &LogFile, found: &mut Replayed) {
    found.files += 1;
    if !found.versions.contains(&file.version) {
        found.versions.push(file.version);
    }
    for (view, digest) in digests(plan) {
        let digests = found.transforms.entry(view).or_default();
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
}

/// The answer's columns, computed anew of what was logged.
async fn compute(gateway: &Gateway, plan: &FeaturePlan, logged: &Logged) -> Result<Vec<ArrayRef>, Error> {
    let working = Working {
        rows: logged.rows.num_rows(),
        as_of: Arc::clone(&logged.as_of),
        inputs: logged.inputs.clone(),
        stored: logged.stored.clone(),
        derived: Vec::new(),
        unreachable: Vec::new(),
    };
    let working = derive(&gateway.transforms, &plan.derivations, working, Deadline::after(TRAIN_DEADLINE)).await?;
    Ok(plan.outputs.iter().map(|output| Arc::clone(working.column(output.column))).collect())
}

/// The cells, by request, row and output, that were not computed from their inputs alone.
#[derive(Default)]
struct Differing(BTreeSet<(i64, i32, usize)>);

fn compare(
    plan: &FeaturePlan,
    logged: &Logged,
    recomputed: &[ArrayRef],
    found: &mut Replayed,
    differing: &mut Differing,
) -> Result<(), Error> {
    for (position, output) in plan.outputs.iter().enumerate() {
        let (served, recomputed) = (&logged.served[position], &recomputed[position]);
        found.values += served.len() as u64;
        found.not_null += (served.len() - served.null_count()) as u64;
        if matches!(output.column, ColumnRef::Derived { .. }) {
            found.computed += served.len() as u64;
        }
        for row in differing_rows(served, recomputed)? {
            let (request, place) = place(logged, row);
            found.differ += 1;
            *found.differ_by_view.entry(output.view.clone()).or_default() += 1;
            differing.0.insert((request, place, position));
            if found.cells.len() < REPLAY_CELLS_MAX {
                found.cells.push(ReplayedCell {
                    request,
                    row: place,
                    keys: keys(plan, logged, row),
                    view: output.view.clone(),
                    feature: output.feature.clone(),
                    served: to_text(served, row),
                    recomputed: to_text(recomputed, row),
                });
            }
        }
    }
    Ok(())
}

/// The rows whose bits differ: -0.0 is not 0.0, and a NaN equals only the same NaN.
fn differing_rows(left: &ArrayRef, right: &ArrayRef) -> Result<Vec<usize>, Error> {
    let order = make_comparator(left.as_ref(), right.as_ref(), SortOptions::default())
        .map_err(|error| Error::Stopped(error.to_string()))?;
    Ok((0..left.len()).filter(|row| !order(*row, *row).is_eq()).collect())
}

fn place(logged: &Logged, row: usize) -> (i64, i32) {
    let request = logged.rows.column(0).as_primitive::<Int64Type>().value(row);
    (request, logged.rows.column(1).as_primitive::<Int32Type>().value(row))
}

fn keys(plan: &FeaturePlan, logged: &Logged, row: usize) -> BTreeMap<String, String> {
    let keys = plan.inputs.iter().zip(&logged.inputs).filter(|(input, _)| input.kind == InputKind::JoinKey);
    keys.map(|(input, column)| (input.field.name.clone(), to_text(column, row))).collect()
}

fn count_requests(logged: &Logged, last: &mut Option<i64>, found: &mut Replayed) {
    found.rows += logged.rows.num_rows() as u64;
    for request in logged.rows.column(0).as_primitive::<Int64Type>().values() {
        if *last != Some(*request) {
            found.requests += 1;
            *last = Some(*request);
        }
    }
}

/// The column of the labels with the time that was asked about, and the one with the time of the answer.
const ASKED_AT: &str = "lockstep_asked_at";
const SERVED_AT: &str = "lockstep_served_at";

async fn compare_with_training(
    gateway: &Gateway,
    plan: &FeaturePlan,
    logged: &[Logged],
    differing: &Differing,
    found: &mut Replayed,
) -> Result<(), Error> {
    let trained = found.training.get_or_insert_default();
    if logged.is_empty() {
        return Ok(());
    }
    let labels = labels(plan, logged)?;
    let set = train(gateway, &selection_of(plan), of(&labels), Options::default()).await?;
    let digests = set.made_of.digests.clone();
    let now = set.collect().await?;
    // Made only where something differs: the set as it would have been made when the request was answered.
    let mut then: Option<RecordBatch> = None;
    let mut from = 0;
    for logged in logged {
        let rows = logged.rows.num_rows();
        for (position, served) in logged.served.iter().enumerate() {
            let column = |set: &RecordBatch| set.column(labels.num_columns() + position).slice(from, rows);
            let trained_now = column(&now);
            trained.values += rows as u64;
            let differ = differing_rows(served, &trained_now)?;
            if differ.is_empty() {
                continue;
            }
            if then.is_none() {
                let options = Options { known_at_column: Some(SERVED_AT.to_owned()), ..Options::default() };
                then = Some(train(gateway, &selection_of(plan), of(&labels), options).await?.collect().await?);
            }
            let still =
                then.as_ref().map(|then| differing_rows(served, &column(then))).transpose()?.unwrap_or_default();
            for row in differ {
                let (request, place) = place(logged, row);
                let because = match () {
                    () if differing.0.contains(&(request, place, position)) => Because::Transform,
                    () if is_another(plan, &digests, position) => Because::Transform,
                    () if still.binary_search(&row).is_err() => Because::Late,
                    () => Because::Stored,
                };
                let output = &plan.outputs[position];
                trained.push(
                    || TrainedCell {
                        request,
                        row: place,
                        keys: keys(plan, logged, row),
                        view: output.view.clone(),
                        feature: output.feature.clone(),
                        served: to_text(served, row),
                        trained: to_text(&trained_now, row),
                        because,
                    },
                    because,
                );
            }
        }
        from += rows;
    }
    Ok(())
}

impl Trained {
    fn push(&mut self, cell: impl FnOnce() -> TrainedCell, because: Because) {
        self.differ += 1;
        match because {
            Because::Transform => self.transform += 1,
            Because::Late => self.late += 1,
            Because::Stored => self.stored += 1,
        }
        if self.cells.len() < REPLAY_CELLS_MAX {
            self.cells.push(cell());
        }
    }
}

/// Whether training computes an output with another transform than it was served with.
fn is_another(plan: &FeaturePlan, trained: &[(String, String)], position: usize) -> bool {
    let view = &plan.outputs[position].view;
    let served = digests(plan);
    let of =
        |digests: &[(String, String)]| digests.iter().find(|(name, _)| name == view).map(|(_, digest)| digest.clone());
    of(&served) != of(trained)
}

/// The outputs of a plan under their full names, so that none has the name of a label.
fn selection_of(plan: &FeaturePlan) -> Selection {
    match crate::request_log::selection(plan) {
        Selection::Features { refs, .. } => Selection::Features { refs, full_feature_names: true },
        service @ Selection::Service { .. } => service,
    }
}

fn of(labels: &RecordBatch) -> Labels {
    Labels::of(labels.clone(), Some(ASKED_AT.to_owned()))
}

/// What the requests asked about, as labels.
fn labels(plan: &FeaturePlan, logged: &[Logged]) -> Result<RecordBatch, Error> {
    let mut fields: Vec<ArrowField> = plan.inputs.iter().map(|input| input.field.arrow().with_nullable(true)).collect();
    fields.push(ArrowField::new(ASKED_AT, DType::TIMESTAMP.arrow(), false));
    fields.push(ArrowField::new(SERVED_AT, DType::TIMESTAMP.arrow(), false));
    let schema = Arc::new(Schema::new(fields));
    let stopped = |error: arrow::error::ArrowError| Error::Stopped(error.to_string());
    let batch = |logged: &Logged| {
        let times = [Arc::clone(&logged.as_of), Arc::clone(logged.rows.column(2))];
        let columns = logged.inputs.iter().cloned().chain(times).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(logged.rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options).map_err(stopped)
    };
    let batches: Vec<RecordBatch> = logged.iter().map(batch).collect::<Result<_, _>>()?;
    concat_batches(&schema, &batches).map_err(stopped)
}
