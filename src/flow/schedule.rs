//! Views are synced by themselves: those whose definition says `sync_every`, each by one gateway at a time.
//!
//! When a view is due stands in the registry, and so does who is syncing it: a lease that its owner renews while the sync
//! runs, and that anybody takes once it has run out. A gateway that dies is replaced a minute later, and goes on where it
//! was if it is started again on the same machine before that.
//!
//! # Why the times are those of a grid
//! A view of `sync_every: 15m` is due four times an hour at the same minutes, shifted a little by its name so that not
//! all views of one span begin at once. Every gateway finds the same times, runs that were missed are made up for by one,
//! and a slow run does not move those after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{error, info, warn};

use super::Error;
use super::serve::micros;
use super::spool::stable_hash;
use super::sync::{self, Options, Range, sync_with, synced_until};
use crate::catalog::View;
use crate::clock::Micros;
use crate::error::chain;
use crate::gateway::{Gateway, Stop};
use crate::limits::{
    FRESHNESS_LOOK_EVERY, SCHEDULE_JITTER_MAX, SCHEDULE_JITTER_SHARE, SCHEDULE_LEASE, SCHEDULE_RETRY_PAUSE,
    SCHEDULE_RETRY_PAUSE_MAX, SCHEDULE_TICK, SCHEDULED_SYNCS_AT_ONCE,
};
use crate::metrics::ViewState;
use crate::plan;
use crate::registry::SyncSchedule;

/// What became of a view that looked due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    Synced,
    /// It is tried again, soon at first and then less often.
    Failed(String),
    /// The gateway is stopping; whoever runs it next goes on.
    Stopped,
    /// Another gateway is at it.
    Elsewhere,
    /// Another gateway has just done it.
    NotDue,
}

