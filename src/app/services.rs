//! The lists that feature services have had, out of the registry.

use std::collections::BTreeMap;

use tracing::warn;

use super::{Error, Project};
use crate::catalog::{Catalog, ServiceVersion};
use crate::plan;
use crate::registry::{self, Registry, ServiceShape};
use crate::transform::Transforms;

/// What the registry keeps of the services of a catalog.
pub(super) fn shapes(catalog: &Catalog) -> Vec<ServiceShape> {
    plan::shapes(catalog).into_iter().map(|(service, shape)| ServiceShape { service, shape }).collect()
}

/// The lists of all services, numbered.
pub(super) async fn versions(
    project: &Project,
    registry: &Registry,
    transforms: &Transforms,
) -> Result<BTreeMap<String, Vec<ServiceVersion>>, Error> {
    add_missing(project, registry, transforms).await?;
    let kept: Vec<(String, String)> =
        registry.service_shapes().await?.into_iter().map(|kept| (kept.service, kept.shape)).collect();
    plan::service_versions(&kept).map_err(|wrong| {
        let path = project.config.registry.display().to_string();
        registry::Error::Damaged { path, detail: format!("what was recorded of feature service {wrong}") }.into()
    })
}

/// Versions that an older program recorded lack their services. What they were follows from the definitions.
async fn add_missing(project: &Project, registry: &Registry, transforms: &Transforms) -> Result<(), Error> {
    for number in registry.versions_without_services().await? {
        let Some(recorded) = registry.version(number).await? else { continue };
        let services = match project.built(recorded, transforms) {
            Ok(catalog) => shapes(&catalog),
            // Definitions that nobody can read any more have no services that anybody could ask for.
            Err(error) => {
                let error = crate::error::chain(&error);
                warn!(version = number, %error, "the services of an applied version cannot be known");
                Vec::new()
            }
        };
        registry.add_services(number, &services).await?;
    }
    Ok(())
}
