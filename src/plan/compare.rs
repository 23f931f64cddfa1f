//! What changes between two versions of the definitions, and what that does to those who use them.
//!
//! A change is *incompatible* if someone who uses the thing gets other columns, values that another computation made, or
//! an error; *values may change* if he gets what he asked for out of other data; and *refused* if it breaks a promise
//! (`remove_after`) that someone relies on. Everything else is compatible. Those who use a thing are services, and the
//! earlier lists of services that models may still ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::sensitive;
use super::users::users;
use crate::catalog::{
    Alias, Catalog, Day, Defined, Deprecation, DerivedView, Entity, Expectation, FeatureRef, FeatureService,
    FeatureView, Field, Placement, Source, SourceKind, Split, View, split_version, versioned_name,
};
use crate::document::duration_text;

/// Users that a line names; a feature may have hundreds.
const USERS_SHOWN_MAX: usize = 8;

/// One difference, as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub change: ChangeKind,
    /// What it is: `entity`, `source`, `feature view`, `derived view`, `feature service` or `alias`.
    pub thing: &'static str,
    pub name: String,
    /// What about it changed; empty for something added or removed.
    pub detail: String,
    /// The services that read it, and earlier lists of services (`service@n`) that can be asked for still.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Added,
    Changed,
    Removed,
    /// Someone who uses it gets values of other data, under the same names and of the same computation.
    ValuesMayChange,
    /// Someone who uses it gets values of another computation, other columns or an error.
    Incompatible,
    /// It was promised to stay longer, and someone uses it.
    Refused,
}

impl Change {
    pub fn is_incompatible(&self) -> bool {
        self.change == ChangeKind::Incompatible
    }

    pub fn is_refused(&self) -> bool {
        self.change == ChangeKind::Refused
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.change {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => "removed",
            ChangeKind::ValuesMayChange => "values may change",
            ChangeKind::Incompatible => "incompatible",
            ChangeKind::Refused => "refused",
        };
        write!(f, "{word}: {} {}", self.thing, self.name)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        let shown = self.used_by.iter().take(USERS_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
        match self.used_by.len().saturating_sub(USERS_SHOWN_MAX) {
            _ if shown.is_empty() => Ok(()),
            0 => write!(f, " (used by {shown})"),
            more => write!(f, " (used by {shown} and {more} more)"),
        }
    }
}

/// Every difference from `old` to `new`: entities, sources, views, services, each by name; as of `today`.
pub fn compare(old: &Catalog, new: &Catalog, today: Day) -> Vec<Change> {
    let mut changes = Changes { old, new, today, of: "", name: "", list: Vec::new() };
    changes.pairs(&old.entities, &new.entities, |_| "entity", entity, |changes, _| changes.removed());
    changes.pairs(&old.sources, &new.sources, |_| "source", source, |changes, _| changes.removed());
    changes.pairs(&old.views, &new.views, view_noun, view, view_removed);
    changes.pairs(&old.services, &new.services, |_| "feature service", service, service_removed);
    changes.pairs(&old.aliases, &new.aliases, |_| "alias", alias, |changes, _| changes.removed());
    changes.service_versions();
    changes.deprecations();
    changes.list.extend(sensitive::changes(old, new));
    changes.list
}

/// What to do in place of changes that break someone, each as a sentence.
pub fn ways_out(changes: &[Change], new: &Catalog) -> Vec<String> {
    let is_view = |change: &&Change| change.thing.ends_with("view") && new.views.contains_key(&change.name);
    let broken = changes.iter().filter(|change| change.is_incompatible()).filter(is_view);
    let views: BTreeSet<&str> = broken.map(|change| change.name.as_str()).collect();
    let way_out = |view: &str| {
        let (plain, _) = split_version(view);
        let versions = new.views.keys().map(|name| split_version(name)).filter(|(name, _)| *name == plain);
        let next = versions.map(|(_, version)| version).max().unwrap_or(1) + 1;
        format!(
            "leave {view} as it was and define the change beside it (name: {plain}, version: {next}), which is {}",
            versioned_name(plain, next)
        )
    };
    views.into_iter().map(way_out).collect()
}

/// The changes so far, and what the next ones are about.
struct Changes<'a> {
    old: &'a Catalog,
    new: &'a Catalog,
    today: Day,
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
        goes: impl Fn(&mut Self, &T),
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
                    goes(self, before);
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
        self.add_used(change, detail, Vec::new());
    }

    fn add_used(&mut self, change: ChangeKind, detail: String, used_by: Vec<String>) {
        self.list.push(Change { change, thing: self.of, name: self.name.to_owned(), detail, used_by });
    }

    /// A change of the view that is at hand, with its users.
    fn add_of_view(&mut self, change: ChangeKind, detail: String) {
        let view = self.name;
        let used_by = self.users(|feature| feature.view == view);
        self.add_used(change, detail, used_by);
    }

    fn users(&self, meant: impl Fn(&FeatureRef) -> bool) -> Vec<String> {
        users(self.old, meant).iter().map(ToString::to_string).collect()
    }

    fn removed(&mut self) {
        self.add(ChangeKind::Removed, String::new());
    }

    /// Something goes that somebody may use: how bad that is, after what was promised of it. With the promise, if it
    /// is broken.
    fn going(&self, things: &[Defined], is_used: bool) -> (ChangeKind, Option<&'a Deprecation>) {
        let deprecation = things.iter().find_map(|thing| self.old.deprecations.get(thing));
        match deprecation {
            _ if !is_used => (ChangeKind::Removed, None),
            Some(deprecation) if deprecation.is_promised_on(self.today) => (ChangeKind::Refused, Some(deprecation)),
            // Whoever uses it still has been told, and the time is over.
            Some(Deprecation { remove_after: Some(_), .. }) => (ChangeKind::Removed, None),
            Some(_) | None => (ChangeKind::Incompatible, None),
        }
    }

    /// Services whose answers have other columns now, and the number of the list that they have from now on.
    fn service_versions(&mut self) {
        for (name, recorded) in &self.old.service_versions {
            let (Some(before), Some((features, full))) = (self.old.service_version(name), self.new.recordable(name))
            else {
                continue;
            };
            let known = recorded.iter().find(|version| version.is_list(full, &features));
            let after = known.map_or(recorded.len() as u64 + 1, |version| u64::from(version.number));
            if after != u64::from(before) {
                (self.of, self.name) = ("feature service", name);
                self.add(ChangeKind::Changed, format!("version {before} → {after}"));
            }
        }
    }

    fn deprecations(&mut self) {
        let (old, new) = (self.old, self.new);
        let things: BTreeSet<&Defined> = old.deprecations.keys().chain(new.deprecations.keys()).collect();
        for thing in things {
            let detail = match (old.deprecations.get(thing), new.deprecations.get(thing)) {
                (before, Some(after)) if before != Some(after) => after.to_string(),
                (Some(_), None) if is_defined(new, thing) => "is not deprecated any more".to_owned(),
                _ => continue,
            };
            let (change, used_by) = (ChangeKind::Changed, Vec::new());
            self.list.push(Change { change, thing: thing.noun(), name: thing.name(), detail, used_by });
        }
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
            self.add_of_view(ChangeKind::Incompatible, format!("{what} {before} → {after}"));
        }
    }

    fn values_may_change(&mut self, what: &str, before: impl fmt::Display, after: impl fmt::Display) {
        let (before, after) = (before.to_string(), after.to_string());
        if before != after {
            self.add_of_view(ChangeKind::ValuesMayChange, format!("{what} {before} → {after}"));
        }
    }

    /// Other rows of the source that is at hand, with the users of the views that read it.
    fn add_of_source(&mut self, detail: String) {
        let (old, source) = (self.old, self.name);
        let used_by = self.users(|feature| old.feature_view(&feature.view).is_some_and(|view| view.source == source));
        self.add_used(ChangeKind::ValuesMayChange, detail, used_by);
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
    if before.join_keys != after.join_keys {
        let describes =
            |view: &str| changes.old.reach(view).feature_views.iter().any(|view| view.entities.contains(&before.name));
        let used_by = changes.users(|feature| describes(&feature.view));
        let detail = format!("join keys {} → {}", typed(&before.join_keys), typed(&after.join_keys));
        changes.add_used(ChangeKind::Incompatible, detail, used_by);
    }
    changes.description(&before.description, &after.description);
}

