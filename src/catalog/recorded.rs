//! The lists of features that services have had: each has a number that it keeps, so that a model can go on asking for
//! the one it was trained on.

use super::versioned::version_number;
use super::{Catalog, DType, Digest, FeatureRef};

/// One list of a service. Lists are numbered from 1 in the order in which they were first applied; a list that comes
/// back has its number again.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceVersion {
    pub number: u32,
    pub full_feature_names: bool,
    /// In the order of the answer.
    pub features: Vec<RecordedFeature>,
    /// By what else these features were computed, newest last: the recipes (see [`crate::plan::fingerprint`]) of all
    /// features, in their order, for each time that they changed.
    pub recipes: Vec<Vec<Option<Digest>>>,
}

/// A feature as a service named it, and the type it had.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedFeature {
    pub feature: FeatureRef,
    pub dtype: DType,
}

/// A service as a question names it: `tip_model_v1`, or one of its lists: `tip_model_v1@3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceRef<'a> {
    Current(&'a str),
    Version(&'a str, u32),
}

impl<'a> ServiceRef<'a> {
    /// None for something after the `@` that is no number.
    pub fn parse(name: &'a str) -> Option<Self> {
        match name.split_once('@') {
            None => Some(Self::Current(name)),
            Some((service, number)) => Some(Self::Version(service, version_number(number)?)),
        }
    }
}

impl Catalog {
    /// The number of the list that a service has now, if that was recorded.
    pub fn service_version(&self, service: &str) -> Option<u32> {
        let now = self.recordable(service)?;
        let recorded = self.service_versions.get(service)?;
        recorded.iter().find(|version| version.is_list(now.1, &now.0)).map(|version| version.number)
    }

    /// A service's list as it is now, with types, and whether its columns have full names.
    pub fn recordable(&self, service: &str) -> Option<(Vec<RecordedFeature>, bool)> {
        let service = self.services.get(service)?;
        let features = service
            .features
            .iter()
            .map(|feature| Some(RecordedFeature { feature: feature.clone(), dtype: self.feature_type(feature)? }));
        Some((features.collect::<Option<_>>()?, service.full_feature_names))
    }

    /// The type of a feature; none if there is no such feature.
    pub fn feature_type(&self, named: &FeatureRef) -> Option<DType> {
        let features = self.view_behind(&named.view)?.features();
        Some(features.iter().find(|feature| feature.name == named.feature)?.dtype)
    }
}

impl ServiceVersion {
    /// Whether this is the list with these features and these names of columns.
    pub fn is_list(&self, full_feature_names: bool, features: &[RecordedFeature]) -> bool {
        self.full_feature_names == full_feature_names && self.features == features
    }

    /// What stands against answering this list now: each feature that is gone or of another type, in words.
    pub fn missing_from(&self, catalog: &Catalog) -> Vec<String> {
        let wrong = |recorded: &RecordedFeature| match catalog.feature_type(&recorded.feature) {
            None => Some(format!("{} is gone", recorded.feature)),
            Some(now) if now != recorded.dtype => {
                Some(format!("{} is {now} now and was {}", recorded.feature, recorded.dtype))
            }
            Some(_) => None,
        };
        self.features.iter().filter_map(wrong).collect()
    }
}
