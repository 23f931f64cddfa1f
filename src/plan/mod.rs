//! From a question to the steps that answer it. Pure: no IO, no `async`.
//!
//! Serving and training ask the same question, "these features for these rows", and get the same [`FeaturePlan`];
//! they differ in who answers its `reads`: the online store, or the point-in-time join over the offline store. That is
//! where the placement of a derived view shows: at serving a view placed at sync is one more stored view to read; in
//! training everything derived is computed from the history of what it reads.

mod inputs;
mod order;
mod placement;
mod resolve;
mod steps;
mod storing;

mod compare;
mod deprecated;
mod fingerprint;
mod lineage;
mod schemas;
mod sensitive;
mod users;

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Catalog, DerivedView, Digest, FeatureView, Field, Selection, Transform};
use crate::error::ErrorKind;
use crate::limits;
use crate::online::OnlineView;

pub use compare::{Change, ChangeKind, compare, ways_out};
pub use deprecated::{Deprecated, Notice, State, deprecations, notices};
pub use fingerprint::{Column, columns, fingerprint};
pub use lineage::{Lineage, LineageFeature, LineageSource, Origin, TransformInput, lineage};
pub use placement::online_views;
pub use schemas::{check_fingerprint, recorded, service_versions, shapes};
pub use storing::{over_history, storing};

/// One column of the working set of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColumnRef {
    /// `inputs[_]`
    Input(usize),
    /// `reads[read]`, column `column` of its `columns`.
    Stored { read: usize, column: usize },
    /// `derivations[derivation]`, output `output`.
    Derived { derivation: usize, output: usize },
}

/// What a caller must (or may) send along with the question.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanInput {
    pub field: Field,
    pub kind: InputKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Echoed in the answer.
    JoinKey,
    /// A request field; may be left out when its field is nullable.
    Request,
}

/// Some columns of one stored view, for the keys in some inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRead {
    /// What the online store is asked for.
    pub online: Arc<OnlineView>,
    /// The feature view whose history is joined in training; of a derived view placed at sync, the view it reads.
    pub view: Arc<FeatureView>,
    /// Positions in the plan's `inputs`, in the order of the view's join keys.
    pub keys: Vec<usize>,
    /// Positions in `online.features`.
    pub columns: Vec<usize>,
    pub ttl: Option<Duration>,
}

/// Which time a transform's `as_of` column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// The transform does not use time.
    Unused,
    /// The time asked about: of the request, or of the label row.
    Asked,
    /// The event time of the row that `reads[_]` found (`freeze_at_event_time`).
    EventTime { read: usize },
}

/// One run of a transform.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivation {
    pub view: Arc<DerivedView>,
    pub transform: Arc<Transform>,
    /// Its input columns in the transform's order, without `as_of`.
    pub inputs: Vec<ColumnRef>,
    pub as_of: AsOf,
    /// When not empty: in a row in which none of these reads found anything, every output is null. Empty for a
    /// transform that reads a request field, which has something to say without any stored row; unless it is frozen at
    /// the event time of a row, which then must be there.
    pub needs_any_of: Vec<usize>,
}

/// One column of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOutput {
    /// As the answer names it, short or `view__feature`.
    pub field: Field,
    pub view: String,
    pub feature: String,
    pub column: ColumnRef,
    /// What computes it, through however many derived views: the digests of their transforms and where their inputs come
    /// from. The same wherever it is computed; none for a column of a source.
    pub recipe: Option<Digest>,
}

/// The steps that answer "these features for these rows".
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePlan {
    /// The service the question named, if it named one, without a version.
    pub service: Option<String>,
    /// The number of the service's list that is answered, if it was recorded; see [`crate::catalog::ServiceVersion`].
    pub service_version: Option<u32>,
    pub inputs: Vec<PlanInput>,
    pub reads: Vec<PlanRead>,
    /// In an order in which every input of a derivation is there before it runs.
    pub derivations: Vec<Derivation>,
    pub outputs: Vec<PlanOutput>,
}

