//! What is deprecated: of the features that a question names, and of everything that is defined, with those who use it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::FeaturePlan;
use super::users::{User, users};
use crate::catalog::{Catalog, Day, Defined, Deprecation, FeatureRef};
use crate::limits;

/// Something deprecated that a question names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// As definitions and questions name it: a view, `view:feature`, or a service.
    pub name: String,
    #[serde(flatten)]
    pub deprecation: Deprecation,
}

/// Something deprecated, and who uses it still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deprecated {
    /// `view`, `feature` or `feature service`.
    pub thing: &'static str,
    #[serde(flatten)]
    pub notice: Notice,
    /// How far it is today.
    pub state: State,
    /// The services that read it, directly or through derived views; and their earlier lists, as `service@n`, that can
    /// be asked for still.
    pub used_by: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its first day is yet to come.
    Announced,
    Deprecated,
    /// The day until which it was promised is over.
    Removable,
}

/// What is deprecated of that which a plan was asked for: the service, and each view and feature of the answer; up to a
/// bound.
pub fn notices(catalog: &Catalog, plan: &FeaturePlan) -> Arc<[Notice]> {
    if catalog.deprecations.is_empty() {
        return Arc::default();
    }
    let outputs = plan.outputs.iter().flat_map(|output| {
        [Defined::View(output.view.clone()), Defined::Feature(FeatureRef::new(&output.view, &output.feature))]
    });
    let named: BTreeSet<Defined> = plan.service.clone().map(Defined::Service).into_iter().chain(outputs).collect();
    named.into_iter().filter_map(|thing| notice(catalog, &thing)).take(limits::NOTICES_MAX).collect()
}

/// Everything deprecated that is defined, with its users as of `today`.
pub fn deprecations(catalog: &Catalog, today: Day) -> Vec<Deprecated> {
    let deprecated = |(thing, deprecation): (&Defined, &Deprecation)| Deprecated {
        thing: thing.noun(),
        notice: Notice { name: thing.name(), deprecation: deprecation.clone() },
        state: match deprecation.remove_after {
            _ if today < deprecation.since => State::Announced,
            Some(last) if last < today => State::Removable,
            _ => State::Deprecated,
        },
        used_by: match thing {
            Defined::Service(_) => Vec::new(),
            Defined::View(view) => names(users(catalog, |feature| feature.view == *view)),
            Defined::Feature(named) => names(users(catalog, |feature| feature == named)),
        },
    };
    catalog.deprecations.iter().map(deprecated).collect()
}

fn names(users: Vec<User<'_>>) -> Vec<String> {
    users.iter().map(ToString::to_string).collect()
}

fn notice(catalog: &Catalog, thing: &Defined) -> Option<Notice> {
    Some(Notice { name: thing.name(), deprecation: catalog.deprecations.get(thing)?.clone() })
}
