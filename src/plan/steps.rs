//! Features that exist → reads, derivations and outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fingerprint::Recipes;
use super::placement::{For, derived_online_view, online_view, stored_with};
use super::resolve::Asked;
use super::{AsOf, ColumnRef, Derivation, Error, FeaturePlan, PlanInput, PlanOutput, PlanRead, inputs, order};
use crate::catalog::{Catalog, DerivedView, FeatureView, Field, InputSource, TimeUse, View};
use crate::online::OnlineView;

/// The plan for features that exist. Reads hold only the columns that somebody needs, each once.
pub(super) fn plan(catalog: &Catalog, asked: Asked, answers: For) -> Result<FeaturePlan, Error> {
    let inputs = inputs::inputs(catalog, &asked.features)?;
    refuse_equal_names(&asked, &inputs)?;
    let mut steps = Steps::new(catalog, answers, inputs);
    let views = asked.features.iter().map(|feature| feature.view.as_str());
    let is_stored = |view: &DerivedView| stored_with(catalog, view, answers).is_some();
    for view in order::computed_in_order(catalog, views, &is_stored) {
        steps.derive(view);
    }
    let mut recipes = Recipes::of(catalog);
    let mut outputs = Vec::with_capacity(asked.features.len());
    for feature in &asked.features {
        let (column, field) = steps.feature(&feature.view, &feature.feature);
        outputs.push(PlanOutput {
            field: Field { name: feature.column(asked.full_feature_names), ..field },
            view: feature.view.clone(),
            feature: feature.feature.clone(),
            column,
            recipe: recipes.recipe(&feature.view, &feature.feature),
        });
    }
    let Steps { inputs, reads, derivations, .. } = steps;
    let Asked { service, service_version, .. } = asked;
    Ok(FeaturePlan { service, service_version, inputs, reads, derivations, outputs })
}

/// An answer has one column of a name: of two features, or of a feature and what came along.
fn refuse_equal_names(asked: &Asked, inputs: &[PlanInput]) -> Result<(), Error> {
    let mut taken: BTreeSet<String> = inputs.iter().map(|input| input.field.name.clone()).collect();
    for feature in &asked.features {
        let name = feature.column(asked.full_feature_names);
        if !taken.insert(name.clone()) {
            return Err(Error::NameCollision { name });
        }
    }
    Ok(())
}

/// The reads and derivations so far.
pub(super) struct Steps<'a> {
    catalog: &'a Catalog,
    answers: For,
    pub inputs: Vec<PlanInput>,
    pub reads: Vec<PlanRead>,
    pub derivations: Vec<Derivation>,
    read_of: BTreeMap<String, usize>,
    derivation_of: BTreeMap<String, usize>,
    /// By derivation: the reads under it, through other derivations too.
    reads_under: Vec<BTreeSet<usize>>,
}

impl<'a> Steps<'a> {
    pub fn new(catalog: &'a Catalog, answers: For, inputs: Vec<PlanInput>) -> Self {
        Self {
            catalog,
            answers,
            inputs,
            reads: Vec::new(),
            derivations: Vec::new(),
            read_of: BTreeMap::new(),
            derivation_of: BTreeMap::new(),
            reads_under: Vec::new(),
        }
    }

    /// Adds the computation of a view whose derived inputs are computed or stored.
    pub fn derive(&mut self, view: Arc<DerivedView>) {
        let columns: Vec<ColumnRef> = view.inputs.iter().map(|input| self.input(&input.from)).collect();
        let mut reads_under = BTreeSet::new();
        for column in &columns {
            match *column {
                ColumnRef::Input(_) => {}
                ColumnRef::Stored { read, .. } => {
                    reads_under.insert(read);
                }
                ColumnRef::Derived { derivation, .. } => reads_under.extend(&self.reads_under[derivation]),
            }
        }
        let as_of = self.as_of(&view, &reads_under);
        // Without a row there is no event time to freeze at, so such a view has nothing to say either.
        let speaks_without_rows = !self.catalog.reach_of(&view).request.is_empty() && !view.freeze_at_event_time;
        let needs_any_of = if speaks_without_rows { Vec::new() } else { reads_under.iter().copied().collect() };
        self.derivation_of.insert(view.name.clone(), self.derivations.len());
        self.reads_under.push(reads_under);
        let transform = Arc::clone(&view.transform);
        self.derivations.push(Derivation { view, transform, inputs: columns, as_of, needs_any_of });
    }

    /// The column of a feature, which is read if it is stored, and what it is.
    pub fn feature(&mut self, view: &str, feature: &str) -> (ColumnRef, Field) {
        let found = self.catalog.views.get(view).expect("a resolved view is in the catalog").clone();
        let position = found.features().iter().position(|known| known.name == feature);
        let position = position.expect("a resolved feature is in its view");
        let field = found.features()[position].clone();
        if let Some(derivation) = self.derivation_of.get(view) {
            return (ColumnRef::Derived { derivation: *derivation, output: position }, field);
        }
        let column = match &found {
            View::Feature(view) => self.stored(online_view(view), view, position),
            View::Derived(view) => {
                let history = stored_with(self.catalog, view, self.answers);
                let history = history.expect("a derived view is computed before it is used, or stored");
                self.stored(derived_online_view(view, &history), &history, position)
            }
        };
        (column, field)
    }

    /// Adds a read of a stored view, without columns yet.
    pub fn read(&mut self, online: Arc<OnlineView>, history: &Arc<FeatureView>) -> usize {
        if let Some(read) = self.read_of.get(&online.name) {
            return *read;
        }
        let keys = history.join_keys.iter().map(|key| self.input_position(&key.name)).collect();
        self.read_of.insert(online.name.clone(), self.reads.len());
        let view = Arc::clone(history);
        self.reads.push(PlanRead { online, ttl: view.ttl, view, keys, columns: Vec::new() });
        self.reads.len() - 1
    }

    fn stored(&mut self, online: Arc<OnlineView>, history: &Arc<FeatureView>, position: usize) -> ColumnRef {
        let read = self.read(online, history);
        let columns = &mut self.reads[read].columns;
        let column = columns.iter().position(|known| *known == position).unwrap_or_else(|| {
            columns.push(position);
            columns.len() - 1
        });
        ColumnRef::Stored { read, column }
    }

    fn input(&mut self, from: &InputSource) -> ColumnRef {
        match from {
            InputSource::Feature { view, feature } => self.feature(view, feature).0,
            InputSource::Request { field } => ColumnRef::Input(self.input_position(field)),
        }
    }

    fn input_position(&self, name: &str) -> usize {
        let position = self.inputs.iter().position(|input| input.field.name == name);
        position.expect("the inputs are those of everything that the asked views read")
    }

    fn as_of(&self, view: &DerivedView, reads_under: &BTreeSet<usize>) -> AsOf {
        if view.transform.signature.time == TimeUse::None {
            return AsOf::Unused;
        }
        if !view.freeze_at_event_time {
            return AsOf::Asked;
        }
        // All reads under a frozen view are of one feature view and of what is stored with it; ask itself first.
        let is_feature_view = |read: &&usize| self.reads[**read].online.digest.is_none();
        let read = reads_under.iter().find(is_feature_view).or(reads_under.first());
        AsOf::EventTime { read: *read.expect("a frozen view reads one feature view") }
    }
}
