//! What happens to the cluster meanwhile, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::store::Cluster;

/// Slots that move, with their keys.
const SLOTS: usize = 2_000;
/// Parts of the whole time after which something happens.
const FAIL_OVER_AT: f64 = 0.35;
const KILL_AT: f64 = 0.45;
const REVIVE_AT: f64 = 0.55;
const MIGRATE_AT: f64 = 0.65;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Event {
    what: &'static str,
    began_seconds: f64,
    took: Duration,
}

impl Event {
    pub fn minute(&self) -> usize {
        (self.began_seconds / 60.0) as usize
    }

    pub fn tell(&self) -> String {
        format!("{} at {:.0} s ({:.1} s)", self.what, self.began_seconds, self.took.as_secs_f64())
    }
}

/// Lets everything happen at its time; nothing more once it is `over`.
pub fn happen(cluster: &mut Cluster, begin: Instant, time: Duration, over: &AtomicBool) -> Result<Vec<Event>> {
    let mut told = Vec::new();
    let mut at = |part: f64, what: &'static str, event: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let due = time.mul_f64(part);
        while begin.elapsed() < due {
            if over.load(Ordering::Relaxed) {
                return Err(format!("the load ended before {what}").into());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        eprintln!("-- {what}");
        let began = Instant::now();
        event().map_err(|error| format!("{what}: {error}"))?;
        told.push(Event { what, began_seconds: (began - begin).as_secs_f64(), took: began.elapsed() });
        Ok(())
    };
    let mut dead = 0;
    at(FAIL_OVER_AT, "CLUSTER FAILOVER", &mut || cluster.fail_over())?;
    at(KILL_AT, "kill -9 of a primary", &mut || {
        dead = cluster.kill_primary()?;
        Ok(())
    })?;
    at(REVIVE_AT, "it comes back", &mut || cluster.revive(dead))?;
    at(MIGRATE_AT, "2,000 slots move", &mut || cluster.migrate(SLOTS))?;
    Ok(told)
}