fn source(changes: &mut Changes<'_>, before: &Source, after: &Source) {
    match (&before.kind, &after.kind) {
        (SourceKind::Sql { query: one }, SourceKind::Sql { query: other }) if one != other => {
            changes.add_of_source("query, with the next sync".to_owned());
        }
        (SourceKind::Long(one), SourceKind::Long(other)) if one.source == other.source && one != other => {
            changes.add_of_source("columns of the long rows; values may change with the next sync".to_owned());
        }
        (one, other) if rows_from(one) != rows_from(other) => {
            changes.add_of_source(format!("rows come from {} → {}", rows_from(one), rows_from(other)));
        }
        _ => {}
    }
    if before.event_time != after.event_time {
        changes.add_of_source(format!("event_time {} → {}", before.event_time, after.event_time));
    }
    if before.created_time != after.created_time {
        let created = |source: &Source| source.created_time.clone().unwrap_or_else(|| "none".to_owned());
        changes.add_of_source(format!("created_time {} → {}", created(before), created(after)));
    }
    changes.description(&before.description, &after.description);
}

fn rows_from(kind: &SourceKind) -> String {
    match kind {
        SourceKind::Stored(stored) => stored.to_string(),
        SourceKind::Push { into } => format!("push {into}"),
        SourceKind::Sql { .. } => "a query".to_owned(),
        SourceKind::Long(long) => format!("the long rows of {}", long.source),
    }
}

fn view_removed(changes: &mut Changes<'_>, before: &View) {
    let used_by = changes.users(|feature| feature.view == before.name());
    let (change, promise) = changes.going(&[Defined::View(before.name().to_owned())], !used_by.is_empty());
    let detail = promise.map(broken).unwrap_or_default();
    let detail = if change == ChangeKind::Incompatible { "removed".to_owned() } else { detail };
    changes.add_used(change, detail, used_by);
}

