//! Whether a derived view can be computed where its definition says, without its values changing.

use super::{Building, Warning};
use crate::catalog::definitions::Placed;
use crate::catalog::file::DerivedViewFile;
use crate::catalog::reach::Reach;
use crate::catalog::{DerivedView, InputSource, Placement, TimeUse, View};

/// Tells what stands against the view's `placement` and `freeze_at_event_time`. Everything the view reads is in the
/// catalog.
pub(super) fn check(placed: &Placed<'_, DerivedViewFile>, view: &DerivedView, building: &mut Building) {
    let reach = building.catalog.reach_of(view);
    if view.placement == Placement::Sync {
        for why in against_sync(view, &reach, building) {
            let text = format!("derived view {} cannot be placed at sync: {why}", view.name);
            building.mistakes.push(placed.mistake("/placement", text));
        }
    }
    if !view.freeze_at_event_time {
        return;
    }
    if reach.feature_views.len() != 1 {
        let text = format!(
            "freeze_at_event_time of derived view {}: it takes the event time of the one feature view that is read, \
             but {}",
            view.name,
            reads(&reach)
        );
        building.mistakes.push(placed.mistake("/freeze_at_event_time", text));
    }
    if view.transform.signature.time == TimeUse::None {
        let text = format!(
            "freeze_at_event_time of derived view {} changes nothing: plugin {} does not use the time; leave it out",
            view.name, view.transform.plugin
        );
        building.warnings.push(Warning(placed.mistake("/freeze_at_event_time", text)));
    }
}

fn against_sync(view: &DerivedView, reach: &Reach, building: &Building) -> Vec<String> {
    let mut against = Vec::new();
    if view.transform.signature.time == TimeUse::AsOf && !view.freeze_at_event_time {
        against.push(format!(
            "plugin {} uses the time asked about, and a stored value would be stale at the request; place it at request, \
             or set freeze_at_event_time: true to compute it as of the row's event time",
            view.transform.plugin
        ));
    }
    for input in &view.inputs {
        match &input.from {
            InputSource::Request { field } => {
                against.push(format!(
                    "it reads the request field {field}, which nobody knows before the request; place it at request"
                ));
            }
            InputSource::Feature { view: read, .. } => against.extend(against_reading(view, read, building)),
        }
    }
    match reach.feature_views.as_slice() {
        [only] if !only.online => against.push(format!(
            "feature view {} is not kept online; set online: true there, or place this view at request",
            only.name
        )),
        [_] => {}
        [] => {
            against.push("it reads no feature view, so no sync would ever compute it; place it at request".to_owned())
        }
        _ => against.push(format!(
            "{}; a value stored when one of them changes would be stale when another does; place it at request",
            reads(reach)
        )),
    }
    against.sort();
    against.dedup();
    against
}

/// What stands against reading the derived view `read` at sync.
fn against_reading(view: &DerivedView, read: &str, building: &Building) -> Option<String> {
    let Some(View::Derived(derived)) = building.catalog.views.get(read) else { return None };
    let reach = building.catalog.reach(read);
    if let Some((field, reader)) = reach.request.first() {
        let through = if reader == read { String::new() } else { format!(" through {reader}") };
        return Some(format!(
            "it reads derived view {read}, which reads the request field {}{through}; place {} at request",
            field.name, view.name
        ));
    }
    // A view of several feature views cannot be placed at sync itself; that is told of `view` already.
    (derived.placement == Placement::Request && reach.feature_views.len() == 1).then(|| {
        format!(
            "it reads derived view {read}, which is placed at request; place {read} at sync too, or {} at request",
            view.name
        )
    })
}

fn reads(reach: &Reach) -> String {
    let names: Vec<&str> = reach.feature_views.iter().map(|view| view.name.as_str()).collect();
    match names.as_slice() {
        [] => "it reads none".to_owned(),
        names => format!("it reads {} feature views ({})", names.len(), names.join(", ")),
    }
}
