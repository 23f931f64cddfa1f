//! A request is answered: plan, read what is stored, compute what is derived.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};

use super::derive::{Working, columns, derive};
use super::{Error, Selection, logged};
use crate::batch::{KeyBatch, StoredRows, null_where_not, timestamps};
use crate::cast::to_text;
use crate::catalog::{Day, Field};
use crate::clock::{Deadline, Micros};
use crate::gateway::{Applied, Arms, Gateway, Planned};
use crate::limits::{PARTIAL_ANSWER_PART, PLANS_KEPT_MAX, SERVE_ROWS_MAX};
use crate::online::Read;
use crate::plan::{self, ColumnRef, Derivation, FeaturePlan, InputKind, Notice, PlanRead};

/// A question whose plan is made. It says which columns must come with it (`plan.inputs`) and holds on to the
/// definitions it was planned with, so an `apply` in between cannot mix two versions in one answer.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub applied: Arc<Applied>,
    pub plan: Arc<FeaturePlan>,
    /// The schema of [`Answer::batch`]: join keys, then features; its metadata says with which definitions and
    /// transforms the answer is made (`lockstep.version`, `lockstep.service`, `lockstep.service_version`,
    /// `lockstep.schema_fingerprint`, `lockstep.digest.<view>`).
    pub schema: SchemaRef,
    /// The transforms behind the answer, as `view=digest` with the first 12 digits, comma-separated.
    pub transforms: Arc<str>,
    /// The fingerprint of the answer's schema, in hex; see [`crate::plan::fingerprint`].
    pub fingerprint: Arc<str>,
    /// Which of two services answers, where the callers of the one that is asked for are divided; known once the inputs are.
    pub arm: Option<Arc<str>>,
    /// What is deprecated of that which was asked for, on whatever day.
    notices: Arc<[Notice]>,
    arms: Option<Arc<Arms>>,
}

/// What a cell of an answer is, in Feast's words and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Nothing is known, because a part of the store cannot be reached; only in an answer that may be partial. Feast
    /// calls this number `INVALID`.
    Unavailable = 0,
    Present = 1,
    NullValue = 2,
    NotFound = 3,
    OutsideMaxAge = 4,
}

/// What becomes of a question when a part of the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnreachable {
    /// It fails, with the reason.
    #[default]
    Fail,
    /// What can be known is answered; the rest is null and [`Status::Unavailable`].
    AnswerRest,
}

/// What is known of one view's row, for every row of the answer; shared by the columns of the view.
#[derive(Clone, Debug)]
pub struct ViewRows {
    /// `Present`, `NotFound`, `OutsideMaxAge` or `Unavailable`, by row.
    pub status: Vec<Status>,
    /// Null where no row was found and for derived views.
    pub event_time: TimestampMicrosecondArray,
}

/// One feature of an answer.
#[derive(Clone, Debug)]
pub struct AnswerColumn {
    pub values: ArrayRef,
    pub rows: Arc<ViewRows>,
}

/// The answer: one row per asked row, in their order; one column per output of the plan, in its order.
#[derive(Clone, Debug)]
pub struct Answer {
    pub prepared: Prepared,
    pub rows: usize,
    /// The columns that came with the question, in the order of `plan.inputs`.
    pub inputs: Vec<ArrayRef>,
    pub columns: Vec<AnswerColumn>,
    pub as_of: Micros,
    /// What is deprecated today of that which was asked for.
    pub deprecated: Arc<[Notice]>,
}

impl Prepared {
    /// Refuses to answer a caller that trained on another schema, if it `sent` the fingerprint of that. Of a service whose
    /// callers are divided, such a caller gets the one that it trained on.
    pub fn checked(self, sent: Option<&str>) -> Result<Self, Error> {
        let Some(sent) = sent else { return Ok(self) };
        let arms = self.arms.clone();
        if let Some(arms) = arms.filter(|arms| sent.eq_ignore_ascii_case(&arms.other.fingerprint)) {
            return Ok(self.of_arm(&arms, true));
        }
        if !sent.eq_ignore_ascii_case(&self.fingerprint) {
            plan::check_fingerprint(&self.applied.catalog, &self.plan, sent)?;
        }
        Ok(match self.arms.clone() {
            Some(arms) => self.of_arm(&arms, false),
            None => self,
        })
    }

