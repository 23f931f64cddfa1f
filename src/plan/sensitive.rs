//! What `plan` says of views whose rows go to the request log from now on, or no longer.

use super::{Change, ChangeKind};
use crate::catalog::{Catalog, View};

/// Of the views that both catalogs have.
pub(super) fn changes(old: &Catalog, new: &Catalog) -> Vec<Change> {
    let change = |name: &String| {
        let view = new.views.get(name).filter(|_| old.views.contains_key(name))?;
        let thing = match view {
            View::Feature(_) => "feature view",
            View::Derived(_) => "derived view",
        };
        let not = if new.sensitive.contains(name) { "" } else { " no longer" };
        let detail = format!("is{not} kept out of the request log");
        Some(Change { change: ChangeKind::Changed, thing, name: name.clone(), detail, used_by: Vec::new() })
    };
    new.sensitive.symmetric_difference(&old.sensitive).filter_map(change).collect()
}
