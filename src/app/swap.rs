//! A running gateway takes up what is applied: it looks at the registry, loads the next version beside the one that is
//! on, and swaps them whole.
//!
//! A version that cannot be loaded, or that needs what only a start can set up, leaves the one before on.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::shadows::{Followed, follow};
use super::{Error, Project};
use crate::catalog::{Catalog, Selection};
use crate::error::chain;
use crate::flow::serve::planned;
use crate::gateway::{Applied, Gateway, Refused, SwapError};
use crate::limits::{SWAP_LOOK_EVERY, SWAP_RETRY_PAUSE};
use crate::online::OnlineView;
use crate::plan;

/// Looks for versions until the task is dropped: every so often, and whenever somebody asks.
pub(super) async fn watch(project: Project, gateway: Arc<Gateway>) {
    let mut asked = gateway.swaps.watch();
    let mut tick = interval(SWAP_LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut refused_at, mut shadows): (Option<Instant>, _) = (None, Followed::default());
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => None,
            asked = asked.recv() => asked,
        };
        // Loading what was refused a moment ago costs seconds and ends alike, unless somebody has repaired something.
        let patient = asked.is_none() && refused_at.is_some_and(|at| at.elapsed() < SWAP_RETRY_PAUSE);
        let looked = look(&project, &gateway, patient).await;
        match &looked {
            Ok(()) => refused_at = None,
            Err(SwapError::Refused(_)) if patient => {}
            Err(SwapError::Refused(_)) => refused_at = Some(Instant::now()),
            Err(failed) => warn!(error = %chain(failed), "whether there is a new version cannot be told"),
        }
        if let Err(failed) = follow(&project, &gateway, &mut shadows).await {
            warn!(error = %chain(&failed), "which shadows should run cannot be told");
        }
        gateway.transforms.drop_unused();
        if let Some(asked) = asked {
            // Who asked may have gone.
            let _ = asked.send(looked);
        }
    }
}

/// Takes the latest version up if it is not on. `patient` leaves alone the one that was refused.
async fn look(project: &Project, gateway: &Arc<Gateway>, patient: bool) -> Result<(), SwapError> {
    let latest = gateway.registry.latest_number().await.map_err(|error| SwapError::Registry(chain(&error)))?;
    let Some(latest) = latest.filter(|latest| *latest > gateway.applied.load().version) else {
        gateway.swaps.refuse(None);
        return Ok(());
    };
    if let Some(refused) = gateway.swaps.refused().filter(|refused| patient && refused.version == latest) {
        return Err(SwapError::Refused(refused));
    }
    let begun = Instant::now();
    // Off the async threads: compiling a plugin keeps a processor busy for seconds.
    let (loading, into, runtime) = (project.clone(), Arc::clone(gateway), Handle::current());
    let loaded = tokio::task::spawn_blocking(move || runtime.block_on(load(&loading, &into, latest))).await;
    let loaded = loaded.unwrap_or_else(|stopped| Err(Error::Server(stopped.to_string())));
    match loaded {
        Ok(applied) => {
            gateway.put(applied);
            gateway.metrics.version_taken_up(latest);
            info!(version = latest, seconds = begun.elapsed().as_secs_f64(), "a new version is on");
            Ok(())
        }
        Err(failed) => {
            let refused = Refused { version: latest, why: chain(&failed) };
            gateway.metrics.version_refused();
            gateway.swaps.refuse(Some(refused.clone()));
            error!(version = latest, error = %refused.why, "a new version is not taken up; the one before stays on");
            Err(SwapError::Refused(refused))
        }
    }
}

/// Loads a version beside the one that is on: its plugins are compiled, its first instances wait, and the questions that
/// are asked now are planned.
async fn load(project: &Project, gateway: &Gateway, number: u64) -> Result<Applied, Error> {
    let recorded = gateway.registry.version(number).await?.ok_or(Error::NoVersion { version: number })?;
    project.check_signatures(&recorded)?;
    let next = project.load(recorded, &gateway.registry, &gateway.transforms).await?;
    project.check_online_views(&next.catalog)?;
    let on = gateway.applied.load_full();
    check_kept_views(project, &on.catalog, &next.catalog)?;
    let asked: Vec<Selection> = match on.plans.lock() {
        Ok(plans) => plans.keys().cloned().collect(),
        Err(_) => Vec::new(),
    };
    for selection in asked {
        // What cannot be asked any more is told to whoever asks it.
        let _ = planned(&next, &selection);
    }
    Ok(next)
}

/// The hot cache is set up when a gateway starts: its views must stay views of the online store, under the same keys.
fn check_kept_views(project: &Project, on: &Catalog, next: &Catalog) -> Result<(), Error> {
    let (on, next) = (plan::online_views(on), plan::online_views(next));
    let keys = |view: &Arc<OnlineView>| (view.entities.clone(), view.join_keys.clone());
    for name in project.config.hot_cache.views.keys() {
        let find = |views: &[Arc<OnlineView>]| views.iter().find(|view| view.name == *name).map(keys);
        match (find(&on), find(&next)) {
            (before, Some(after)) if before.as_ref().is_none_or(|before| *before == after) => {}
            (_, None) => {
                let known = next.iter().map(|view| view.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::NotOnline { view: name.clone(), known });
            }
            (_, Some(_)) => {
                let what = format!("other keys of {name}, which hot_cache keeps");
                return Err(Error::NeedsRestart { what });
            }
        }
    }
    Ok(())
}
