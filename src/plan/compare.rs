//! What changes between two versions of the definitions, and what that does to those who use them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::catalog::{
    Alias, Catalog, DerivedView, Entity, FeatureRef, FeatureService, FeatureView, Field, Placement, Source, SourceKind,
    View,
};
use crate::document::duration_text;

/// One difference, as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub change: ChangeKind,
    /// What it is: `entity`, `source`, `feature view`, `derived view`, `feature service` or `alias`.
    pub thing: &'static str,
    pub name: String,
    /// What about it changed; empty for something added or removed.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Added,
    Changed,
    Removed,
    /// Someone who uses it gets other values, other columns or an error.
    Incompatible,
}

impl Change {
    pub fn is_incompatible(&self) -> bool {
        self.change == ChangeKind::Incompatible
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.change {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => "removed",
            ChangeKind::Incompatible => "incompatible",
        };
        write!(f, "{word}: {} {}", self.thing, self.name)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// Every difference from `old` to `new`: entities, sources, views, services, each by name.
pub fn compare(old: &Catalog, new: &Catalog) -> Vec<Change> {
    let mut changes = Changes { of: "", name: "", list: Vec::new() };
    changes.pairs(&old.entities, &new.entities, |_| "entity", entity);
    changes.pairs(&old.sources, &new.sources, |_| "source", source);
    changes.pairs(&old.views, &new.views, view_noun, |changes, before, after| view(changes, old, before, after));
    changes.pairs(&old.services, &new.services, |_| "feature service", service);
    changes.pairs(&old.aliases, &new.aliases, |_| "alias", alias);
    changes.list
}

/// The changes so far, and what the next ones are about.
struct Changes<'a> {
    of: &'static str,
    name: &'a str,
    list: Vec<Change>,
}

impl<'a> Changes<'a> {
    fn pairs<T: PartialEq>(
        &mut self,
        old: &'a BTreeMap<String, T>,
        new: &'a BTreeMap<String, T>,
        noun: fn(&T) -> &'static str,
        differ: impl Fn(&mut Self, &T, &T),
    ) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            self.name = name;
            match (old.get(name), new.get(name)) {
                (Some(before), Some(after)) if before != after => {
                    self.of = noun(after);
                    differ(self, before, after);
                }
                (Some(before), None) => {
                    self.of = noun(before);
                    self.add(ChangeKind::Removed, String::new());
                }
                (None, Some(after)) => {
                    self.of = noun(after);
                    self.add(ChangeKind::Added, String::new());
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, change: ChangeKind, detail: String) {
        self.list.push(Change { change, thing: self.of, name: self.name.to_owned(), detail });
    }

    fn changed(&mut self, what: &str, before: impl fmt::Display, after: impl fmt::Display) {
        let (before, after) = (before.to_string(), after.to_string());
        if before != after {
            self.add(ChangeKind::Changed, format!("{what} {before} → {after}"));
        }
    }

    fn incompatible(&mut self, what: &str, before: impl fmt::Display, after: impl fmt::Display) {
        let (before, after) = (before.to_string(), after.to_string());
        if before != after {
            self.add(ChangeKind::Incompatible, format!("{what} {before} → {after}"));
        }
    }

    fn description(&mut self, before: &str, after: &str) {
        if before != after {
            self.add(ChangeKind::Changed, "description".to_owned());
        }
    }
}

fn view_noun(view: &View) -> &'static str {
    match view {
        View::Feature(_) => "feature view",
        View::Derived(_) => "derived view",
    }
}

fn entity(changes: &mut Changes<'_>, before: &Entity, after: &Entity) {
    changes.incompatible("join keys", typed(&before.join_keys), typed(&after.join_keys));
    changes.description(&before.description, &after.description);
}

fn source(changes: &mut Changes<'_>, before: &Source, after: &Source) {
    match (&before.kind, &after.kind) {
        (SourceKind::Sql { query: one }, SourceKind::Sql { query: other }) => {
            if one != other {
                changes.add(ChangeKind::Changed, "query; values may change with the next sync".to_owned());
            }
        }
        (one, other) => changes.changed("rows come from", rows_from(one), rows_from(other)),
    }
    changes.changed("event_time", &before.event_time, &after.event_time);
    let created = |source: &Source| source.created_time.clone().unwrap_or_else(|| "none".to_owned());
    changes.changed("created_time", created(before), created(after));
    changes.description(&before.description, &after.description);
}

fn rows_from(kind: &SourceKind) -> String {
    match kind {
        SourceKind::Stored(stored) => stored.to_string(),
        SourceKind::Push { into } => format!("push {into}"),
        SourceKind::Sql { .. } => "a query".to_owned(),
    }
}

fn view(changes: &mut Changes<'_>, old: &Catalog, before: &View, after: &View) {
    features(changes, old, before, after);
    match (before, after) {
        (View::Feature(before), View::Feature(after)) => feature_view(changes, before, after),
        (View::Derived(before), View::Derived(after)) => derived_view(changes, before, after),
        (before, after) => changes.incompatible("it was a", view_noun(before), view_noun(after)),
    }
}

/// Features that come, go or get another type. Those that a service reads are missed by someone.
fn features(changes: &mut Changes<'_>, old: &Catalog, before: &View, after: &View) {
    let find = |view: &View, name: &str| view.features().iter().find(|feature| feature.name == name).cloned();
    for feature in before.features() {
        let detail = match find(after, &feature.name) {
            None => format!("feature {} removed", feature.name),
            Some(now) if now.dtype != feature.dtype => {
                format!("feature {} {} → {}", feature.name, feature.dtype, now.dtype)
            }
            Some(_) => continue,
        };
        let readers: Vec<&str> = old
            .services
            .values()
            .filter(|service| {
                let reads = |read: &FeatureRef| {
                    old.view_name_behind(&read.view) == before.name() && read.feature == feature.name
                };
                service.features.iter().any(reads)
            })
            .map(|service| service.name.as_str())
            .collect();
        match readers.as_slice() {
            [] => changes.add(ChangeKind::Changed, detail),
            readers => {
                let detail = format!("{detail}, which feature service {} reads", readers.join(", "));
                changes.add(ChangeKind::Incompatible, detail);
            }
        }
    }
    for feature in after.features().iter().filter(|feature| find(before, &feature.name).is_none()) {
        changes.add(ChangeKind::Changed, format!("feature {} added ({})", feature.name, feature.dtype));
    }
}

fn feature_view(changes: &mut Changes<'_>, before: &FeatureView, after: &FeatureView) {
    let names = |view: &FeatureView| list(&view.entities);
    changes.incompatible("entities", names(before), names(after));
    changes.incompatible("join keys", typed(&before.join_keys), typed(&after.join_keys));
    if before.source != after.source {
        let detail = format!("source {} → {}; values may change with the next sync", before.source, after.source);
        changes.add(ChangeKind::Changed, detail);
    }
    let span = |span: Option<std::time::Duration>| span.map_or_else(|| "none".to_owned(), duration_text);
    changes.changed("ttl", span(before.ttl), span(after.ttl));
    changes.changed("sync_every", span(before.sync_every), span(after.sync_every));
    match (before.online, after.online) {
        (true, false) => changes.add(ChangeKind::Incompatible, "no longer kept online".to_owned()),
        (false, true) => changes.add(ChangeKind::Changed, "now kept online".to_owned()),
        _ => {}
    }
    changes.description(&before.description, &after.description);
}

fn derived_view(changes: &mut Changes<'_>, before: &DerivedView, after: &DerivedView) {
    let (old, new) = (&before.transform, &after.transform);
    if old.plugin != new.plugin {
        changes.incompatible("values change: plugin", &old.plugin, &new.plugin);
    } else if old.signature.version != new.signature.version {
        changes.incompatible("values change: version", &old.signature.version, &new.signature.version);
    } else if old.digest != new.digest {
        let why = if old.component == new.component { "parameters" } else { "transform" };
        changes.incompatible(&format!("values change: {why}"), old.digest.short(), new.digest.short());
    }
    for input in &after.inputs {
        let was = before.inputs.iter().find(|other| other.column.name == input.column.name);
        if let Some(was) = was
            && was.from != input.from
        {
            let detail = format!("values change: input {} comes from elsewhere", input.column.name);
            changes.add(ChangeKind::Incompatible, detail);
        }
    }
    changes.incompatible(
        "values change: freeze_at_event_time",
        before.freeze_at_event_time,
        after.freeze_at_event_time,
    );
    if before.placement != after.placement {
        let name = |placement| match placement {
            Placement::Request => "request",
            Placement::Sync => "sync",
        };
        let sync_first = if after.placement == Placement::Sync { "; sync its feature view before serving" } else { "" };
        let (was, is) = (name(before.placement), name(after.placement));
        changes.add(ChangeKind::Changed, format!("placement {was} → {is}, values stay{sync_first}"));
    }
    changes.description(&before.description, &after.description);
}

fn service(changes: &mut Changes<'_>, before: &FeatureService, after: &FeatureService) {
    for feature in before.features.iter().filter(|feature| !after.features.contains(feature)) {
        changes.add(ChangeKind::Incompatible, format!("{feature} removed"));
    }
    for feature in after.features.iter().filter(|feature| !before.features.contains(feature)) {
        changes.add(ChangeKind::Changed, format!("{feature} added"));
    }
    let kept = |one: &FeatureService, other: &FeatureService| {
        let kept = one.features.iter().filter(|feature| other.features.contains(feature));
        kept.map(ToString::to_string).collect::<Vec<_>>()
    };
    if kept(before, after) != kept(after, before) {
        changes.add(ChangeKind::Incompatible, "features in another order".to_owned());
    }
    changes.incompatible("full_feature_names", before.full_feature_names, after.full_feature_names);
    changes.description(&before.description, &after.description);
}

fn alias(changes: &mut Changes<'_>, before: &Alias, after: &Alias) {
    changes.incompatible("view", &before.view, &after.view);
    let columns = |alias: &Alias| {
        list(&alias.join_keys.iter().map(|(key, column)| format!("{key} in {column}")).collect::<Vec<_>>())
    };
    changes.incompatible("join keys", columns(before), columns(after));
}

fn typed(fields: &[Field]) -> String {
    list(&fields.iter().map(|field| format!("{}: {}", field.name, field.dtype)).collect::<Vec<_>>())
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