    /// Answered by the service that was asked for, also where its callers are divided.
    #[must_use]
    pub fn undivided(self) -> Self {
        Self { arms: None, ..self }
    }

    /// The service that answers these inputs: of a divided one, by the value of the first row. A request is answered whole
    /// by one of the two, so that its rows can be compared with one another.
    fn for_inputs(self, inputs: &[ArrayRef], rows: usize) -> Self {
        let Some(arms) = self.arms.clone() else { return self };
        let value = &inputs[arms.by];
        let is_other = rows > 0 && !value.is_null(0) && arms.split.takes(&arms.service, &to_text(value, 0));
        self.of_arm(&arms, is_other)
    }

    fn of_arm(self, arms: &Arms, is_other: bool) -> Self {
        match is_other {
            true => Self { arm: Some(arms.split.other.as_str().into()), ..Self::of(self.applied, arms.other.clone()) },
            false => Self { arm: Some(Arc::clone(&arms.service)), arms: None, ..self },
        }
    }

    fn of(applied: Arc<Applied>, planned: Planned) -> Self {
        let Planned { plan, schema, transforms, fingerprint, notices, arms } = planned;
        Self { applied, plan, schema, transforms, fingerprint, arm: None, notices, arms }
    }

    /// What is deprecated on the day of `now`. Where nothing ever is, nothing is looked at.
    fn deprecated(&self, now: Micros) -> Arc<[Notice]> {
        if self.notices.is_empty() {
            return Arc::clone(&self.notices);
        }
        let today = Day::of(now);
        let has_begun = |notice: &Notice| notice.deprecation.since <= today;
        match self.notices.iter().all(has_begun) {
            true => Arc::clone(&self.notices),
            false => self.notices.iter().filter(|notice| has_begun(notice)).cloned().collect(),
        }
    }
}

impl AnswerColumn {
    pub fn status(&self, row: usize) -> Status {
        match self.rows.status[row] {
            Status::Present if self.values.is_null(row) => Status::NullValue,
            other => other,
        }
    }
}

impl Answer {
    /// The views of which some row could not be reached, each once; none unless the answer may be partial.
    pub fn unavailable_views(&self) -> Vec<&str> {
        let mut views: Vec<&str> = Vec::new();
        for (output, column) in self.prepared.plan.outputs.iter().zip(&self.columns) {
            if !views.contains(&output.view.as_str()) && column.rows.status.contains(&Status::Unavailable) {
                views.push(&output.view);
            }
        }
        views
    }

    /// The answer as Arrow: the join keys, then the features, under [`Prepared::schema`].
    pub fn batch(&self) -> RecordBatch {
        let keys =
            self.prepared.plan.inputs.iter().zip(&self.inputs).filter(|(input, _)| input.kind == InputKind::JoinKey);
        let columns = keys.map(|(_, column)| column).chain(self.columns.iter().map(|column| &column.values)).cloned();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.prepared.schema), columns.collect(), &options)
            .expect("the schema is made of the plan that made the columns")
    }
}

/// Plans a question, or finds its plan.
pub fn prepare(gateway: &Gateway, selection: &Selection) -> Result<Prepared, Error> {
    prepare_with(gateway.applied.load_full(), selection)
}

/// The same with certain definitions, for who asks several questions of one version.
pub fn prepare_with(applied: Arc<Applied>, selection: &Selection) -> Result<Prepared, Error> {
    let planned = planned(&applied, selection)?;
    Ok(Prepared::of(applied, planned))
}

