//! The plugin under examination: bound the same way in a stage that gives each call a fresh instance, and in one that
//! keeps instances.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::answer::{Answer, answer};
use crate::catalog::{Digest, Parameter, Transform};
use crate::transform::{Error, Reuse, Settings, Transforms};

/// Instances of one stage: as many as threads call at once, and some that wait.
const INSTANCES_MAX: u32 = 16;

/// Two stages that share what they compile.
pub struct Stages {
    pub fresh: Transforms,
    pub warm: Transforms,
}

pub struct Subject<'a> {
    pub fresh: &'a Transforms,
    pub warm: &'a Transforms,
    pub transform: Arc<Transform>,
}

impl Stages {
    /// `settings` are those of the gateway, so that the same limits hold.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let stage = |reuse: Reuse| {
            Transforms::start(Settings {
                reuse,
                instances_max: INSTANCES_MAX,
                calls_per_instance_max: u32::MAX,
                compare_one_in: 0,
                ..settings.clone()
            })
        };
        Ok(Self { fresh: stage(Reuse::Never)?, warm: stage(Reuse::Always)? })
    }

    pub fn load(&self, plugin: &str, component: &[u8]) -> Result<Digest, Error> {
        self.warm.load(plugin, component)?;
        self.fresh.load(plugin, component).map(|(digest, _)| digest)
    }

    pub fn subject(
        &self,
        plugin: &str,
        component: Digest,
        parameters: &[(String, Parameter)],
    ) -> Result<Subject<'_>, Error> {
        self.warm.bind(plugin, component, parameters, None)?;
        let transform = self.fresh.bind(plugin, component, parameters, None)?;
        Ok(Subject { fresh: &self.fresh, warm: &self.warm, transform })
    }
}

impl Subject<'_> {
    pub fn fresh_answer(&self, inputs: &[ArrayRef], rows: usize) -> Result<Answer, Error> {
        answer(self.fresh, &self.transform, inputs, rows)
    }

    pub fn warm_answer(&self, inputs: &[ArrayRef], rows: usize) -> Result<Answer, Error> {
        answer(self.warm, &self.transform, inputs, rows)
    }
}