/// The steps that turn rows of a feature view's source into rows of its online views.
#[derive(Clone, Debug, PartialEq)]
pub struct StorePlan {
    pub view: Arc<FeatureView>,
    pub online: Arc<OnlineView>,
    /// Derived views placed at sync that read this view, in an order in which every input is there; their inputs are
    /// `ColumnRef::Stored { read: 0, .. }` (a feature of the view) or `Derived`.
    pub derivations: Vec<Derivation>,
    /// The online view of each derivation.
    pub derived: Vec<Arc<OnlineView>>,
}

/// Why a question cannot be answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("feature view {view} does not exist in project {project}")]
    UnknownView { view: String, project: String },
    #[error("feature service {service} does not exist in project {project}")]
    UnknownService { service: String, project: String },
    #[error("{name} is no version of a feature service; write it as my_model@3")]
    NoServiceVersion { name: String },
    #[error("feature service {service} has no version {number}; {has}")]
    UnknownServiceVersion { service: String, number: u32, has: String },
    #[error("{service}@{number} cannot be answered as it was: {changes}; {now}")]
    ServiceVersionGone { service: String, number: u32, changes: String, now: String },
    #[error("{sent:?} is no schema fingerprint; it is the 64 hex digits that came with the training set")]
    NoFingerprint { sent: String },
    #[error("the answer would not have the schema with the fingerprint that was sent ({sent}…): {differences}")]
    OtherSchema { sent: String, differences: String },
    #[error("feature view {view} has no feature {feature}; it has {has}")]
    UnknownFeature { view: String, feature: String, has: String },
    #[error("two columns of the answer would both be called {name}; ask with full_feature_names: true")]
    NameCollision { name: String },
    #[error("{name} would be needed as {first} and as {second}; ask for these features in two requests")]
    InputOfTwoTypes { name: String, first: String, second: String },
    #[error("no feature was asked for")]
    Nothing,
    #[error("{features} features asked for, at most {max} are answered in one request")]
    TooManyFeatures { features: usize, max: usize },
    #[error(
        "derived view {view} reads {reads}, so it is not made of the history of one feature view; make a training set of it, \
         and look at that"
    )]
    NotOverHistory { view: String, reads: String },
    #[error("feature view {view} is not kept online; it can be used for training only")]
    NotOnline { view: String },
}

/// The steps that answer a request: what is stored is read from the online store.
pub fn serving(catalog: &Catalog, selection: &Selection) -> Result<FeaturePlan, Error> {
    let asked = resolve::resolve(catalog, selection)?;
    let (features, max) = (asked.features.len(), limits::SERVE_FEATURES_MAX);
    if features > max {
        return Err(Error::TooManyFeatures { features, max });
    }
    let plan = steps::plan(catalog, asked, placement::For::Serving)?;
    match plan.reads.iter().find(|read| !read.view.online) {
        Some(read) => Err(Error::NotOnline { view: read.view.name.clone() }),
        None => Ok(plan),
    }
}

/// The steps that make a training set: what is stored is the history, and everything derived is computed from it.
pub fn training(catalog: &Catalog, selection: &Selection) -> Result<FeaturePlan, Error> {
    let asked = resolve::resolve(catalog, selection)?;
    steps::plan(catalog, asked, placement::For::Training)
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownView { .. }
            | Self::UnknownService { .. }
            | Self::UnknownServiceVersion { .. }
            | Self::UnknownFeature { .. } => ErrorKind::NotFound,
            Self::NameCollision { .. }
            | Self::InputOfTwoTypes { .. }
            | Self::Nothing
            | Self::NotOverHistory { .. }
            | Self::NoServiceVersion { .. }
            | Self::NoFingerprint { .. } => ErrorKind::Invalid,
            Self::TooManyFeatures { .. } => ErrorKind::TooLarge,
            Self::NotOnline { .. } | Self::ServiceVersionGone { .. } | Self::OtherSchema { .. } => ErrorKind::Conflict,
        }
    }
}

#[cfg(test)]
mod tests;