/// The plan of a question, found or made; it is kept for the next one.
pub fn planned(applied: &Applied, selection: &Selection) -> Result<Planned, Error> {
    let known = applied.plans.lock().expect("no one panics while planning").get(selection).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let plan = plan::serving(&applied.catalog, selection)?;
    let planned = Planned {
        schema: answer_schema(&plan, applied.version),
        transforms: shown_digests(&plan),
        fingerprint: plan::fingerprint(&plan).to_string().into(),
        notices: plan::notices(&applied.catalog, &plan),
        arms: arms(applied, selection, &plan)?,
        plan: Arc::new(plan),
    };
    let mut plans = applied.plans.lock().expect("no one panics while planning");
    if plans.len() < PLANS_KEPT_MAX {
        plans.insert(selection.clone(), planned.clone());
    }
    Ok(planned)
}

/// The two services that answer a selection, where its callers are divided. A list that a service has had is asked for by
/// who wants that one, so it is not; nor is an answer whose columns are not named as the service says, because the other
/// one's names would differ.
fn arms(applied: &Applied, selection: &Selection, plan: &FeaturePlan) -> Result<Option<Arc<Arms>>, Error> {
    let Selection::Service { name, full_feature_names } = selection else { return Ok(None) };
    let Some(split) = applied.catalog.services.get(name).and_then(|service| service.split.clone()) else {
        return Ok(None);
    };
    let other = Selection::Service { name: split.other.clone(), full_feature_names: *full_feature_names };
    let other = planned(applied, &other)?;
    let names = |plan: &FeaturePlan| plan.outputs.iter().map(|output| output.field.name.clone()).collect::<Vec<_>>();
    let by = plan.inputs.iter().position(|input| input.field.name == split.by);
    Ok(match by {
        Some(by) if names(plan) == names(&other.plan) && plan.inputs == other.plan.inputs => {
            Some(Arc::new(Arms { service: name.as_str().into(), split, by, other }))
        }
        _ => None,
    })
}

/// Answers a prepared question. `inputs` are in the order and of the types of `plan.inputs`; a request field that the
/// caller left out is a column of nulls. `as_of` is the time asked about, now if the caller names none.
pub async fn serve(
    gateway: &Gateway,
    prepared: Prepared,
    inputs: Vec<ArrayRef>,
    rows: usize,
    as_of: Option<Micros>,
    unreachable: WhenUnreachable,
    deadline: Deadline,
) -> Result<Answer, Error> {
    check(&prepared.plan, &inputs, rows)?;
    let prepared = prepared.for_inputs(&inputs, rows);
    let plan = Arc::clone(&prepared.plan);

    let found = read_stored(gateway, &plan, &inputs, rows, unreachable, deadline).await?;
    // Now is after reading, where the caller names no time: else a row that is written meanwhile would be from the future,
    // and its entity absent.
    let as_of = as_of.unwrap_or_else(|| gateway.clock.now());
    let (stored, views): (Vec<_>, Vec<_>) =
        plan.reads.iter().zip(found).map(|(read, rows)| keep_valid(read, rows, as_of)).unzip();

    let as_of_column: ArrayRef = Arc::new(timestamps(vec![Some(as_of); rows]));
    let working = Working { rows, as_of: as_of_column, inputs, stored, derived: Vec::new(), unreachable: Vec::new() };
    let working = derive(&gateway.transforms, &plan.derivations, working, deadline).await?;

    if gateway.shadows.any() {
        compare_beside(gateway, &plan, &working);
    }

    let columns = answer_columns(&plan, &working, &views);
    logged::note(gateway, &prepared, &working, &views, &columns, as_of);
    let deprecated = prepared.deprecated(gateway.clock.now());
    Ok(Answer { prepared, rows, inputs: working.inputs, columns, as_of, deprecated })
}

/// Hands some of the calls of transforms over to be compared with other builds of them. Those of which a part could not
/// be reached are left out.
fn compare_beside(gateway: &Gateway, plan: &FeaturePlan, working: &Working) {
    for (derivation, unreachable) in plan.derivations.iter().zip(&working.unreachable) {
        let shadow = gateway.shadows.due(&derivation.view.name, &derivation.transform);
        if let (Some(shadow), None, Ok(columns)) = (shadow, unreachable, columns(derivation, working)) {
            gateway.shadows.compare(shadow, &gateway.transforms, &columns, working.rows);
        }
    }
}