fn view(changes: &mut Changes<'_>, before: &View, after: &View) {
    features(changes, before, after);
    match (before, after) {
        (View::Feature(before), View::Feature(after)) => feature_view(changes, before, after),
        (View::Derived(before), View::Derived(after)) => derived_view(changes, before, after),
        (before, after) => changes.incompatible("it was a", view_noun(before), view_noun(after)),
    }
}

/// Features that come, go or get another type. Those that somebody uses are missed.
fn features(changes: &mut Changes<'_>, before: &View, after: &View) {
    let find = |view: &View, name: &str| view.features().iter().find(|feature| feature.name == name).cloned();
    for feature in before.features() {
        let named = FeatureRef::new(before.name(), &feature.name);
        let used_by = changes.users(|other| *other == named);
        let (change, detail) = match find(after, &feature.name) {
            None => {
                let things = [Defined::Feature(named), Defined::View(before.name().to_owned())];
                let detail = format!("feature {} removed", feature.name);
                match changes.going(&things, !used_by.is_empty()) {
                    (ChangeKind::Removed, _) => (ChangeKind::Changed, detail),
                    (change, None) => (change, detail),
                    (change, Some(promise)) => (change, format!("{detail}; {}", broken(promise))),
                }
            }
            Some(now) if now.dtype != feature.dtype => {
                let change = if used_by.is_empty() { ChangeKind::Changed } else { ChangeKind::Incompatible };
                (change, format!("feature {} {} → {}", feature.name, feature.dtype, now.dtype))
            }
            Some(_) => continue,
        };
        changes.add_used(change, detail, used_by);
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
        let detail = format!("source {} → {}, with the next sync", before.source, after.source);
        changes.add_of_view(ChangeKind::ValuesMayChange, detail);
    }
    let span = |span: Option<std::time::Duration>| span.map_or_else(|| "none".to_owned(), duration_text);
    changes.values_may_change("ttl", span(before.ttl), span(after.ttl));
    changes.changed("sync_every", span(before.sync_every), span(after.sync_every));
    expectations(changes, &before.expectations, &after.expectations);
    let quarantine = |view: &FeatureView| view.quarantine.clone().unwrap_or_else(|| "a folder".to_owned());
    changes.changed("quarantine", quarantine(before), quarantine(after));
    match (before.online, after.online) {
        (true, false) => changes.add_of_view(ChangeKind::Incompatible, "no longer kept online".to_owned()),
        (false, true) => changes.add(ChangeKind::Changed, "now kept online".to_owned()),
        _ => {}
    }
    changes.description(&before.description, &after.description);
}

fn expectations(changes: &mut Changes<'_>, before: &[Expectation], after: &[Expectation]) {
    let find = |of: &[Expectation], name: &str| of.iter().find(|other| other.name() == name).cloned();
    for expectation in before {
        let name = expectation.name();
        let detail = match find(after, &name) {
            None => format!("expectation {name} removed"),
            Some(now) if now.check != expectation.check => format!("expectation {name}: {}", now.check),
            Some(now) if now.on_failure != expectation.on_failure => {
                format!("expectation {name}: {} → {}", expectation.on_failure.name(), now.on_failure.name())
            }
            Some(_) => continue,
        };
        changes.add(ChangeKind::Changed, detail);
    }
    for expectation in after.iter().filter(|expectation| find(before, &expectation.name()).is_none()) {
        changes.add(ChangeKind::Changed, format!("expectation added: {}", expectation.check));
    }
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
            changes.add_of_view(ChangeKind::Incompatible, detail);
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
        changes.add_of_view(ChangeKind::Changed, format!("placement {was} → {is}, values stay{sync_first}"));
    }
    changes.description(&before.description, &after.description);
}

fn service_removed(changes: &mut Changes<'_>, before: &FeatureService) {
    // Who asks for a service is not known, so somebody may.
    let (change, promise) = changes.going(&[Defined::Service(before.name.clone())], true);
    let detail = match (change, promise) {
        (ChangeKind::Removed, _) => String::new(),
        (_, Some(promise)) => broken(promise),
        (_, None) => "removed".to_owned(),
    };
    changes.add(change, detail);
}

/// What a removal breaks, and what to do about it.
fn broken(promise: &Deprecation) -> String {
    let last = promise.remove_after.map_or_else(|| "later".to_owned(), |day| day.to_string());
    format!("it is promised to stay through {last}; keep it until then, or apply an earlier remove_after first")
}

fn is_defined(catalog: &Catalog, thing: &Defined) -> bool {
    match thing {
        Defined::View(view) => catalog.views.contains_key(view),
        Defined::Feature(feature) => catalog.feature_type(feature).is_some(),
        Defined::Service(service) => catalog.services.contains_key(service),
    }
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
    if before.full_feature_names != after.full_feature_names {
        let detail = format!("full_feature_names {} → {}", before.full_feature_names, after.full_feature_names);
        changes.add(ChangeKind::Incompatible, detail);
    }
    let split = |service: &FeatureService| service.split.as_ref().map_or_else(|| "none".to_owned(), Split::to_string);
    changes.changed("split", split(before), split(after));
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