/// Syncs what is due, and tells the metrics how fresh the views are, until the gateway stops. Without `schedules` it only
/// tells.
pub async fn run(gateway: Arc<Gateway>, schedules: bool) {
    let owner = format!("{:x}-{:016x}", std::process::id(), RandomState::new().hash_one(0));
    let mut looks = Ticks::every(FRESHNESS_LOOK_EVERY);
    let mut tick = interval(SCHEDULE_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut syncing = JoinSet::new();
    let mut views: HashMap<Id, String> = HashMap::new();
    loop {
        tick.tick().await;
        while let Some(ended) = syncing.try_join_next_with_id() {
            let id = match &ended {
                Ok((id, _)) => *id,
                Err(broke_off) => broke_off.id(),
            };
            let view = views.remove(&id).unwrap_or_default();
            report(&view, ended.map(|(_, ran)| ran).map_err(|broke_off| broke_off.to_string()));
        }
        if gateway.syncing.stop.is_asked() {
            // Each ends at its next checkpoint.
            syncing.join_all().await;
            return;
        }
        if looks.is_time()
            && let Err(failed) = tell_freshness(&gateway).await
        {
            warn!(error = %chain(&failed), "how fresh the views are cannot be told");
        }
        let running: BTreeSet<&String> = views.values().collect();
        let room = SCHEDULED_SYNCS_AT_ONCE.saturating_sub(running.len());
        let due = match schedules {
            true => due(&gateway).await,
            false => Ok(Vec::new()),
        };
        let due = due.unwrap_or_else(|failed| {
            error!(error = %chain(&failed), "the schedules of views cannot be read");
            Vec::new()
        });
        let free: Vec<(String, Duration)> = due.into_iter().filter(|(view, _)| !running.contains(view)).collect();
        for (view, every) in free.into_iter().take(room) {
            let (gateway, owner, of) = (Arc::clone(&gateway), owner.clone(), view.clone());
            let started = syncing.spawn(async move { run_due(&gateway, &of, every, &owner).await });
            views.insert(started.id(), view);
        }
    }
}

/// The views that should be synced now, those that wait longest first, with their span.
pub async fn due(gateway: &Gateway) -> Result<Vec<(String, Duration)>, Error> {
    let scheduled = scheduled(gateway);
    if scheduled.is_empty() {
        return Ok(Vec::new());
    }
    let now = gateway.clock.now();
    let known: HashMap<String, Micros> =
        gateway.registry.schedules().await?.into_iter().map(|schedule| (schedule.view, schedule.next_at)).collect();
    let next_at = |view: &str| known.get(view).copied().unwrap_or(Micros::MIN);
    let mut due: Vec<(String, Duration)> = scheduled.into_iter().filter(|(view, _)| next_at(view) <= now).collect();
    due.sort_by_key(|(view, _)| next_at(view));
    Ok(due)
}

/// Syncs a view if it is due and no other gateway does.
///
/// # Errors
/// Only where the registry fails; a sync that fails is an outcome, and its schedule says so.
pub async fn run_due(gateway: &Gateway, view: &str, every: Duration, owner: &str) -> Result<Ran, Error> {
    let lease = Lease { gateway, name: format!("sync:{view}"), owner };
    if !lease.take().await? {
        return Ok(Ran::Elsewhere);
    }
    let ran = run_leased(&lease, view, every).await;
    lease.give_back().await?;
    ran
}

async fn run_leased(lease: &Lease<'_>, view: &str, every: Duration) -> Result<Ran, Error> {
    let gateway = lease.gateway;
    let before = gateway.registry.schedule(view).await?;
    if before.as_ref().is_some_and(|schedule| schedule.next_at > gateway.clock.now()) {
        return Ok(Ran::NotDue);
    }
    let synced = sync_leased(lease, view).await;
    let now = gateway.clock.now();
    let slot = next_slot(view, every, now);
    let (ran, schedule) = match synced {
        Ok(()) => (Ran::Synced, SyncSchedule { view: view.to_owned(), next_at: slot, failures: 0, failure: None }),
        // It stays due.
        Err(Error::SyncStopped { .. }) => return Ok(Ran::Stopped),
        Err(failed) => {
            let why = chain(&failed);
            let failures = before.map_or(0, |schedule| schedule.failures).saturating_add(1);
            let next_at = slot.min(now.saturating_add(micros(pause_after(failures))));
            (Ran::Failed(why.clone()), SyncSchedule { view: view.to_owned(), next_at, failures, failure: Some(why) })
        }
    };
    gateway.registry.set_schedule(&schedule).await?;
    Ok(ran)
}

/// The sync itself, and beside it the renewal of the lease; stopped when the lease is lost.
async fn sync_leased(lease: &Lease<'_>, view: &str) -> Result<(), Error> {
    let (options, ended) = (Options::default(), Notify::new());
    let range = Range::Incremental { until: lease.gateway.clock.now() };
    let syncing = async {
        let synced = sync_with(lease.gateway, view, range, &options, &|_| {}).await;
        ended.notify_one();
        synced
    };
    // Neither is dropped in the middle of a question to the registry.
    let (synced, ()) = tokio::join!(syncing, renew(lease, view, &options.stop, &ended));
    synced.map(|_| ())
}

/// Renews the lease until the sync has ended; asks it to stop where that does not work any more.
async fn renew(lease: &Lease<'_>, view: &str, stop: &Stop, ended: &Notify) {
    let mut until = lease.until();
    let mut renewals = interval_at(Instant::now() + SCHEDULE_LEASE / 3, SCHEDULE_LEASE / 3);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.notified() => return,
            _ = renewals.tick() => {}
        }
        match lease.take().await {
            Ok(true) => until = lease.until(),
            // A registry that is busy for a moment has not given it to anybody.
            Err(failed) if lease.gateway.clock.now() < until => {
                warn!(view, error = %chain(&failed), "the lease of a schedule cannot be renewed yet");
            }
            Ok(false) | Err(_) => stop.ask(),
        }
    }
}

/// The right to sync one view by its schedule.
struct Lease<'a> {
    gateway: &'a Gateway,
    name: String,
    owner: &'a str,
}

impl Lease<'_> {
    /// When a lease that is taken now runs out.
    fn until(&self) -> Micros {
        self.gateway.clock.now().saturating_add(micros(SCHEDULE_LEASE))
    }

    async fn take(&self) -> Result<bool, Error> {
        let (now, until) = (self.gateway.clock.now(), self.until());
        Ok(self.gateway.registry.take_lease(&self.name, self.owner, now, until).await?)
    }

    async fn give_back(&self) -> Result<(), Error> {
        Ok(self.gateway.registry.give_lease_back(&self.name, self.owner).await?)
    }
}