fn check(plan: &FeaturePlan, inputs: &[ArrayRef], rows: usize) -> Result<(), Error> {
    if rows > SERVE_ROWS_MAX {
        return Err(Error::TooManyRows { rows, max: SERVE_ROWS_MAX });
    }
    for (input, column) in plan.inputs.iter().zip(inputs) {
        if input.kind == InputKind::JoinKey && column.null_count() > 0 {
            let row = (0..rows).find(|row| column.is_null(*row)).unwrap_or_default();
            return Err(Error::NullJoinKey { join_key: input.field.name.clone(), row });
        }
    }
    Ok(())
}

/// Asks the online store for every stored view of the plan at once.
pub(super) async fn read_stored(
    gateway: &Gateway,
    plan: &FeaturePlan,
    inputs: &[ArrayRef],
    rows: usize,
    unreachable: WhenUnreachable,
    deadline: Deadline,
) -> Result<Vec<StoredRows>, Error> {
    let mut encoded: Vec<(&[usize], KeyBatch)> = Vec::new();
    for read in &plan.reads {
        if !encoded.iter().any(|(keys, _)| *keys == read.keys) {
            encoded.push((&read.keys, encode_keys(read, inputs, rows)));
        }
    }
    let reads: Vec<Read<'_>> = plan
        .reads
        .iter()
        .filter_map(|read| {
            let (_, keys) = encoded.iter().find(|(keys, _)| *keys == read.keys)?;
            Some(Read { view: &read.online, keys, columns: &read.columns })
        })
        .collect();
    if reads.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match unreachable {
        WhenUnreachable::Fail => gateway.online.read(&reads, deadline).await?,
        WhenUnreachable::AnswerRest => {
            // A store that stands still must leave time to answer the rest.
            let remaining = deadline.remaining();
            let deadline = deadline.at_most(remaining - remaining / PARTIAL_ANSWER_PART);
            gateway.online.read_reachable(&reads, deadline).await?
        }
    })
}

pub(super) fn encode_keys(read: &PlanRead, inputs: &[ArrayRef], rows: usize) -> KeyBatch {
    let columns: Vec<ArrayRef> = read.keys.iter().map(|input| Arc::clone(&inputs[*input])).collect();
    KeyBatch::encode(&read.online.join_keys, &columns, rows)
}

/// Serving sees what a training row of the same moment would see: nothing from after `as_of`, nothing older than the
/// ttl. Rows that are not to be seen become absent.
fn keep_valid(read: &PlanRead, mut found: StoredRows, as_of: Micros) -> (StoredRows, Arc<ViewRows>) {
    let rows = found.event_time.len();
    let oldest = read.ttl.map_or(Micros::MIN, |ttl| as_of.saturating_sub(micros(ttl)));
    let is_unreachable = |row: usize| found.unreachable.as_ref().is_some_and(|unreachable| unreachable.value(row));
    let status: Vec<Status> = (0..rows)
        .map(|row| match found.present.value(row).then(|| found.event_time.value(row)) {
            Some(event_time) if event_time > as_of => Status::NotFound,
            Some(event_time) if event_time < oldest => Status::OutsideMaxAge,
            Some(_) => Status::Present,
            None if is_unreachable(row) => Status::Unavailable,
            None => Status::NotFound,
        })
        .collect();
    let valid = BooleanBuffer::collect_bool(rows, |row| status[row] == Status::Present);
    if valid != found.present {
        found.columns = found.columns.iter().map(|column| null_where_not(column, &valid)).collect();
        found.present = valid;
    }
    let event_time = found.event_time.clone();
    (found, Arc::new(ViewRows { status, event_time }))
}

/// A ttl in microseconds.
pub(super) fn micros(ttl: std::time::Duration) -> Micros {
    Micros::try_from(ttl.as_micros()).unwrap_or(Micros::MAX)
}

