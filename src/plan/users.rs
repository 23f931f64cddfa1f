//! Who reads a feature: services and the earlier lists of them that can still be asked for, through any number of
//! derived views.

use std::collections::BTreeSet;
use std::fmt;

use crate::catalog::{Catalog, FeatureRef, InputSource, ServiceVersion};

/// A service as it is, or one of the lists that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User<'a> {
    Service(&'a str),
    Version(&'a str, u32),
}

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Version(name, number) => write!(f, "{name}@{number}"),
        }
    }
}

/// The users of the features that are `meant`. A list that cannot be answered any more is no user, and the list that a
/// service has now is that service.
pub(super) fn users<'a>(catalog: &'a Catalog, meant: impl Fn(&FeatureRef) -> bool) -> Vec<User<'a>> {
    let computed = computed_from(catalog, &meant);
    let uses = |named: &FeatureRef| meant(named) || computed.contains(named.view.as_str());
    let mut users = Vec::new();
    for service in catalog.services.values() {
        if service.features.iter().any(uses) {
            users.push(User::Service(&service.name));
        }
        let now = catalog.service_version(&service.name);
        let recorded = catalog.service_versions.get(&service.name).map_or(&[][..], Vec::as_slice);
        let is_user = |version: &&ServiceVersion| {
            Some(version.number) != now
                && version.features.iter().any(|recorded| uses(&recorded.feature))
                && version.missing_from(catalog).is_empty()
        };
        users.extend(recorded.iter().filter(is_user).map(|version| User::Version(&service.name, version.number)));
    }
    users
}

/// The derived views that are computed from a feature that is `meant`, through however many others.
fn computed_from<'a>(catalog: &'a Catalog, meant: &impl Fn(&FeatureRef) -> bool) -> BTreeSet<&'a str> {
    let mut computed: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = computed.len();
        for view in catalog.derived_views() {
            let reads_it = view.inputs.iter().any(|input| match &input.from {
                InputSource::Feature { view, feature } => {
                    computed.contains(view.as_str()) || meant(&FeatureRef::new(view, feature))
                }
                InputSource::Request { .. } => false,
            });
            if reads_it {
                computed.insert(&view.name);
            }
        }
        if computed.len() == before {
            return computed;
        }
    }
}
