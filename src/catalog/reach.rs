//! What a view reads in the end: the feature views and request fields under it, through any number of derived views.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Catalog, DerivedView, FeatureView, Field, InputSource, View};

/// What a view reads, directly or through derived views, in the order of first use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    pub feature_views: Vec<Arc<FeatureView>>,
    /// Each request field with the derived view that reads it.
    pub request: Vec<(Field, String)>,
}

impl Catalog {
    /// What the view of this name reads; of a feature view, itself. Under an alias, join keys have the names of their columns.
    pub fn reach(&self, view: &str) -> Reach {
        let mut reach = Reach::default();
        self.reach_view(self.view_name_behind(view), &mut reach, &mut BTreeSet::new());
        match self.aliases.get(view) {
            Some(alias) => alias.reach(reach),
            None => reach,
        }
    }

    /// What a derived view reads that need not be in the catalog yet; everything it reads is.
    pub fn reach_of(&self, view: &DerivedView) -> Reach {
        let mut reach = Reach::default();
        self.reach_inputs(view, &mut reach, &mut BTreeSet::new());
        reach
    }

    // The depth is bounded: `build` refuses longer chains than `limits::DERIVED_DEPTH_MAX`.
    fn reach_view(&self, name: &str, reach: &mut Reach, seen: &mut BTreeSet<String>) {
        if !seen.insert(name.to_owned()) {
            return;
        }
        match self.views.get(name) {
            Some(View::Feature(view)) => reach.feature_views.push(Arc::clone(view)),
            Some(View::Derived(view)) => self.reach_inputs(view, reach, seen),
            None => {}
        }
    }

    fn reach_inputs(&self, view: &DerivedView, reach: &mut Reach, seen: &mut BTreeSet<String>) {
        for input in &view.inputs {
            match &input.from {
                InputSource::Feature { view, .. } => self.reach_view(view, reach, seen),
                InputSource::Request { field } => {
                    let field = Field { name: field.clone(), ..input.column.clone() };
                    reach.request.push((field, view.name.clone()));
                }
            }
        }
    }
}