fn answer_columns(plan: &FeaturePlan, working: &Working, views: &[Arc<ViewRows>]) -> Vec<AnswerColumn> {
    let derived: Vec<Arc<ViewRows>> = plan
        .derivations
        .iter()
        .zip(&working.unreachable)
        .map(|(derivation, unreachable)| Arc::new(derived_rows(derivation, unreachable.as_ref(), working.rows, views)))
        .collect();
    let given = Arc::new(ViewRows {
        status: vec![Status::Present; working.rows],
        event_time: timestamps(vec![None; working.rows]),
    });
    plan.outputs
        .iter()
        .map(|output| AnswerColumn {
            values: Arc::clone(working.column(output.column)),
            rows: Arc::clone(match output.column {
                ColumnRef::Input(_) => &given,
                ColumnRef::Stored { read, .. } => &views[read],
                ColumnRef::Derived { derivation, .. } => &derived[derivation],
            }),
        })
        .collect()
}

/// A derived row is as present as the best of the rows it needs; but where one of them cannot be reached it is unknown.
fn derived_rows(
    derivation: &Derivation,
    unreachable: Option<&BooleanBuffer>,
    rows: usize,
    views: &[Arc<ViewRows>],
) -> ViewRows {
    let needs = &derivation.needs_any_of;
    let best = |row: usize| {
        let any = |status: Status| needs.iter().any(|read| views[*read].status[row] == status);
        match () {
            () if unreachable.is_some_and(|unreachable| unreachable.value(row)) => Status::Unavailable,
            () if needs.is_empty() || any(Status::Present) => Status::Present,
            () if any(Status::OutsideMaxAge) => Status::OutsideMaxAge,
            () => Status::NotFound,
        }
    };
    ViewRows { status: (0..rows).map(best).collect(), event_time: timestamps(vec![None; rows]) }
}

/// What an answer (or a training set) says of how it was made.
pub(super) fn provenance(plan: &FeaturePlan, version: u64) -> Vec<(String, String)> {
    let mut metadata = vec![("lockstep.version".to_owned(), version.to_string())];
    metadata.push(("lockstep.schema_fingerprint".to_owned(), plan::fingerprint(plan).to_string()));
    metadata.extend(plan.service.iter().map(|service| ("lockstep.service".to_owned(), service.clone())));
    let service_version = plan.service_version.iter();
    metadata.extend(service_version.map(|number| ("lockstep.service_version".to_owned(), number.to_string())));
    metadata.extend(digests(plan).into_iter().map(|(view, digest)| (format!("lockstep.digest.{view}"), digest)));
    metadata
}

/// The digest of the transform behind each derived view of a plan, whether it runs now or ran at sync.
pub fn digests(plan: &FeaturePlan) -> Vec<(String, String)> {
    let now = plan
        .derivations
        .iter()
        .map(|derivation| (derivation.view.name.clone(), derivation.transform.digest.to_string()));
    let stored = plan.reads.iter().filter_map(|read| Some((read.online.name.clone(), read.online.digest?.to_string())));
    let mut digests: Vec<_> = now.chain(stored).collect();
    digests.sort();
    // A view that is read under two names is computed twice, by one transform.
    digests.dedup();
    digests
}

fn shown_digests(plan: &FeaturePlan) -> Arc<str> {
    let shown = |(view, digest): (String, String)| format!("{view}={}", &digest[..12]);
    digests(plan).into_iter().map(shown).collect::<Vec<_>>().join(",").into()
}

fn answer_schema(plan: &FeaturePlan, version: u64) -> SchemaRef {
    let keys = plan.inputs.iter().filter(|input| input.kind == InputKind::JoinKey).map(|input| &input.field);
    let fields = keys
        .chain(plan.outputs.iter().map(|output| &output.field))
        .map(|field| Field { nullable: true, ..field.clone() }.arrow());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()).with_metadata(provenance(plan, version).into_iter().collect()))
}
