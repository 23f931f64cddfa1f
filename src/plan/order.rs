//! The derived views that must be computed for a question, each after those it reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Catalog, DerivedView, InputSource, View};

/// `is_stored` says which derived views are read rather than computed; nothing under them is needed.
pub(super) fn computed_in_order<'a>(
    catalog: &Catalog,
    views: impl Iterator<Item = &'a str>,
    is_stored: &dyn Fn(&DerivedView) -> bool,
) -> Vec<Arc<DerivedView>> {
    let mut ordered = Vec::new();
    let mut seen = BTreeSet::new();
    for view in views {
        add(catalog, view, is_stored, &mut seen, &mut ordered);
    }
    ordered
}

// The depth is bounded by `limits::DERIVED_DEPTH_MAX`, and the catalog has no circles.
fn add(
    catalog: &Catalog,
    name: &str,
    is_stored: &dyn Fn(&DerivedView) -> bool,
    seen: &mut BTreeSet<String>,
    ordered: &mut Vec<Arc<DerivedView>>,
) {
    let Some(View::Derived(view)) = catalog.views.get(name) else { return };
    if is_stored(view) || !seen.insert(name.to_owned()) {
        return;
    }
    for input in &view.inputs {
        if let InputSource::Feature { view: read, .. } = &input.from {
            add(catalog, read, is_stored, seen, ordered);
        }
    }
    ordered.push(Arc::clone(view));
}
