//! Single flight: of the callers who miss one key at the same time, one asks the store and the others wait for it.
//!
//! One call asks for many keys, so all its flights end together: those who wait for one of them hear of the batch and
//! find their row at its place. A caller who fails or goes away ends its flights too, and who waited asks for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::time::timeout_at;

use super::view::{CachedView, Moment, Row};
use crate::clock::Deadline;

/// The keys of one stripe that are being asked for.
pub(super) type Flights = HashMap<Box<[u8]>, Flight>;

/// What became of the keys of a batch, in their order; none where it is not known.
type Landed = Arc<[Option<Row>]>;

/// One key that somebody is asking for.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub batch: u64,
    /// Of the key's stripe when it was asked for.
    pub version: u64,
    pub moment: Moment,
    place: usize,
    landed: watch::Receiver<Option<Landed>>,
}

/// The keys of one view that one call asks for. Dropped before it has landed, it ends its flights with nothing.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    view: &'a CachedView,
    moment: Moment,
    number: u64,
    keys: Vec<(Box<[u8]>, u64)>,
    landed: watch::Sender<Option<Landed>>,
}

impl Flight {
    /// The row, once it is known; `Ok(None)` where the caller who asked did not find out.
    pub async fn wait(mut self, deadline: Deadline) -> Result<Option<Row>, TooLate> {
        match timeout_at(deadline.instant().into(), self.landed.wait_for(Option::is_some)).await {
            Err(_) => Err(TooLate),
            Ok(Err(_)) => Ok(None),
            Ok(Ok(landed)) => Ok(landed.as_ref().and_then(|rows| rows[self.place].clone())),
        }
    }
}

/// The deadline passed while another caller asked.
#[derive(Debug)]
pub(super) struct TooLate;

impl<'a> Batch<'a> {
    pub fn new(view: &'a CachedView, moment: Moment) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { view, moment, number, keys: Vec::new(), landed: watch::Sender::new(None) }
    }

    pub fn view(&self) -> &'a CachedView {
        self.view
    }

    pub fn moment(&self) -> Moment {
        self.moment
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The flight of the next key, if it becomes ours to ask for.
    pub fn flight(&self, version: u64) -> Flight {
        let (place, landed) = (self.keys.len(), self.landed.subscribe());
        Flight { batch: self.number, version, moment: self.moment, place, landed }
    }

    /// The key is ours to ask for.
    pub fn take(&mut self, key: &[u8], version: u64) {
        self.keys.push((key.into(), version));
    }

    /// What was found, in the order of the keys.
    pub fn land(mut self, rows: Vec<Option<Row>>) -> Landed {
        for ((key, version), row) in self.keys.drain(..).zip(&rows) {
            self.view.land(&key, version, self.number, self.moment, row.as_ref());
        }
        let rows: Landed = rows.into();
        self.landed.send_replace(Some(Arc::clone(&rows)));
        rows
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for (key, version) in &self.keys {
            self.view.land(key, *version, self.number, self.moment, None);
        }
    }
}
