//! A view under another name, with its join keys in other columns: `area_stats` of the area where a trip begins, and again
//! of the area where it ends.
//!
//! An alias is defined where a service reads the view under it, and is known in the whole project: `pickup:avg_fare` can
//! be asked for like any other feature. It is a way of asking, not a view: nothing is stored for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Catalog, FeatureRef, FeatureView, Field, Reach, View};

/// From join key of a view to the column that has its values.
pub type JoinKeyColumns = BTreeMap<String, String>;

/// A view as it is read under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The view itself.
    pub view: String,
    /// The join keys that come in columns of other names.
    pub join_keys: JoinKeyColumns,
}

impl Catalog {
    /// The view behind a name, which may be an alias.
    pub fn view_behind(&self, name: &str) -> Option<&View> {
        self.view(self.view_name_behind(name))
    }

    /// The name of the view behind a name.
    pub fn view_name_behind<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, |alias| alias.view.as_str())
    }

    /// The feature of a view that is meant, where `feature` may be of an alias.
    pub fn feature_behind(&self, feature: &FeatureRef) -> FeatureRef {
        FeatureRef::new(self.view_name_behind(&feature.view), &feature.feature)
    }
}

impl Alias {
    /// The same reach with join keys in this alias's columns.
    pub(super) fn reach(&self, reach: Reach) -> Reach {
        let key = |key: &Field| Field { name: column_of(&self.join_keys, &key.name).to_owned(), ..key.clone() };
        let view = |view: &Arc<FeatureView>| {
            Arc::new(FeatureView { join_keys: view.join_keys.iter().map(key).collect(), ..(**view).clone() })
        };
        Reach { feature_views: reach.feature_views.iter().map(view).collect(), request: reach.request }
    }
}

/// The column with the values of a join key.
pub fn column_of<'a>(columns: &'a JoinKeyColumns, join_key: &'a str) -> &'a str {
    columns.get(join_key).map_or(join_key, String::as_str)
}