/// Tells the metrics how far each view is synced, by whomever it was.
pub async fn tell_freshness(gateway: &Gateway) -> Result<(), Error> {
    let (applied, freshness) = (gateway.applied.load_full(), gateway.registry.freshness().await?);
    let mut states = BTreeMap::new();
    for view in sync::syncable(&applied.catalog) {
        let plan = plan::storing(&applied.catalog, &view)?;
        let (newest_event_time, coverage) = freshness.get(&view).copied().unzip();
        let synced_until = synced_until(gateway, &plan).await?;
        states.insert(view, ViewState { synced_until, newest_event_time, coverage });
    }
    gateway.metrics.views(states);
    Ok(())
}

fn scheduled(gateway: &Gateway) -> Vec<(String, Duration)> {
    let applied = gateway.applied.load();
    let spans = applied.catalog.views.values().filter_map(|view| match view {
        View::Feature(view) if view.online => Some((view.name.clone(), view.sync_every?)),
        _ => None,
    });
    spans.collect()
}

/// The first moment of the view's grid after `now`.
fn next_slot(view: &str, every: Duration, now: Micros) -> Micros {
    let every = micros(every).max(1);
    let shift_max = (every as u64 / SCHEDULE_JITTER_SHARE).min(micros(SCHEDULE_JITTER_MAX) as u64).max(1);
    let shift = (stable_hash(view.as_bytes()) % shift_max) as Micros;
    let slots = (now - shift).div_euclid(every) + 1;
    slots.saturating_mul(every).saturating_add(shift)
}

/// How long to wait after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doubled = SCHEDULE_RETRY_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(20));
    doubled.min(SCHEDULE_RETRY_PAUSE_MAX)
}

fn report(view: &str, ran: Result<Result<Ran, Error>, String>) {
    match ran {
        Ok(Ok(Ran::Synced)) => info!(view, "a scheduled sync finished"),
        Ok(Ok(Ran::Failed(why))) => error!(view, error = why, "a scheduled sync failed; it is tried again"),
        Ok(Ok(Ran::Stopped)) => info!(view, "a scheduled sync was stopped"),
        Ok(Ok(Ran::Elsewhere | Ran::NotDue)) => {}
        Ok(Err(failed)) => error!(view, error = %chain(&failed), "the schedule of a view cannot be kept"),
        Err(broke_off) => error!(view, error = broke_off, "a scheduled sync broke off"),
    }
}

/// Whether some time has passed since it was asked the last time.
struct Ticks {
    every: Duration,
    last: Option<std::time::Instant>,
}

impl Ticks {
    fn every(every: Duration) -> Self {
        Self { every, last: None }
    }

    fn is_time(&mut self) -> bool {
        let is_time = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if is_time {
            self.last = Some(std::time::Instant::now());
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Micros = 60_000_000;

    #[test]
    fn slots_are_a_span_apart_whatever_the_clock_says_between_them() {
        let every = Duration::from_secs(900);
        let first = next_slot("rides", every, 1_700_000_000_000_000);
        for later in [first, first + 1, first + 15 * MINUTE - 1] {
            assert_eq!(next_slot("rides", every, later), first + 15 * MINUTE);
        }
        assert_eq!(next_slot("rides", every, first - 1), first);
        assert_eq!(next_slot("rides", every, first + 61 * MINUTE), first + 75 * MINUTE, "missed ones are left out");
        assert!(next_slot("rides", every, -5) > -5);
    }

    #[test]
    fn views_of_one_span_begin_at_different_moments_within_a_tenth_of_it() {
        let every = Duration::from_secs(900);
        let slots: BTreeSet<Micros> =
            (0..50).map(|view| next_slot(&format!("view_{view}"), every, 0) % (15 * MINUTE)).collect();
        assert!(slots.len() > 45, "{slots:?}");
        assert!(slots.iter().all(|slot| *slot < 90_000_000), "{slots:?}");
        assert_eq!(next_slot("rides", Duration::from_micros(1), 5), 6);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<u64> = [1, 2, 3, 7, 8, 9, u32::MAX].map(|failures| pause_after(failures).as_secs()).to_vec();
        assert_eq!(pauses, [5, 10, 20, 320, 600, 600, 600]);
    }
}
